"""What a command says at its end: of a run, an ingest, a model, its versions."""

import itertools
import shlex
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from darkroom.components.base import remote, results
from darkroom.components.base.status import Node, Status
from darkroom.components.ingestion import outcome as ingestion
from darkroom.components.ingestion.inspection_report import InspectionReport
from darkroom.components.training.model_run import LearningRates, ScannedRate
from darkroom.components.tuning.trial_table import brief
from darkroom.components.tuning.tuner_results import TrialRow
from darkroom.pipeline import tables
from darkroom.serving.pushed_files import VersionNote

if TYPE_CHECKING:
    from darkroom.pipeline.ingest.changes import Change
    from darkroom.pipeline.ingest.records import Summary
    from darkroom.pipeline.review.review import Review
    from darkroom.serving.description import Description
    from darkroom.serving.rollout import Version

_CLASSES_SHOWN = 20  # that fit a screen; `darkroom status --json` has all
_NAMED = 10  # of what was left out
_FIRST = 3  # of the images that change in the same way
_BEST_SHOWN = 5  # of a search's trials
# Of a scan of learning rates.
_SCANNED = ("loss", "val_loss", "accuracy", "val_accuracy", "mae", "val_mae")

_MARKS = {
    "complete": "[green]✓[/]",
    "cached": "[cyan]=[/]",
    "failed": "[red]✗[/]",
    "interrupted": "[yellow]![/]",
    "running": "…",
}

Rows = list[tuple[str, object]]  # a bold word and what there is to say; nothing: no such row


def of_run(
    console: Console, status: Status, config_argument: str, searched: Collection[str] = ()
) -> None:
    """What came in, what was found, whether it is pushed, what to do next.

    ``searched``: the keys in the space of the configuration's search.
    """
    scan = None if status.lr_scan is None else LearningRates.model_validate(status.lr_scan)
    trials = [TrialRow.of(row) for row in status.trials]
    console.print()
    if status.best_trial is not None:
        console.print(_best_trials(trials, console.width))
        console.print()
    if scan is not None:
        console.print(_rates(scan.points))
    if 0 < len(status.examples.get("train", {})) <= _CLASSES_SHOWN:
        console.print(tables.classes(status.examples))
    rows = [*_data(status), *_search(status, trials)]
    command = serve = ""
    if scan is not None and status.lr_scan is not None:
        rows += [("scan", scan.words), ("", status.lr_scan["picture"]), *_training(status)]
        command = f"darkroom run{config_argument} --set {_with_rate(scan.suggestion, searched)}"
    else:
        rows += [*_training(status), *_pushed(status)]
        if status.versions and not remote.is_remote(status.push_path):  # it predicts from a folder
            command = f"darkroom predict{config_argument} {_picture(status.report)}"
            serve = f"darkroom serve{config_argument}"
    rows += [("report", status.report), ("log", status.log), ("next", command), ("", serve)]
    _print(console, rows)


def _picture(report: str | None) -> str:
    """An image that can be asked about: the first example of the report."""
    name = f"{results.EXAMPLE_PICTURE.format(0)}.png"
    path = Path(report or "").parent / results.PICTURES_FOLDER / name
    if report is None or remote.is_remote(report) or not path.is_file():
        return "IMAGE.png"
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _with_rate(rate: float | None, searched: Collection[str]) -> str:
    """A search that has learning rates of its own takes them around the suggested one."""
    key = "training.learning_rate"
    if key not in searched:
        return f"{key}={'RATE' if rate is None else f'{rate:.2g}'}"
    ends = ("MIN", "MAX") if rate is None else (f"{rate / 3:.1e}", f"{rate * 3:.1e}")
    return f"'tuner.space.{key}={{min: {ends[0]}, max: {ends[1]}, sampling: log}}'"


def _data(status: Status) -> Rows:
    rows: Rows = []
    for split, labels in status.examples.items():
        words = f"{status.images[split]:,} examples"
        if labels:
            ends = f"{min(labels.values()):,} to {max(labels.values()):,}"
            words += f", {len(labels)} classes of {ends}"
        rows.append((f"{split} split", words))
    if status.inspection is not None:
        inspection = InspectionReport.model_validate(status.inspection)
        rows += [("data", sentence) for sentence in ingestion.sentences(inspection)]
    quarantine = status.quarantine and f"The quarantine is {status.quarantine}"
    return [*rows, ("data", quarantine), *(("data", sentence) for sentence in status.anomalies)]


