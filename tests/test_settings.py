from darkroom.components.base import settings

TREE = {"model": {"units": [8], "dropout": 0.1}, "training": {"epochs": 3}, "data": {"path": "x"}}


def test_a_node_gets_its_sections_only() -> None:
    assert set(settings.pack(TREE, "model", "training")) == {"model", "training"}


def test_values_of_a_trial_are_in_the_configuration() -> None:
    packed = settings.pack(TREE, "model", "training")
    config = settings.unpack(packed, {"training.epochs": 9, "of_the_user": 1, "model.mine": 2})
    assert config.training.epochs == 9
    assert config.model.units == [8]
    assert not hasattr(config.model, "mine")
    assert TREE["training"]["epochs"] == 3


def test_an_entry_of_a_list_is_named_by_its_number() -> None:
    tree = {"model": {"units": [8, 4], "filters": [[16, 32], 64]}}
    values = {"model.units.1": 9, "model.filters.0.1": 7, "model.units.2": 1, "model": 2}
    config = settings.unpack(tree, values)
    assert config.model.units == [8, 9]
    assert config.model.filters == [[16, 7], 64]
    assert settings.look_up(config, "model.filters.0.1") == 7
    assert tree["model"]["units"] == [8, 4]
