"""What the newest run did and what it made. Light to import."""

import os
import time
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.components.base import remote, results
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.status import Node, Status
from darkroom.components.nodes import read_outputs
from darkroom.components.pushing import version_folder
from darkroom.components.runs import inventory, lineage
from darkroom.pipeline.config import Config
from darkroom.serving import files
from darkroom.serving.pushed_files import RolloutError

if TYPE_CHECKING:
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto.metadata_store_pb2 import Context

    from darkroom.components.report.facts import Failure

_KILLED = "its process was killed in it; the next run does it again"


def latest(config: Config, alive: bool | Set[str] = False) -> Status:
    """The status of the newest run; raises DarkroomError where nothing has run yet.

    What is marked as running and isn't ``alive``, as ``lock.alive`` tells it, was interrupted.
    """
    store = open_store(config)
    newest = runs(config, store)[0]
    status = Status(config.name, str(config.home), newest.name, push_path=config.push_uri)
    folder = version_folder.at(config.push_uri)
    status.versions = folder.versions()
    logs = (config.home / "logs").glob("*.log")
    status.log = max(map(str, logs), key=os.path.getmtime, default=None)
    try:
        if (current := folder.current()) is not None:
            status.stable = str(current.stable)
            status.canary = None if current.canary is None else str(current.canary)
    except RolloutError as error:
        status.unknown = str(error)
    unfinished = config.unfinished_report(newest.name)
    failure = _failure(unfinished)
    for node in lineage.nodes(store, config.name, newest, alive):
        ended = int(time.time() * 1000) if node.state == "running" else node.updated
        if node.state in lineage.DONE:
            result = read_outputs(status, node.id, node.made)
        elif failure is not None and failure["node"] == node.id:
            result = failure["sentence"]
        else:
            result = _KILLED if node.state == "interrupted" else ""
        status.nodes.append(Node(node.id, node.state, (ended - node.started) / 1000, result))
    page = unfinished / results.REPORT_PAGE
    if status.report is None and page.exists():
        status.report = str(page)
    return status


def _failure(unfinished: Path) -> "Failure | None":
    """What ended a run, by the folder of its report."""
    facts = files.read_json(unfinished / results.REPORT_FACTS) or {}
    failure: Failure | None = facts.get("failure")
    return failure


def open_store(config: Config) -> "MetadataStore":
    """ML Metadata's store; raises DarkroomError where nothing has run yet, or its server fails."""
    remote.use(config.staging)
    if remote.is_remote(config.root):  # TensorFlow reads it, and has much to say
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not config.store.exists():
        raise DarkroomError(f"{config.name} has not run yet: {config.store.path} isn't there.")
    store = config.store.open()
    relocate(config, store)
    return store


def relocate(config: Config, store: "MetadataStore") -> str | None:
    """Has records of a folder that was moved name where it is; returns where it was, or None."""
    is_beside = config.metadata.backend == "sqlite"
    return inventory.relocate(store, config.name, config.pipeline_root, is_beside)


def runs(config: Config, store: "MetadataStore") -> "list[Context]":
    """The contexts of all runs, newest first; raises DarkroomError where nothing has run yet."""
    contexts, place = lineage.runs(store, config.name), config.store.place
    if not contexts:
        raise DarkroomError(f"{config.name} has not run yet: no run of it is in {place}.")
    return contexts
