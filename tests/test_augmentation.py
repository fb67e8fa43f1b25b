from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from darkroom.components.base.sections import Augmentation
from darkroom.components.training import contact_sheet
from darkroom.components.training.augmentation import augment
from darkroom.pipeline.config import load
from tests.test_decoding import RGB

IMAGES = np.stack([RGB, RGB[::-1], RGB[:, ::-1], 255 - RGB] * 8).astype(np.float32) / 255
LABELS = np.arange(len(IMAGES))


def section(*overrides: str) -> Augmentation:
    words = [f"augmentation.{override}" for override in overrides]
    return load("cifar10", words).augmentation


def steps(count: int) -> tf.data.Dataset:
    batches = tf.data.Dataset.from_tensors((IMAGES, LABELS)).repeat(count)
    return batches.enumerate().map(lambda step, pair: (step, *pair))


def changed(*overrides: str, seed: int = 0) -> np.ndarray:
    [(images, labels)] = augment(steps(1), section(*overrides), seed)
    np.testing.assert_array_equal(labels, LABELS)
    assert images.shape == IMAGES.shape
    assert images.dtype == tf.float32
    return images.numpy()


def test_nothing_configured_changes_nothing() -> None:
    np.testing.assert_array_equal(changed(), IMAGES)


def test_flips() -> None:
    flipped = changed("flip=horizontal")
    kinds = {
        "same" if np.allclose(a, b) else "mirrored" if np.allclose(a, b[:, ::-1]) else "other"
        for a, b in zip(flipped, IMAGES, strict=True)
    }
    assert kinds == {"same", "mirrored"}
    assert any(np.allclose(a, b[::-1]) for a, b in zip(changed("flip=both"), IMAGES, strict=True))


@pytest.mark.parametrize(
    "override",
    ["rotation=0.1", "zoom=0.3", "zoom=[0, 0.3]", "shear=0.3", "translation=0.2", "brightness=0.3",
     "contrast=0.5", "cutout=0.5"],
)  # fmt: skip
def test_each_changes_images_and_not_alike(override: str) -> None:
    after = changed(override)
    difference = np.abs(after - IMAGES).mean(axis=(1, 2, 3))
    assert (difference > 0.001).mean() > 0.9
    assert len(np.unique(difference.round(5))) > 10
    np.testing.assert_array_equal(after, changed(override))  # by its seed
    assert not np.array_equal(after, changed(override, seed=1))


def test_brightness_and_contrast_keep_to_their_share() -> None:
    shift = (changed("brightness=0.3") - IMAGES).mean(axis=(1, 2, 3))
    ranges = IMAGES.max(axis=(1, 2, 3)) - IMAGES.min(axis=(1, 2, 3))
    assert np.abs(shift / ranges).max() <= 0.3001
    assert shift.min() < 0 < shift.max()
    ratios = changed("contrast=0.5").std(axis=(1, 2)) / IMAGES.std(axis=(1, 2))
    assert ratios.min() >= 0.4999
    assert ratios.max() <= 1.5001


def test_cutout_paints_over_a_square() -> None:
    same = (np.abs(changed("cutout=0.5") - IMAGES) < 1e-6).all(axis=-1)
    painted = 1 - same.mean(axis=(1, 2))
    assert painted.max() == pytest.approx(0.25, abs=0.03)
    assert painted.min() > 0.05  # at the edge, a part of the square


def test_steps_differ_and_are_alike_wherever_one_begins() -> None:
    rotated = section("rotation=0.1")
    first, second, third = (images.numpy() for images, _ in augment(steps(3), rotated, 0))
    assert not np.array_equal(first, second)
    [again] = (images.numpy() for images, _ in augment(steps(3).skip(2), rotated, 0))
    np.testing.assert_array_equal(again, third)


def test_the_contact_sheet_shows_originals_and_changes(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    contact_sheet.draw(IMAGES, section("rotation=0.1", "flip=both"), 0, str(path))
    sheet = np.asarray(Image.open(path))
    height, width = RGB.shape[:2]
    assert sheet.shape == (8 * height, 10 * width, 3)
    assert np.abs(sheet[:height, :width].astype(int) - RGB).max() <= 1
    assert np.abs(sheet[:height, width : 2 * width].astype(int) - RGB).mean() > 5
    contact_sheet.draw(IMAGES[:2, :8, :8, :1], section(), 0, str(path))  # small and grey
    assert np.asarray(Image.open(path)).shape == (2 * 64, 10 * 64)
