import os
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from darkroom.serving.server.manager import version_folders
from darkroom.serving.server.server_config import ModelConfig, wanted_versions

FOUND = {number: f"/m/{number}" for number in (1, 2, 10)}


def config(policy: str = "") -> ModelConfig:
    made = ModelConfig()
    text_format.Parse(policy and f"model_version_policy {{ {policy} }}", made)
    return made


def test_folders_with_whole_numbers_are_versions(tmp_path: Path) -> None:
    names = ["1", "2", "010", "20261121170000", "-3", "+4", "1.5", "1_0", "x", "1x", ".5", "٣", "²"]
    for name in names:
        (tmp_path / name).mkdir()
    assert version_folders(str(tmp_path)) == {
        1: f"{tmp_path}/1",
        2: f"{tmp_path}/2",
        10: f"{tmp_path}/010",
        20261121170000: f"{tmp_path}/20261121170000",
    }


def test_a_slash_at_the_end_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    assert version_folders(f"{tmp_path}/") == {7: f"{tmp_path}/7"}


def test_a_version_that_the_wire_has_no_room_for_is_ignored(tmp_path: Path) -> None:
    for number in (2**63 - 1, 2**63, 10**200):
        (tmp_path / str(number)).mkdir()
    assert list(version_folders(str(tmp_path))) == [2**63 - 1]


def test_a_folder_without_versions_has_none(tmp_path: Path) -> None:
    assert version_folders(str(tmp_path)) == {}


@pytest.mark.parametrize("name", ["none", "file"])
def test_what_can_not_be_listed_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=f"{tmp_path}/{name}"):
        version_folders(str(tmp_path / name))


def test_a_name_that_is_not_text_hides_no_version(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    (tmp_path / "7").mkdir()
    assert version_folders(str(tmp_path)) == {7: f"{tmp_path}/7"}


@pytest.mark.parametrize(
    ("policy", "numbers", "missing"),
    [
        ("", {10}, set()),
        ("latest {}", {10}, set()),
        ("latest { num_versions: 2 }", {2, 10}, set()),
        ("latest { num_versions: 9 }", {1, 2, 10}, set()),
        ("all {}", {1, 2, 10}, set()),
        ("specific { versions: 2 }", {2}, set()),
        ("specific { versions: 2 versions: 1 versions: 2 }", {1, 2}, set()),
        ("specific { versions: 2 versions: 3 }", {2}, {3}),
        ("specific {}", set(), set()),
    ],
)
def test_policies(policy: str, numbers: set[int], missing: set[int]) -> None:
    wanted, in_vain = wanted_versions(config(policy), FOUND)
    assert wanted == {number: FOUND[number] for number in numbers}
    assert in_vain == missing


@given(st.sets(st.integers(0, 2**63 - 1)), st.integers(1, 2**32 - 1))
def test_the_latest_are_the_largest_numbers(numbers: set[int], count: int) -> None:
    found = {number: str(number) for number in numbers}
    wanted, missing = wanted_versions(config(f"latest {{ num_versions: {count} }}"), found)
    assert sorted(wanted) == sorted(numbers)[-count:]
    assert not missing
