"""Heat maps: which parts of an image spoke for the class that a model saw in it.

A window slides over the image and blurs what it covers, and the exported model is asked each time:
the more surety a part's blurring costs, the more the class rested on it (Zeiler and Fergus 2014).
That needs no layer and no gradient, so it explains any network, also a user's own.
"""

import io
import itertools
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from darkroom.components.report import thumbnails
from darkroom.serving import signatures
from darkroom.serving.codecs import pictures

# Cells along each side, and how many of them a window covers: 49 windows on 64 cells.
_CELLS, _WINDOW = 8, 2
_BATCH = 16  # images that the model is asked of at once
# A blur that leaves no shape that fills a window: its radius, as a share of the longer side.
_BLUR = 0.1
# Log odds that a part must weigh to be drawn in full colour; 1 makes of 0.5 a score of 0.73.
_STRONG = 1.0
_STRIP = 4  # of an image whose sides differ more, the shorter one is made smaller than that
_COLOR = (230, 80, 20)


class HeatMaps:
    """Of one exported model."""

    def __init__(self, folder: Path, side: int):
        """``side``: the longer side of what the network sees; larger images are made as small."""
        import tensorflow as tf

        # The model is let go with its last reference, its signature with it.
        self._model = tf.saved_model.load(str(folder))
        self._serve = self._model.signatures[signatures.SERVING]
        self._side = side

    def of(self, encoded: bytes, class_name: str) -> np.ndarray:
        """Log odds of a class that each part of an image holds, float [8, 8].

        Below 0 where a part speaks against the class. Raises ImageError where the image doesn't
        decode, KeyError for a class that the model doesn't know.
        """
        return self._heat(self._small(encoded), class_name)

    def _heat(self, image: Image.Image, class_name: str) -> np.ndarray:
        blurred = image.filter(ImageFilter.GaussianBlur(_BLUR * max(image.size)))
        places = list(itertools.product(range(_CELLS - _WINDOW + 1), repeat=2))
        covered = [_covered(image, blurred, *place) for place in places]
        whole, *odds = self._odds([image, *covered], class_name)
        loss, windows = np.zeros([_CELLS, _CELLS]), np.zeros([_CELLS, _CELLS])
        for (row, column), left in zip(places, odds, strict=True):
            cells = slice(row, row + _WINDOW), slice(column, column + _WINDOW)
            loss[cells] += whole - left
            windows[cells] += 1
        return loss / windows

    def draw(self, answer: tuple[bytes, str], path: Path) -> None:
        """Writes the map of an image and a class over the image, without its colours."""
        encoded, class_name = answer
        small = self._small(encoded)
        heat = self._heat(small, class_name)
        image = thumbnails.sized(small).convert("L").convert("RGB")
        share = np.clip(heat / max(float(heat.max()), _STRONG), 0, 1)
        mask = Image.fromarray((share * 200).astype(np.uint8))
        mask = mask.resize(image.size, Image.Resampling.BICUBIC)
        image.paste(_COLOR, mask=mask)
        image.save(path, format="PNG")

    def _small(self, encoded: bytes) -> Image.Image:
        image, _ = pictures.small(encoded, self._side)
        # Neither side less than what the network sees, but of a strip.
        longer = self._side * min(max(image.size) / min(image.size), _STRIP)
        image.thumbnail((longer, longer))
        return image

    def _odds(self, images: list[Image.Image], class_name: str) -> np.ndarray:
        """Logarithms of a class's odds, float [images]."""
        import tensorflow as tf

        scores, classes = [], []
        for first in range(0, len(images), _BATCH):
            files = [_file(image) for image in images[first : first + _BATCH]]
            outputs = self._serve(**{signatures.IMAGE_BYTES: tf.constant(files)})
            scores.append(outputs[signatures.SCORES].numpy())
            classes = [name.decode() for name in outputs[signatures.CLASSES].numpy()[0]]
        if class_name not in classes:
            raise KeyError(class_name)
        of_class = np.concatenate(scores)[:, classes.index(class_name)].astype(float)
        of_class = np.clip(of_class, 1e-6, 1 - 1e-6)
        logarithms: np.ndarray = np.log(of_class / (1 - of_class))
        return logarithms


def _covered(image: Image.Image, blurred: Image.Image, row: int, column: int) -> Image.Image:
    box = tuple(
        round(size * cell / _CELLS)
        for cell in (0, _WINDOW)
        for size, cell in ((image.width, column + cell), (image.height, row + cell))
    )
    covered = image.copy()
    covered.paste(blurred.crop(box), box)
    return covered


def _file(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
