"""What a person sees of a run while it goes on: a line per node, moving while that works."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from rich import progress
from rich.console import Console, Group, RenderableType
from rich.table import Table

from darkroom.components.base.status import Node
from darkroom.components.tuning import trial_table
from darkroom.components.tuning.trial_table import SearchProgress
from darkroom.pipeline import summaries, tables

# Rows of a search's table, and how many of them running trials may take.
_TRIALS_SHOWN, _RUNNING_SHOWN = 10, 7
_SECONDS_BETWEEN_LINES = 1.0  # of progress, in a log


class _Moving(progress.Progress):
    below: RenderableType | None = None  # the bar of the running node

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from filter(None, (self.make_tasks_table(self.tasks), self.below))


class Display(logging.Handler):
    """Shows nodes as they start, move and end; takes progress from the log records of nodes.

    On a terminal the running node has a bar, and a search a table of its trials; else lines.
    """

    def __init__(self, stream: IO[str]):
        super().__init__(level=logging.INFO)
        self.console = Console(file=stream, highlight=False, soft_wrap=True)
        self._progress = _Moving(
            progress.TextColumn("… {task.description:<17}"),
            progress.TimeElapsedColumn(),
            progress.BarColumn(bar_width=20),
            progress.TextColumn("{task.fields[words]}"),
            console=self.console,
            transient=True,
            # Else what libraries print would be shown here, and not go to the log.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: progress.TaskID | None = None
        self.node, self._started = "", 0.0  # of the one that runs, or ran last
        self._printed: set[str] = set()  # trials that have their line

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.console.is_terminal:
            self._progress.stop()

    def started(self, node: str) -> None:
        self._remove()
        self.node, self._started = node, time.monotonic()
        self._task = self._progress.add_task(node, total=None, words="")

    def ended(self, node: str, state: str, result: str = "") -> None:
        self._remove()
        summaries.of_node(self.console, Node(node, state, time.monotonic() - self._started, result))

    def say(self, sentence: str) -> None:
        self.console.print(sentence, markup=False)

    def emit(self, record: logging.LogRecord) -> None:
        """Moves the running node's line or its trials, or prints a warning of it."""
        if (moved := getattr(record, "progress", None)) and self._task is not None:
            _, words, fraction = moved
            total = None if fraction is None else 1.0
            self._progress.update(self._task, total=total, completed=fraction or 0, words=words)
        elif table := getattr(record, "trials", None):
            self._show_trials(table)
        elif record.levelno >= logging.WARNING:
            self.say(f"! {record.getMessage()}")

    def _show_trials(self, table: SearchProgress) -> None:
        if self.console.is_terminal:
            headline = f"  {trial_table.headline(table)}"
            self._progress.below = Group(headline, _search(table, self.console.width))
            if self._task is not None and table["fraction"] is not None:
                self._progress.update(self._task, total=1.0, completed=table["fraction"])
            return
        for trial in table["ended"]:
            if trial.number not in self._printed:
                self._printed.add(trial.number)
                self.say(f"  {trial_table.ending(trial, table)}")

    def _remove(self) -> None:
        self._progress.below = None
        self._printed.clear()
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._progress.refresh()  # or what is printed next would redraw the old table once


class Lines(Display):
    """Progress as lines, for somebody who watches the log of a scheduler without a terminal."""

    _last, _moved = "", 0.0

    def started(self, node: str) -> None:
        super().started(node)
        self.say(f"… {node}")

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        moved = getattr(record, "progress", None)
        is_due = time.monotonic() - self._moved >= _SECONDS_BETWEEN_LINES
        if moved and moved[1] != self._last and is_due:
            self._last, self._moved = moved[1], time.monotonic()
            self.say(f"  {moved[1]}")


@contextlib.contextmanager
def bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars of one job after the other, on a terminal only.

    Each is told what is done, how many, and of how many; then it is gone, so that the terminal is
    free for a question.
    """
    if not console.is_terminal:  # rich would leave an empty line
        yield lambda words, done, total: None
        return
    columns = (
        progress.TextColumn("{task.description:<17}"),
        progress.BarColumn(bar_width=30),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    shown = progress.Progress(*columns, console=console, transient=True)
    tasks: dict[str, progress.TaskID] = {}

    def update(words: str, done: int, total: int) -> None:
        if words not in tasks:
            shown.start()
            tasks[words] = shown.add_task(words)
        shown.update(tasks[words], completed=done, total=total)
        if done >= total:
            shown.remove_task(tasks[words])
            shown.stop()

    try:
        yield update
    finally:
        shown.stop()


def _search(table: SearchProgress, width: int) -> Table:
    best = table["best"]
    lines = [
        tables.Trial(t["trial"], t["values"], t["words"], f"{t['seconds']:.0f} s", style="dim")
        for t in table["running"][:_RUNNING_SHOWN]
    ]
    scored = trial_table.best_first(table["ended"], table["maximize"])
    for row in scored[: _TRIALS_SHOWN - len(lines)]:
        is_best = best is not None and row.number == best.number
        name, style = (f"★ {row.number}", "green") if is_best else (row.number, "")
        score, seconds, epochs = f"{row.score:.4f}", f"{row.seconds:.0f} s", str(row.epochs or "")
        values = row.hyperparameters
        lines.append(tables.Trial(name, values, score, seconds, epochs, style))
    return tables.trials(table["names"], lines, table["objective"], width)
