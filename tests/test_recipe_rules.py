import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.pipeline.config import Config
from darkroom.pipeline.recipe import rules
from darkroom.pipeline.recipe.facts import Facts, Machine

PHOTOS = Facts({"boots": 500, "shirts": 500}, 1000, 100, 400, 300, grey=False)
DIGITS = Facts({"0": 800, "1": 800}, 1600, 180, 8, 8, grey=True)
LAPTOP = Machine(cores=2, gpus=0, pretrained=True)


def configured(**sections: dict[str, Any]) -> Config:
    return Config.model_validate({"name": "photos", "data": {"path": "data"}, **sections})


def values(facts: Facts, machine: Machine = LAPTOP, **sections: dict[str, Any]) -> dict[str, Any]:
    choices = rules.chosen(configured(**sections), facts, machine)
    return {key: value for choice in choices for key, value in choice.values.items()}


def test_photographs_begin_with_weights_of_others() -> None:
    chosen = values(PHOTOS)
    assert chosen["model.name"].startswith("EfficientNetLite")
    assert chosen["model.weights"] == "imagenet"
    assert chosen["transfer.mode"] == "distinct"
    assert "model.weights" not in values(DIGITS)  # small and grey
    many = PHOTOS._replace(images=50_000, height=32, width=32)
    assert "model.weights" not in values(many)


def test_pixels_of_ones_own_begin_from_random_weights() -> None:
    for own in ({"channels": 1}, {"normalization": "standardize"}):
        assert "model.weights" not in values(PHOTOS, preprocessing=own)
    assert "model.weights" in values(PHOTOS, preprocessing={"channels": 3, "resize": "pad"})


def test_without_the_weights_it_says_what_to_install() -> None:
    choices = rules.chosen(configured(), PHOTOS, LAPTOP._replace(pretrained=False))
    assert any("darkroom-tfx[pretrained] isn't installed" in choice.why for choice in choices)
    chosen = {key for choice in choices for key in choice.values}
    assert "model.weights" not in chosen
    assert "model.filters" in chosen


def test_empty_weights_are_random_ones() -> None:
    choices = rules.chosen(configured(model={"weights": None}), PHOTOS, LAPTOP)
    chosen = {key for choice in choices for key in choice.values}
    assert "model.filters" in chosen
    assert not {"model.name", "transfer.mode"} & chosen
    assert any("model.weights is set to none" in choice.why for choice in choices)


@pytest.mark.parametrize("images", [4, 20, 63, 127])
def test_the_set_fills_a_batch(images: int) -> None:
    assert 1 <= values(PHOTOS._replace(images=images))["training.batch_size"] <= images


def test_more_time_gives_larger_images_and_more_passes() -> None:
    sizes, passes = [], []
    for minutes in (5.0, 15.0, 60.0, 240.0):
        chosen = values(PHOTOS._replace(images=3000), training={"minutes": minutes})
        sizes.append(chosen["preprocessing.height"])
        passes.append(chosen["transfer.group_epochs"])
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert passes[0] < passes[-1]
    on_gpu = values(PHOTOS._replace(images=3000), Machine(8, 1, True), training={"minutes": 5.0})
    assert on_gpu["preprocessing.height"] > sizes[0]


def test_what_is_set_stays() -> None:
    chosen = values(PHOTOS, training={"batch_size": 16, "label_smoothing": 0.0})
    assert "training.batch_size" not in chosen
    assert "training.label_smoothing" not in chosen
    assert "model.name" in chosen
    tuned = values(PHOTOS, model={"dropout": 0.5}, transfer={"group_epochs": 3})
    assert tuned["model.name"] == chosen["model.name"]
    assert not {"model.dropout", "transfer.group_epochs"} & tuned.keys()
    own = values(PHOTOS, model={"filters": [8]})
    assert not any(key.startswith(("model.", "transfer.", "augmentation.")) for key in own)
    searched = values(PHOTOS, tuner={"space": {"model.dropout": {"min": 0.1, "max": 0.4}}})
    assert "model.dropout" not in searched


def test_rare_classes_weigh_more() -> None:
    rare = PHOTOS._replace(classes={"boots": 990, "shirts": 10})
    assert values(rare)["training.class_weights"] == "balanced"
    assert "training.class_weights" not in values(PHOTOS)


def test_a_large_eval_split_makes_longer_epochs() -> None:
    chosen = values(PHOTOS._replace(images=400, held_out=10_000))
    seen = chosen["training.steps_per_epoch"] * chosen["training.batch_size"]
    assert 10_000 <= seen < 10_100


@given(
    images=st.integers(1, 10**7),
    ratio=st.integers(1, 1000),
    held_out=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    grey=st.booleans(),
    machine=st.builds(Machine, st.integers(1, 128), st.integers(0, 8), st.booleans()),
    minutes=st.none() | st.floats(0.1, 10_000),
)
@settings(max_examples=300, deadline=None)
def test_any_choice_is_a_configuration(
    images: int,
    ratio: int,
    held_out: int,
    size: tuple[int, int],
    grey: bool,
    machine: Machine,
    minutes: float | None,
) -> None:
    facts = Facts({"a": ratio, "b": 1}, images, held_out, *size, grey)
    config = configured(training={"minutes": minutes})
    choices = rules.chosen(config, facts, machine)
    chosen = {key: value for choice in choices for key, value in choice.values.items()}
    assert sum(len(choice.values) for choice in choices) == len(chosen)  # each key once
    made = config.with_choices(chosen)
    assert made.training.batch_size <= images
    assert all(re.search(r"\w", choice.why) for choice in choices)
    assert rules.chosen(config, facts, machine) == choices


def test_a_few_images_more_change_nothing() -> None:
    few, more = values(PHOTOS._replace(images=1100)), values(PHOTOS._replace(images=1110))
    assert few == more
