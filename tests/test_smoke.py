from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from darkroom.components.base import features, tfrecord
from darkroom.pipeline.config import CONFIGS, Config, load
from darkroom.pipeline.running import smoke
from tests.conftest import Project, darkroom, encoded

SHIPPED = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def write(folder: Path, counts: dict[str, int]) -> None:
    image = encoded(np.zeros((6, 6, 3), np.uint8))
    labels = [label for label, count in counts.items() for _ in range(count)]
    values = ({features.IMAGE_KEY: image, features.LABEL_KEY: label.encode()} for label in labels)
    folder.mkdir(parents=True)
    tfrecord.write(folder / "part-0", map(tfrecord.encode_example, values))


def labels(config: Config, split: str) -> Counter[bytes]:
    [file] = Path(config.data_path).glob(config.data.splits.patterns[split])
    examples = map(tfrecord.decode_example, tfrecord.read(file))
    return Counter(value for example in examples for value in example[features.LABEL_KEY].values)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_configuration_becomes_quick(tmp_path: Path, name: str) -> None:
    for split in ("train", "eval", "test"):
        write(tmp_path / "data" / split, {"a": 300, "b": 20})
    data = f"data.path={tmp_path / 'data'}"
    config = load(name, [data, "data.bundled=null", f"root={tmp_path}"])
    few = smoke.shrunk(config)
    assert few.training.epochs == few.transfer.group_epochs == 1
    assert few.tuner.enabled == config.tuner.enabled
    assert set(few.tuner.space) <= set(config.tuner.space)
    assert few.model == config.model
    assert few.preprocessing == config.preprocessing
    for split in config.data.splits.patterns:
        assert labels(few, split) == {b"a": 140, b"b": 20}


def test_the_classes_are_alike_as_far_as_there_are_images(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train", {"often": 1000, "rare": 2, "some": 50, "most": 2000})
    (tmp_path / "data" / "train" / "part-1").write_bytes(b"broken")
    sections = {"path": str(tmp_path / "data"), "splits": {"eval": None}}
    config = Config(name="cats", data=sections, root=str(tmp_path))
    assert labels(smoke.shrunk(config), "train") == {
        b"often": 54, b"rare": 2, b"some": 50, b"most": 54,
    }  # fmt: skip


def test_its_name_is_one_of_a_pipeline() -> None:
    for name in ("a", "mnist", "x" * 63, "x" * 56 + "-" + "y" * 6):
        config = Config(name=name, data={"bundled": "digits"})
        named = config.model_copy(update={"name": smoke.name(config)})
        assert Config.model_validate(named.model_dump()).name.endswith("-smoke")


def test_it_is_no_model_to_wait_for(tmp_path: Path) -> None:
    result = darkroom("run", "--smoke", "--require-blessed", cwd=tmp_path)
    assert result.returncode == 2
    assert "--require-blessed and --smoke exclude each other." in result.stdout


@pytest.mark.slow
def test_the_whole_graph_beside_the_real_runs(tmp_path: Path) -> None:
    project = Project(tmp_path, ("--config", "digits", "--set", "root=runs"))
    words = [*project.options, "--set", "tuner.algorithm=hyperband", "--smoke"]
    result = darkroom("run", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert "smoke   some images and one epoch, in " in result.stdout
    assert "train 160, eval 160, test 160 images" in result.stdout
    assert "next         darkroom predict --set root=runs --set name=digits-smoke" in result.stdout
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digits-smoke"]
    again = darkroom("run", *words, cwd=tmp_path)
    assert "= Trainer" in again.stdout
