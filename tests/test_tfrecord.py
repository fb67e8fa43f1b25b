import gzip
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from darkroom.components.base import tfrecord
from darkroom.components.base.tfrecord import BrokenFile, TFRecordError

RECORDS = [b"one", b"", b"three" * 100]


def written(path: Path, records: list[bytes]) -> Path:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def test_reads_what_tensorflow_writes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tfrecord", RECORDS)
    assert list(tfrecord.read(path)) == RECORDS


def test_reads_gzip(tmp_path: Path) -> None:
    plain = written(tmp_path / "a.tfrecord", RECORDS)
    path = tmp_path / "a.tfrecord.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(tfrecord.read(path)) == RECORDS


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_tensorflow_reads_what_it_writes(records: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tfrecord"
        tfrecord.write(path, records)
        assert [r.numpy() for r in tf.data.TFRecordDataset(str(path))] == records
        assert list(tfrecord.read(path)) == records


@given(st.dictionaries(st.text(max_size=20), st.binary(max_size=50), max_size=5))
def test_an_example_is_tensorflows(values: dict[str, bytes]) -> None:
    serialized = tfrecord.encode_example(values)
    example = tf.train.Example.FromString(serialized)
    read = {k: f.bytes_list.value[0] for k, f in example.features.feature.items()}
    assert read == values
    decoded = tfrecord.decode_example(serialized)
    assert {key: (kind, list(v)) for key, (kind, v) in decoded.items()} == {
        key: ("bytes", [value]) for key, value in values.items()
    }


def test_an_example_of_every_kind() -> None:
    serialized = tfrecord.encode_example({"b": b"x", "i": -3, "f": 0.5})
    example = tf.train.Example.FromString(serialized).features.feature
    assert example["b"].bytes_list.value[0] == b"x"
    assert example["i"].int64_list.value[0] == -3
    assert example["f"].float_list.value[0] == 0.5


def test_kinds_of_features() -> None:
    example = tf.train.Example()
    example.features.feature["f"].float_list.value.append(1.5)
    example.features.feature["i"].int64_list.value.append(-3)
    example.features.feature["none"].SetInParent()
    decoded = tfrecord.decode_example(example.SerializeToString())
    assert {k: kind for k, (kind, _) in decoded.items()} == {"f": "float", "i": "int64", "none": ""}
    with pytest.raises(ValueError, match=r"not a tf\.Example"):
        tfrecord.decode_example(b"\xff\xff\xff\xff")


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    content = written(tmp_path / "whole.tfrecord", [b"one", b"three"]).read_bytes()
    ends_of_records = {0, 16 + 3, len(content)}
    for length in range(len(content) + 1):
        path = tmp_path / "cut.tfrecord"
        path.write_bytes(content[:length])
        if length in ends_of_records:
            assert list(tfrecord.read(path)) == [b"one", b"three"][: (length > 0) + (length > 19)]
            continue
        start = 0 if length < 19 else 19
        records = tfrecord.read(path)
        if start:
            assert next(records) == b"one"  # what is whole comes first
        with pytest.raises(BrokenFile, match=rf"cut\.tfrecord: .* cut off .* byte {start}") as cut:
            next(records)
        assert cut.value.position == start


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    content = written(tmp_path / "whole.tfrecord", [b"one", b"three"]).read_bytes()
    path = tmp_path / "damaged.tfrecord"
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x40
        path.write_bytes(damaged)
        in_data = position in range(12, 19) or position in range(31, len(content))
        with open(path, "rb") as file:
            records = tfrecord.records(file, "damaged.tfrecord")
            if in_data:  # the other record is not lost
                intact = [whole for _, whole in records]
                assert intact == ([False, True] if position < 19 else [True, False])
            else:
                with pytest.raises(TFRecordError, match="damaged"):
                    list(records)


def test_another_kind_of_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, not records")
    with pytest.raises(TFRecordError, match=r"notes\.txt: not a TFRecord file"):
        list(tfrecord.read(path))
    path = tmp_path / "a.tfrecord.gz"
    path.write_text("no gzip either")
    with pytest.raises(TFRecordError, match="not a gzip file"):
        list(tfrecord.read(path))
    path.write_bytes(gzip.compress(b"x" * 1000)[:-12])
    with pytest.raises(TFRecordError):
        list(tfrecord.read(path))
    with pytest.raises(TFRecordError, match="No such file"):
        list(tfrecord.read(tmp_path / "missing.tfrecord"))


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_ends_are_those_of_the_records(records: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tfrecord"
        tfrecord.write(path, records)
        ends, content = tfrecord.ends(path), path.read_bytes()
        assert [0, *ends][-1] == len(content)
        framed = [content[begin:end] for begin, end in pairwise([0, *ends])]
        assert framed == list(map(tfrecord.frame, records))


def test_ends_are_not_guessed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tfrecord", RECORDS)
    content = path.read_bytes()
    for length in (len(content) - 1, 40, 18):
        path.write_bytes(content[:length])
        with pytest.raises(BrokenFile, match=r"a\.tfrecord: the file is cut off"):
            tfrecord.ends(path)
    path.write_bytes(gzip.compress(content))
    with pytest.raises(TFRecordError, match="not a TFRecord file"):
        tfrecord.ends(path)
