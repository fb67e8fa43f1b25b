import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from darkroom.components.base.settings import PusherSettings
from darkroom.components.pushing import version_folder
from darkroom.serving import rollout
from darkroom.serving.pushed_files import Rollout, RolloutError, VersionNote
from tests.conftest import environment
from tests.settings import configured

SETTINGS = configured(PusherSettings)


def folder_of(tmp_path: Path, *numbers: int) -> Path:
    folder = tmp_path / "pushed" / "flowers"
    for number in numbers:
        (folder / str(number)).mkdir(parents=True)
    return folder


def pushed(tmp_path: Path, *numbers: int) -> Path:
    """The same, where each became stable in its turn."""
    for number in numbers:
        folder = folder_of(tmp_path, number)
        rollout.admit(folder, number, as_canary=False)
    return folder


def test_versions_are_folders_with_numbers(tmp_path: Path) -> None:
    for name in ("9", "10", "incoming-11", "notes", "²"):
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_text("")
    assert [path.name for path in rollout.versions(tmp_path)] == ["10", "9"]
    assert rollout.versions(tmp_path / "nowhere") == []


def test_what_a_model_server_reads(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1)
    rollout.admit(folder, 1, as_canary=True)
    (folder / "2").mkdir()
    rollout.admit(folder, 2, as_canary=True)
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    text = rollout.config_path(folder).read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    [entry] = config.model_config_list.config
    assert (entry.name, entry.base_path) == ("flowers", str(folder))
    assert entry.model_platform == "tensorflow"
    assert list(entry.model_version_policy.specific.versions) == [1, 2]
    assert dict(entry.version_labels) == {"stable": 1, "canary": 2}
    assert rollout.read(folder) == Rollout(1, 2, (), 2)
    assert [(v.number, v.label) for v in rollout.listed(folder)] == [(2, "canary"), (1, "stable")]
    assert rollout.served_version(folder) == folder / "1"


def test_a_relative_folder_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    rollout.promote(folder.relative_to(tmp_path))
    assert f'base_path: "{folder}"' in rollout.config_path(folder).read_text()


def test_a_folder_that_was_moved_is_named_anew(tmp_path: Path) -> None:
    folder = pushed(tmp_path / "here", 1, 2, 3)
    rollout.roll_back(folder)
    before = rollout.read(folder)
    unchanged = rollout.config_path(folder).stat().st_mtime_ns
    rollout.readdress(folder)
    assert rollout.config_path(folder).stat().st_mtime_ns == unchanged
    (tmp_path / "here").rename(tmp_path / "there")
    moved = tmp_path / "there" / "pushed" / folder.name
    assert rollout.read(moved) == before
    rollout.readdress(moved)
    assert f'base_path: "{moved}"' in rollout.config_path(moved).read_text()
    assert rollout.read(moved) == before
    rollout.readdress(tmp_path / "nothing" / "cats")  # nothing was ever pushed


def test_rolling_back_leads_to_what_was_stable_and_not_to_the_next_older(tmp_path: Path) -> None:
    folder = pushed(tmp_path, 1, 2)
    assert rollout.roll_back(folder) == Rollout(1, None, (), 2)
    (folder / "3").mkdir()
    assert rollout.admit(folder, 3, as_canary=False).stable == 3
    assert rollout.roll_back(folder).stable == 1  # 2 is what was rolled back from
    with pytest.raises(RolloutError, match=r"nothing to roll back to: .* there are 3, 2, 1"):
        rollout.roll_back(folder)
    assert rollout.read(folder) == Rollout(1, None, (), 3)
    assert rollout.promote(folder).stable == 3  # the newest


def test_a_rolled_back_version_is_not_given_its_label_again_by_a_push(tmp_path: Path) -> None:
    folder = pushed(tmp_path, 1, 2)
    rollout.roll_back(folder)
    assert rollout.admit(folder, 2, as_canary=False).stable == 1
    assert rollout.admit(folder, 2, as_canary=True).canary is None


