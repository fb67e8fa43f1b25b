"""The reports of runs: where they are, and those of runs that didn't get to their end."""

import copy
import json
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from darkroom.components.base import remote, results
from darkroom.components.base.errors import DarkroomError, explain
from darkroom.components.report.facts import Evaluation, Facts, Failure
from darkroom.components.runs import lineage
from darkroom.pipeline.config import Config
from darkroom.pipeline.history import status

if TYPE_CHECKING:
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto.metadata_store_pb2 import Artifact, Context

_NAMED = 5  # runs, in an error message
_TRIED = ("Rehearsal",)  # its evaluation is of no model
# What the nodes after it call what a node gives under a name that another gives too.
_KEYS = {"ServingValidator": {"blessing": "infra_blessing"}}


def find(config: Config, run: str | None = None) -> Path:
    """The folder of a run's report; raises DarkroomError where there is no such run or report.

    ``run``: the beginning of its name, or how many reports back it is; None: the newest. Runs
    without a report, such as scans of learning rates, don't count.
    """
    store = status.open_store(config)
    contexts = status.runs(config, store)
    if run is None or run.isdecimal():
        reported = filter(None, (_folder(config, store, context) for context in contexts))
        for folder in islice(reported, int(run or 0), None):
            return folder
    if run is None:
        raise DarkroomError(f"No run of {config.name} has a report: darkroom run writes one.")
    named = contexts[_number(config, [context.name for context in contexts], run)]
    if (own := _folder(config, store, named)) is not None:
        return own
    names = [c.name for c in contexts if _folder(config, store, c) is not None]
    raise DarkroomError(f"The run {named.name} has no report. {_there_are(names)}")


def load(folder: Path) -> Facts:
    """Reads a report, by its folder or ``report.json``; raises DarkroomError where that fails."""
    path = folder / results.REPORT_FACTS if folder.is_dir() else folder
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DarkroomError(
            f"{path}: can't be read: {error.strerror}. Name the folder of a report, or a run."
        ) from error
    except ValueError:
        loaded = None
    if not isinstance(loaded, dict) or not {"run", "config", "lineage"} <= set(loaded):
        raise DarkroomError(f"{path}: not a report: expected the report.json that a run writes.")
    if loaded.get("evaluation") is not None:
        loaded["evaluation"] = Evaluation.model_validate(loaded["evaluation"])
    return cast(Facts, loaded)


def load_named(named: str, config: Callable[[], Config]) -> Facts:
    """The facts of a report by its folder or file, or, of ``config()``, as ``find`` takes it."""
    path = Path(named)
    is_path = path.is_file() or (path / results.REPORT_FACTS).exists() or len(path.parts) > 1
    return load(path if is_path else find(config(), named))


def write_unfinished(config: Config, failure: Failure, is_it: "Callable[[Context], bool]") -> str:
    """Writes the report, as far as it got, of the run that ``is_it``; says where, or why not.

    It raises nothing, as what ended the run is what matters.
    """
    try:
        from darkroom.components.report import collector, files

        store = status.open_store(config)
        context = next(filter(is_it, status.runs(config, store)), None)
        if context is None:
            raise DarkroomError("It ended before its first node.")
        run, nodes = context.name, lineage.nodes(store, config.name, context)
        folder = config.unfinished_report(run)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        artifacts = copy.deepcopy(outputs(nodes))
        for artifact in artifacts.values():
            artifact.uri = str(remote.fetch(artifact.uri))
        collected = collector.collect(folder, run, config.reported, artifacts, nodes, failure)
        files.write(collected, folder)
        return f"The report is {folder / results.REPORT_PAGE}"
    except Exception as error:
        return f"The report of what was done could not be written. {explain(error)}"


def outputs(nodes: list[lineage.Node]) -> "dict[str, Artifact]":
    """What the nodes that are done have made, by the keys that the report knows."""
    artifacts: dict[str, Artifact] = {}
    for node in nodes:
        if node.state in lineage.DONE and not node.is_resolver and node.id not in _TRIED:
            keys = _KEYS.get(node.id, {})
            artifacts |= {keys.get(key, key): artifact for key, artifact in node.made.items()}
    return artifacts


def _number(config: Config, names: list[str], run: str) -> int:
    matching = [run] if run in names else [name for name in names if name.startswith(run)]
    if len(matching) > 1:
        raise DarkroomError(f"{run} is the beginning of several runs. {_there_are(matching)}")
    if not matching:
        raise DarkroomError(f"{config.name} has no run {run}. {_there_are(names)}")
    return names.index(matching[0])


def _there_are(names: list[str]) -> str:
    if not names:
        return "No other has one: run darkroom run first."
    more = f" and {len(names) - _NAMED} older ones" if len(names) > _NAMED else ""
    return f"There are {', '.join(names[:_NAMED])}{more}; name one, or 0 for the newest."


def _folder(config: Config, store: "MetadataStore", run: "Context") -> Path | None:
    places = [
        node.made["report"].uri
        for node in lineage.nodes(store, config.name, run)
        if node.state in lineage.DONE and "report" in node.made
    ]
    places.append(str(config.unfinished_report(run.name)))
    written = (uri for uri in places if remote.exists(f"{uri}/{results.REPORT_FACTS}"))
    return next(map(remote.fetch, written), None)
