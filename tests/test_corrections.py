import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion import corrections
from darkroom.components.ingestion.corrections import Correction

_NAMES = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), min_size=1)


@given(st.dictionaries(_NAMES, st.tuples(st.sampled_from(["relabel", "same"]), _NAMES)))
def test_what_is_written_is_read(tmp_path_factory, decided):
    path = tmp_path_factory.mktemp("records") / corrections.CORRECTIONS_FILE
    rows = {name: Correction(name, action, label) for name, (action, label) in decided.items()}
    corrections.write(path, rows.values())
    assert corrections.read(path) == rows


def test_no_file_is_no_correction(tmp_path):
    assert corrections.read(tmp_path / "none.csv") == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: expected path,action,label, received ''"),
        ("path,label\n", "line 1: expected path,action,label, received 'path,label'"),
        ("path,action,label\na.jpg,drop\n", "line 2: expected path,action,label"),
        ("path,action,label\na.jpg,delete,\n", "expected keep, relabel, drop, same, received 'd"),
        ("path,action,label\na.jpg,relabel,\n", "line 2: relabel needs a label"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, sentence):
    path = tmp_path / "corrections.csv"
    path.write_text(text)
    with pytest.raises(DarkroomError, match=r"corrections\.csv, line") as raised:
        corrections.read(path)
    assert sentence in str(raised.value)
