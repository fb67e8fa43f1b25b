"""What a person sees of a run: a line per node, moving while it works, and a summary."""

import logging
import re
import shlex
import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from darkroom.components.base import results
from darkroom.components.base.remote import is_remote
from darkroom.components.base.status import Node, Status
from darkroom.components.ingestion import outcome as ingestion
from darkroom.components.ingestion.inspection_report import InspectionReport
from darkroom.components.tuning import trial_table
from darkroom.components.tuning.trial_table import SearchProgress
from darkroom.serving.pushed_files import VersionNote

if TYPE_CHECKING:
    from darkroom.pipeline.ingest.records import Summary
    from darkroom.serving.description import Description
    from darkroom.serving.rollout import Version

# More classes than fit a screen are in `darkroom status --json`.
_CLASSES_SHOWN = 20
# Of what was left out so many are named.
_NAMED = 10
# Rows of a search's table while it runs, of them at most so many of running trials; and at its end.
_TRIALS_SHOWN = 10
_RUNNING_SHOWN = 7
_BEST_SHOWN = 5
_GAP = 2  # characters between columns
_SECONDS_BETWEEN_LINES = 1.0  # of progress, in a log
# Of a scan of learning rates.
_SCANNED = ("loss", "val_loss", "accuracy", "val_accuracy")
_MARKS = {
    "complete": "[green]✓[/]",
    "cached": "[cyan]=[/]",
    "failed": "[red]✗[/]",
    "interrupted": "[yellow]![/]",
    "running": "…",
}


class _Moving(Progress):
    """The bar of the running node, and what is known of its parts below it."""

    below: RenderableType = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.below:
            yield self.below


class Display(logging.Handler):
    """Shows nodes as they start, move and end; takes progress from the log records of nodes.

    On a terminal the running node has a bar, and a search a table of its trials; elsewhere every
    node, and every trial, is a line when it is done.
    """

    def __init__(self, stream: IO[str]):
        """Writes to ``stream``, which TFX's own output doesn't go to."""
        super().__init__(level=logging.INFO)
        self.console = Console(file=stream, highlight=False, soft_wrap=True)
        self._progress = _Moving(
            TextColumn("… {task.description:<17}"),
            TimeElapsedColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[words]}"),
            console=self.console,
            transient=True,
        )
        self._task: TaskID | None = None
        self.node, self._started = "", 0.0  # of the one that runs, or ran last
        self._told: set[str] = set()  # trials that have their line

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._progress.stop()

    def started(self, node: str) -> None:
        """A node, or a step such as loading TensorFlow, begins."""
        self._remove()
        self.node, self._started = node, time.monotonic()
        self._task = self._progress.add_task(node, total=None, words="")

    def ended(self, node: str, state: str, result: str = "") -> None:
        """A node is done; its line stays."""
        self._remove()
        print_node(self.console, Node(node, state, time.monotonic() - self._started, result))

    def say(self, sentence: str) -> None:
        """Prints a line."""
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
            self.console.print(f"! {record.getMessage()}", markup=False)

    def _show_trials(self, table: SearchProgress) -> None:
        if self.console.is_terminal:
            self._progress.below = Group(
                f"  {trial_table.headline(table)}", _search(table, self.console.width)
            )
            if self._task is not None and table["fraction"] is not None:
                self._progress.update(self._task, total=1.0, completed=table["fraction"])
            return
        for trial in table["ended"]:
            if trial["trial"] not in self._told:
                self._told.add(trial["trial"])
                self.console.print(f"  {trial_table.ending(trial, table)}", markup=False)

    def _remove(self) -> None:
        self._progress.below = ""
        self._told.clear()
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._progress.refresh()  # or what is printed next would redraw the old table once


class Lines(Display):
    """For the log of a scheduler, where somebody watches who has no terminal: progress as lines."""

    def __init__(self, stream: IO[str]):
        super().__init__(stream)
        self._last, self._moved = "", 0.0

    def started(self, node: str) -> None:
        super().started(node)
        self.say(f"… {node}")

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        moved = getattr(record, "progress", None)
        if moved and moved[1] != self._last and self._is_due():
            self._last, self._moved = moved[1], time.monotonic()
            self.say(f"  {moved[1]}")

    def _is_due(self) -> bool:
        return time.monotonic() - self._moved >= _SECONDS_BETWEEN_LINES


