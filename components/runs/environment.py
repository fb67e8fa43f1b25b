"""What a run was made with: versions, commit, machine. Light to import."""

import contextlib
import os
import platform
import subprocess
from importlib import metadata
from typing import TypedDict

_PACKAGES = (
    "darkroom",
    "tfx",
    "tensorflow",
    "keras",
    "keras-tuner",
    "tensorflow-transform",
    "tensorflow-model-analysis",
    "apache-beam",
)
# Where the name on the package index is another.
_DISTRIBUTIONS = {"darkroom": "darkroom-tfx"}
_PATIENCE = 10  # seconds for git, which may wait for a network disk


class Git(TypedDict):
    """What is checked out."""

    commit: str
    branch: str  # empty where none is checked out
    changed: bool  # whether files of the commit were


class Environment(TypedDict):
    """What reports and ``darkroom lineage`` have, as JSON."""

    versions: dict[str, str]  # by package
    git: Git | None  # of the current folder
    cores: int
    memory_gib: float


def describe() -> Environment:
    """The environment of this process."""
    memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return Environment(versions=versions(), git=git(), cores=os.cpu_count() or 1, memory_gib=memory)


def versions() -> dict[str, str]:
    """The installed versions; without what isn't there."""
    installed = {}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[package] = metadata.version(_DISTRIBUTIONS.get(package, package))
    return {**installed, "python": platform.python_version()}


def git() -> Git | None:
    """What is checked out; None without git, or without a commit in the current folder."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    branch = _git("branch", "--show-current")
    return {"commit": commit, "branch": branch or "", "changed": bool(changes)}


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
