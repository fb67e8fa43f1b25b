import gzip
import tempfile
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components import tfrecord
from components.tfrecord import TFRecordError

RECORDS = [b"one", b"", b"three" * 100]


def written(path: Path, records: list[bytes]) -> Path:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def test_reads_what_tensorflow_writes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tfrecord", RECORDS)
    assert list(tfrecord.read(path)) == RECORDS
    assert tfrecord.count(path) == 3


def test_reads_gzip(tmp_path: Path) -> None:
    plain = written(tmp_path / "a.tfrecord", RECORDS)
    path = tmp_path / "a.tfrecord.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(tfrecord.read(path)) == RECORDS
    assert tfrecord.count(path) == 3


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
    assert tfrecord.feature_kinds(serialized) == dict.fromkeys(values, "bytes")


def test_kinds_of_features() -> None:
    example = tf.train.Example()
    example.features.feature["f"].float_list.value.append(1.5)
    example.features.feature["i"].int64_list.value.append(-3)
    example.features.feature["none"].SetInParent()
    kinds = tfrecord.feature_kinds(example.SerializeToString())
    assert kinds == {"f": "float", "i": "int64", "none": ""}
    with pytest.raises(ValueError, match=r"not a tf\.Example"):
        tfrecord.feature_kinds(b"\xff\xff\xff\xff")


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    content = written(tmp_path / "whole.tfrecord", [b"one", b"three"]).read_bytes()
    ends_of_records = {0, 16 + 3, len(content)}
    for length in range(len(content) + 1):
        path = tmp_path / "cut.tfrecord"
        path.write_bytes(content[:length])
        if length in ends_of_records:
            tfrecord.count(path)
            continue
        start = 0 if length < 19 else 19
        for look in (tfrecord.count, lambda p: list(tfrecord.read(p))):
            with pytest.raises(TFRecordError, match=rf"cut\.tfrecord: .* cut off .* byte {start}"):
                look(path)


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    content = written(tmp_path / "whole.tfrecord", [b"one", b"three"]).read_bytes()
    path = tmp_path / "damaged.tfrecord"
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x40
        path.write_bytes(damaged)
        with pytest.raises(TFRecordError, match="damaged"):
            list(tfrecord.read(path))


def test_another_kind_of_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, not records")
    with pytest.raises(TFRecordError, match=r"notes\.txt: not a TFRecord file"):
        tfrecord.count(path)
    path = tmp_path / "a.tfrecord.gz"
    path.write_text("no gzip either")
    with pytest.raises(TFRecordError, match="not a gzip file"):
        tfrecord.count(path)
    path.write_bytes(gzip.compress(b"x" * 1000)[:-12])
    with pytest.raises(TFRecordError):
        tfrecord.count(path)
    with pytest.raises(TFRecordError, match="No such file"):
        tfrecord.count(tmp_path / "missing.tfrecord")
