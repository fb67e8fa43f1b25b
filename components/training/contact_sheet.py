"""A picture of what augmentation makes of training images."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from darkroom.components.base.sections import Augmentation
from darkroom.components.training import augmentation

# The picture's rows, one for each original, and columns: the original and what became of it.
_ROWS, _COLUMNS = 8, 10


def draw(
    images: np.ndarray,
    config: Augmentation,
    seed: int,
    path: str,
    size: Sequence[int] | None = None,
) -> None:
    """Writes a PNG with a row for each of the images, float32 [count, height, width, channels].

    ``size``: height and width at which the network sees them, where it isn't theirs.
    """
    images = images[:_ROWS]
    batch = tf.data.Dataset.from_tensors((images, np.zeros(len(images)))).repeat()
    steps = tf.data.Dataset.zip(tf.data.Dataset.range(_COLUMNS - 1), batch)
    numbered = steps.map(lambda step, pair: (step, *pair))
    if size is not None:
        images = tf.image.resize(images, size).numpy()
    changed = augmentation.augment(numbered, config, seed, size, outputs=1)
    columns = [images, *(batch.numpy() for batch, _ in changed)]
    sheet = np.concatenate([np.concatenate(list(column), axis=0) for column in columns], axis=1)
    low, high = float(images.min()), float(images.max())
    pixels = np.clip((sheet - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    scale = max(1, 64 // images.shape[1])  # small images are hard to see
    size = (picture.width * scale, picture.height * scale)
    picture.resize(size, Image.Resampling.NEAREST).save(path)
