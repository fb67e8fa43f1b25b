import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import NetworkSettings
from darkroom.components.networks import own_network
from darkroom.pipeline.config import load


def try_out(name: str, *overrides: str, num_classes: int | None = None) -> None:
    path = f"tests.own_networks.{name}"
    config = load("digits", [f"model.build_fn={path}", *overrides])
    sections = ("preprocessing", "augmentation", "training", "transfer")
    settings = {section: getattr(config, section) for section in sections}
    own_network.try_out(NetworkSettings(model=config.network, **settings), num_classes)


@pytest.mark.parametrize("name", ["good", "good_logits", "own_loss", "for_ten_only"])
def test_what_keeps_the_contract_passes(name: str) -> None:
    try_out(name)
    try_out(name, num_classes=10)


def test_heads_have_losses_of_their_own() -> None:
    try_out("binary", "model.head=binary")
    with pytest.raises(DarkroomError, match="expected binary_crossentropy, as labels are 0 and 1"):
        try_out("good", "data.multi_label=true")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("two_arguments", r"to take hp, config and num_classes, it takes \(hp: Any, config: Any\)"),
        ("nothing", "to return a compiled keras.Model, received None"),
        ("uncompiled", "received one that is not compiled"),
        ("one_more", r"output shape \(None, 10\) .* received \(None, 11\)"),
        ("one_hot_loss", "with the loss categorical_crossentropy; expected sparse_categorical_cro"),
        ("squares", "with the loss mean_squared_error; expected sparse_categorical_crossentropy"),
        ("forgotten", "gives logits, and its loss .* Compile it with from_logits=True, or end it"),
        ("twice", "ends in a softmax, and its loss has from_logits=True"),
        ("typo", "has no attribute 'Sequentail'"),
        ("failing_loss", r"its loss failed:[\s\S]*no such labels"),
    ],
)
def test_what_breaks_the_contract_is_told_before_any_data_are_read(name: str, words: str) -> None:
    with pytest.raises(DarkroomError, match=words) as caught:
        try_out(name)
    assert f"tests.own_networks.{name}" in str(caught.value)
