import pytest

from darkroom.pipeline.ingest import listing
from darkroom.pipeline.ingest.listing import Listing, Source


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *[(name, "train") for name in ("TRAIN", "Training", "train2017", "train_images")],
        *[(name, "train") for name in ("training_set", "Train-Set", "trainset", "train data")],
        *[(name, "eval") for name in ("val", "VALID", "validation", "Eval", "dev", "val2017")],
        *[(name, "test") for name in ("Test", "TESTING", "test1", "holdout", "hold-out")],
        *[(name, None) for name in ("trains", "", "2017", "steam_train", "test_tube", "contest")],
        *[(name, None) for name in ("train_test", "images", "unlabeled")],
    ],
)
def test_words_of_splits(name: str, split: str | None) -> None:
    assert listing.split_of(name) == split


def test_a_split_within_a_name() -> None:
    assert listing.split_within("cars_train") == ("train", ("cars",))
    assert listing.split_within("trainLabels") == ("train", ("labels",))
    assert listing.split_within("train_test") is None


def test_what_was_understood_is_said() -> None:
    files = [Source(f"/x/{n}.jpg", f"{n}.jpg", "cat" if n else "dog", "train") for n in range(3)]
    understood = Listing("a folder for each class", files, [("a", "empty"), ("b", "empty")])
    understood.ignored.update([".txt", ".txt"])
    understood.notes.append("No images in bird.")
    assert listing.describe(understood) == [
        "3 images by a folder for each class.",
        "2 classes: cat 2, dog 1.",
        "The splits of the source stand: train 3.",
        "Refused: 2 empty.",
        "No images: 2 .txt.",
        "No images in bird.",
    ]
    several = Listing("the labels in x.csv", [Source("/x/1.jpg", "1.jpg", "a|b", None)])
    assert listing.describe(several, multi_label=True)[1] == "2 classes: a 1, b 1."


def test_counts_and_names_for_sentences() -> None:
    assert listing.plural(1, "image") == "1 image"
    assert listing.plural(2_000, "class") == "2,000 classes"
    assert listing.some("abc", 2) == "a, b and 1 more"
