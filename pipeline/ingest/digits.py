"""The bundled data: scikit-learn's handwritten digits as TFRecords of PNG images."""

import io
import os
import shutil
from pathlib import Path

from darkroom.components.base import features, tfrecord
from darkroom.components.base.errors import DarkroomError

_EVAL_SHARE = 0.1  # what is usual to hold out from 1,000 to 10,000 images
_SEED = 0


def write(folder: Path) -> None:
    """Writes ``train`` and ``eval`` below ``folder``, whole or not at all, unless it is there.

    1,797 scans of 8×8 grey pixels, split with each class's share kept.
    """
    if folder.exists():
        return
    try:
        from PIL import Image
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise DarkroomError(
            f"The bundled digits need {error.name}: pip install 'darkroom-tfx[pipeline]'."
        ) from error

    digits = load_digits()
    examples = []
    # The scans have 17 levels of grey, 0 to 16.
    for index, pixels in enumerate((digits.images * 255 / 16).round().astype("uint8")):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        values = {
            features.IMAGE_KEY: buffer.getvalue(),
            features.LABEL_KEY: str(digits.target[index]).encode(),
            features.FILENAME_KEY: f"digit-{index:04}.png".encode(),
        }
        examples.append(tfrecord.encode_example(values))
    divided = train_test_split(
        examples, test_size=_EVAL_SHARE, stratify=digits.target, random_state=_SEED
    )
    staging = folder.with_name(f"{folder.name}.incoming")
    shutil.rmtree(staging, ignore_errors=True)
    for split, records in zip(("train", "eval"), divided, strict=True):
        (staging / split).mkdir(parents=True)
        tfrecord.write(staging / split / "digits-00000-of-00001.tfrecord", records)
    os.rename(staging, folder)