def test_a_canary(tmp_path: Path) -> None:
    folder = pushed(tmp_path, 1)
    folder_of(tmp_path, 2, 3)
    assert rollout.promote(folder, 2, as_canary=True) == Rollout(1, 2, (), 2)
    assert rollout.promote(folder) == Rollout(2, None, (1,), 2)
    assert rollout.promote(folder, as_canary=True) == Rollout(2, 3, (1,), 3)
    assert rollout.roll_back(folder) == Rollout(1, None, (), 3)
    with pytest.raises(RolloutError, match="Version 1 is stable, and a canary is another one"):
        rollout.promote(folder, 1, as_canary=True)
    with pytest.raises(RolloutError, match="no version 7; there are 3, 2, 1"):
        rollout.promote(folder, 7)


def test_without_a_file_the_newest_is_served(tmp_path: Path) -> None:
    """As of versions that were pushed before there were labels."""
    folder = folder_of(tmp_path, 1, 2)
    assert rollout.read(folder) is None
    assert [v.label for v in rollout.listed(folder)] == ["", ""]
    assert rollout.served_version(folder) == folder / "2"
    (folder / "3").mkdir()
    assert rollout.admit(folder, 3, as_canary=True) == Rollout(2, 3, (1,), 3)
    assert rollout.roll_back(folder).stable == 1


def test_nothing_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "pushed" / "flowers"
    for command in (rollout.promote, rollout.roll_back, rollout.listed, rollout.served_version):
        with pytest.raises(RolloutError, match=r"No model has been pushed .* Run darkroom run"):
            command(folder)
    assert list(tmp_path.iterdir()) == []


def test_versions_that_somebody_has_removed(tmp_path: Path) -> None:
    folder = pushed(tmp_path, 1, 2, 3)
    (folder / "2").rmdir()
    assert rollout.roll_back(folder).stable == 1
    rollout.promote(folder, 3, as_canary=True)
    (folder / "3").rmdir()
    (folder / "1").rmdir()
    (folder / "4").mkdir()
    with pytest.raises(RolloutError, match=r"Version 1, which .* says is stable, is not in"):
        rollout.served_version(folder)
    assert rollout.admit(folder, 4, as_canary=True) == Rollout(4, None, (), 4)


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1)
    path = rollout.config_path(folder)
    path.write_text("model_config_list {")
    for command in (rollout.promote, rollout.roll_back, rollout.listed, rollout.served_version):
        with pytest.raises(
            RolloutError, match=r"models.config is not a model config file: .* Mend"
        ):
            command(folder)
    path.write_bytes(b"\xff")
    with pytest.raises(RolloutError, match=r"models.config can't be read: not a text file"):
        rollout.read(folder)


def test_what_a_person_wrote_into_the_file_stays(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1, 2, 3)
    rollout.config_path(folder).write_text(
        'model_config_list { config { name: "other" base_path: "/other" } config { name: "flowers" '
        "model_version_policy { specific { versions: 2 versions: 1 } } "
        'version_labels { key: "old" value: 1 } version_labels { key: "stable" value: 2 } '
        'version_labels { key: "good" value: 2 } '
        "logging_config { sampling_config { sampling_rate: 0.5 } } } }"
    )
    assert rollout.read(folder) == Rollout(2, None, (1,), 2)
    rollout.promote(folder, 3, as_canary=True)
    text = rollout.config_path(folder).read_text()
    assert sorted(re.findall(r'key: "(\w+)"', text)) == ["canary", "good", "stable"]
    assert 'base_path: "/other"' in text
    assert "sampling_rate: 0.5" in text
    assert rollout.roll_back(folder) == Rollout(1, None, (), 3)
    assert 'key: "good"' not in rollout.config_path(folder).read_text()


def test_a_state_that_can_not_be_read_is_derived(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1, 2)
    rollout.promote(folder, 2)
    path = rollout.config_path(folder)
    path.write_text(path.read_text().replace('"before": [1]', '"before": 1'))
    assert rollout.read(folder) == Rollout(2, None, (1,), 2)


