"""``darkroom review`` as a user calls it, on real images."""

import csv
import http.client
import json
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from darkroom.components.base import features, tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion import corrections
from darkroom.components.ingestion.corrections import Correction
from darkroom.pipeline.review import images, review
from darkroom.pipeline.review.images import Source
from tests import reviewed
from tests.conftest import command, darkroom, encoded, environment


@pytest.fixture(scope="module")
def flipped(digit_records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits, of which 20 have a wrong label, and one of train is in eval too."""
    target = tmp_path_factory.mktemp("review") / "records"
    for split in ("train", "eval"):
        (target / split).mkdir(parents=True)
        [file] = (digit_records / split).iterdir()
        records = []
        for number, record in enumerate(tfrecord.read(file)):
            values = {k: v.values[0] for k, v in tfrecord.decode_example(record).items()}
            if number < 10:
                wrong = (int(values[features.LABEL_KEY]) + 1 + number % 9) % 10
                values[features.LABEL_KEY] = str(wrong).encode()
                values[features.FILENAME_KEY] = b"wrong-" + values[features.FILENAME_KEY]
            records.append(tfrecord.encode_example(values))
        if split == "train":
            first = records[20]
        else:
            records.append(first)
        tfrecord.write(target / split / "a.tfrecord", records)
    return target


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / review.TABLE, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_all_faults(flipped: Path) -> None:
    result = darkroom("review", str(flipped), "--csv-only", cwd=flipped)
    assert result.returncode == 0, result.stdout
    assert "images       1,618" in result.stdout
    assert "Labels were judged by pixels, which agree with 9" in result.stdout
    found = rows(flipped)
    suspects = [row["path"] for row in found if row["fault"] == review.SUSPECT]
    assert f"{len(suspects):,} suspect label" in result.stdout
    assert sum(path.startswith("wrong-") for path in suspects[:20]) >= 17
    assert {row["split"] for row in found} == {"train", "eval"}
    [leaked] = [row for row in found if row["fault"] == "exact duplicate in another split"]
    assert leaked["other_split"] == "eval"
    assert leaked["suggestion"] == "drop"


def test_limits_end_it_with_a_code_of_their_own(flipped: Path) -> None:
    result = darkroom(
        "review", str(flipped), "--max-suspect-labels=0.001", "--max-near-duplicates=0.5",
        cwd=flipped,
    )  # fmt: skip
    assert result.returncode == 3
    assert re.search(r"darkroom: \d\.\d\d% suspect labels, at most 0\.10% may be\.", result.stdout)
    assert "in two splits, at most" not in result.stdout
    result = darkroom("review", str(flipped), "--max-near-duplicates=0", cwd=flipped)
    assert result.returncode == 3
    assert re.search(r"darkroom: 0\.\d\d% images in two splits, at most 0\.00% may", result.stdout)
    result = darkroom("review", str(flipped), "--max-suspect-labels=0.5", cwd=flipped)
    assert result.returncode == 0
    # What people have found to be right is no fault.
    leaked = {row["path"] for row in rows(flipped) if "in another split" in row["fault"]}
    decided = flipped / corrections.CORRECTIONS_FILE
    corrections.write(decided, [Correction(path, "keep") for path in leaked])
    try:
        result = darkroom("review", str(flipped), "--max-near-duplicates=0", cwd=flipped)
    finally:
        decided.unlink()
    assert result.returncode == 0
    assert leaked == {row["path"] for row in rows(flipped) if "in another split" in row["fault"]}


def test_the_page_is_served_until_it_is_stopped(flipped: Path) -> None:
    with subprocess.Popen(
        command("review", str(flipped), "--no-browser"), stdout=subprocess.PIPE,
        env=environment(), encoding="utf-8",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        port, path = next(
            m.groups() for line in lines if (m := re.search(r"127\.0\.0\.1:(\d+)(/\S+/)", line))
        )
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        connection.request("GET", f"{path}facts.json")
        facts = json.loads(connection.getresponse().read())
        assert facts["classes"] == list("0123456789")
        assert len(facts["faults"]) == len(rows(flipped))
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert f"decisions    {flipped / 'corrections.csv'}" in process.stdout.read()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nowhere"], 1, "nowhere has no images in train/*, eval/*, test/*: expected a folder"),
        (["--config", "own.yaml"], 1, "data.form is uint8: darkroom review looks at encoded"),
        (["x", "--max-suspect-labels", "2"], 2, "2.0 is not in the range 0<=x<=1."),
    ],
)
def test_what_can_not_be_reviewed_is_told(
    arguments: list[str], code: int, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\ndata: {path: data, form: uint8, shape: [2, 2]}\n", encoding="utf-8"
    )
    result = darkroom("review", *arguments, cwd=tmp_path)
    assert result.returncode == code, result.stdout
    assert sentence in result.stdout


def test_compressed_records_and_names_that_are_no_text_are_read(tmp_path: Path) -> None:
    import gzip

    records = []
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8)
        values = {
            features.IMAGE_KEY: encoded(pixels),
            features.LABEL_KEY: b"a",
            features.FILENAME_KEY: b"\xff.png" if seed else b"",
        }
        records.append(tfrecord.encode_example(values))
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.tfrecord.gz").write_bytes(
        gzip.compress(b"".join(map(tfrecord.frame, records)))
    )
    seen = images.look(Source(tmp_path), lambda *_: None)
    assert seen.paths == ["train/a.tfrecord.gz#0", "\udcff.png", "\udcff.png"]
    assert seen.column("height").tolist() == [9, 9, 9]
    expected = tfrecord.decode_example(records[2])[features.IMAGE_KEY].values[0]
    assert seen.encoded(2) == expected
    [block] = seen.resized([1, 2], 4, "RGB", lambda *_: None)
    assert block.shape == (2, 4, 4, 3)
    found = review.review(Source(tmp_path), lambda *_: None)
    assert "Labels weren't judged: fewer than two classes have 5 images." in found.notes
    review.write(found)


def test_photographs_are_judged_by_what_agrees_with_more_labels(tmp_path: Path) -> None:
    photos = [photo._replace(label=photo.label) for photo in reviewed.photos()]
    wrong = photos[5]._replace(label="flower")
    folder = reviewed.write(tmp_path / "records", [*photos[:5], wrong, *photos[6:]])
    found = review.review(Source(folder), lambda *_: None)
    suspect = [fault for fault in found.faults if fault.fault == review.SUSPECT]
    assert suspect[0].path == wrong.name
    assert suspect[0].suggestion == "relabel china"
    assert suspect[0].other_label == "china"
    assert any(note.startswith("Labels were judged by ") for note in found.notes)


def test_several_labels_are_not_judged(tmp_path: Path) -> None:
    photos = [photo._replace(label="a|b") for photo in reviewed.photos()]
    found = review.review(Source(reviewed.write(tmp_path / "r", photos)), lambda *_: None)
    assert found.faults == []
    assert "images have several" in found.notes[0]


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    folder = reviewed.write(tmp_path / "records", reviewed.photos())
    [file] = (folder / "train").iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DarkroomError, match="the file is cut off"):
        images.look(Source(folder), lambda *_: None)


def test_what_is_nothing_of_the_kind_is_an_outlier() -> None:
    """Twenty alike, whose own distances would make them usual."""
    generator = np.random.default_rng(0)
    labels = np.arange(1000) % 4
    points = generator.normal(size=(1000, 16)) + 5 * np.eye(16)[labels]
    points[:20] = generator.normal(size=(20, 16)) * 0.3 + 12 * np.eye(16)[8]
    far = np.flatnonzero(review._distances(points.astype(np.float32), labels) > review._FAR)
    assert far.tolist() == list(range(20))
