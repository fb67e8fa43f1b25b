"""Checks before anything heavy is imported: is the data there, and can it be read?"""

import os
import shlex
from pathlib import Path

from darkroom.components.base import remote, tfrecord, user_code
from darkroom.components.base.errors import DarkroomError, closest
from darkroom.components.base.settings import NetworkSettings
from darkroom.components.networks.architectures import ARCHITECTURES, package_folder
from darkroom.components.report import tracking
from darkroom.components.training.distribution import cluster
from darkroom.pipeline import data_files
from darkroom.pipeline.config import Config
from darkroom.pipeline.ingest import digits, tree, versions

_ANY_KIND = ("bytes", "int64", "float")
# What a feature with the image may hold.
_IMAGE_KINDS = {"encoded": ("bytes",), "uint8": ("bytes", "int64"), "float32": ("float", "bytes")}


def check(config: Config) -> int:
    """Writes bundled data, and checks all that the run will need; the data's size, in bytes.

    Raises a DarkroomError where machines, folder, files, features, weights, server or code fail.
    """
    cluster.of(config.training.strategy)
    for key, path in config.user_code.items():
        user_code.resolve(path, key)
    remote.check("root", config.base, writable=True)
    remote.use(config.staging)
    _check_weights(config.model.weights, config.model.name)
    if config.report.mlflow is not None:
        tracking.check()
    config.class_names()
    config.schema_text()
    if config.metadata.backend != "sqlite":
        config.store.open()
    if config.data.bundled is not None:
        digits.write(Path(config.data_path))
    if not remote.is_remote(config.data_path):
        _check_folder(Path(config.data_path))
    patterns = config.data.splits.patterns.items()
    return sum(_check_split(config, split, pattern) for split, pattern in patterns)


def data_bytes(config: Config) -> int:
    """The size of the data, as ``check`` tells it, unchecked; of what isn't there, 0."""
    patterns = config.data.splits.patterns.values()
    return sum(sum(data_files.sizes(config, pattern).values()) for pattern in patterns)


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise DarkroomError(
            f"The data folder {folder} doesn't exist. Set data.path to the folder with the "
            "TFRecord files, as in --set data.path=FOLDER."
        )
    if any(character in str(folder) for character in "*?["):
        raise DarkroomError(
            f"The data folder {folder} has a character in its name that Beam takes for a pattern "
            "(one of * ? [). Rename the folder."
        )
    if not folder.is_dir():
        raise DarkroomError(f"data.path: expected a folder of TFRecord files, {folder} is a file.")
    versions.complete(folder)


def rehearse(config: Config) -> None:
    """Does what may fail late and needs no data: traces user code, gets ImageNet's weights.

    Raises a DarkroomError where that fails, or where neither TFMA nor Keras has a metric.
    """
    if config.evaluation.metrics:
        from darkroom.components.evaluation import tfma_metrics

        tfma_metrics.check(config.evaluation.metrics)
    downloads = config.model.weights == "imagenet"
    if not (config.user_code or downloads):
        return
    from darkroom.components.networks import models
    from darkroom.components.transform import preprocessing

    preprocessing.check(config.preprocessing)
    network = NetworkSettings(
        preprocessing=config.preprocessing,
        model=config.network,
        augmentation=config.augmentation,
        training=config.training,
        transfer=config.transfer,
    )
    models.begin(network)
    if config.model.build_fn is not None:
        from darkroom.components.networks import own_network

        names = config.class_names()
        own_network.try_out(network, None if names is None else len(names))
    elif config.model.backbone_fn is not None:
        models.own_backbone(network, num_classes=2)
    elif downloads:
        models.application(network, num_classes=2)


