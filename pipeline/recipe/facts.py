"""What a recipe is chosen by: the records' labels and sizes, and this machine.

Read before the graph is made, as what is chosen decides its nodes' settings. Light to import.
"""

import os
import statistics
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from darkroom.components.base import features, tfrecord
from darkroom.components.base.tfrecord import Feature
from darkroom.components.ingestion import image_formats
from darkroom.components.networks import architectures
from darkroom.pipeline import data_files
from darkroom.pipeline.config import Config
from darkroom.serving.codecs.pictures import ImageError

_SIZES_OF = 500  # images whose headers are looked at


class Machine(NamedTuple):
    """What there is to compute with, and what is installed."""

    cores: int
    gpus: int
    pretrained: bool  # whether ImageNet's weights of EfficientNet-Lite are here

    @classmethod
    def here(cls) -> "Machine":
        gpus = Path("/proc/driver/nvidia/gpus")  # asking TensorFlow would take seconds
        return cls(
            os.cpu_count() or 1,
            len(os.listdir(gpus)) if gpus.is_dir() else 0,
            architectures.are_installed(),
        )


class Facts(NamedTuple):
    """The data, as far as a recipe depends on it."""

    classes: dict[str, int]  # images of the train split by label
    images: int  # of the train split
    held_out: int  # of the eval split
    height: int  # pixels of the image in the middle
    width: int  # pixels of the image in the middle
    grey: bool  # whether all images that were looked at are


def of(config: Config) -> Facts:
    """Reads the data of a configuration whose files have been checked."""
    splits = config.data.splits
    train = _read(config, splits.train)
    images, share = train.images, 1.0
    if splits.eval is None:
        share -= splits.eval_share
        held_out = round(images * splits.eval_share)
        images -= held_out
    else:
        held_out = _read(config, splits.eval).images
    heights, widths, channels = zip(*(train.sizes or [(1, 1, 3)]), strict=True)
    return Facts(
        {label: max(1, round(n * share)) for label, n in sorted(train.classes.items())},
        images,
        held_out,
        statistics.median_low(heights),
        statistics.median_low(widths),
        max(channels) == 1,
    )


class _Split(NamedTuple):
    images: int
    classes: dict[str, int]  # images by label
    sizes: list[tuple[int, int, int]]  # height, width and channels of some


def _read(config: Config, pattern: str) -> _Split:
    """Reads a split; of a large one a part, from which it counts on."""
    classes: Counter[str] = Counter()
    sizes, count, have = [], 0, 0
    for record in data_files.sample(config, pattern):
        have += len(record)
        try:
            example = tfrecord.decode_example(record)
        except ValueError:
            continue  # ImportExampleGen says so
        classes.update(labels(config, example))
        if count < _SIZES_OF or count % _SIZES_OF == 0:
            sizes.append(_size(config, example))
        count += 1
    is_part = have > data_files.most_bytes(config)
    scale = sum(data_files.sizes(config, pattern).values()) / have if is_part else 1.0
    return _Split(
        round(count * scale),
        {label: round(n * scale) for label, n in classes.items()},
        [size for size in sizes if size is not None],
    )


def labels(config: Config, example: Mapping[str, Feature]) -> list[str]:
    """Of an example: one, or several of a multi-label set; none where it has none, or numbers."""
    if config.data.target == "number":
        return []
    values = example.get(config.data.label_key, tfrecord.NO_FEATURE).values
    texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]
    if config.data.multi_label:
        return [label for text in texts for label in features.split_labels(text)]
    return texts[:1]


def _size(config: Config, example: Mapping[str, Feature]) -> tuple[int, int, int] | None:
    """Height, width and channels; None where the image can't be used."""
    data = config.data
    try:
        if data.form != "encoded":
            height, width, channels = image_formats.stated_shape(example, data)
            return height, width, channels
        values = example.get(data.image_key, tfrecord.NO_FEATURE).values
        header = image_formats.read_header(bytes(next(islice(values, 1), b"")))
    except ImageError:
        return None
    return header.height, header.width, header.channels