def _search(status: Status, trials: list[TrialRow]) -> Rows:
    best, failed = status.best_trial, [trial for trial in trials if trial.failed]
    first = " ".join((failed[0].message or "it doesn't say why").split()) if failed else ""
    return [
        ("best trial", best and f"{best['score']:.4f} with {_values(best['values'].items())}"),
        ("trials", first and f"{len(failed)} of {len(trials)} trials failed; the first: {first}"),
        ("search", status.search_picture),
    ]


def _training(status: Status) -> Rows:
    shown = (results.ACCURACY, results.LOSS, results.MAE, results.R2)
    names = [name for name in shown if name in status.metrics]
    rows: Rows = [("training", sentence) for sentence in status.diagnosis]
    rows.append(("metrics", _values(((n, status.metrics[n]) for n in names), " ")))
    rows.append(("folds", status.cross_validation and f"accuracy {status.cross_validation}"))
    if status.blessed is not None:
        rows.append(("blessed", "yes" if status.blessed else f"no: {status.reasons[0]}"))
        rows += [("", reason) for reason in status.reasons[1:]]
        rows += [("remark", remark) for remark in status.remarks]
    return rows


def _pushed(status: Status) -> Rows:
    if status.pushed_version is not None:
        words = f", {status.pushed_as}" * bool(status.pushed_as)
        folder = f"{status.push_path}/{status.pushed_version}"
        return [("pushed", f"version {status.pushed_version}{words}"), ("", folder)]
    if status.unknown is not None:
        return [("pushed", f"nothing new; {status.unknown}")]
    if status.versions:
        served = status.stable or status.versions[0]
        beside = f", and {status.canary} as canary" * bool(status.canary)
        return [("pushed", f"nothing new; version {served} stays in place{beside}")]
    return [("pushed", "nothing")]


def _best_trials(trials: list[TrialRow], width: int) -> Table:
    finished = [trial for trial in trials if not trial.failed]
    names = list(dict.fromkeys(name for trial in finished for name in trial.hyperparameters))
    rows = []
    for trial in finished[:_BEST_SHOWN]:
        seconds = "" if trial.seconds is None else f"{trial.seconds:.1f} s"
        score, epochs = f"{trial.score:.4f}", str(trial.epochs or "")
        rows.append(tables.Trial(trial.number, trial.hyperparameters, score, seconds, epochs))
    return tables.trials(names, rows, "score", width)


def _rates(points: list[ScannedRate]) -> Table:
    table = tables.plain()
    names = [name for name in _SCANNED if any(name in (p.metrics or {}) for p in points)]
    for name in ("learning rate", *names):
        table.add_column(name, justify="right")
    for point in points:
        metrics = point.metrics or {}
        cells = (brief(metrics[name]) if name in metrics else "no number" for name in names)
        table.add_row(f"{point.rate:.2g}", *cells)
    return table


def of_ingest(
    console: Console, summary: "Summary", target: Path, following: str | None = None
) -> None:
    """What is there now, and what was left out; ``following`` is the command that comes next."""
    images = {split: count for split, count in summary.images.items() if count}
    splits = {split: summary.labels[split] for split in images}
    if 0 < len({label for labels in splits.values() for label in labels}) <= _CLASSES_SHOWN:
        console.print(tables.classes(splits))
        console.print()
    earlier = f"; {summary.earlier:,} were there" * bool(summary.earlier)
    repeated, refused = summary.duplicates, summary.refused
    if following is None:
        folder = shlex.quote(str(target))
        test = " --set data.splits.test='test/*'" if "test" in splits else ""
        several = " --set data.multi_label=true" * summary.multi_label
        if summary.numbers:
            keys = shlex.quote(f"data.target_keys=[{', '.join(summary.numbers)}]")
            several = f" --set data.target=number --set {keys}"
        following = f"darkroom run --config FILE --set data.path={folder}{test}{several}"
    rows: Rows = [
        ("images", ", ".join(f"{split} {count:,}" for split, count in images.items())),
        ("added", f"{summary.added:,}{earlier}"),
        *_changes(change for change in summary.changes if change.kind != "added"),
        ("version", summary.version),
        ("left out", repeated and f"{repeated:,} files that show what another shows"),
        ("no images", _counts(summary.ignored.most_common(5))),
        ("refused", _counts(Counter(reason for _, reason in refused).most_common())),
        *(("", f"{name}: {reason}") for name, reason in refused[:_NAMED]),
        ("", refused[_NAMED:] and f"and {len(refused) - _NAMED:,} more"),
        *(("note", sentence) for sentence in summary.notes[:_NAMED]),
        ("", summary.notes[_NAMED:] and f"and {len(summary.notes) - _NAMED:,} more notes"),
        ("next", following),
    ]
    _print(console, rows)


