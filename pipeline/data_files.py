"""The files of the data, on this machine or in a bucket, where Beam reads them."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from darkroom.components.base import remote, tfrecord
from darkroom.components.base.errors import DarkroomError, explain
from darkroom.components.base.sections.data import PLACES
from darkroom.pipeline import beam
from darkroom.pipeline.config import Config

# Of a split's, on this machine or in a bucket, that are looked at before a run begins.
_MOST_BYTES = {False: 2**30, True: 2**26}


def sizes(config: Config, pattern: str) -> dict[str, int]:
    """Bytes of the files of a pattern, in a bucket as Beam sees them; of any span."""
    pattern = re.sub(f"(?:{PLACES.pattern})+", "*", pattern)
    if not remote.is_remote(config.data_path):
        paths = sorted(Path(config.data_path).glob(pattern))
        return {str(path): os.path.getsize(path) for path in paths if path.is_file()}
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    uri = f"{config.data_path}/{pattern}"
    FileSystems.set_options(PipelineOptions(beam.arguments(config.beam, data_bytes=0, cores=1)))
    try:
        [match] = FileSystems.match([uri])
    except Exception as error:
        raise DarkroomError(f"data.path: {uri} can't be read: {explain(error)}") from error
    return {file.path: file.size_in_bytes for file in match.metadata_list}


def misnamed(config: Config, pattern: str, files: Iterable[str]) -> list[str]:
    """Files that have no number where the pattern has a span, a version or a date."""
    if not PLACES.search(pattern):
        return []
    expected, rest = "", 0
    for place in PLACES.finditer(pattern):
        width = place[2] or {"YYYY": "4", "MM": "2", "DD": "2"}.get(place[1])
        expected += _glob(pattern[rest : place.start()])
        expected += rf"\d{{{width}}}" if width else r"\d+"
        rest = place.end()
    expected = f"{re.escape(config.data_path)}/{expected}{_glob(pattern[rest:])}"
    return [file for file in files if not re.fullmatch(expected, file)]


def _glob(pattern: str) -> str:
    """A part of a pattern as a regular expression: nothing but folders has a slash."""
    any_of = {"*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*|\?|\[[^]]+\])", pattern)
    return "".join(
        any_of.get(part) or (part.replace("[!", "[^") if part[:1] == "[" else re.escape(part))
        for part in parts
    )


def sample(config: Config, pattern: str) -> Iterator[bytes]:
    """The records of a split; of a large one those of files from the first to the last.

    It ends after so many bytes. What can't be read is left out: ImportExampleGen says so.
    """
    files, most = sizes(config, pattern), most_bytes(config)
    have = 0
    for file in list(files)[:: max(1, sum(files.values()) // most)]:
        with contextlib.suppress(tfrecord.TFRecordError):
            for record in records(config, file):
                yield record
                have += len(record)
                if have > most:
                    return


def most_bytes(config: Config) -> int:
    """How many of a split's bytes are looked at before a run begins."""
    return _MOST_BYTES[remote.is_remote(config.data_path)]


def records(config: Config, file: str) -> Iterator[bytes]:
    """The records of a file of the data, in a bucket as Beam reads them."""
    if not remote.is_remote(config.data_path):
        yield from tfrecord.read(Path(file))
        return
    from apache_beam.io.filesystems import FileSystems

    with FileSystems.open(file) as stream:
        yield from (record for record, _ in tfrecord.records(stream, file))
