"""Answers from a pushed model, in this process."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from darkroom.serving import imports, signatures
from darkroom.serving.contract import Contract


class PredictionError(Exception):
    """A sentence for the user: no model, or an image that can't be used."""


class ImageError(PredictionError):
    """An image that the model doesn't take; others may be fine."""


@dataclass(frozen=True)
class Prediction:
    """The scores of one image, best first."""

    label: str  # the best class; of a multi-label model all above 0.5, as in a|b, may be empty
    classes: tuple[str, ...]
    scores: tuple[float, ...]
    version: int | None = None  # of the model, where it is known


@dataclass(frozen=True)
class Regression(Prediction):
    """What a regression says of one image: ``classes`` are its names, ``scores`` the numbers."""

    intervals: tuple[tuple[float, float], ...] = ()  # low and high ends, of each number


Output = Sequence[Sequence[str | bytes | float]]  # [images, ...]


def answers_of(
    outputs: Mapping[str, Output], multi_label: bool, version: int | None
) -> list[Prediction]:
    """A Prediction of each image, of a model's outputs; raises KeyError where one is missing."""
    if signatures.NUMBERS not in outputs:
        names, scores = outputs[signatures.CLASSES], outputs[signatures.SCORES]
        return predictions(names, scores, multi_label, version)
    columns = (signatures.NAMES, signatures.NUMBERS, signatures.LOW, signatures.HIGH)
    answers: list[Prediction] = []
    for names, *numbers in zip(*(outputs[key] for key in columns), strict=True):
        values, low, high = (tuple(map(float, each)) for each in numbers)
        label = ", ".join(f"{value:.6g}" for value in values)
        intervals = tuple(zip(low, high, strict=True))
        answers.append(Regression(label, tuple(map(_text, names)), values, version, intervals))
    return answers


def _text(name: str | bytes | float) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def predictions(
    classes: Output,
    scores: Output,
    multi_label: bool,
    version: int | None,
) -> list[Prediction]:
    """Makes a Prediction of each image's classes and scores, [images, classes] both."""
    answers = []
    for names, values in zip(classes, scores, strict=True):
        texts = list(map(_text, names))
        pairs = sorted(zip(texts, map(float, values), strict=True), key=lambda pair: -pair[1])
        sorted_names, sorted_values = zip(*pairs, strict=True)
        chosen = sorted(name for name, score in pairs if score > 0.5)
        label = signatures.LABEL_SEPARATOR.join(chosen) if multi_label else pairs[0][0]
        answers.append(Prediction(label, sorted_names, sorted_values, version))
    return answers


class Predictor:
    """A loaded SavedModel."""

    def __init__(self, version_folder: str | Path):
        """Imports TensorFlow and loads the model; raises PredictionError where either fails."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        version_folder = Path(version_folder)
        try:
            with imports.without_collections():
                import tensorflow as tf
        except ImportError as error:
            message = "Predictions need TensorFlow: pip install 'darkroom-tfx[serving]'."
            raise PredictionError(message) from error
        self._tf = tf
        try:
            self._model = tf.saved_model.load(str(version_folder))
            self._serve = self._model.signatures[signatures.SERVING]
        except (OSError, KeyError) as error:
            message = f"{version_folder} is not a model that can serve images: {error}."
            raise PredictionError(message) from error
        self.version = int(version_folder.name) if version_folder.name.isdecimal() else None
        self.multi_label = Contract.read(version_folder).multi_label

    def predict(self, name: str, image: bytes) -> Prediction:
        """Scores an image file of any kind that ingest takes; raises ImageError, with its name."""
        from darkroom.serving.codecs import pictures

        try:
            return self.predict_all([image])[0]
        except pictures.ImageError as error:
            raise ImageError(f"{name}: can't be decoded: {error}.") from error
        except self._tf.errors.InvalidArgumentError as error:
            reason = pictures.why_not_decoded(image)
            raise ImageError(f"{name}: can't be decoded: {reason}.") from error

    def predict_all(self, images: Sequence[bytes]) -> list[Prediction]:
        """Scores image files at once; raises pictures.ImageError, or TensorFlow's errors."""
        from darkroom.serving.codecs import pictures

        readable = [pictures.for_the_graph(image) for image in images]
        answer = self._serve(**{signatures.IMAGE_BYTES: self._tf.constant(readable)})
        outputs = {name: values.numpy().tolist() for name, values in answer.items()}
        return answers_of(outputs, self.multi_label, self.version)
