import io
import logging
import os
import pty
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from darkroom.components.base import progress
from darkroom.components.training.callbacks import ReportEpochs
from darkroom.components.tuning import trial_table
from darkroom.components.tuning.tuner_results import TrialRow
from darkroom.pipeline.display import Display, Lines


def run_node(display: Display) -> None:
    """A node that fits a model, as the Trainer does."""
    logger = logging.getLogger("darkroom.progress")
    logger.setLevel(logging.INFO)
    logger.addHandler(display)
    try:
        with display:
            display.started("Trainer")
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
            model.compile("sgd", "mse", metrics=["accuracy"])
            images = np.zeros((8, 2))
            reporter = ReportEpochs("Trainer", prefix="trial 2/3, ")
            model.fit(images, images, epochs=2, verbose=0, callbacks=[reporter])
            display._progress.refresh()
            display.ended("Trainer", "complete", "accuracy 0.9 [not markup]")
    finally:
        logger.removeHandler(display)


def test_a_file_gets_a_line_per_node_when_it_is_done() -> None:
    stream = io.StringIO()
    run_node(Display(stream))
    [line] = stream.getvalue().splitlines()
    assert line.startswith("✓ Trainer ")
    assert line.endswith("accuracy 0.9 [not markup]")
    assert "trial" not in line


def test_a_schedulers_log_gets_lines_of_progress_too() -> None:
    stream = io.StringIO()
    run_node(Lines(stream))
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["… Trainer", "  trial 2/3, epoch 1/2"]
    assert lines[-1].startswith("✓ Trainer ")
    assert len(lines) < 8  # not every step


def on_a_terminal(run: Callable[[Display], None]) -> str:
    """What a terminal is sent."""
    master, slave = pty.openpty()
    shown = []

    def read() -> None:
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                return
            if not data:
                return
            shown.append(data.decode("utf-8", "replace"))

    reader = threading.Thread(target=read)
    reader.start()
    with open(slave, "w", encoding="utf-8") as terminal:
        run(Display(terminal))
    reader.join(timeout=30)
    os.close(master)
    return "".join(shown)


def test_on_a_terminal_the_running_node_moves() -> None:
    text = on_a_terminal(run_node)
    assert "trial 2/3, epoch 2/2, loss" in text
    assert "━" in text
    assert "✓" in text


RATE, UNITS = "training.learning_rate", "model.units.0"


def ended(trial: int, score: float | None, message: str | None = None) -> TrialRow:
    values = {RATE: 0.0012 * (trial + 1), UNITS: 128}
    status = "FAILED" if score is None else "COMPLETED"
    return TrialRow(str(trial), score, values, status, seconds=31.2, message=message)


def table(done: list[TrialRow], best: TrialRow | None, more: int = 0) -> dict[str, Any]:
    """What the Tuner tells of its trials."""
    own = [f"own.number_{i}" for i in range(more)]
    running = {"trial": "99", "values": {RATE: 0.01, UNITS: 64} | dict.fromkeys(own, 123456789),
               "words": "epoch 3/8, val_accuracy 0.9531", "seconds": 12.0}  # fmt: skip
    return {
        "names": [RATE, UNITS, *own], "running": [running], "ended": done, "best": best,
        "objective": "val_accuracy", "planned": 30, "elapsed": 192.0, "remaining": 280.4,
        "fraction": 0.25,
        "maximize": best is None or best.score == max(t.score or 0 for t in done),
    }  # fmt: skip


def run_search(*tables: dict[str, Any]) -> Callable[[Display], None]:
    """A Tuner that tells of its trials."""

    def run(display: Display) -> None:
        logger = logging.getLogger("darkroom.progress")
        logger.setLevel(logging.INFO)
        logger.addHandler(display)
        try:
            with display:
                display.started("Tuner")
                for each in tables:
                    progress.trials("Tuner", trial_table.headline(each), each)
                    display._progress.refresh()
                display.ended("Tuner", "complete", "best trial 0.9731 of 3")
        finally:
            logger.removeHandler(display)

    return run


