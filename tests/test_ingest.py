"""``darkroom ingest`` as a user calls it, on real image files."""

import contextlib
import csv
import fcntl
import io
import os
import pty
import select
import shutil
import signal
import subprocess
import termios
import time
import zlib
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darkroom.components.base import features, tfrecord
from darkroom.components.ingestion import corrections
from darkroom.components.ingestion.corrections import Correction
from darkroom.pipeline.ingest import index, versions
from darkroom.pipeline.ingest.index import INDEX_FILE
from darkroom.serving import files
from tests.conftest import command, darkroom, encoded, environment


def picture(seed: int, file_format: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return encoded(np.kron(pixels, np.ones((6, 6, 1), np.uint8)), file_format)


def fill(folder: Path, count: int, first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        seed = zlib.crc32(folder.name.encode()) + number
        (folder / f"{number:03}.jpg").write_bytes(picture(seed))


def ingest(cwd: Path, *arguments: str, code: int = 0) -> str:
    result = darkroom("ingest", *arguments, cwd=cwd)
    assert result.returncode == code, result.stdout
    assert "Traceback" not in result.stdout
    output: str = result.stdout
    return output


def records(target: Path) -> dict[str, list[dict[str, Any]]]:
    """Values of the examples of each split."""
    return {
        split: [
            {key: value[0] for key, (_, value) in tfrecord.decode_example(record).items()}
            for file in sorted((target / split).glob("*.tfrecord"))
            for record in tfrecord.read(file)
        ]
        for split in ("train", "eval", "test")
    }


def counts(target: Path) -> dict[str, Counter[str]]:
    return {
        split: Counter(values[features.LABEL_KEY].decode() for values in found)
        for split, found in records(target).items()
    }


def placed(target: Path) -> dict[str, str]:
    """Split by file name."""
    return {
        values[features.FILENAME_KEY].decode(): split
        for split, found in records(target).items()
        for values in found
    }


@pytest.fixture
def fruit(tmp_path: Path) -> Path:
    fill(tmp_path / "fruit" / "fraise fraîche", 40)
    fill(tmp_path / "fruit" / "桃", 20)
    return tmp_path


def test_folders_of_classes(fruit: Path) -> None:
    output = ingest(fruit, "fruit", "records")
    expected = {
        "train": {"fraise fraîche": 24, "桃": 12},  # 20 % each for eval and test below 1,000
        "eval": {"fraise fraîche": 8, "桃": 4},
        "test": {"fraise fraîche": 8, "桃": 4},
    }
    assert counts(fruit / "records") == expected
    for split, values in records(fruit / "records").items():
        for value in values:
            name = value[features.FILENAME_KEY].decode()
            assert value[features.IMAGE_KEY] == (fruit / "fruit" / name).read_bytes(), split
    assert "images       train 36, eval 12, test 12" in output
    lines = [line.split() for line in output.splitlines()]
    assert ["class", "train", "eval", "test"] in lines
    assert ["桃", "12", "4", "4"] in lines
    assert "next         darkroom run --config FILE --set data.path=records" in output


def test_a_second_run_adds_what_is_new_and_moves_nothing(fruit: Path) -> None:
    ingest(fruit, "fruit", "records")
    before = placed(fruit / "records")
    times = {p: p.stat().st_mtime_ns for p in (fruit / "records").rglob("*.tfrecord")}
    output = ingest(fruit, "fruit", "records")
    assert "added        0; 60 were there" in output
    assert {p: p.stat().st_mtime_ns for p in (fruit / "records").rglob("*.tfrecord")} == times
    fill(fruit / "fruit" / "桃", 20, first=100)
    fill(fruit / "fruit" / "poire", 10)
    output = ingest(fruit, "fruit", "records")
    assert "added        30; 60 were there" in output
    after = placed(fruit / "records")
    assert {name: after[name] for name in before} == before
    assert counts(fruit / "records")["eval"] == {"fraise fraîche": 8, "桃": 8, "poire": 2}
    assert sum(map(len, records(fruit / "records").values())) == 90


def test_the_first_division_stands(fruit: Path) -> None:
    ingest(fruit, "fruit", "records", "--eval-share", "0.3", "--test-share", "0", "--seed", "7")
    assert counts(fruit / "records")["eval"] == {"fraise fraîche": 12, "桃": 6}
    assert not counts(fruit / "records")["test"]
    output = ingest(fruit, "fruit", "records", "--eval-share", "0.1", code=1)
    assert "was made with eval_share 0.3, and its images stay as they are" in output
    ingest(fruit, "fruit", "records", "--eval-share", "0.3")


def test_split_folders_stand_and_eval_comes_from_train(fruit: Path) -> None:
    for split in ("TRAIN", "TEST"):
        for label, count in (("NEUTROPHIL", 20), ("MONOCYTE", 10)):
            fill(fruit / "cells" / split / label, count, first=100 * (split == "TEST"))
    ingest(fruit, "cells", "records")
    found = counts(fruit / "records")
    assert found["test"] == {"NEUTROPHIL": 20, "MONOCYTE": 10}
    assert found["eval"] == {"NEUTROPHIL": 4, "MONOCYTE": 2}
    assert found["train"] == {"NEUTROPHIL": 16, "MONOCYTE": 8}


def test_a_manifest_of_several_labels(fruit: Path) -> None:
    photos = sorted(str(path.relative_to(fruit)) for path in fruit.rglob("*.jpg"))
    labels = ["ripe|apple", "apple|ripe", "apple", "", "ripe"] * 12
    with open(fruit / "list.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *zip(photos, labels, strict=True)])
    output = ingest(fruit, "list.csv", "records", "--multi-label")
    found = counts(fruit / "records")
    assert sum(found.values(), Counter()) == {"apple|ripe": 24, "apple": 12, "": 12, "ripe": 12}
    for split in ("eval", "test"):  # a fifth of the 60 images, and of the 36 of each class
        assert abs(found[split].total() - 12) <= 2
        for label in ("apple", "ripe"):
            assert abs(found[split][label] + found[split]["apple|ripe"] - 36 / 5) <= 3
    shown = {line.split()[0]: line.split()[1:] for line in output.splitlines() if line}
    assert sum(map(int, shown["apple"])) == sum(map(int, shown["ripe"])) == 36
    assert output.rstrip().endswith("--set data.multi_label=true")
    # The second time it knows.
    assert "added        0; 60 were there" in ingest(fruit, "list.csv", "records")
    ingest(fruit, "fruit", "classes")
    output = ingest(fruit, "list.csv", "classes", "--multi-label", code=1)
    assert "was made with multi_label False" in output


def test_a_manifest_and_random_shares(fruit: Path) -> None:
    rows = [["path", "label", "split", "camera"]]
    for folder in (fruit / "fruit").iterdir():
        rows += [[str(p.relative_to(fruit)), folder.name, "", "α7"] for p in folder.iterdir()]
    rows.append(["fruit/nowhere.jpg", "桃", "", ""])
    with open(fruit / "list.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    output = ingest(fruit, "list.csv", "records", "--method", "random")
    assert {split: len(found) for split, found in records(fruit / "records").items()} == {
        "train": 36,
        "eval": 12,
        "test": 12,
    }
    assert "refused      1 No such file or directory" in output
    [first, *_] = (fruit / "records" / "train").iterdir()
    assert tfrecord.decode_example(next(tfrecord.read(first)))["camera"][1] == ["α7".encode()]


def test_bad_files_are_named_and_the_others_kept(fruit: Path) -> None:
    bad = fruit / "fruit" / "桃"
    (bad / "text.jpg").write_text("hello")
    (bad / "empty.png").write_bytes(b"")
    (bad / "cut é.jpg").write_bytes(picture(1)[:-40])
    (bad / "dangling.jpg").symlink_to("nowhere")
    (bad / "notes.txt").write_text("no image")
    (bad / "twin.png").write_bytes(encoded(np.asarray(Image.open(bad / "000.jpg")), "PNG"))
    (fruit / "fruit" / "poire").mkdir()
    (fruit / "fruit" / "poire" / "same.jpg").write_bytes((bad / "001.jpg").read_bytes())
    fill(fruit / "fruit" / "kiwi", 2)
    output = ingest(fruit, "fruit", "records")
    assert sum(map(len, records(fruit / "records").values())) == 62
    assert "桃/text.jpg: not an image" in output
    assert "桃/empty.png: empty" in output
    assert "桃/cut é.jpg: cut off" in output
    assert "桃/dangling.jpg: No such file" in output
    assert "no images    1 .txt" in output
    assert "left out     2 files that show what another shows" in output
    assert "shows the same as" in output
    assert "'kiwi' has 2 images, too few to be in every split" in output
    assert counts(fruit / "records")["train"]["kiwi"] == 2


def test_a_file_without_permission(fruit: Path) -> None:
    (fruit / "fruit" / "桃" / "000.jpg").chmod(0)
    # Root may read everything, but not in a user namespace that gives it no rights.
    without_rights = ["unshare", "--user"] if os.geteuid() == 0 else []
    result = subprocess.run(
        [*without_rights, *command("ingest", "fruit", "records")],
        cwd=fruit,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "桃/000.jpg: Permission denied" in result.stdout
    assert sum(map(len, records(fruit / "records").values())) == 59


def test_nothing_to_ingest(fruit: Path) -> None:
    for label in "ab":
        (fruit / "bad" / label).mkdir(parents=True)
        (fruit / "bad" / label / "1.jpg").write_text("no image")
    output = ingest(fruit, "bad", "records", code=1)
    assert "None of 2 images can be used. a/1.jpg: not an image" in output
    assert "is inside" in ingest(fruit, "fruit", "fruit/records", code=1)
    assert "no images found" in ingest(fruit, "records", "other", code=1)
    assert "expected a share" in ingest(fruit, "fruit", "x", "--eval-share", "2", code=2)


def test_what_was_understood_and_left_aside(fruit: Path) -> None:
    (fruit / "fruit").rename(fruit / "train")
    (fruit / "all" / "unlabeled").mkdir(parents=True)
    (fruit / "train").rename(fruit / "all" / "train")
    (fruit / "all" / "unlabeled" / "x.jpg").write_bytes(picture(7))
    shutil.make_archive(str(fruit / "packed"), "zip", fruit, "all")
    output = ingest(fruit, "packed.zip", "records")
    assert "note         all/unlabeled is no class: 1 image left out." in output
    assert "images       train 48, eval 12" in output
    assert "added        0; 60 were there" in ingest(fruit, "packed.zip", "records")
    assert {path.name for path in fruit.iterdir()} == {"all", "packed.zip", "records"}


def test_a_table_elsewhere_with_root(fruit: Path) -> None:
    (fruit / "lists").mkdir()
    names = [f"{label}/{n:03}" for label in ("fraise fraîche", "桃") for n in range(20)]
    rows = ["id;breed", *(f"{name};{name[0]}" for name in names)]
    (fruit / "lists" / "x.csv").write_text("\n".join(rows), encoding="utf-8")
    ingest(fruit, "lists/x.csv", "records", "--root", "fruit")
    assert sum(counts(fruit / "records").values(), Counter()) == {"f": 20, "桃": 20}


def test_a_killed_ingest_leaves_nothing_half_done(tmp_path: Path) -> None:
    for label in "abcd":
        fill(tmp_path / "set" / label, 250)
    target = tmp_path / "records"
    moments = (0.3, 0.6, 0.9, 1.2)
    for moment in moments:
        process = subprocess.Popen(
            command("ingest", "set", "records"),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moment)
        process.send_signal(signal.SIGKILL if moment != moments[1] else signal.SIGINT)
        process.wait()
        whole = (target / INDEX_FILE).exists()
        assert whole or not list(target.glob("*/*.tfrecord"))
    ingest(tmp_path, "set", "records")
    assert sum(map(len, records(target).values())) == 1000
    assert {split: sum(c.values()) for split, c in counts(target).items()} == {
        "train": 800,
        "eval": 100,
        "test": 100,
    }
    assert not (target / ".incoming").exists()


def labels(target: Path) -> dict[str, str]:
    """Label by file name, as the records and the index have it alike."""
    found = {
        values[features.FILENAME_KEY].decode(): values[features.LABEL_KEY].decode()
        for values in chain(*records(target).values())
    }
    rows = index.read_entries(target / index.INDEX_FILE)
    assert {entry.path: entry.label for entry in rows} == found
    assert {entry.path: entry.split for entry in rows} == placed(target)
    assert len(rows) == len(found)
    return found


def mix_up(source: Path) -> None:
    """Five kinds of change in the folder of fruit."""
    (source / "桃" / "000.jpg").rename(source / "fraise fraîche" / "moved.jpg")
    (source / "桃" / "001.jpg").unlink()
    (source / "桃" / "002.jpg").write_bytes(picture(12345))
    (source / "桃" / "003.jpg").rename(source / "桃" / "renamed.jpg")
    (source / "桃" / "added.jpg").write_bytes(picture(54321))


def test_sync_takes_over_what_has_changed(fruit: Path) -> None:
    target = fruit / "records"
    first = ingest(fruit, "fruit", "records")
    before, was = placed(target), labels(target)
    mix_up(fruit / "fruit")

    output = ingest(fruit, "fruit", "records")
    assert "added        1; 58 were there" in output
    told = "fruit has changed since: 1 relabelled, 1 renamed, 1 replaced, 1 removed ("
    assert told in output
    assert "darkroom ingest --sync takes that over" in output
    assert labels(target) == {**was, "桃/added.jpg": "桃"}

    state = placed(target)
    output = ingest(fruit, "fruit", "records", "--sync", code=1)  # nobody is there to agree
    assert "nobody is at a terminal to agree. Say --yes" in output
    assert placed(target) == state

    output = ingest(fruit, "fruit", "records", "--sync", "--yes")
    for row in (
        "added        0; 59 were there",
        "relabelled   1: 1 桃 → fraise fraîche, as fraise fraîche/moved.jpg",
        "renamed      1: 桃/003.jpg → 桃/renamed.jpg",
        "replaced     1: 桃/002.jpg",
        "removed      1: 桃/001.jpg",
    ):
        assert row in output.splitlines()
    after = placed(target)
    names = {str(p.relative_to(fruit / "fruit")) for p in (fruit / "fruit").rglob("*.jpg")}
    assert labels(target) == {name: name.split("/")[0] for name in names}
    for values in chain(*records(target).values()):
        name = values[features.FILENAME_KEY].decode()
        assert values[features.IMAGE_KEY] == (fruit / "fruit" / name).read_bytes()
    moved = {"fraise fraîche/moved.jpg": "桃/000.jpg", "桃/renamed.jpg": "桃/003.jpg"}
    assert {n: s for n, s in after.items() if n not in ("桃/002.jpg", "桃/added.jpg")} == {
        name: before[moved.get(name, name)] for name in names - {"桃/002.jpg", "桃/added.jpg"}
    }
    output = ingest(fruit, "fruit", "records", "--sync", "--yes")
    assert "added        0; 60 were there" in output
    assert placed(target) == after

    # Every version is there, with its name.
    made = sorted(path.name for path in (target / "versions").iterdir())
    assert [name[:5] for name in made] == ["0001-", "0002-", "0003-"]
    assert made[0] in first
    assert made[2] in output
    assert labels(target / "versions" / made[0]) == was
    assert labels(target / "versions" / made[2]) == labels(target)
    output = ingest(fruit, "fruit", f"records/versions/{made[0]}", code=1)
    assert "is a version of" in output


def test_a_class_that_is_renamed(fruit: Path) -> None:
    ingest(fruit, "fruit", "records")
    before = placed(fruit / "records")
    (fruit / "fruit" / "桃").rename(fruit / "fruit" / "peach")
    output = ingest(fruit, "fruit", "records", "--sync", "--yes")
    assert "relabelled   20: 20 桃 → peach, as peach/" in output
    after = placed(fruit / "records")
    assert {name.replace("peach", "桃"): split for name, split in after.items()} == before
    assert set(labels(fruit / "records").values()) == {"peach", "fraise fraîche"}


def test_a_label_that_changes_in_a_manifest(fruit: Path) -> None:
    photos = sorted(str(path.relative_to(fruit)) for path in fruit.rglob("*.jpg"))

    def write(names: list[str], label: str) -> None:
        with open(fruit / "list.csv", "w", encoding="utf-8", newline="") as file:
            others = {photos[0]: label, photos[1]: "leaf"}
            rows = [(name, others.get(name, "fruit")) for name in names]
            csv.writer(file).writerows([("path", "label"), *rows])

    write(photos, "fruit")
    ingest(fruit, "list.csv", "records")
    write(photos[:-1], "stone")
    (fruit / photos[2]).unlink()  # still listed
    output = ingest(fruit, "list.csv", "records")
    assert "1 relabelled, 2 removed" in output
    assert set(labels(fruit / "records").values()) == {"fruit", "leaf"}
    ingest(fruit, "list.csv", "records", "--sync", "--yes")
    expected = dict.fromkeys(photos[3:-1], "fruit") | {photos[0]: "stone", photos[1]: "leaf"}
    assert labels(fruit / "records") == expected


def test_sync_says_that_further_columns_stay(fruit: Path) -> None:
    photos = sorted(str(path.relative_to(fruit)) for path in fruit.rglob("*.jpg"))

    def write(photos: list[str], camera: str) -> None:
        with open(fruit / "list.csv", "w", encoding="utf-8", newline="") as file:
            rows = [(name, name.split("/")[-2], camera) for name in photos]
            csv.writer(file).writerows([("path", "label", "camera"), *rows])

    words = f"camera: of {len(photos) - 1} images that records had already, what further columns"
    write(photos[:-1], "old")
    assert words not in ingest(fruit, "list.csv", "records", "--sync", "--yes")
    write(photos, "new")
    assert words in ingest(fruit, "list.csv", "records", "--sync", "--yes")
    examples = chain.from_iterable(records(fruit / "records").values())
    assert Counter(e["camera"] for e in examples) == {b"old": len(photos) - 1, b"new": 1}


def take_terminal() -> None:
    """Has a process its own terminal, from which Ctrl-C comes; it isn't ignored as in a job."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_who_is_at_a_terminal_is_asked(fruit: Path) -> None:
    ingest(fruit, "fruit", "records")
    (fruit / "fruit" / "桃" / "000.jpg").unlink()
    interrupt = "\x03"
    for answer, code, left in ((interrupt, 130, 60), ("n\n", 1, 60), ("y\n", 0, 59)):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            command("ingest", "fruit", "records", "--sync"),
            cwd=fruit,
            env=environment(),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        os.close(theirs)
        seen, is_answered = b"", False
        with contextlib.suppress(OSError):  # the other end is closed
            while True:
                # A Ctrl-C that comes just before Python waits for a key is only seen at the next.
                is_silent = not select.select([ours], [], [], 1)[0]
                seen += b"" if is_silent else os.read(ours, 4096)
                again = is_silent and answer == interrupt
                if b"[y/N]: " in seen and (again or not is_answered):
                    is_answered = True
                    os.write(ours, answer.encode())
        os.close(ours)
        assert process.wait() == code, seen.decode()
        assert " 1: 桃/000.jpg" in seen.decode()
        assert ("Nothing was changed in" in seen.decode()) is (answer == "n\n")
        assert ("darkroom: interrupted." in seen.decode()) is (answer == interrupt)
        assert len(placed(fruit / "records")) == left


def test_corrections_are_applied_by_every_ingest(fruit: Path) -> None:
    target = fruit / "records"
    ingest(fruit, "fruit", "records")
    before, was = placed(target), labels(target)
    by_split = {split: [n for n, s in before.items() if s == split] for split in before.values()}
    [relabelled, dropped, *_], [held_out, *_] = by_split["train"], by_split["test"]
    same = by_split["eval"][0]
    made = [
        Correction(relabelled, "relabel", "poire"),
        Correction(dropped, "drop"),
        Correction(same, "same", held_out),
        Correction(held_out, "keep"),
        Correction("no/where.jpg", "drop"),
    ]
    corrections.write(fruit / "mine.csv", made)
    output = ingest(fruit, "fruit", "records", "--corrections", "mine.csv")
    assert f"relabelled   1: 1 {was[relabelled]} → poire, as {relabelled}" in output
    assert f"dropped      1: {dropped}" in output
    assert f"joined       1: 1 eval → test, as {same}" in output
    assert "corrections.csv names images that aren't there: no/where.jpg." in output
    expected = {**was, relabelled: "poire"}
    del expected[dropped]
    assert labels(target) == expected
    assert placed(target)[same] == "test"
    assert corrections.read(target / "corrections.csv") == {row.path: row for row in made}

    # They stay, also of files that have other names now.
    (fruit / "fruit" / dropped).rename(fruit / "fruit" / "桃" / "again.jpg")
    for options in ([], ["--sync", "--yes"]):
        ingest(fruit, "fruit", "records", *options)
        assert labels(target) == expected
    assert corrections.read(target / "corrections.csv")["桃/again.jpg"].action == "drop"

    # What is taken back comes back, to its split.
    corrections.write(target / "corrections.csv", made[2:])
    output = ingest(fruit, "fruit", "records")
    assert placed(target)["桃/again.jpg"] == "train"
    assert "1 relabelled" in output  # by the source, against the correction that is gone
    ingest(fruit, "fruit", "records", "--sync", "--yes")
    assert labels(target)[relabelled] == was[relabelled]
    assert placed(target)[same] == "test"  # it never changes its split

    (target / "corrections.csv").write_text("path,action,label\na.jpg,delete,\n")
    output = ingest(fruit, "fruit", "records", code=1)
    assert "corrections.csv, line 2: expected keep, relabel, drop, same" in output
    output = ingest(fruit, "fruit", "records", "--corrections", "none.csv", code=2)
    assert "none.csv" in output


def test_a_second_source_adds_and_takes_nothing_for_a_change(fruit: Path) -> None:
    ingest(fruit, "fruit", "records")
    for label in ("fraise fraîche", "桃"):
        fill(fruit / "more" / label, 10, first=1000)
    for path in (fruit / "more").rglob("*.jpg"):  # cameras count from 0 again
        path.rename(path.with_name(path.name[1:]))
    output = ingest(fruit, "more", "records")
    assert "added        20" in output
    assert "has changed" not in output
    assert "has changed" not in ingest(fruit, "fruit", "records")
    assert sum(map(len, records(fruit / "records").values())) == 80
    output = ingest(fruit, "fruit", "records", "--sync", "--yes")
    assert "removed      20: " in output
    assert sum(map(len, records(fruit / "records").values())) == 60


def test_two_at_once(fruit: Path) -> None:
    (fruit / "records").mkdir()
    with files.locked(fruit / "records" / ".lock"):
        output = ingest(fruit, "fruit", "records", "--sync", "--yes", code=1)
    assert "Another ingest into" in output


def test_an_image_stays_whose_file_was_damaged_since(fruit: Path) -> None:
    ingest(fruit, "fruit", "records")
    (fruit / "fruit" / "桃" / "000.jpg").write_bytes(b"damaged since")
    output = ingest(fruit, "fruit", "records", "--sync", "--yes")
    assert "桃/000.jpg: not an image" in output
    assert len(placed(fruit / "records")) == 60


def test_a_touched_file_is_read_once_more_and_never_again(fruit: Path) -> None:
    ingest(fruit, "fruit", "records")
    version = sorted((fruit / "records" / "versions").iterdir())
    path = fruit / "fruit" / "桃" / "000.jpg"
    os.utime(path, (1, 1))
    output = ingest(fruit, "fruit", "records")
    assert "added        0; 60 were there" in output
    assert "left out" not in output
    [row] = [e for e in index.read_entries(fruit / "records/index.csv") if e.path == "桃/000.jpg"]
    assert row.modified == 10**9
    assert sorted((fruit / "records" / "versions").iterdir()) == version


def test_a_killed_sync_leaves_one_version_or_the_other(tmp_path: Path) -> None:
    target = tmp_path / "records"
    for label in "abcd":
        fill(tmp_path / "set" / label, 100)
    ingest(tmp_path, "set", "records")
    before = placed(target)
    (tmp_path / "set" / "d").rename(tmp_path / "set" / "e")
    for number in range(40):
        (tmp_path / "set" / "a" / f"{number:03}.jpg").unlink()
    fill(tmp_path / "set" / "b", 100, first=500)
    after = {str(p.relative_to(tmp_path / "set")) for p in (tmp_path / "set").rglob("*.jpg")}
    for moment in (0.5, 0.9, 1.3, 1.7, 2.1):
        process = subprocess.Popen(
            command("ingest", "set", "records", "--sync", "--yes"),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moment)
        process.kill()
        process.wait()
        versions.complete(target)  # as a run does
        assert labels(target).keys() in (before.keys(), after)
    ingest(tmp_path, "set", "records", "--sync", "--yes")
    assert labels(target) == {name: name[0] for name in after}
    old = {name.replace("e/", "d/"): split for name, split in placed(target).items()}
    assert {name: split for name, split in old.items() if name in before}.items() <= before.items()
    assert not (target / ".incoming").exists()


def test_photos_of_other_kinds_can_be_read_by_the_graph(tmp_path: Path) -> None:
    from darkroom.components.ingestion.decoding import decode

    for number, file_format in enumerate(("WEBP", "TIFF", "BMP", "GIF", "PNG", "JPEG")):
        folder = tmp_path / "set" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.{file_format.lower()}").write_bytes(picture(number, file_format))
    ingest(tmp_path, "set", "records", "--test-share", "0", "--eval-share", "0")
    values = records(tmp_path / "records")["train"]
    assert len(values) == 6
    for value in values:
        name = value[features.FILENAME_KEY].decode()
        original = Image.open(io.BytesIO((tmp_path / "set" / name).read_bytes())).convert("RGB")
        decoded = decode(value[features.IMAGE_KEY]).numpy()
        assert np.abs(decoded - np.asarray(original)).mean() < 3


def test_photographs_are_made_smaller(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "a"
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    large = Image.radial_gradient("L").resize((300, 200)).convert("RGB")
    large.save(folder / "turned.jpg", exif=exif, quality=95)
    large.save(folder / "large.png")
    large.save(folder / "again.bmp")
    other = tmp_path / "set" / "b"
    other.mkdir()
    large.crop((0, 0, 40, 20)).save(other / "small.jpg")
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*.*")}
    arguments = ("set", "records", "--test-share", "0", "--eval-share", "0")
    output = ingest(tmp_path, *arguments, "--max-side", "60")
    assert "1 files that show what another shows" in output  # PNG and BMP
    values = records(tmp_path / "records")["train"]
    by_name = {Path(v[features.FILENAME_KEY].decode()).name: v[features.IMAGE_KEY] for v in values}
    opened = {name: Image.open(io.BytesIO(content)) for name, content in by_name.items()}
    [lossless] = set(opened) - {"turned.jpg", "small.jpg"}
    found = {name: (image.format, image.size) for name, image in opened.items()}
    assert found == {
        "turned.jpg": ("JPEG", (40, 60)),
        lossless: ("PNG", (60, 40)),
        "small.jpg": ("JPEG", (40, 20)),
    }
    assert by_name["small.jpg"] == before[other / "small.jpg"]
    expected = np.asarray(large.resize((60, 40), Image.Resampling.BOX), float)
    assert np.abs(np.asarray(opened[lossless], float) - expected).mean() < 1
    turned = np.asarray(opened["turned.jpg"].rotate(90, expand=True), float)
    assert np.abs(turned - expected).mean() < 3
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(p.name for p in (tmp_path / "records").iterdir() if p.name[0] == ".") == [".lock"]

    assert "added        0; 3 were there" in ingest(tmp_path, *arguments)
    large.rotate(180).save(folder / "new.png")
    ingest(tmp_path, *arguments)  # as before
    values = records(tmp_path / "records")["train"]
    assert max(max(Image.open(io.BytesIO(v[features.IMAGE_KEY])).size) for v in values) == 60
    output = ingest(tmp_path, *arguments, "--max-side", "90", code=1)
    assert "was made with max_side 60, and its images stay as they are" in output