def of_changes(console: Console, changes: Iterable["Change"]) -> None:
    """What an ingest would change."""
    _print(console, _changes(changes))


def _changes(changes: Iterable["Change"]) -> Rows:
    """A row for each kind, in the order in which they come, with the first of it."""
    rows: Rows = []
    for kind, several in itertools.groupby(changes, lambda change: change.kind):
        names: dict[str, list[str]] = {}  # by what changes
        for change in several:
            names.setdefault(change.words, []).append(change.name)
        total = sum(map(len, names.values()))
        first = ", ".join(names.pop("", [])[:_FIRST])
        alike = sorted(names.items(), key=lambda item: -len(item[1]))
        words = [f"{len(named):,} {what}, as {named[0]}" for what, named in alike]
        rows.append((kind, f"{total:,}: {first}{'; '.join(words[:_FIRST])}"))
    return rows


def of_review(console: Console, review: "Review", table: Path) -> None:
    """How many faults of each kind were found, and where they are listed."""
    counts = Counter(fault.fault for fault in review.faults)
    images = len(review.images.paths) + len(review.images.damaged)
    rows: Rows = [
        ("images", f"{images:,}"),
        *(("faults" if not n else "", f"{count:,} {fault}") for n, (fault, count) in
          enumerate(counts.items())),
        *(("note", sentence) for sentence in review.notes),
        ("table", str(table)),
    ]  # fmt: skip
    _print(console, rows)


def of_model(console: Console, model: "Description") -> None:
    """A model's signatures, size and training."""
    console.print(f"[bold]{escape(model.path)}[/]")
    for signature in model.signatures:
        console.print(f"\n[bold]{escape(signature.name)}[/]")
        for word, tensors in (("takes", signature.inputs), ("gives", signature.outputs)):
            for tensor in tensors:
                shape = ", ".join("any" if size is None else str(size) for size in tensor.shape)
                line = f"  {word:<6}{tensor.name:<14}{tensor.dtype:<9}[{shape}]"
                console.print(line, markup=False)
    names = ", ".join(model.classes[:_CLASSES_SHOWN])
    more = len(model.classes) - _CLASSES_SHOWN
    words = f"{len(model.classes)}: {names}" + f" and {more} more" * (more > 0)
    word = "numbers" if model.facts.get("head") == "regression" else "classes"
    rows: Rows = [("parameters", f"{model.parameters:,}"), (word, model.classes and words)]
    if facts := model.facts:
        epochs = f"{facts['epochs']} epochs on {facts['examples']:,} examples"
        rows += [
            ("network", facts["network"]),
            ("head", facts.get("head", "softmax")),  # which older models don't say
            ("training", f"{epochs}, exported as after epoch {facts['exported_epoch']}"),
            ("", _values(facts["metrics"].items(), " ")),
            ("settings", _values(facts["settings"].items())),
        ]
    console.print()
    _print(console, rows)


def of_versions(console: Console, listed: list["Version"]) -> None:
    """A line for each version that is on disk, newest first."""
    table = tables.plain(tables.APART)
    for name in ("version", "label", "accuracy", "pushed", "run"):
        table.add_column(name, no_wrap=True, justify="right" if name == "accuracy" else "left")
    for version in listed:
        note = version.note or VersionNote()
        accuracy = note.metrics.get(results.ACCURACY)
        share = "" if accuracy is None else f"{accuracy:.4f}"
        pushed = datetime.fromisoformat(note.pushed).astimezone() if note.pushed else None
        moment = f"{pushed:%Y-%m-%d %H:%M:%S}" if pushed else ""
        cells = (str(version.number), version.label, share, moment, note.run or "")
        table.add_row(*map(escape, cells))
    console.print(table)


def _values(named: Iterable[tuple[str, object]], between: str = "=") -> str:
    return ", ".join(f"{name}{between}{brief(value)}" for name, value in named)


def _counts(counted: list[tuple[str, int]]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counted)


def _print(console: Console, rows: Rows) -> None:
    for name, words in rows:
        if words:
            console.print(f"[bold]{name:<12}[/] {escape(str(words))}")


def of_node(console: Console, node: Node) -> None:
    """The line of a node that is done, or of one that will not be."""
    took = "cached" if node.state == "cached" else f"{node.seconds:.1f} s"
    is_done = node.state in ("complete", "cached")
    words = node.result if is_done else ": ".join(filter(None, (node.state, node.result)))
    mark = _MARKS.get(node.state, "?")
    console.print(f"{mark} {node.id:<17} {took:>8}  {escape(words)}".rstrip())
