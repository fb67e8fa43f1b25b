import json
from pathlib import Path

import pytest

from darkroom.serving.contract import Contract


@pytest.mark.parametrize("contract", [Contract(("cat", "ñandú"), True), Contract(("0", "1"))])
def test_what_was_written_is_read(tmp_path: Path, contract: Contract) -> None:
    (tmp_path / "assets.extra").mkdir()
    contract.write(tmp_path)
    assert Contract.read(tmp_path) == contract
    assert Contract.parse((tmp_path / Contract.FILE).read_bytes()) == contract


def test_a_model_of_others_has_an_empty_one(tmp_path: Path) -> None:
    assert Contract.read(tmp_path) == Contract()
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / Contract.FILE).write_text("none")
    assert Contract.read(tmp_path) == Contract()


def test_earlier_versions_say_nothing_of_labels() -> None:
    assert Contract.parse('{"classes": ["a", "b"]}') == Contract(("a", "b"), False)


def test_which_models_one_evaluation_judges() -> None:
    ours = Contract(("cat", "dog", "owl"))
    assert ours.obstacle(Contract(("owl", "dog"))) == ""
    # A single class is right by itself.
    assert ours.obstacle(Contract(("owl", "elk"))) == "they have fewer than two classes in common"
    several = "it gives an image any number of classes, and this model one class"
    assert ours.obstacle(Contract(ours.classes, multi_label=True)) == several
    one = "it gives an image one class, and this model any number of classes"
    assert Contract(ours.classes, multi_label=True).obstacle(ours) == one
    assert ours.obstacle(Contract()) == "it doesn't say what its classes are"


def test_numbers_are_compared_with_the_same_numbers_alone() -> None:
    numbers = Contract(("x", "y"), numbers=True)
    assert numbers.obstacle(Contract(("y", "x"), numbers=True)) == ""
    assert numbers.obstacle(Contract(("x",), numbers=True)) == "its numbers are x"
    words = "it says classes of an image, and this model numbers"
    assert numbers.obstacle(Contract(("x", "y"))) == words
    assert Contract(("x", "y")).obstacle(numbers) == (
        "it says numbers of an image, and this model classes"
    )
    assert Contract.parse(json.dumps({"classes": ["x"], "numbers": True})).numbers