class Bar:
    """A progress bar of one job, on a terminal only."""

    def __init__(self, console: Console):
        self._progress = Progress(
            TextColumn("{task.description:<17}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def update(self, words: str, done: int, total: int) -> None:
        """Says how many of how many are done."""
        if words not in self._tasks:
            self._tasks[words] = self._progress.add_task(words, total=total)
        self._progress.update(self._tasks[words], completed=done, total=total)


def ingested(console: Console, summary: "Summary", target: Path) -> None:
    """The end of an ingest: what is there now, and what was left out."""
    images = {split: count for split, count in summary.images.items() if count}
    splits = {split: dict(summary.labels[split]) for split in images}
    if len({label for labels in splits.values() for label in labels}) <= _CLASSES_SHOWN:
        console.print(_classes(splits))
        console.print()
    totals = ", ".join(f"{split} {count:,}" for split, count in images.items())
    rows = [
        ("images", totals),
        (
            "added",
            f"{summary.added:,}" + (f"; {summary.earlier:,} were there" * bool(summary.earlier)),
        ),
    ]
    if summary.duplicates:
        rows.append(("left out", f"{summary.duplicates:,} files that show what another shows"))
    if summary.ignored:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.ignored.most_common(5))
        rows.append(("no images", kinds))
    if summary.refused:
        reasons = Counter(reason for _, reason in summary.refused)
        words = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        rows.append(("refused", words))
        rows += [("", f"{name}: {reason}") for name, reason in summary.refused[:_NAMED]]
        if len(summary.refused) > _NAMED:
            rows.append(("", f"and {len(summary.refused) - _NAMED:,} more"))
    rows += [("note", sentence) for sentence in summary.notes[:_NAMED]]
    test = " --set data.splits.test='test/*'" if "test" in splits else ""
    several = " --set data.multi_label=true" * summary.multi_label
    folder = shlex.quote(str(target))
    rows.append(("next", f"darkroom run --config FILE --set data.path={folder}{test}{several}"))
    for name, words in rows:
        console.print(f"[bold]{name:<12}[/] {escape(words)}")


def summary(console: Console, status: Status, config_argument: str) -> None:
    """The end of a run: what came in, what was found, whether it is pushed, what to do next."""
    rows = []
    for split, labels in status.examples.items():
        ends = f"{min(labels.values()):,} to {max(labels.values()):,}" if labels else "none"
        total = status.images[split]
        rows.append((f"{split} split", f"{total:,} examples, {len(labels)} classes of {ends}"))
    rows += [("data", sentence) for sentence in _about_data(status)]
    if status.best_trial is not None:
        values = ", ".join(
            f"{k}={trial_table.brief(v)}" for k, v in status.best_trial["values"].items()
        )
        rows.append(("best trial", f"{status.best_trial['score']:.4f} with {values}"))
    failed = [row for row in status.trials if trial_table.failed(row)]
    if failed:
        first = " ".join((failed[0].get("message") or "it doesn't say why").split())
        count = len(status.trials)
        rows.append(("trials", f"{len(failed)} of {count} trials failed; the first: {first}"))
    if status.search_picture is not None:
        rows.append(("search", status.search_picture))
    if status.lr_scan is not None:
        rows.append(("scan", status.lr_scan["words"]))
        rows.append(("", status.lr_scan["picture"]))
    rows += [("training", sentence) for sentence in status.diagnosis]
    if status.metrics:
        names = [name for name in (results.ACCURACY, results.LOSS) if name in status.metrics]
        shown = (f"{name} {trial_table.brief(status.metrics[name])}" for name in names)
        rows.append(("metrics", ", ".join(shown)))
    if status.blessed is not None:
        rows.append(("blessed", "yes" if status.blessed else f"no: {status.reasons[0]}"))
        rows += [("", reason) for reason in status.reasons[1:]]
        rows += [("remark", remark) for remark in status.remarks]
    if status.pushed_version is not None:
        words = f", {status.pushed_as}" * bool(status.pushed_as)
        rows.append(("pushed", f"version {status.pushed_version}{words}"))
        rows.append(("", f"{status.push_path}/{status.pushed_version}"))
    elif status.lr_scan is not None:
        pass  # no run that could have pushed
    elif status.unknown is not None:
        rows.append(("pushed", f"nothing new; {status.unknown}"))
    elif status.versions:
        served = status.stable or status.versions[0]
        beside = f", and {status.canary} as canary" * bool(status.canary)
        rows.append(("pushed", f"nothing new; version {served} stays in place{beside}"))
    else:
        rows.append(("pushed", "nothing"))
    if status.report:
        rows.append(("report", status.report))
    if status.log:
        rows.append(("log", status.log))
    if status.lr_scan is not None:
        best = status.lr_scan["suggestion"]
        chosen = "RATE" if best is None else f"{best:.2g}"
        words = f"darkroom run{config_argument} --set training.learning_rate={chosen}"
        rows.append(("next", words))
    elif status.versions and not is_remote(status.push_path):  # it predicts from a folder
        rows.append(("next", f"darkroom predict{config_argument} IMAGE.png"))
    console.print()
    if status.best_trial is not None:
        console.print(_best_trials(status.trials, console.width))
        console.print()
    if status.lr_scan is not None:
        console.print(_rates(status.lr_scan["points"]))
    if 0 < len(status.examples.get("train", {})) <= _CLASSES_SHOWN:
        console.print(_classes(status.examples))
    for name, words in rows:
        console.print(f"[bold]{name:<12}[/] {escape(words)}")


def _best_trials(rows: list[dict[str, Any]], width: int) -> Table:
    """The first rows of a search's results."""
    found = [(row, trial_table.hyperparameters(row)) for row in rows if not trial_table.failed(row)]
    names = list(dict.fromkeys(name for _, values in found for name in values))
    lines = []
    for row, values in found[:_BEST_SHOWN]:
        seconds = f"{row['seconds']:.1f} s" if "seconds" in row else ""
        # KerasTuner fills its numbers with zeros, to another width for another budget.
        number = row["trial_id"].lstrip("0") or "0"
        lines.append((number, values, f"{row['score']:.4f}", seconds, ""))
    return _trials(names, lines, "score", width)


def _search(table: SearchProgress, width: int) -> Table:
    """The trials that run, and the best of those that ended."""
    best = table["best"]
    lines = [
        (trial["trial"], trial["values"], trial["words"], f"{trial['seconds']:.0f} s", "dim")
        for trial in table["running"][:_RUNNING_SHOWN]
    ]
    for trial in trial_table.best_first(table)[: _TRIALS_SHOWN - len(lines)]:
        is_best = best is not None and trial["trial"] == best["trial"]
        name, style = (f"★ {trial['trial']}", "green") if is_best else (trial["trial"], "")
        score, seconds = f"{trial['score']:.4f}", f"{trial['seconds']:.0f} s"
        lines.append((name, trial["values"], score, seconds, style))
    return _trials(table["names"], lines, table["objective"], width)


def _trials(
    names: list[str],
    lines: list[tuple[str, dict[str, Any], str, str, str]],
    objective: str,
    width: int,
) -> Table:
    """A table of trials with as many hyperparameters as fit.

    Args:
      names: the hyperparameters' keys.
      lines: each trial's name, values, score or what it is doing, seconds, and style.
      objective: the score's name.
      width: characters.
    """
    short = trial_table.short_names(names)
    columns = [("trial", [line[0] for line in lines])]
    ends = [(objective, [line[2] for line in lines]), ("time", [line[3] for line in lines])]
    left = width - sum(_width(column) for column in (*columns, *ends))
    for number, name in enumerate(names):
        cells = [trial_table.brief(line[1][name]) if name in line[1] else "" for line in lines]
        left -= _width((short[name], cells))
        more = f"+ {len(names) - number} more"
        if left < (0 if number == len(names) - 1 else len(more) + _GAP):
            columns.append((more, [""] * len(lines)))
            break
        columns.append((short[name], cells))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for heading, _ in (*columns, *ends):
        table.add_column(escape(heading), justify="right", no_wrap=True)
    for row, line in enumerate(lines):
        cells = [escape(cells[row]) for _, cells in (*columns, *ends)]
        table.add_row(*cells, style=line[4])
    return table


def _width(column: tuple[str, list[str]]) -> int:
    """Characters that a column takes."""
    heading, cells = column
    return max(map(cell_len, (heading, *cells))) + _GAP


def _rates(points: list[dict[str, Any]]) -> Table:
    """Metrics by learning rate."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = [name for name in _SCANNED if any(name in (p["metrics"] or {}) for p in points)]
    for name in ("learning rate", *names):
        table.add_column(name, justify="right")
    for point in points:
        metrics = point["metrics"] or {}
        cells = (
            trial_table.brief(metrics[name]) if name in metrics else "no number" for name in names
        )
        table.add_row(f"{point['rate']:.2g}", *cells)
    return table


def _classes(examples: dict[str, dict[str, int]]) -> Table:
    """Images per class and split."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class", min_width=11)
    for split in examples:
        table.add_column(split, justify="right", min_width=7)
    names = {name for classes in examples.values() for name in classes}
    for name in sorted(names, key=_natural):
        counts = [f"{classes.get(name, 0):,}" for classes in examples.values()]
        table.add_row(escape(name), *counts)
    return table


