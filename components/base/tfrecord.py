"""TFRecord files and tf.Examples without TensorFlow, which takes seconds to import."""

import gzip
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import google_crc32c
from google.protobuf import descriptor_pb2, message, message_factory, text_format

from darkroom.components.base.errors import DarkroomError

# A record is: length uint64, masked CRC of the length uint32, the data, masked CRC of the data.
_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
# tensorflow/core/example/example.proto and feature.proto, as a FileDescriptorProto.
_EXAMPLE_PROTO = """
name: "darkroom/example.proto" package: "darkroom" syntax: "proto3"
message_type {
  name: "BytesList" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES }
}
message_type {
  name: "FloatList" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_FLOAT }
}
message_type {
  name: "Int64List" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 }
}
message_type {
  name: "Feature" oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 type_name: ".darkroom.BytesList" oneof_index: 0 }
  field { name: "float_list" number: 2 type_name: ".darkroom.FloatList" oneof_index: 0 }
  field { name: "int64_list" number: 3 type_name: ".darkroom.Int64List" oneof_index: 0 }
}
message_type {
  name: "Features"
  field {
    name: "feature" number: 1 label: LABEL_REPEATED type_name: ".darkroom.Features.FeatureEntry"
  }
  nested_type {
    name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type_name: ".darkroom.Feature" }
  }
}
message_type {
  name: "Example" field { name: "features" number: 1 type_name: ".darkroom.Features" }
}
"""


class TFRecordError(DarkroomError):
    """A file that is no TFRecord file, or can't be read."""


class BrokenFile(TFRecordError):
    """A file that is cut off, or damaged so that no further record can be found."""

    def __init__(self, sentence: str, position: int):
        super().__init__(sentence)
        self.position = position  # byte up to which there are whole records


class Feature(NamedTuple):
    """A feature of a tf.Example."""

    kind: str  # bytes, float, int64; empty for a feature without a value
    values: Sequence[Any]  # of that kind


NO_FEATURE = Feature("", ())


def read(path: Path) -> Iterator[bytes]:
    """The records of a file, as ``records`` gives them, whatever their checksums."""
    with _open(path) as file:
        for data, _ in records(file, str(path)):
            yield data


def records(file: IO[bytes], name: str) -> Iterator[tuple[bytes, bool]]:
    """The whole records of an open, uncompressed file, and whether each matches its checksum.

    Raises a TFRecordError, or, after the records before a break, a BrokenFile, with the ``name``.
    """
    position = 0
    try:
        while header := file.read(_HEADER.size):
            length = _length(header, name, position)
            data, footer = file.read(length), file.read(_FOOTER.size)
            if len(data) < length or len(footer) < _FOOTER.size:
                raise _cut_off(name, position)
            yield data, _FOOTER.unpack(footer)[0] == _masked_crc(data)
            position += _framed(length)
    except (EOFError, zlib.error) as error:
        raise _cut_off(name, position) from error
    except gzip.BadGzipFile as error:
        raise TFRecordError(f"{name}: not a gzip file, though its name ends with .gz.") from error


def ends(path: Path) -> list[int]:
    """The byte at which each record of an uncompressed file ends, from the lengths alone.

    Raises a TFRecordError as ``records`` does.
    """
    found, position, size = [], 0, path.stat().st_size
    with open(path, "rb") as file:
        while header := file.read(_HEADER.size):
            end = position + _framed(_length(header, str(path), position))
            if end > size:
                raise _cut_off(str(path), position)
            found.append(end)
            file.seek(position := end)
    return found


def _length(header: bytes, name: str, position: int) -> int:
    """The length of the data behind a header."""
    if len(header) < _HEADER.size:
        raise _cut_off(name, position)
    length: int
    length, crc = _HEADER.unpack(header)
    if crc != _masked_crc(header[:8]):
        if position == 0:
            raise TFRecordError(
                f"{name}: not a TFRecord file: it starts with {header!r}. Point the "
                "splits of data.splits at TFRecord files of tf.Examples only."
            )
        raise BrokenFile(
            f"{name}: the record at byte {position} is damaged: the checksum of its "
            "length doesn't match. Copy the file again from its source.",
            position,
        )
    return length


def _framed(length: int) -> int:
    return _HEADER.size + length + _FOOTER.size


def write(path: Path, records: Iterable[bytes]) -> None:
    """Writes records to an uncompressed file."""
    with open(path, "wb") as file:
        file.writelines(map(frame, records))


def frame(data: bytes) -> bytes:
    """A record as it stands in a file: length, checksum, data, checksum."""
    length = struct.pack("<Q", len(data))
    return length + _FOOTER.pack(_masked_crc(length)) + data + _FOOTER.pack(_masked_crc(data))


def encode_example(values: Mapping[str, bytes | int | float | Sequence[bytes]]) -> bytes:
    """A serialised tf.Example of one value per feature, or of several texts."""
    example = _example_class()()
    features = example.features.feature
    for key, value in values.items():
        if isinstance(value, bytes):
            features[key].bytes_list.value.append(value)
        elif isinstance(value, int):
            features[key].int64_list.value.append(value)
        elif isinstance(value, float):
            features[key].float_list.value.append(value)
        else:
            features[key].bytes_list.value.extend(value)
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def decode_example(record: bytes) -> dict[str, Feature]:
    """Features of a serialised tf.Example by key; raises ValueError where it is none."""
    example = _example_class()()
    try:
        example.ParseFromString(record)
    except Exception as error:  # protobuf's DecodeError has changed its place between versions
        raise ValueError("not a tf.Example") from error
    features = {}
    for key, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values = getattr(feature, kind).value if kind else ()
        features[key] = Feature(kind.removesuffix("_list") if kind else "", values)
    return features


def _cut_off(name: str, position: int) -> BrokenFile:
    return BrokenFile(
        f"{name}: the file is cut off in the record that starts at byte {position}. "
        "Copy it again from its source.",
        position,
    )


def _open(path: Path) -> IO[bytes]:
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")  # type: ignore[return-value]
    except OSError as error:
        raise TFRecordError(f"{path}: can't be read: {error.strerror}.") from error


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _example_class() -> type[message.Message]:
    """tf.Example's message class, in a pool of its own so as not to collide with TensorFlow's."""
    file = text_format.Parse(_EXAMPLE_PROTO, descriptor_pb2.FileDescriptorProto())
    created: type[message.Message] = message_factory.GetMessages([file])["darkroom.Example"]
    return created
