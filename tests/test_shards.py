from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from darkroom.components.base import features, tfrecord
from darkroom.pipeline.ingest import shards
from darkroom.pipeline.ingest.index import Entry, Settings
from darkroom.pipeline.ingest.listing import Source
from darkroom.serving.codecs import pictures
from tests.test_ingest import picture

SETTINGS = Settings(eval_share=0.1, test_share=0.1, runs=2)


def silent(words: str, done: int, total: int) -> None: ...


def written(path: Path) -> list[tuple[str, str]]:
    """File names and labels."""
    return [
        (values[features.FILENAME_KEY][1][0].decode(), values[features.LABEL_KEY][1][0].decode())
        for values in map(tfrecord.decode_example, tfrecord.read(path))
    ]


@pytest.fixture
def index(tmp_path: Path) -> list[Entry]:
    """Four images in each of two shards of train, which other splits don't have."""
    added = []
    for number in range(8):
        path = tmp_path / f"{number}.png"
        path.write_bytes(picture(number, "PNG"))
        content = pictures.Picture(path.read_bytes()).content()
        entry = Entry(path.name, "a", "train", content, 1, 1)
        added.append((Source(str(path), path.name, "a", None, (("camera", "α7"),)), entry))
    for folder in ("train", "eval", "test"):
        (tmp_path / "records" / folder).mkdir(parents=True)
        (tmp_path / "new" / folder).mkdir(parents=True)
    for half, name in ((added[:4], "1.tfrecord"), (added[4:], "2.tfrecord")):
        shards._write_shard(tmp_path / "records" / "train" / name, half)
    return [entry for _, entry in added]


def mend(tmp_path: Path, index: list[Entry], changed: dict[str, Entry | None]) -> list[str]:
    records, new = tmp_path / "records", tmp_path / "new"
    with ThreadPoolExecutor(1) as workers:
        shards._mends.cache_clear()
        return shards.mend(workers, changed, index, records, new, SETTINGS, silent)


def test_only_shards_with_images_that_change_are_written_anew(
    tmp_path: Path, index: list[Entry]
) -> None:
    relabelled, moved, gone = index[0], index[1], index[2]
    replaced = mend(
        tmp_path,
        index,
        {
            relabelled.content: relabelled._replace(label="β", path="β/0.png"),
            moved.content: moved._replace(split="test"),
            gone.content: None,
        },
    )
    assert replaced == ["train/1.tfrecord"]
    new = tmp_path / "new"
    assert not list((new / "eval").iterdir())
    [train], [test] = (new / "train").iterdir(), (new / "test").iterdir()
    assert written(train) == [("β/0.png", "β"), ("3.png", "a")]
    assert written(test) == [("1.png", "a")]
    values = tfrecord.decode_example(next(tfrecord.read(train)))
    assert values["camera"][1] == ["α7".encode()]
    assert values[features.IMAGE_KEY][1] == [(tmp_path / "0.png").read_bytes()]
    assert values[features.FILE_HASH_KEY][1] == [relabelled.content.encode()]


def test_records_of_an_earlier_version_are_known_by_name_or_by_their_pixels(
    tmp_path: Path, index: list[Entry]
) -> None:
    for shard in (tmp_path / "records" / "train").iterdir():
        before = []
        for record in tfrecord.read(shard):
            values = {key: list(v.values) for key, v in tfrecord.decode_example(record).items()}
            del values[features.FILE_HASH_KEY]
            if values[features.FILENAME_KEY] in ([b"4.png"], [b"5.png"]):
                values[features.FILENAME_KEY] = [b"twice.png"]
            before.append(tfrecord.encode_example(values))
        tfrecord.write(shard, before)
    index = [e._replace(path="twice.png") if e.path in ("4.png", "5.png") else e for e in index]
    assert mend(tmp_path, index, {index[5].content: None}) == ["train/2.tfrecord"]
    [train] = (tmp_path / "new" / "train").iterdir()
    assert [name for name, _ in written(train)] == ["twice.png", "6.png", "7.png"]
    kept = tfrecord.decode_example(next(tfrecord.read(train)))
    assert kept[features.IMAGE_KEY][1] == [(tmp_path / "4.png").read_bytes()]
    train.unlink()
    assert mend(tmp_path, index, {index[6].content: None}) == ["train/2.tfrecord"]
    [train] = (tmp_path / "new" / "train").iterdir()
    assert [name for name, _ in written(train)] == ["twice.png", "twice.png", "7.png"]


def test_a_damaged_record_is_not_written_as_if_it_were_whole(
    tmp_path: Path, index: list[Entry]
) -> None:
    shard = tmp_path / "records" / "train" / "1.tfrecord"
    damaged = bytearray(shard.read_bytes())
    damaged[100] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(tfrecord.TFRecordError, match="the checksum of a record doesn't match"):
        mend(tmp_path, index, {index[3].content: None})