def _natural(name: str) -> list[tuple[int, str]]:
    """So that 10 comes after 9."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _about_data(status: Status) -> list[str]:
    """What was set aside and what is odd, a sentence each."""
    sentences = []
    if status.inspection is not None:
        sentences = ingestion.sentences(InspectionReport.model_validate(status.inspection))
    if status.quarantine:
        sentences.append(f"The quarantine is {status.quarantine}")
    return sentences + status.anomalies


def description(console: Console, found: "Description") -> None:
    """What a model is, for people."""
    console.print(f"[bold]{escape(found.path)}[/]")
    for signature in found.signatures:
        console.print(f"\n[bold]{escape(signature.name)}[/]")
        for word, tensors in (("takes", signature.inputs), ("gives", signature.outputs)):
            for tensor in tensors:
                shape = ", ".join("any" if size is None else str(size) for size in tensor.shape)
                line = f"  {word:<6}{tensor.name:<14}{tensor.dtype:<9}[{shape}]"
                console.print(line, markup=False)
    rows = [("parameters", f"{found.parameters:,}")]
    if found.classes:
        names = ", ".join(found.classes[:_CLASSES_SHOWN])
        more = len(found.classes) - _CLASSES_SHOWN
        rows.append(
            ("classes", f"{len(found.classes)}: {names}" + f" and {more} more" * (more > 0))
        )
    facts = found.facts
    if facts:
        epochs = f"{facts['epochs']} epochs on {facts['examples']:,} examples"
        rows.append(("network", facts["network"]))
        rows.append(("head", facts.get("head", "softmax")))  # which older models don't say
        rows.append(("training", f"{epochs}, exported as after epoch {facts['exported_epoch']}"))
        metrics = (f"{name} {trial_table.brief(value)}" for name, value in facts["metrics"].items())
        rows.append(("", ", ".join(metrics)))
        chosen = (f"{name}={trial_table.brief(value)}" for name, value in facts["settings"].items())
        rows.append(("settings", ", ".join(chosen)))
    console.print()
    for name, words in rows:
        console.print(f"[bold]{name:<12}[/] {escape(words)}")


def versions(console: Console, found: list["Version"]) -> None:
    """A line for each version that is on disk, newest first."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for name in ("version", "label", "accuracy", "pushed", "run"):
        table.add_column(name, no_wrap=True, justify="right" if name == "accuracy" else "left")
    for version in found:
        note = version.note or VersionNote()
        accuracy = note.metrics.get(results.ACCURACY)
        cells = (
            version.label,
            "" if accuracy is None else f"{accuracy:.4f}",
            _here(note.pushed) if note.pushed else "",
            note.run or "",
        )
        table.add_row(str(version.number), *map(escape, cells))
    console.print(table)


def _here(moment: str) -> str:
    """A time of any zone in that of this machine."""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def print_node(console: Console, node: Node) -> None:
    """The line of a node that is done, or of one that will not be."""
    took = "cached" if node.state == "cached" else f"{node.seconds:.1f} s"
    words = node.result if node.state in ("complete", "cached") else node.state
    mark = _MARKS.get(node.state, "?")
    console.print(f"{mark} {node.id:<17} {took:>8}  {escape(words)}".rstrip())
