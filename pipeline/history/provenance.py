"""What a model was made of: from the pushed version back to the data, out of ML Metadata."""

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypedDict, TypeVar

from rich.markup import escape
from rich.tree import Tree

from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion import data_version
from darkroom.components.ingestion.inspection_report import InspectionReport
from darkroom.components.pushing import outcome as pushing
from darkroom.components.pushing import version_folder
from darkroom.components.report.facts import flat
from darkroom.components.runs import lineage
from darkroom.components.runs.environment import Environment
from darkroom.components.tuning import outcome as tuning
from darkroom.components.tuning import trial_table
from darkroom.pipeline.config import Config
from darkroom.pipeline.history import status

if TYPE_CHECKING:
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto.metadata_store_pb2 import Artifact, Context, Execution, Value

_NAMED = 5  # versions, in an error message
_LONG = 100  # characters of a setting, of which the rest is left out for people
_COMPARED = {"baseline_model", "previous_statistics"}  # inputs that the model is not made of

Read = TypeVar("Read")


class Data(TypedDict):
    """The examples that a model is made of."""

    read_from: str  # the folder
    version: str | None  # of the images, where darkroom ingest made them
    examples: str  # their artifact's folder
    span: int
    images: dict[str, int]  # of each split
    fingerprints: dict[str, str]  # TFX's own words on the files of each split


class Node(TypedDict):
    """A node that made a part of it."""

    node: str
    run: str
    started: str
    seconds: float
    source: str | None  # fingerprint of its code
    settings: dict[str, object]
    inputs: list[dict[str, str | int]]  # the key, and of the artifact type, id, uri


class Trace(TypedDict):
    """What a model was made of."""

    version: str | None  # None: it wasn't pushed
    pushed_to: str | None  # the same
    model: int  # its id in ML Metadata
    run: str
    data: Data | None
    hyperparameters: Mapping[str, object] | None
    config: dict[str, object] | None  # as it was in that run; None where that didn't note it
    environment: Environment | None  # the same
    nodes: list[Node]  # from the model back to the data


def trace(config: Config, model: str | None = None) -> Trace:
    """What made a model: a version's number or folder, or an id; None: of the newest version.

    Raises a DarkroomError where there is no such model.
    """
    store = status.open_store(config)
    artifact = _artifact(config, store, model)
    nodes = _nodes(store, artifact)
    run = lineage.run_of(store, nodes[0].execution.id)
    # Where several made the same, the latest counts.
    outputs = {key: output for node in reversed(nodes) for key, output in node.made.items()}
    examples, best = outputs.get("examples"), outputs.get("best_hyperparameters")
    notes = lineage.RunNotes.read(run)
    return {
        "version": _text(artifact, "pushed_version") or None,
        "pushed_to": _text(artifact, "pushed_destination") or None,
        "model": outputs["model"].id,
        "run": run.name,
        "data": None if examples is None else _data(nodes, examples),
        "hyperparameters": None if best is None else _readable(tuning.best_hyperparameters, best),
        "config": notes.config,
        "environment": notes.environment,
        "nodes": [_node(store, node) for node in nodes],
    }


def tree(trace: Trace) -> Tree:
    """A trace as a tree for people."""
    version = f"version {trace['version']}" if trace["version"] else f"model {trace['model']}"
    root = Tree(_headed(version, trace["pushed_to"] or ""))
    root.add(_headed("run", trace["run"]))
    if (environment := trace["environment"]) is not None:
        if (git := environment["git"]) is not None:
            words = f"{git['commit']} {git['branch']}".rstrip() + ", changed" * git["changed"]
            root.add(_headed("commit", words))
        versions = (f"{name} {version}" for name, version in environment["versions"].items())
        root.add(_headed("versions", ", ".join(versions)))
    if (data := trace["data"]) is not None:
        branch = root.add(_headed("data", data["read_from"]))
        if data["version"]:
            branch.add(escape(f"version {data['version']}"))
        for split, count in data["images"].items():
            fingerprint = data["fingerprints"].get(split, "")
            branch.add(escape(f"{split}  {count:,} images  {fingerprint}".rstrip()))
        branch.add(escape(f"span {data['span']}"))
    if trace["hyperparameters"]:
        _values(root.add(_headed("hyperparameters", "of the best trial")), trace["hyperparameters"])
    for node in trace["nodes"]:
        words = f"{node['started']}, {node['seconds']:.1f} s"
        if node["run"] != trace["run"]:
            words += f", in run {node['run']}"
        branch = root.add(_headed(node["node"], words))
        for artifact in node["inputs"]:
            branch.add(escape(f"of {artifact['key']} {artifact['id']}  {artifact['uri']}"))
        if node["source"]:
            branch.add(escape(f"code {node['source']}"))
        settings = dict(node["settings"])
        custom = settings.pop("custom_config", {})
        _values(branch, {**settings, **(custom if isinstance(custom, dict) else {})})
    return root


def _headed(head: str, words: str) -> str:
    return f"[bold]{escape(head)}[/]  {escape(words)}".rstrip()


