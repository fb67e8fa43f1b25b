import json
import subprocess
import sys
from pathlib import Path

import keras_tuner
import pytest

from darkroom.components.training.hand_over import HandOver
from tests.conftest import environment


def searched() -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Float("training.learning_rate", 1e-4, 1e-2, sampling="log", default=2e-3)
    hp.Choice("model.activation", ["relu", "tanh"])
    hp.values["tuner/trial_id"] = "0003"
    return hp


def test_what_is_written_is_read(tmp_path: Path) -> None:
    config = searched().get_config()
    written = HandOver(
        hyperparameters=config["values"], space=config["space"], checkpoint="a.npz", epochs=7
    )
    written.write(str(tmp_path / "best"))
    found = HandOver.read(str(tmp_path / "best"))
    assert found == written
    assert found.values == {**searched().values, "training.epochs": 7}
    assert found.named == {
        "training.learning_rate": 2e-3, "model.activation": "relu", "training.epochs": 7
    }  # fmt: skip
    hp = keras_tuner.HyperParameters.from_config(found.keras_tuner_config)
    assert [entry.name for entry in hp.space] == ["training.learning_rate", "model.activation"]
    # TFX's Trainer reads it so.
    text = (tmp_path / "best" / "best_hyperparameters.txt").read_text(encoding="utf-8")
    assert HandOver.of(json.loads(text)) == written
    assert json.loads(text)["values"] == config["values"]


def test_values_keep_their_types(tmp_path: Path) -> None:
    values = {"a": True, "b": 1, "c": 1.0, "d": "x"}
    HandOver(hyperparameters=values).write(str(tmp_path))
    kinds = [type(value) for value in HandOver.read(str(tmp_path)).values.values()]
    assert kinds == [bool, int, float, str]


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    values = {"training.epochs": 4, "training.seed": 1}
    earlier = {"space": [], "values": values, "checkpoint": "b.npz"}
    (tmp_path / HandOver.FILE).write_text(json.dumps(earlier), encoding="utf-8")
    found = HandOver.read(str(tmp_path))
    assert (found.values, found.checkpoint) == (values, "b.npz")


def test_without_a_search_there_is_nothing() -> None:
    nothing = HandOver.of(None)
    assert (nothing.values, nothing.checkpoint) == ({}, None)
    assert keras_tuner.HyperParameters.from_config(nothing.keras_tuner_config).values == {}


def test_what_is_no_hand_over_is_refused(tmp_path: Path) -> None:
    (tmp_path / HandOver.FILE).write_text('{"values": [1]}', encoding="utf-8")
    with pytest.raises(ValueError, match="values"):
        HandOver.read(str(tmp_path))


def test_it_is_light() -> None:
    code = (
        "import sys; from darkroom.components.training import hand_over; "
        "print({'tensorflow', 'keras', 'numpy', 'tfx'} & set(sys.modules))"
    )
    done = subprocess.check_output([sys.executable, "-c", code], env=environment(), text=True)
    assert done == "set()\n"
