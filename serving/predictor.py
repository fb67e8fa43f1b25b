"""Answers from a pushed model, in this process."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving import signatures


class PredictionError(Exception):
    """A sentence for the user: no model, or an image that can't be used."""


@dataclass(frozen=True)
class Prediction:
    """The scores of one image, best first."""

    label: str  # the best class; of a multi-label model all above 0.5, as in a|b, may be empty
    classes: tuple[str, ...]
    scores: tuple[float, ...]


def versions(model_folder: Path) -> list[Path]:
    """The folders of the versions below a model's folder, newest first, as a server sees them."""
    if not model_folder.is_dir():
        return []
    numbered = [path for path in model_folder.iterdir() if path.name.isdigit()]
    return sorted(numbered, key=lambda path: int(path.name), reverse=True)


def newest_version(model_folder: Path) -> Path:
    """The folder of the newest version.

    Raises:
      PredictionError: no version is there.
    """
    found = versions(model_folder)
    if not found:
        raise PredictionError(
            f"No model has been pushed to {model_folder}. Run darkroom run first."
        )
    return found[0]


def read_images(paths: Sequence[str]) -> list[bytes]:
    """The bytes of image files.

    Raises:
      PredictionError: a file that isn't there or can't be read.
    """
    images = []
    for path in paths:
        try:
            images.append(Path(path).read_bytes())
        except OSError as error:
            raise PredictionError(f"{path}: can't be read: {error.strerror}.") from error
    return images


def read_json(path: Path) -> dict[str, Any]:
    """A file beside a model; empty where it isn't there, as of models from elsewhere."""
    try:
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read


class Predictor:
    """A loaded SavedModel."""

    def __init__(self, version_folder: Path):
        """Loads the model; TensorFlow is imported here."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            import tensorflow as tf
        except ImportError as error:
            raise PredictionError(
                "Predictions need TensorFlow: pip install 'darkroom[serving]'."
            ) from error
        self._tf = tf
        try:
            self._model = tf.saved_model.load(str(version_folder))
            self._serve = self._model.signatures[signatures.SERVING]
        except (OSError, KeyError) as error:
            raise PredictionError(
                f"{version_folder} is not a model that can serve images: {error}."
            ) from error
        contract = read_json(version_folder / signatures.CONTRACT_PATH)
        self.multi_label: bool = contract.get("multi_label", False)

    def predict(self, name: str, image: bytes) -> Prediction:
        """Scores one encoded image (PNG, JPEG, GIF or BMP).

        Args:
          name: of the image, for the message.
          image: content of the file.

        Raises:
          PredictionError: the image can't be decoded.
        """
        try:
            answer = self._serve(**{signatures.IMAGE_BYTES: self._tf.constant([image])})
        except self._tf.errors.InvalidArgumentError as error:
            raise PredictionError(
                f"{name}: can't be decoded; expected a PNG, JPEG, GIF or BMP image."
            ) from error
        names = [c.decode("utf-8") for c in answer[signatures.CLASSES].numpy()[0]]
        scores = answer[signatures.SCORES].numpy()[0].tolist()
        pairs = sorted(zip(names, scores, strict=True), key=lambda pair: -pair[1])
        label = pairs[0][0]
        if self.multi_label:
            chosen = sorted(name for name, score in pairs if score > 0.5)
            label = signatures.LABEL_SEPARATOR.join(chosen)
        classes, scores = zip(*pairs, strict=True)
        return Prediction(label, classes, scores)
