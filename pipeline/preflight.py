"""Checks before anything heavy is imported: is the data there, and can it be read?"""

import os
from pathlib import Path

from components import tfrecord, user_code
from components.errors import DarkroomError, closest
from pipeline import digits
from pipeline.config import Config


def check(config: Config) -> int:
    """Writes the bundled data where that is configured, and checks what the run will need.

    Returns:
      The size of the data, in bytes.

    Raises:
      DarkroomError: a missing or empty folder, a file that is no TFRecord file or is cut off, a
        feature key that isn't there, a ``build_fn`` that can't be imported.
    """
    if config.model.build_fn is not None:
        user_code.resolve(config.model.build_fn, "model.build_fn")
    if config.data.bundled is not None:
        digits.write(config.data_path)
    folder = config.data_path
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
    sizes = [
        _check_split(config, folder, split, pattern)
        for split, pattern in config.data.splits.model_dump().items()
    ]
    return sum(sizes)


def _check_split(config: Config, folder: Path, split: str, pattern: str) -> int:
    files = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not files:
        found = sorted(str(p.relative_to(folder)) for p in folder.glob("*"))[:10]
        raise DarkroomError(
            f"No files for the {split} split: data.splits.{split} is {pattern!r}, and {folder} has "
            f"{', '.join(found) if found else 'nothing in it'}."
        )
    for file in files:
        if tfrecord.count(file) > 0:
            _check_keys(config, file)
    if all(os.path.getsize(file) == 0 for file in files):
        raise DarkroomError(f"The {split} split is empty: {folder / pattern} has no records.")
    return sum(os.path.getsize(file) for file in files)


def _check_keys(config: Config, file: Path) -> None:
    try:
        kinds = tfrecord.feature_kinds(next(tfrecord.read(file)))
    except ValueError:
        raise DarkroomError(
            f"{file}: its first record is not a tf.Example. darkroom reads TFRecord files of "
            "tf.Examples."
        ) from None
    for name in ("image_key", "label_key"):
        key = getattr(config.data, name)
        if key not in kinds:
            raise DarkroomError(
                f"{file}: data.{name} is {key!r}, which its examples don't have; they have "
                f"{', '.join(sorted(kinds))}.{closest(key, list(kinds))}"
            )
        if kinds[key] != "bytes":
            raise DarkroomError(
                f"{file}: data.{name} is {key!r}, expected bytes there, found {kinds[key]}."
            )