def test_nobodys_change_is_lost(tmp_path: Path) -> None:
    numbers = list(range(1, 9))
    folder = pushed(tmp_path, 1)
    folder_of(tmp_path, *numbers[1:])
    code = (
        "import sys\nfrom pathlib import Path\nfrom darkroom.serving import rollout\n"
        "sys.stdin.read()\nrollout.promote(Path(sys.argv[1]), int(sys.argv[2]))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, folder, str(number)], stdin=-1, env=environment()
        )
        for number in numbers[1:]
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.close()  # they begin together
    assert [process.wait() for process in running] == [0] * len(running)
    found = rollout.read(folder)
    assert found is not None
    assert sorted((*found.before, found.stable)) == numbers


def test_it_is_light(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1, 2)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from darkroom.components.pushing import version_folder\n"
        "from darkroom.serving import rollout\nrollout.promote(Path(sys.argv[1]))\n"
        "print(sorted({'tensorflow', 'tfx', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, folder], env=environment(), capture_output=True, text=True
    )
    assert result.stdout == "[]\n", result.stderr


class Sequences(RuleBasedStateMachine):
    """Any sequence of pushes, promotions and rollbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name) / "pushed" / "flowers"
        self.source = Path(self.temporary.name) / "model"
        self.source.mkdir()
        self.pushed: list[int] = []
        self.models = 0

    def teardown(self) -> None:
        self.temporary.cleanup()

    @rule(how=st.sampled_from(["immediate", "canary"]), keep=st.integers(1, 3), new=st.booleans())
    def push(self, how: str, keep: int, new: bool) -> None:
        before = rollout.read(self.folder)
        self.models += new
        (self.source / "saved_model.pb").write_text(f"graph {self.models}")
        changed = SETTINGS.model_copy(update={"rollout": how, "keep_versions": keep})
        folder = version_folder.at(str(self.folder))
        version = folder.push(self.source, VersionNote(), changed)
        after = rollout.read(self.folder)
        assert after is not None
        if self.pushed and not new:
            assert version == self.pushed[-1]
            assert before is not None
            assert (after.served, after.newest) == (before.served, before.newest)
            return
        assert version > max(self.pushed, default=0)
        self.pushed.append(version)
        assert after.label(version) == ("canary" if how == "canary" and before else "stable")
        if before is not None and how == "immediate":
            assert after.previous(self.there) == before.stable

    @precondition(lambda self: self.pushed)
    @rule(data=st.data(), as_canary=st.booleans())
    def promote(self, data: st.DataObject, as_canary: bool) -> None:
        version = data.draw(st.sampled_from([None, *self.pushed]))
        before = rollout.read(self.folder)
        assert before is not None
        try:
            after = rollout.promote(self.folder, version, as_canary)
        except RolloutError:
            assert rollout.read(self.folder) == before
            assert version not in self.there or as_canary
            return
        if as_canary:
            assert after.stable == before.stable
            assert after.canary == (version or max(self.there))
        else:
            assert after.stable == (version or before.canary or max(self.there))
            assert after.canary is None

    @precondition(lambda self: self.pushed)
    @rule()
    def roll_back(self) -> None:
        before = rollout.read(self.folder)
        assert before is not None
        try:
            after = rollout.roll_back(self.folder)
        except RolloutError:
            assert before.previous(self.there) is None
            return
        assert after.stable == before.previous(self.there)
        assert after.canary is None

    @property
    def there(self) -> list[int]:
        return [int(path.name) for path in self.folder.iterdir() if path.name.isdigit()]

    @precondition(lambda self: self.pushed)
    @invariant()
    def what_is_served_is_there(self) -> None:
        found = rollout.read(self.folder)
        assert found is not None
        assert found.stable in self.there
        assert found.canary is None or found.canary in self.there
        assert found.canary != found.stable
        assert found.stable not in found.before
        assert len(set(found.before)) == len(found.before)
        assert found.newest <= max(self.pushed)
        assert max(self.pushed) in self.there
        assert {path.name for path in self.folder.iterdir()} == set(map(str, self.there))


TestSequences = Sequences.TestCase
TestSequences.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