def _artifact(config: Config, store: "MetadataStore", model: str | None) -> "Artifact":
    pushed = lineage.artifacts(store, config.name, "PushedModel")
    places = [(place, one) for one in pushed if (place := pushing.pushed(one)) is not None]
    by_place = dict(reversed(places))  # the newest
    if model is None:
        for version in version_folder.at(config.push_uri).versions():
            if artifact := by_place.get(f"{config.push_uri}/{version}"):
                return artifact
        raise DarkroomError(
            f"No model that {config.name} has pushed is in {config.push_uri}. Run darkroom run "
            "first, or name a model's id."
        )
    models = lineage.artifacts(store, config.name, "Model")
    for place, artifact in [*places, *((str(artifact.id), artifact) for artifact in models)]:
        if model in (os.path.basename(place), place) or os.path.realpath(model) == place:
            return artifact
    versions = filter(None, (_text(artifact, "pushed_version") for artifact in pushed))
    names = ", ".join(sorted(versions, reverse=True)[:_NAMED]) or "none"
    ids = ", ".join(str(artifact.id) for artifact in models[:_NAMED]) or "none"
    raise DarkroomError(
        f"{config.name} has made no model {model}. Name a pushed version (there are {names}), its "
        f"folder, or a model's id (there are {ids})."
    )


def _nodes(store: "MetadataStore", artifact: "Artifact") -> list[lineage.Node]:
    makers: dict[int, lineage.Node] = {}
    waiting, seen = [artifact.id], set[int]()
    while waiting:
        seen.add(number := waiting.pop())
        maker = lineage.maker(store, number)
        if maker is None or maker.execution.id in makers:
            continue
        makers[maker.execution.id] = maker
        for key in maker.inputs.keys() - _COMPARED:
            waiting += [one.id for one in maker.inputs[key] if one.id not in seen]
    return [makers[execution] for execution in sorted(makers, reverse=True)]


def _data(nodes: list[lineage.Node], examples: "Artifact") -> Data:
    reader = next(node for node in nodes if "examples" in node.outputs)
    inspection = _readable(InspectionReport.read, examples.uri)
    # TFX's own words: "split:train,num_files:4,total_bytes:…" in a line of each split.
    text = _text(examples, "input_fingerprint").replace("split:", "")
    splits = inspection.splits if inspection else {}
    return {
        "read_from": _text(reader.execution, "input_base"),
        "version": _text(examples, data_version.PROPERTY) or None,
        "examples": examples.uri,
        "span": examples.custom_properties["span"].int_value,
        "images": {name: split.images for name, split in splits.items()},
        "fingerprints": dict(line.split(",", 1) for line in text.splitlines() if "," in line),
    }


def _node(store: "MetadataStore", node: lineage.Node) -> Node:
    run = lineage.run_of(store, node.execution.id)
    properties = sorted(node.execution.custom_properties.items())
    settings = {name: _unpacked(value) for name, value in properties}
    custom, own = settings.get("custom_config"), None
    if isinstance(custom, dict):
        own = custom.pop("source", None)  # of what it goes on with; in earlier versions of all
        own = (custom.pop("code", None) or {}).get("fingerprint") or own
    return {
        "node": node.id,
        "run": run.name,
        "started": lineage.moment(node.started),
        "seconds": (node.updated - node.started) / 1000,
        "source": own or (lineage.RunNotes.read(run).sources or {}).get(node.id),
        "settings": {name: value for name, value in settings.items() if value not in (None, "")},
        "inputs": lineage.rows(node.inputs),
    }


def _unpacked(value: "Value") -> object:
    """A property of ML Metadata as plain data: TFX packs most as JSON, some of it twice."""
    kind = value.WhichOneof("value")
    if kind != "string_value":
        return getattr(value, kind) if kind in ("int_value", "double_value") else None
    text = value.string_value
    try:
        unpacked = json.loads(text)
    except ValueError:
        return text
    inner = unpacked.get("custom_config") if isinstance(unpacked, dict) else None
    if isinstance(inner, dict) and isinstance(inner.get("value"), str):
        return json.loads(inner["value"])  # of ImportExampleGen, in a protobuf
    return unpacked


def _text(noted: "Artifact | Context | Execution", name: str) -> str:
    return noted.custom_properties[name].string_value if name in noted.custom_properties else ""


def _readable(read: "Callable[[Artifact], Read]", artifact: "Artifact") -> Read | None:
    """What a file of an artifact says; None where it was deleted since."""
    try:
        return read(artifact)
    except (OSError, ValueError):
        return None


def _values(branch: Tree, values: Mapping[str, object]) -> None:
    """A line for each setting, or for each section; ``--json`` has what is empty, or too long."""
    for name, value in values.items():
        if isinstance(value, dict):
            inner = ((key, _brief(each)) for key, each in flat(value).items())
            words = ", ".join(f"{key}={text}" for key, text in inner if text)
        else:
            words = _brief(value)
        if words:
            branch.add(f"{escape(name)}  [dim]{escape(words)}[/]")


def _brief(value: object) -> str:
    if value is None or value in ("", [], {}):
        return ""
    is_list = isinstance(value, list)
    text = json.dumps(value, ensure_ascii=False) if is_list else trial_table.brief(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"