def _check_weights(source: str | None, name: str) -> None:
    if source == "imagenet" and ARCHITECTURES[name].package is not None:
        package_folder(name)
    if source in (None, "imagenet"):
        return
    remote.check("model.weights", source)
    if source.endswith((".weights.h5", ".keras")):
        expected = source
    elif remote.is_remote(source) or os.path.isdir(source):
        expected = os.path.join(source, "saved_model.pb")
    else:
        raise DarkroomError(
            f"model.weights: expected imagenet, a .weights.h5 or .keras file, or the folder of a "
            f"pushed version, received {source}."
        )
    if not remote.exists(expected):
        raise DarkroomError(
            f"model.weights: {expected} isn't there. Set it to a file of weights, or to the folder "
            "of a pushed version, such as runs/NAME/pushed/NAME/VERSION."
        )


def _check_split(config: Config, split: str, pattern: str) -> int:
    files, base = data_files.sizes(config, pattern), config.data_path
    in_bucket = remote.is_remote(base)
    if not files:
        listed = f"nothing is {base}/{pattern}"
        if not in_bucket:
            listed = f"{base} has {', '.join(sorted(os.listdir(base))[:10]) or 'nothing in it'}"
        raise DarkroomError(
            f"No files for the {split} split: data.splits.{split} is {pattern!r}, and {listed}."
            f"{_images(base)}"
        )
    if misnamed := data_files.misnamed(config, pattern, files):
        raise DarkroomError(
            f"data.splits.{split} is {pattern!r}, and {misnamed[0]} has no number where it has "
            "{SPAN}, {VERSION} or a date. Rename it, or move it out of the folder."
        )
    if in_bucket:  # of the first file only, as each is a request
        first = next(iter(files))
        if not _check_first_record(config, first):
            raise DarkroomError(f"The {split} split: {first} has no records.")
        return sum(files.values())
    # A broken file is read up to the break; one without a whole record has nothing to give.
    try:
        have_records = [_check_first_record(config, path) for path in files]
    except tfrecord.TFRecordError as error:
        raise DarkroomError(f"{error}{_images(base)}") from error
    if not any(have_records):
        raise DarkroomError(
            f"The {split} split is empty: {base}/{pattern} has no records.{_images(base)}"
        )
    return sum(files.values())


def _images(base: str) -> str:
    """What to do with a folder of images where TFRecords are expected; else nothing."""
    if remote.is_remote(base) or not tree.holds_images(Path(base)):
        return ""
    return (
        " These are image files: darkroom ingest makes TFRecords of them, as in "
        f"darkroom ingest {shlex.quote(base)} data/images; then set data.path to data/images."
    )


def _check_first_record(config: Config, file: str) -> bool:
    try:
        first = tfrecord.decode_example(next(data_files.records(config, file)))
        kinds = {key: kind for key, (kind, _) in first.items()}
    except (tfrecord.BrokenFile, StopIteration):
        return False
    except ValueError:
        raise DarkroomError(
            f"{file}: its first record is not a tf.Example. darkroom reads TFRecord files of "
            "tf.Examples."
        ) from None
    data = config.data
    learnt: list[tuple[str, str, tuple[str, ...]]] = [
        ("label_key", data.label_key, ("bytes", "int64"))
    ]
    if data.target == "number":
        learnt = [(f"target_keys.{at}", key, _ANY_KIND) for at, key in enumerate(data.target_keys)]
    expected: list[tuple[str, str, tuple[str, ...]]] = [
        ("image_key", data.image_key, _IMAGE_KINDS[data.form]),
        *learnt,
        *((f"shape_keys.{at}", key, ("int64",)) for at, key in enumerate(data.shape_keys)),
        *((f"keep_features.{at}", key, _ANY_KIND) for at, key in enumerate(data.keep_features)),
    ]
    for name, key, allowed in expected:
        if key not in kinds:
            raise DarkroomError(
                f"{file}: data.{name} is {key!r}, which its examples don't have; they have "
                f"{', '.join(sorted(kinds))}.{closest(key, list(kinds))}"
            )
        # An empty feature of the first record says nothing about the others.
        if kinds[key] and kinds[key] not in allowed:
            pixels = " Are these pixels? Set data.form to float32, with data.shape."
            raise DarkroomError(
                f"{file}: data.{name} is {key!r}, expected {' or '.join(allowed)} there, found "
                f"{kinds[key]}.{pixels * (name == 'image_key' and kinds[key] == 'float')}"
            )
    return True
