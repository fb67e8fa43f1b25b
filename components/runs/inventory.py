"""ML Metadata's records of artifacts, held against the disk: people move folders, and thin them.

Light to import. What is in a bucket isn't looked for.
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.components.base import remote
from darkroom.components.pushing import outcome as pushing
from darkroom.components.runs import lineage

if TYPE_CHECKING:
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto.metadata_store_pb2 import Artifact

_FILES = "darkroom_files"  # property of an artifact: how many files it was made of


def note_files(store: "MetadataStore", node: lineage.Node) -> None:
    """Notes of what a node has just made how many files it is, by which a loss is seen."""
    artifacts = [one for made in node.outputs.values() for one in made if _is_here(one)]
    for artifact in artifacts:
        artifact.custom_properties[_FILES].int_value = _files(artifact.uri)
    if artifacts:
        store.put_artifacts(artifacts)


def relocate(store: "MetadataStore", pipeline: str, root: str, is_beside: bool) -> str | None:
    """Has records name the folder of artifacts where it is, ``root``; returns where it was.

    ``is_beside``: whether the store is moved with it; else those count as moved that are there.
    None where nothing was moved.
    """
    newest = lineage.newest_artifact(store, pipeline)
    if newest is None or remote.is_remote(root) or newest.uri.startswith(f"{root}/"):
        return None
    moved, before, home = [], None, os.path.dirname(root)
    for artifact in lineage.artifacts(store, pipeline):
        folder, _, rest = artifact.uri.rpartition(f"/{os.path.basename(root)}/")
        here = f"{root}/{rest}"
        if not folder or not _is_here(artifact) or not (is_beside or os.path.exists(here)):
            continue
        if os.path.realpath(artifact.uri) == os.path.realpath(here):
            continue  # another name of the same folder
        artifact.uri, before = here, folder
        for value in artifact.custom_properties.values():
            if value.string_value.startswith(f"{folder}/"):
                value.string_value = home + value.string_value.removeprefix(folder)
        moved.append(artifact)
    if moved:
        store.put_artifacts(moved)
    return before


def mark_gone(store: "MetadataStore", pipeline: str) -> "list[Artifact]":
    """Has records say which artifacts aren't whole any more, and so are none; returns the new ones.

    One that is whole again counts again.
    """
    gone, changed = [], []
    for artifact in lineage.artifacts(store, pipeline):
        if _is_here(artifact) and artifact.state in (artifact.LIVE, artifact.DELETED):
            state = artifact.LIVE if _is_whole(artifact) else artifact.DELETED
            if state != artifact.state:
                gone += [artifact] * (state == artifact.DELETED)
                artifact.state = state
                changed.append(artifact)
    if changed:
        store.put_artifacts(changed)
    return gone


def set_aside_unknown(store: "MetadataStore", root: str) -> Path | None:
    """Moves folders of executions that are still to come out of the way; returns where they are.

    They are there where the store was lost, or is an older one: a node would mix its files with
    them. None where there are none.
    """
    folders = list(_of_executions(root))  # before their numbers: others run beside this
    newest = lineage.newest_execution(store)
    unknown = [folder for folder in folders if int(folder.name) > newest]
    if not unknown:
        return None
    aside = Path(f"{root}-unknown-{time.strftime('%Y%m%d-%H%M%S')}")
    for folder in unknown:
        target = aside / folder.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, target)
    return aside


def _is_here(artifact: "Artifact") -> bool:
    return bool(artifact.uri) and not remote.is_remote(artifact.uri)


def _is_whole(artifact: "Artifact") -> bool:
    noted = artifact.custom_properties.get(_FILES)
    # Some are made of none, such as a Transform's cache where it has nothing to analyse.
    least = noted.int_value if noted else 1
    if not os.path.exists(artifact.uri) or _files(artifact.uri) < least:
        return False
    version = pushing.pushed(artifact) if "pushed" in artifact.custom_properties else None
    return version is None or remote.is_remote(version) or _is_there_or_replaced(Path(version))


def _is_there_or_replaced(version: Path) -> bool:
    """Whether a version wasn't lost: old ones go by themselves when new ones come."""
    numbers = (int(name) for name in remote.names(str(version.parent)) if name.isdecimal())
    return version.is_dir() or any(number > int(version.name) for number in numbers)


def _files(folder: str) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def _of_executions(root: str) -> Iterator[Path]:
    """Folders of artifacts, as TFX names them: by node, key, and number of the execution."""
    if not remote.is_remote(root):
        yield from (path for path in Path(root).glob("*/*/*") if path.name.isdecimal())
