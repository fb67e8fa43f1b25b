import ast
import shutil
from pathlib import Path

import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.airflow import graph
from darkroom.pipeline.config import load
from tests.conftest import REPOSITORY
from tests.conftest import python as run_python


def shape(folder: Path, python: str, *overrides: str) -> dict[str, list[str]]:
    words = [word for override in overrides for word in ("--set", override)]
    return graph.shape(
        load("digits", list(overrides)), ["--config", "digits", *words], folder, python
    )


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter that says of itself that it was called, and stands for that with TFX."""
    path = tmp_path / "python"
    path.write_text("""#!/bin/sh
echo "$@" >> calls.txt
echo words of a library
echo '{"First": [], "Second": ["First"]}'
""")
    path.chmod(0o755)
    return path


def test_it_is_made_once_for_a_configuration(tmp_path: Path, python: Path) -> None:
    expected = {"First": [], "Second": ["First"]}
    assert shape(tmp_path, str(python)) == expected
    assert shape(tmp_path, str(python)) == expected
    assert shape(tmp_path, "/no/python") == expected
    calls = (tmp_path / "calls.txt").read_text().splitlines()
    assert calls == ["-m darkroom.pipeline.airflow.graph --config digits"]
    assert (tmp_path / "runs" / "digits" / "graphs").is_dir()
    shape(tmp_path, str(python), "training.epochs=3")
    assert len((tmp_path / "calls.txt").read_text().splitlines()) == 2


def test_it_is_made_anew_for_other_sources(
    tmp_path: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape(tmp_path, str(python))
    copy = tmp_path / "copy"
    for name in ("pipeline", "components", "serving"):
        shutil.copytree(REPOSITORY / name, copy / "darkroom" / name)
    (copy / "darkroom" / "__init__.py").write_text("")
    with (copy / "darkroom" / "pipeline" / "pipeline.py").open("a") as file:
        file.write("ONE_MORE = 1\n")
    code = (
        "import sys; from pathlib import Path; from darkroom.pipeline.config import load; "
        "from darkroom.pipeline.airflow import graph; "
        "graph.shape(load('digits'), ['--config', 'digits'], Path.cwd(), sys.argv[1])"
    )
    for expected in (2, 2):
        result = run_python("-c", code, str(python), cwd=tmp_path, source=copy)
        assert result.returncode == 0, result.stdout
        assert len((tmp_path / "calls.txt").read_text().splitlines()) == expected


def test_with_a_root_in_a_bucket_it_is_kept_here(tmp_path: Path, python: Path) -> None:
    shape(tmp_path, str(python), "root=gs://bucket/runs", "local_root=here")
    assert len(list((tmp_path / "here" / "digits" / "graphs").glob("*.json"))) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls.txt", "here", "python"]


def test_what_is_wrong_with_the_configuration_needs_no_other_interpreter(
    tmp_path: Path, python: Path
) -> None:
    python.write_text("#!/bin/sh\necho 'darkroom: model.weights: no such file.' >&2; exit 1\n")
    with pytest.raises(DarkroomError, match=r"model\.weights: no such file\.$"):
        shape(tmp_path, str(python))


def test_no_interpreter(tmp_path: Path) -> None:
    with pytest.raises(DarkroomError, match=r"/no/python can't be started in .*: No such file"):
        shape(tmp_path, "/no/python")


def test_one_without_tfx(tmp_path: Path, python: Path) -> None:
    python.write_text("#!/bin/sh\necho 'darkroom: It needs TFX.' >&2; exit 1\n")
    with pytest.raises(
        DarkroomError, match=r"with .*/python: It needs TFX\. Set airflow\.python to"
    ):
        shape(tmp_path, str(python))


def test_a_folder_that_can_not_be_written(tmp_path: Path, python: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(DarkroomError, match=r"graphs can't be written: Not a directory\."):
        shape(tmp_path, str(python))


def test_the_dag_file_is_python_whatever_the_names_are() -> None:
    folder = Path("/data/Fotos \"ä\" 'b' \\ 🙂")
    overrides = ["data.path=/data/{{ ds }}", "report.limits='none\nat all'"]
    text = graph.dag_file("flowers", folder / "flowers.yaml", overrides, folder)
    tree = ast.parse(text)
    call = tree.body[-1].value  # type: ignore[attr-defined]
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert given == {
        "config": str(folder / "flowers.yaml"),
        "overrides": overrides,
        "folder": str(folder),
    }
    # Airflow passes over files without these two words.
    assert "dag" in text
    assert "airflow" in text
