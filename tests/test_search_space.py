"""What a search may change, and what is said where it may not."""

import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.config import load


def test_a_hyperparameter_keeps_its_dotted_key() -> None:
    loaded = load("digits", ["tuner.space.training.batch_size={choices: [32, 64]}"])
    assert loaded.tuner.space["training.batch_size"].choices == [32, 64]
    loaded = load("digits", ["tuner.space.model.units.0={min: 128, max: 256, step: 64}"])
    assert loaded.tuner.space["model.units.0"].step == 64


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("tuner.space.training.strategy={choices: [mirrored]}", ["a trial runs on one machine"]),
        ("tuner.space.training.lr={min: 1, max: 2}", ["tuner.space.training.lr", "no such key"]),
        ("tuner.space.model.weights={choices: [a.keras]}", ["code and files", "hp.Choice"]),
        ("tuner.space.data.path={choices: [a]}", ["only keys of model, augmentation, training"]),
        ("tuner.space.model.dropout={min: 0.1, max: 2}", ["tuner.space.model.dropout", "found 2"]),
        ("tuner.space.model.dropout={min: 0.5, max: 0.1}", ["min must be below max"]),
        ("tuner.space.model.dropout={min: 0.5}", ["either choices, or both min and max"]),
        ("tuner.space.model.dropout={min: 0, max: 0.5, sampling: log}", ["min above 0"]),
        ("tuner.space.model.units.1={min: 8, max: 64}",
         ["tuner.space.model.units.1", "no entry '1'", "numbers are 0 to 0"]),
        ("tuner.space.model.units.x={min: 8, max: 64}", ["model.units has no entry 'x'"]),
        ("tuner.space.model.units.0={min: 8, max: a}", ["tuner.space.model.units.0.max"]),
        ("tuner.space.model.units.0={choices: [8, a]}", ["choices of one kind", "[8, 'a']"]),
        ("tuner.space.model.units={choices: [8, 16]}", ["name an entry, such as model.units.0"]),
        ("tuner.space.model.dropout.0={min: 0, max: 1}", ["model.dropout is no list"]),
        ("tuner.space=", ["tuner", "valid dictionary"]),
        ("tuner.space={}", ["tuner.space: empty"]),
        ("tuner.space.training.epochs={choices: [3]}", ["either tuner.epochs, or training.epochs"]),
        ("tuner.algorithm=hyperband\ntuner.space.training.epochs={choices: [3]}",
         ["hyperband chooses the epochs itself"]),
        ("tuner.carry_epochs=true\ntuner.epochs=null\ntuner.space.training.epochs={choices: [3]}",
         ["either tuner.carry_epochs, or training.epochs"]),
        ("tuner.trials=[{model.dropout: 0.1}]", ["tuner.trials is for algorithm: list"]),
        ("tuner.algorithm=list\ntuner.space={}\ntuner.trials=[{model.drop: 0.1}]",
         ["tuner.trials.0.model.drop: no such key", "Did you mean 'dropout'?"]),
        ("tuner.algorithm=list\ntuner.space={}\ntuner.trials=[{model.dropout: 2}]",
         ["tuner.trials.0.model.dropout", "found 2"]),
        ("tuner.algorithm=list\ntuner.space={}\ntuner.trials=[{}]", ["tuner.trials.0: empty"]),
        ("tuner.space.model.dropout={choices: [0.1, 0.1]}", ["choices that differ"]),
        ("tuner.space.model.dropout={choices: [0.1], step: 1}", ["step and sampling are for min"]),
        ("tuner.space.model.dropout={min: 0, max: 0.5, step: 0.6}", ["leaves nothing but min 0"]),
        ("tuner.space.training.learning_rate={min: 1e-4, max: 1, step: 1, sampling: log}",
         ["step is a factor above 1"]),
    ],
)  # fmt: skip
def test_what_can_not_be_searched_is_a_sentence(overrides: str, words: list[str]) -> None:
    with pytest.raises(DarkroomError) as caught:
        load("digits", overrides.splitlines())
    for word in words:
        assert word in str(caught.value)
