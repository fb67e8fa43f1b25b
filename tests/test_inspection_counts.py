import itertools

import numpy as np

from darkroom.components.ingestion.inspection_counts import Sum, Tally


def tally(split: str, *images: tuple[int, bytes]) -> Tally:
    made = Tally()
    for content, label in images:
        made.keep(split, content, label)
    return made.packed()


def test_tallies_add_up_in_any_order() -> None:
    parts = [
        tally("train", (1, b"a"), (2, b"b")),
        tally("train", (1, b"a"), (3, b"c"), (2, b"c")),
        tally("eval", (7, b"a")),
    ]
    parts[0].set_aside("train", "cut off", "x, record 3")
    parts[1].found_twice("train", "y, record 0")
    parts[2].broken("z is cut off.", 5)
    reports = []
    for order in itertools.permutations(parts):
        total = Sum()
        result = total.create_accumulator()
        for part in order:
            result = total.add_input(result, part)
        merged = total.merge_accumulators([result, total.create_accumulator()])
        reports.append(total.extract_output(merged).report(["train", "eval"]))
    for report in reports:
        assert report == {
            "splits": {
                "train": {
                    "images": 5,
                    "duplicates": 2,
                    "with_two_labels": 1,
                    "in_two_splits": 1,
                    "quarantined": {"cut off": 1},
                },
                "eval": {
                    "images": 1,
                    "duplicates": 0,
                    "with_two_labels": 0,
                    "in_two_splits": 0,
                    "quarantined": {},
                },
            },
            "lost": 5,
            "first_quarantined": ["x, record 3: cut off"],
            "first_in_two_splits": ["y, record 0"],
            "first_broken_files": ["z is cut off."],
        }


def test_only_the_first_are_named() -> None:
    made = Tally()
    for number in range(100):
        made.set_aside("train", "empty", str(number))
    report = made.packed().report(["train"])
    assert report["splits"]["train"]["quarantined"] == {"empty": 100}
    assert len(report["first_quarantined"]) == 10


def test_contents_are_of_all_splits() -> None:
    both = tally("train", (5, b"a")).add(tally("eval", (2**62, b"b")))
    assert sorted(both.contents().tolist()) == [5, 2**62]
    assert Tally().contents().dtype == np.int64
