"""The bundled data: scikit-learn's handwritten digits as TFRecords of PNG images."""

import io
import os
import shutil
from pathlib import Path

from darkroom.components.base import features, tfrecord
from darkroom.components.base.errors import DarkroomError

_HELD_OUT = 180  # images of eval and of test: a tenth each, as is usual from 1,000 to 10,000 images
_SEED = 0


def write(folder: Path) -> None:
    """Writes ``train``, ``eval`` and ``test`` below ``folder``, whole or not at all.

    1,797 scans of 8×8 grey pixels, split with each class's share kept. What is there already is
    left alone, but for the two splits that darkroom wrote before it had a test split.
    """
    if folder.exists() and not _has_two_splits(folder):
        return
    try:
        import numpy as np
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
    rest = np.arange(len(examples))
    divided = {}
    for split in ("eval", "test"):
        rest, divided[split] = train_test_split(
            rest, test_size=_HELD_OUT, stratify=digits.target[rest], random_state=_SEED
        )
    divided["train"] = rest
    staging = folder.with_name(f"{folder.name}.incoming")
    shutil.rmtree(staging, ignore_errors=True)
    for split, places in divided.items():
        (staging / split).mkdir(parents=True)
        records = [examples[place] for place in places]
        tfrecord.write(staging / split / "digits-00000-of-00001.tfrecord", records)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(staging, folder)


def _has_two_splits(folder: Path) -> bool:
    return sorted(path.name for path in folder.iterdir()) == ["eval", "train"]
