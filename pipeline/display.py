"""What a person sees of a run: a line per node, moving while it works, and a summary."""

import logging
import time
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from components import results
from pipeline.status import Node, Status

_MARKS = {
    "complete": "[green]✓[/]",
    "cached": "[cyan]=[/]",
    "failed": "[red]✗[/]",
    "interrupted": "[yellow]![/]",
    "running": "…",
}


class Display(logging.Handler):
    """Shows nodes as they start, move and end; takes progress from the log records of nodes.

    On a terminal the running node has a bar; elsewhere every node is a line when it is done.
    """

    def __init__(self, stream: IO[str]):
        """Writes to ``stream``, which TFX's own output doesn't go to."""
        super().__init__(level=logging.INFO)
        self.console = Console(file=stream, highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("… {task.description:<17}"),
            TimeElapsedColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[words]}"),
            console=self.console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._node, self._started = "", 0.0

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
        self._node, self._started = node, time.monotonic()
        self._task = self._progress.add_task(node, total=None, words="")

    def ended(self, node: str, state: str, result: str = "") -> None:
        """A node is done; its line stays."""
        self._remove()
        print_node(self.console, Node(node, state, time.monotonic() - self._started, result))

    def emit(self, record: logging.LogRecord) -> None:
        """Moves the running node's line."""
        if (moved := getattr(record, "progress", None)) and self._task is not None:
            _, words, fraction = moved
            total = None if fraction is None else 1.0
            self._progress.update(self._task, total=total, completed=fraction or 0, words=words)

    def _remove(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def summary(console: Console, status: Status, config_argument: str) -> None:
    """The end of a run: what came in, what was found, whether it is pushed, what to do next."""
    rows = []
    for split, labels in status.examples.items():
        ends = f"{min(labels.values()):,} to {max(labels.values()):,}" if labels else "none"
        total = sum(labels.values())
        rows.append((f"{split} split", f"{total:,} examples, {len(labels)} classes of {ends}"))
    if status.best_trial is not None:
        values = ", ".join(f"{k}={_short(v)}" for k, v in status.best_trial["values"].items())
        rows.append(("best trial", f"{status.best_trial['score']:.4f} with {values}"))
    if status.metrics:
        names = [name for name in (results.ACCURACY, results.LOSS) if name in status.metrics]
        shown = (f"{name} {_short(status.metrics[name])}" for name in names)
        rows.append(("metrics", ", ".join(shown)))
    if status.blessed is not None:
        rows.append(("blessed", "yes" if status.blessed else f"no: {'; '.join(status.reasons)}"))
    if status.pushed_version is not None:
        newest = status.versions[0]
        newer = "" if newest == status.pushed_version else f"; version {newest} is newer"
        rows.append(("pushed", f"version {status.pushed_version}{newer}"))
        rows.append(("", f"{status.push_path}/{status.pushed_version}"))
    elif status.versions:
        rows.append(("pushed", f"nothing new; version {status.versions[0]} stays in place"))
    else:
        rows.append(("pushed", "nothing"))
    if status.log:
        rows.append(("log", status.log))
    if status.versions:
        rows.append(("next", f"darkroom predict{config_argument} IMAGE.png"))
    console.print()
    for name, words in rows:
        console.print(f"[bold]{name:<12}[/] {escape(words)}")


def print_node(console: Console, node: Node) -> None:
    """The line of a node that is done, or of one that will not be."""
    took = "cached" if node.state == "cached" else f"{node.seconds:.1f} s"
    words = node.result if node.state in ("complete", "cached") else node.state
    mark = _MARKS.get(node.state, "?")
    console.print(f"{mark} {node.id:<17} {took:>8}  {escape(words)}".rstrip())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
