"""Near duplicates in two splits, found among small pictures that the inspection leaves in files.

Not handed on by Beam, which would hold those of all images several times.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from apache_beam.io.filesystems import FileSystems
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from darkroom.components.base import remote, tfrecord
from darkroom.components.ingestion import near_duplicates
from darkroom.components.ingestion.inspection_counts import NAMED
from darkroom.components.ingestion.inspection_report import InspectionReport

FOLDER: Final = "small"  # beside the splits, while the node runs
# An image that is in two splits is wanted in the later one, which measures the model.
SPLITS = ("train", "eval", "test")
_MOST = 1_000_000  # images that are compared, to bound memory; those that measure come first


class Picture(NamedTuple):
    """What is compared of an image."""

    name: str  # where people find it
    content: int  # hash of its pixels: an exact copy is no near one
    small: bytes  # a row of near_duplicates


class _Pictures(NamedTuple):
    split: str
    names: list[str]
    contents: np.ndarray  # int64 [images]
    small: np.ndarray  # uint8 [images, values]


def record(split: str, pictures: Iterable[Picture]) -> bytes:
    """Pictures of a split as one record of a file in ``FOLDER``."""
    names, contents, small = zip(*pictures, strict=True)
    return tfrecord.encode_example(
        {
            "split": split.encode(),
            "names": [name.encode() for name in names],
            "contents": np.array(contents, np.int64).tobytes(),
            "small": b"".join(small),
        }
    )


def find(report: InspectionReport, uri: str) -> None:
    """Adds to a report how many of the examples at ``uri`` another split has nearly the same."""
    # So the first picture of a group that shows the same is of the split that is held out most.
    blocks = sorted(_read(uri), key=lambda block: -SPLITS.index(block.split))
    remote.remove(f"{uri}/{FOLDER}")
    images = sum(split.images for split in report.splits.values())
    names = list(chain.from_iterable(block.names for block in blocks))
    if len(names) < images:
        report.compared = len(names)
    for split in report.splits.values():
        split.near_in_two_splits = 0
    if not names:
        return
    splits = np.repeat([block.split for block in blocks], [len(block.names) for block in blocks])
    contents = np.concatenate([block.contents for block in blocks])
    heads = _heads(np.concatenate([block.small for block in blocks]))
    leaked = np.flatnonzero((splits[heads] != splits) & (contents[heads] != contents))
    for name, split in report.splits.items():
        split.near_in_two_splits = int((splits[leaked] == name).sum())
    named = [f"{names[row]} like {names[heads[row]]}" for row in leaked[:NAMED].tolist()]
    report.first_near_in_two_splits = named


def _heads(small: np.ndarray) -> np.ndarray:
    """Of each picture the first of those that show the same, int64 [pictures]."""
    first, second, _ = near_duplicates.pairs(small)
    joined = coo_array((np.ones(len(first), bool), (first, second)), shape=(len(small),) * 2)
    _, groups = connected_components(joined, directed=False)
    _, heads = np.unique(groups, return_index=True)
    of_all: np.ndarray = heads[groups]
    return of_all


def _read(uri: str) -> Iterator[_Pictures]:
    count = 0
    for source in reversed(SPLITS):
        [match] = FileSystems.match([f"{uri}/{FOLDER}/{source}/*"])
        for path in sorted(file.path for file in match.metadata_list):
            with FileSystems.open(path) as opened:
                for data, _ in tfrecord.records(opened, path):
                    if count >= _MOST:
                        return
                    block = _pictures(data)
                    count += len(block.names)
                    yield block


def _pictures(data: bytes) -> _Pictures:
    values = {key: feature.values for key, feature in tfrecord.decode_example(data).items()}
    names = [name.decode() for name in values["names"]]
    small = np.frombuffer(values["small"][0], np.uint8).reshape(len(names), -1)
    return _Pictures(
        values["split"][0].decode(), names, np.frombuffer(values["contents"][0], np.int64), small
    )
