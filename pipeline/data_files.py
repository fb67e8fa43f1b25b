"""The files of the data, on this machine or in a bucket, where Beam reads them."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from darkroom.components.base import remote, tfrecord
from darkroom.components.base.errors import DarkroomError, explain
from darkroom.pipeline import beam
from darkroom.pipeline.config import Config

# Of a split's, on this machine or in a bucket, that are looked at before a run begins.
_MOST_BYTES = {False: 2**30, True: 2**26}
# A span, a date or a version in a pattern of TFX's.
_SPAN = re.compile(r"\{(?:SPAN|VERSION|YYYY|MM|DD)(?::\d+)?\}")


def sizes(config: Config, pattern: str) -> dict[str, int]:
    """Bytes of the files of a pattern, in a bucket as Beam sees them; of any span."""
    pattern = _SPAN.sub("*", pattern)
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
