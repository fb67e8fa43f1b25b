"""Where the examples are, and how an image becomes the input of a network."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from darkroom.components.base import features
from darkroom.components.base.sections.section import Section

# Where a pattern of TFX's has the number of a span, a version or a part of a date, and its width.
PLACES = re.compile(r"\{(SPAN|VERSION|YYYY|MM|DD)(?::(\d+))?\}")
_DATE = {"YYYY", "MM", "DD"}


class Splits(Section):
    train: str = Field("train/*", pattern="^[^/]")
    """Files of the training split, a glob pattern below `data.path`."""
    eval: str | None = Field("eval/*", pattern="^[^/]")
    """Files of the evaluation split; empty: `eval_share` of the training files' images."""
    test: str | None = Field(None, pattern="^[^/]")
    """Files of a test split, of which nothing is learnt and by which nothing is chosen."""
    eval_share: float = Field(0.1, gt=0, lt=1)
    """Share of images for evaluation where `eval` is empty, chosen by the hash of their pixels."""

    @field_validator("train", "eval", "test")
    @classmethod
    def _places_go_together(cls, pattern: str | None) -> str | None:
        """As TFX's ExampleGen has them, which says so only in the run."""
        places = [place[1] for place in PLACES.finditer(pattern or "")]
        others = [
            word for word in re.findall(r"\{[^{}]*\}", pattern or "") if not PLACES.match(word)
        ]
        dates = _DATE & set(places)
        remedy = ""
        if others:
            remedy = f"{{SPAN}}, {{VERSION}}, {{YYYY}}, {{MM}} or {{DD}} instead of {others[0]}"
        elif len(places) != len(set(places)):
            remedy = "each of its places once"
        elif dates and dates != _DATE:
            remedy = "all of {YYYY}, {MM} and {DD}"
        elif dates and "SPAN" in places:
            remedy = "either {SPAN} or a date"
        elif "VERSION" in places and not dates and "SPAN" not in places:
            remedy = "{SPAN} or a date beside {VERSION}"
        if remedy:
            raise ValueError(f"expected {remedy}, found {pattern!r}")
        return pattern

    @property
    def patterns(self) -> dict[str, str]:
        named = {"train": self.train, "eval": self.eval, "test": self.test}
        return {name: pattern for name, pattern in named.items() if pattern is not None}


class Records(Section):
    image_key: str = features.IMAGE_KEY
    """Feature that holds the image."""
    label_key: str = features.LABEL_KEY
    """Feature that holds the class: its name, or an integer."""
    multi_label: bool = False
    """Images have any number of labels, joined by | in the label feature."""
    target: Literal["class", "number"] = "class"
    """What is learnt of an image; number: what is measured of it, instead of its class."""
    target_keys: list[str] = []
    """number: the features that hold the numbers, one or several, such as columns of a manifest."""
    form: Literal["encoded", "uint8", "float32"] = "encoded"
    """encoded: image files; uint8, float32: pixels, row by row."""
    shape: list[int] | None = Field(None, min_length=2, max_length=3)
    """uint8 and float32: height, width and channels (1 if left out) of all images."""
    shape_keys: list[str] = []
    """Instead of `shape`: the features that hold it, in this order, one or several."""
    float_range: list[float] = Field([0.0, 1.0], min_length=2, max_length=2)
    """float32: the values of black and white."""
    keep_features: list[str] = []
    """Further features of the examples, such as a manifest's columns, for `evaluation.slices`."""
    max_corrupt_fraction: float = Field(0.01, ge=0, le=1)
    """Share of images that may be unusable; they are set aside. With more, the run fails."""
    leaks: Literal["drop", "report", "fail"] = "drop"
    """What to do where the same image is in two splits; drop: from train (or eval, if in test).
    Near duplicates are told of, and end the run with fail alone."""
    max_near_duplicates: float | None = Field(None, ge=0, le=1)
    """Share of images that another split may nearly have; empty: any. With more, the run fails."""
    max_suspect_labels: float | None = Field(None, ge=0, le=1)
    """Share of labels that darkroom review, run before, may suspect; empty: any. With more, the run
    fails, as it does without a review of these images."""

    @model_validator(mode="after")
    def _form_is_whole(self) -> "Records":
        if self.form == "encoded" and (self.shape or self.shape_keys):
            raise ValueError("data.shape is for pixels: set data.form to uint8 or float32")
        if self.form != "encoded" and bool(self.shape) == bool(self.shape_keys):
            raise ValueError(f"data.form {self.form}: set either data.shape or data.shape_keys")
        if (self.target == "number") != bool(self.target_keys):
            raise ValueError(
                f"data.target is {self.target} and data.target_keys are {self.target_keys}: set "
                "target to number and target_keys to the features that hold the numbers, or neither"
            )
        if len(set(self.target_keys)) < len(self.target_keys):
            raise ValueError(f"data.target_keys: expected each once, found {self.target_keys}")
        low, high = self.float_range
        if not low < high:
            raise ValueError(f"data.float_range: expected low before high, found {low}, {high}")
        return self


class Data(Records):
    path: str | None = None
    """Folder that holds the TFRecord files of tf.Examples; relative to the configuration's."""
    bundled: Literal["digits"] | None = None
    """Instead of a path: scikit-learn's handwritten digits, written as TFRecords on first use."""
    splits: Splits = Splits()
    """Which files make which split."""
    class_names: str | None = None
    """File with the names of integer classes, one in a line, from 0; empty: the numbers."""
    schema_path: str | None = None
    """Your edited schema (docs/data.md); empty: inferred from the examples in each run."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> "Data":
        if self.path is None and self.bundled is None:
            raise ValueError("set data.path to a folder of TFRecords, or data.bundled to digits")
        if self.path is not None and self.bundled is not None:
            raise ValueError(
                f"path is {self.path} and bundled is {self.bundled}: set one of them to null"
            )
        return self


class Preprocessing(Section):
    height: int = Field(32, ge=1)
    """Pixels; every image is resized to height × width."""
    width: int = Field(32, ge=1)
    """Pixels; every image is resized to height × width."""
    channels: Literal[1, 3] = 3
    """1: grey, 3: RGB. Images of another kind are converted."""
    background: str = Field("#ffffff", pattern="^#[0-9a-fA-F]{6}$")
    """The colour behind what is transparent, as in HTML; white is what viewers show."""
    resize: Literal["stretch", "pad"] = "stretch"
    """stretch: to the target size; pad: keep the proportions and fill with black."""
    normalization: Literal["standardize", "rescale"] = "standardize"
    """standardize: by the training split's mean and deviation per channel; rescale: to [0, 1]."""
    image_fn: str | None = None
    """Your own function of normalised images, by dotted path; it comes last in the graph."""
