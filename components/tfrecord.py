"""TFRecord files and tf.Examples without TensorFlow.

TensorFlow takes seconds to import; looking into a user's files to say what is wrong with them,
and writing the bundled data, should not have to wait for that.
"""

import gzip
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from components.errors import DarkroomError

# A record is: length uint64, masked CRC of the length uint32, the data, masked CRC of the data.
_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


class TFRecordError(DarkroomError):
    """A file that is no TFRecord file, or is cut off."""


def count(path: Path) -> int:
    """The number of records in a file, reading the record headers only.

    Raises:
      TFRecordError: with the file, and the record and byte at which it can't be read.
    """
    with _open(path) as file:
        return sum(1 for _ in _headers(file, path))


def read(path: Path) -> Iterator[bytes]:
    """The records of a file, their data checked against its CRC.

    Raises:
      TFRecordError: as ``count``.
    """
    with _open(path) as file:
        for start, length in _headers(file, path, skip_data=False):
            data = file.read(length)
            footer = file.read(_FOOTER.size)
            if len(data) < length or len(footer) < _FOOTER.size:
                raise _cut_off(path, start)
            if _FOOTER.unpack(footer)[0] != _masked_crc(data):
                raise TFRecordError(
                    f"{path}: the record at byte {start} is damaged: its checksum doesn't match. "
                    "Copy the file again from its source."
                )
            yield data


def write(path: Path, records: Iterable[bytes]) -> None:
    """Writes records to an uncompressed file."""
    with open(path, "wb") as file:
        for data in records:
            length = struct.pack("<Q", len(data))
            file.write(length + _FOOTER.pack(_masked_crc(length)))
            file.write(data + _FOOTER.pack(_masked_crc(data)))


def encode_example(values: dict[str, bytes]) -> bytes:
    """A serialised tf.Example of one bytes value per feature."""
    example = _example_class()()
    for key, value in values.items():
        example.features.feature[key].bytes_list.value.append(value)
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def feature_kinds(record: bytes) -> dict[str, str]:
    """Feature keys of a serialised tf.Example, with ``bytes``, ``float`` or ``int64``.

    Raises:
      ValueError: the record is not a tf.Example.
    """
    example = _example_class()()
    try:
        example.ParseFromString(record)
    except Exception as error:  # protobuf's DecodeError has changed its place between versions
        raise ValueError("not a tf.Example") from error
    return {
        key: (feature.WhichOneof("kind") or "").removesuffix("_list")
        for key, feature in example.features.feature.items()
    }


def _headers(file: IO[bytes], path: Path, skip_data: bool = True) -> Iterator[tuple[int, int]]:
    """Start and data length of every record; the caller reads the data unless it is skipped."""
    size = None if isinstance(file, gzip.GzipFile) else os.fstat(file.fileno()).st_size
    position = 0
    try:
        while header := file.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise _cut_off(path, position)
            length, crc = _HEADER.unpack(header)
            if crc != _masked_crc(header[:8]):
                if position == 0:
                    raise TFRecordError(
                        f"{path}: not a TFRecord file: it starts with {header!r}. Point the "
                        "splits of data.splits at TFRecord files of tf.Examples only."
                    )
                raise TFRecordError(
                    f"{path}: the record at byte {position} is damaged: the checksum of its "
                    "length doesn't match. Copy the file again from its source."
                )
            start, position = position, position + _HEADER.size + length + _FOOTER.size
            if size is not None and position > size:
                raise _cut_off(path, start)
            yield start, length
            if skip_data and file.seek(position) != position:
                raise _cut_off(path, start)
    except (EOFError, zlib.error) as error:
        raise _cut_off(path, position) from error
    except gzip.BadGzipFile as error:
        raise TFRecordError(f"{path}: not a gzip file, though its name ends with .gz.") from error


def _cut_off(path: Path, position: int) -> TFRecordError:
    return TFRecordError(
        f"{path}: the file is cut off in the record that starts at byte {position}. "
        "Copy it again from its source."
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
def _example_class() -> Any:
    """tf.Example's message class, in a pool of its own so as not to collide with TensorFlow's."""
    file = descriptor_pb2.FileDescriptorProto(
        name="darkroom/example.proto", package="darkroom", syntax="proto3"
    )
    field = descriptor_pb2.FieldDescriptorProto
    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED

    def message(name: str, *fields: tuple[Any, ...], parent: Any = file.message_type) -> Any:
        created = parent.add(name=name)
        for number, (key, label, kind, type_name) in enumerate(fields, start=1):
            created.field.add(
                name=key, number=number, label=label, type=kind, type_name=type_name and
                f".darkroom.{type_name}"
            )  # fmt: skip
        return created

    message("BytesList", ("value", many, field.TYPE_BYTES, None))
    message("FloatList", ("value", many, field.TYPE_FLOAT, None))
    message("Int64List", ("value", many, field.TYPE_INT64, None))
    feature = message(
        "Feature",
        ("bytes_list", one, field.TYPE_MESSAGE, "BytesList"),
        ("float_list", one, field.TYPE_MESSAGE, "FloatList"),
        ("int64_list", one, field.TYPE_MESSAGE, "Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for kind in feature.field:
        kind.oneof_index = 0
    features = message("Features", ("feature", many, field.TYPE_MESSAGE, "Features.FeatureEntry"))
    entry = message(
        "FeatureEntry",
        ("key", one, field.TYPE_STRING, None),
        ("value", one, field.TYPE_MESSAGE, "Feature"),
        parent=features.nested_type,
    )
    entry.options.map_entry = True
    message("Example", ("features", one, field.TYPE_MESSAGE, "Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    example = pool.FindMessageTypeByName("darkroom.Example")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(example)
    # protobuf 3.20, which TFX 1.16 needs on Python 3.10
    return message_factory.MessageFactory(pool).GetPrototype(example)
