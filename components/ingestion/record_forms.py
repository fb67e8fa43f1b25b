"""The forms in which TFRecords hold an image and its label, and the one that the pipeline uses."""

import math
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from darkroom.components.base import features, tfrecord
from darkroom.components.base.errors import DarkroomError, closest
from darkroom.components.base.settings import IngestionSettings
from darkroom.components.base.tfrecord import NO_FEATURE, Feature
from darkroom.components.ingestion import groups
from darkroom.components.ingestion.image_formats import stated_shape
from darkroom.serving import signatures
from darkroom.serving.codecs.pictures import ImageError

_UINT16 = 65535


class LabelledImage(NamedTuple):
    """One example, whatever form it had."""

    encoded: bytes  # an image file
    labels: tuple[bytes, ...]  # names of its classes: one, or any number where data are multi-label
    numbers: dict[str, float]  # what is measured of it, by the names of `data.target_keys`
    filename: bytes  # where it came from; may be empty
    # Text of `data.keep_features`, empty where an example has none; and its group, if it has one.
    kept: dict[str, bytes]
    group: str = ""  # what it belongs to, as the example says or its filename suggests


def read(record: bytes, data: IngestionSettings) -> LabelledImage:
    """An example in one of the forms of ``data.form``.

    Pixels become PNG files, which loses nothing of uint8, and less than 1/65535 of floats. Raises
    an ImageError where this one can't be used, and a DarkroomError where the label's type is
    wrong, as it is in all examples then.
    """
    try:
        values = tfrecord.decode_example(record)
    except ValueError:
        raise ImageError("not a tf.Example") from None
    image = values.get(data.image_key, NO_FEATURE)
    if not len(image.values):
        raise ImageError("no image")
    labels: tuple[bytes, ...] = ()
    numbers: dict[str, float] = {}
    if data.target == "number":
        numbers = {key: _number(key, values.get(key, NO_FEATURE)) for key in data.target_keys}
    else:
        labels = _labels(values, data)
    if data.form == "encoded":
        if image.kind != "bytes":
            raise ImageError(f"{image.kind} values where an encoded image is expected")
        encoded = image.values[0]
    else:
        pixels = _pixels(image, stated_shape(values, data), data)
        encoded = tf.io.encode_png(pixels, compression=1).numpy()
    kept = {key: _as_text(values.get(key, NO_FEATURE)) for key in data.keep_features}
    filename = _filename(values)
    stated = _as_text(values.get(features.GROUP_KEY, NO_FEATURE))
    if stated:
        kept[features.GROUP_KEY] = stated
    group = stated.decode("utf-8", "replace")
    if not group and filename:
        group = groups.of_name(os.fsdecode(filename), os.fsdecode(labels[0]) if labels else "")
    return LabelledImage(encoded, labels, numbers, filename, kept, group)


def _number(key: str, feature: Feature) -> float:
    """The one finite number of a target, which may be written as text."""
    text = _as_text(feature).decode("utf-8", "replace").strip()
    if not text:
        raise ImageError(f"no {key}")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or len(feature.values) > 1:
        raise ImageError(f"{key} is not one finite number")
    return number


def _labels(values: dict[str, Feature], data: IngestionSettings) -> tuple[bytes, ...]:
    label = values.get(data.label_key, NO_FEATURE)
    if label.kind == "float":
        raise DarkroomError(
            f"data.label_key is {data.label_key!r}, expected text or an integer there, found "
            f"float.{closest(data.label_key, [k for k in values if k != data.label_key])}"
        )
    if data.multi_label:
        is_text = label.kind == "bytes"
        texts = label.values if is_text else [_class_name(number, data) for number in label.values]
        joined = signatures.LABEL_SEPARATOR.join(map(os.fsdecode, texts))
        return tuple(map(os.fsencode, features.split_labels(joined)))
    if not len(label.values) or (label.kind == "bytes" and not label.values[0].strip()):
        raise ImageError("no label")
    return (label.values[0] if label.kind == "bytes" else _class_name(label.values[0], data),)


def _class_name(number: int, data: IngestionSettings) -> bytes:
    if data.class_names is None:
        return str(number).encode()
    if not 0 <= number < len(data.class_names):
        raise ImageError(f"label {number}, of which data.class_names has no name")
    return data.class_names[number].encode()


def _as_text(feature: Feature) -> bytes:
    kind, value = feature
    if not len(value):
        return b""
    first: bytes = value[0] if kind == "bytes" else f"{value[0]:.15g}".encode()
    return first


def _filename(values: dict[str, Feature]) -> bytes:
    name = values.get(features.FILENAME_KEY, NO_FEATURE)
    return name.values[0] if name.kind == "bytes" and len(name.values) else b""


def _pixels(image: Feature, shape: list[int], data: IngestionSettings) -> np.ndarray:
    """uint8 or uint16 [height, width, channels]."""
    if image.kind == "bytes":
        octets, stored = image.values[0], np.dtype(data.form).newbyteorder("<")
        if len(octets) % stored.itemsize:
            raise ImageError(f"{len(octets)} bytes, which are no {data.form} values")
        flat = np.frombuffer(octets, stored)
    else:
        flat = np.asarray(image.values)
    if flat.size != math.prod(shape):
        raise ImageError(f"{flat.size} values for the shape {shape}")
    low, high = (0, 255) if data.form == "uint8" else data.float_range
    if not (np.isfinite(flat).all() and flat.min() >= low and flat.max() <= high):
        raise ImageError(f"values outside {low} to {high}")
    levels = (flat.astype(np.float64) - low) / (high - low)
    if np.abs(levels * 255 - np.rint(levels * 255)).max() < features.LEVEL_TOLERANCE:
        pixels: np.ndarray = np.rint(levels * 255).astype(np.uint8)
    else:
        pixels = np.rint(levels * _UINT16).astype(np.uint16)
    return pixels.reshape(shape)
