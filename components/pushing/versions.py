"""The versions that are pushed, in a folder or in a bucket. Light to import."""

import os
from pathlib import Path

from darkroom.components.base import remote
from darkroom.serving import rollout
from darkroom.serving.pushed_files import CONFIG_FILE, Rollout, VersionNote

GRAPH = "saved_model.pb"  # pushed to a bucket last: what has one is whole


def versions(base: str) -> list[str]:
    """The whole versions below a model's folder or URI, newest first."""
    if not remote.is_remote(base):  # where a version comes to its place in one step
        return [path.name for path in rollout.versions(Path(base))]
    # What a killed push left has no graph yet.
    whole = [name for name in remote.names(base) if remote.exists(f"{base}/{name}/{GRAPH}")]
    return sorted((name for name in whole if name.isdigit()), key=int, reverse=True)


def current(base: str) -> Rollout | None:
    """Which of them are served; None where nothing says so.

    Raises:
      RolloutError: the model config file is damaged.
    """
    if not remote.is_remote(base):
        return rollout.read(Path(base))
    try:
        text = remote.read(f"{os.path.dirname(base)}/{CONFIG_FILE}").decode()
    except FileNotFoundError:
        return None
    return Rollout.parse(text, base, [int(name) for name in versions(base)])


def note(version: str) -> VersionNote | None:
    """What was written down of the version in a folder or at a URI; None where nothing was."""
    try:
        return VersionNote.parse(remote.read(f"{version}/{VersionNote.PATH}").decode())
    except FileNotFoundError:
        return None
