from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from darkroom.components.base.sections import Augmentation
from darkroom.components.training import contact_sheet, policies
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
     "contrast=0.5", "cutout=0.5", "crop=0.4"],
)  # fmt: skip
def test_each_changes_images_and_not_alike(override: str) -> None:
    after = changed(override)
    difference = np.abs(after - IMAGES).mean(axis=(1, 2, 3))
    assert (difference > 0.001).mean() > 0.9
    assert len(np.unique(difference.round(5))) > 10
    np.testing.assert_array_equal(after, changed(override))  # by its seed
    assert not np.array_equal(after, changed(override, seed=1))


def test_images_move_by_whole_pixels() -> None:
    values = set(IMAGES.ravel().tolist())
    assert set(changed("translation=0.2").ravel().tolist()) <= values  # nothing is blurred


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
    contact_sheet.draw(IMAGES, section("crop=0.5", "mixup=0.2"), 0, str(path), size=(64, 32))
    assert np.asarray(Image.open(path)).shape == (8 * 64, 10 * 32, 3)
    contact_sheet.draw(IMAGES[:2, :8, :8, :1], section(), 0, str(path))  # small and grey
    assert np.asarray(Image.open(path)).shape == (2 * 64, 10 * 64)


def test_crops_keep_to_their_share_and_get_their_size() -> None:
    height, width = IMAGES.shape[1:3]
    ramp = np.broadcast_to(np.arange(width, dtype=np.float32), (64, height, width))[..., None]
    given = tf.data.Dataset.from_tensors((np.int64(0), ramp, np.zeros(64)))
    [(images, _)] = augment(given, section("crop=0.25"), 0, size=(6, 10))
    assert images.shape == (64, 6, 10, 1)
    # A ramp shows from where to where the crop went.
    shares = (images[:, 0, -1, 0] - images[:, 0, 0, 0]).numpy() / (width - 1)
    assert shares.min() > 0.4  # the root of 0.25, a bit narrower
    assert shares.max() <= 1.0
    assert np.ptp(shares) > 0.2


def test_one_change_of_many_for_each_image() -> None:
    images = np.repeat(IMAGES[:1], 400, axis=0)
    given = tf.data.Dataset.from_tensors((np.int64(3), images, np.zeros(400)))
    [(after, _)] = augment(given, section("policy=trivial"), 0)
    difference = np.abs(after - images).mean(axis=(1, 2, 3))
    assert 0.02 < (difference == 0).mean() < 0.2  # one of thirteen kinds is none
    assert len(np.unique(difference.round(5))) > 200
    low, high = images.min(), images.max()
    assert after.numpy().min() >= low - 1e-5
    assert after.numpy().max() <= high + 1e-5


@pytest.mark.parametrize("number", range(13))
def test_no_kind_of_change_breaks_an_image(number: int) -> None:
    images = tf.constant(IMAGES * 4.0 - 2.0)  # as standardising leaves them
    grey = tf.zeros_like(images) + 0.5
    for strength in (-1.0, 0.0, 1.0):
        chosen = policies._Draw(tf.fill([len(IMAGES)], number), tf.fill([len(IMAGES)], strength))
        for batch in (images, grey):
            after = policies.Trivial("reflect").transform_images(batch, chosen, training=True)
            assert after.shape == batch.shape
            assert np.isfinite(after).all()
        if number < 5 and strength == 0:  # not turned, slanted or moved
            np.testing.assert_allclose(
                policies.Trivial("reflect").transform_images(images, chosen, True),
                images,
                atol=1e-5,
            )


def mixed(
    *overrides: str, labels: np.ndarray = LABELS % 4, outputs: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    given = tf.data.Dataset.from_tensors((np.int64(5), IMAGES, labels))
    [(images, targets)] = augment(given, section(*overrides), 0, outputs=outputs)
    return images.numpy(), targets.numpy()


def test_images_are_blended_as_their_labels_are() -> None:
    images, targets = mixed("mixup=0.5")
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-5)
    before = np.roll(IMAGES, 1, axis=0)
    own = targets[np.arange(len(targets)), LABELS % 4]
    assert 0 < ((own > 0.01) & (own < 0.99)).mean() < 1
    part = own[:, None, None, None]
    np.testing.assert_allclose(images, part * IMAGES + (1 - part) * before, atol=1e-5)


def test_parts_are_pasted_as_their_labels_are() -> None:
    images, targets = mixed("cutmix=1.0")
    before = np.roll(IMAGES, 1, axis=0)
    theirs = np.isclose(images, before).all(axis=-1) & ~np.isclose(images, IMAGES).all(axis=-1)
    assert np.isclose(images, np.where(theirs[..., None], before, IMAGES)).all()
    pasted = 1.0 - targets[np.arange(len(targets)), LABELS % 4]
    assert (pasted + 0.05 >= theirs.mean(axis=(1, 2))).all()
    assert pasted.max() > 0.5


def test_an_image_is_either_blended_or_pasted() -> None:
    images, _ = mixed("mixup=1.0", "cutmix=1.0")
    before = np.roll(IMAGES, 1, axis=0)
    whole = np.isclose(images, IMAGES) | np.isclose(images, before)
    pasted = whole.all(axis=(1, 2, 3))
    assert 0.2 < pasted.mean() < 0.8


def test_labels_of_every_head_are_mixed() -> None:
    several = np.eye(4, dtype=np.float32)[LABELS % 4]
    np.testing.assert_array_equal(mixed("mixup=0.5", labels=several)[1], mixed("mixup=0.5")[1])
    two = mixed("mixup=0.5", labels=LABELS % 2, outputs=1)[1]
    assert two.shape == (len(IMAGES), 1)
    assert two.min() >= 0
    assert two.max() <= 1
    weights = np.linspace(1, 2, len(IMAGES), dtype=np.float32)
    given = tf.data.Dataset.from_tensors((np.int64(5), IMAGES, (LABELS % 4, weights)))
    [(_, (targets, weighed))] = augment(given, section("mixup=0.5"), 0, outputs=4)
    assert targets.shape == (len(IMAGES), 4)
    assert not np.array_equal(weighed, weights)
    assert weighed.numpy().sum() == pytest.approx(weights.sum(), rel=0.1)
