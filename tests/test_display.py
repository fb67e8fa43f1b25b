import io
import logging
import os
import pty
import threading

import keras
import numpy as np

from components import progress
from pipeline.display import Display, summary
from pipeline.status import Status


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
            reporter = progress.ReportEpochs("Trainer", prefix="trial 2/3, ")
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


def test_on_a_terminal_the_running_node_moves() -> None:
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
        run_node(Display(terminal))
    reader.join(timeout=30)
    os.close(master)
    text = "".join(shown)
    assert "trial 2/3, epoch 2/2, loss" in text
    assert "━" in text
    assert "✓" in text


def test_a_summary_without_a_pushed_model_says_so() -> None:
    display = Display(io.StringIO())
    summary(display.console, Status("p", "home", "run"), "")
    text = display.console.file.getvalue()  # type: ignore[attr-defined]
    assert "pushed       nothing" in text
    assert "next" not in text