def test_a_file_gets_a_line_per_trial_when_it_has_ended() -> None:
    first = ended(0, 0.9712)
    done = [first, ended(1, 0.9731), ended(2, None, "The loss is\nno number [nan].")]
    stream = io.StringIO()
    run_search(
        table([], None), table(done[:1], first), table(done[:1], first), table(done, done[1])
    )(Display(stream))
    assert stream.getvalue().splitlines()[:3] == [
        "  trial 0  0.9712  31.2 s  learning_rate=0.0012 units.0=128  (best 0.9712)",
        "  trial 1  0.9731  31.2 s  learning_rate=0.0024 units.0=128  (best 0.9731)",
        "  trial 2  failed  31.2 s  learning_rate=0.0036 units.0=128  The loss is no number [nan].",
    ]
    assert stream.getvalue().count("\n") == 4  # and the node's


def plain(text: str) -> str:
    """Without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_what_libraries_print_goes_where_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    def run(display: Display) -> None:
        with display:
            print("Reloading Tuner")
            print("UserWarning: Distutils", file=sys.stderr)

    shown = on_a_terminal(run)
    assert "Tuner" not in shown
    assert "Distutils" not in shown
    said = capsys.readouterr()
    assert "Reloading Tuner" in said.out
    assert "Distutils" in said.err


def test_on_a_terminal_a_search_has_a_table_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = [ended(i, i / 20) for i in range(19)] + [ended(19, None, "It broke.")]
    text = plain(on_a_terminal(run_search(table(done, done[18]))))
    headline = (
        "20 of 30 trials, 1 failed, best 0.9000 (trial 18), elapsed 3:12, remaining about 4:40"
    )
    assert headline in text
    lines = text[text.index(headline) :].splitlines()
    assert lines[1].split() == ["trial", "learning_rate", "units.0", "val_accuracy", "time"]
    assert lines[2].split(maxsplit=3) == [
        "99", "0.01", "64", "epoch 3/8, val_accuracy 0.9531  12 s"
    ]  # fmt: skip
    assert lines[3].split() == ["★", "18", "0.0228", "128", "0.9000", "31", "s"]
    shown = [line.split()[0] for line in lines[4:12]]
    assert shown == [str(i) for i in range(17, 9, -1)]  # ten trials in all, the best first
    last = text[text.rindex("✓ Tuner") :]
    assert "trial 18" not in last
    assert last.rstrip().endswith("best trial 0.9731 of 3")


def test_the_lowest_score_may_be_the_best_one() -> None:
    done = [ended(0, 0.5), ended(1, 0.1), ended(2, 0.3)]
    text = plain(on_a_terminal(run_search(table(done, done[1]))))
    order = re.findall(r"^ *(★ \d|\d) .*31 s", text, re.MULTILINE)
    assert order[:3] == ["★ 1", "2", "0"]


def test_trials_of_several_lengths_say_theirs() -> None:
    rungs = [ended(n, 0.5)._replace(epochs=epochs) for n, epochs in enumerate((3, 3, 8))]
    several = plain(on_a_terminal(run_search(table(rungs, rungs[0]))))
    assert re.search(r"^trial .* epochs +val_accuracy +time", several, re.MULTILINE)
    assert re.search(r"^ *2 .* 8 +0\.5000 +31 s", several, re.MULTILINE)
    alike = plain(on_a_terminal(run_search(table(rungs[:2], rungs[0]))))
    assert "epochs" not in alike


@pytest.mark.parametrize(("columns", "left_out"), [(300, 0), (100, 14), (80, 15), (60, 17)])
def test_a_table_of_many_hyperparameters_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: int, left_out: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = plain(on_a_terminal(run_search(table([ended(0, 0.5)], None, more=15))))
    heading = next(line for line in text.splitlines() if line.startswith("trial "))
    assert len(heading.rstrip()) <= columns
    assert heading.rstrip().endswith("val_accuracy  time")
    assert (f" + {left_out} more " in heading) == bool(left_out)
    assert all(len(line.rstrip()) <= columns for line in text.splitlines() if " 12 s" in line)
