import json

import pytest
from pydantic import ValidationError

from darkroom.components.base.settings import (
    Code,
    IngestionSettings,
    PusherSettings,
    TrainerSettings,
    TransformSettings,
)
from tests.settings import configured


def test_a_node_gets_its_sections_only() -> None:
    assert set(configured(TransformSettings).pack()) == {"code", "preprocessing"}
    pusher = configured(PusherSettings).pack()
    assert set(pusher) == {"code", "keep_versions", "rollout", "batching"}


def test_they_come_back_as_the_classes_that_they_were() -> None:
    for settings in (configured(TrainerSettings, "training.epochs=7"), configured(PusherSettings)):
        packed = settings.pack()
        assert type(settings).unpack(packed) == settings
        assert type(settings).unpack(json.dumps(packed)) == settings
    with pytest.raises(ValidationError, match="epocs"):
        TrainerSettings.unpack({**packed, "training": {"epocs": 3}})


def test_which_code_they_are_of_can_be_told_without_their_class() -> None:
    code = Code(modules=["darkroom.components.pushing.pusher"], fingerprint="0123456789abcdef")
    packed = configured(PusherSettings).model_copy(update={"code": code}).model_dump_json()
    assert Code.of(packed) == code
    wrapped = {"custom_config": {"@type": "StringValue", "value": packed}}  # as ExampleGen has it
    assert Code.of(json.dumps(wrapped)) == code
    assert Code.of("") == Code()


def test_class_names_are_those_of_their_file() -> None:
    assert configured(IngestionSettings).class_names is None


def test_values_of_a_trial_are_in_the_configuration() -> None:
    settings = configured(TrainerSettings, "training.epochs=3", "model.units=[8]")
    config = settings.with_values({"training.epochs": 9, "of_the_user": 1, "model.mine": 2})
    assert config.training.epochs == 9
    assert config.model == settings.model
    assert settings.training.epochs == 3


def test_an_entry_of_a_list_is_named_by_its_number() -> None:
    settings = configured(TrainerSettings, "model.units=[8, 4]", "model.filters=[[16, 32], 64]")
    values = {"model.units.1": 9, "model.filters.0.1": 7, "model.units.2": 1, "model": 2}
    config = settings.with_values(values)
    assert config.model.units == [8, 9]
    assert config.model.filters == [[16, 7], 64]
    assert config.value("model.filters.0.1") == 7
    assert settings.model.units == [8, 4]
