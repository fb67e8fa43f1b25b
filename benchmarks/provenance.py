"""What a figure is of: the code's commit, and the machine."""

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
GIB = 2**30
_LIBRARIES = (
    "tfx", "tensorflow", "keras", "keras-tuner", "tf-keras", "tensorflow-transform", "apache-beam",
)  # fmt: skip


def commit() -> str:
    """The code's; ``-dirty`` where it was changed since, but for what benchmarks write."""

    def git(*words: str) -> str:
        command = ["git", "-c", "safe.directory=*", "-C", str(REPOSITORY), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        written = (":!benchmarks/results", ":!docs/benchmarks.md")
        changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", *written)
        return git("rev-parse", "HEAD") + ("-dirty" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> dict[str, Any]:
    """Hardware, load and versions, without which the numbers mean nothing."""
    versions = {}
    for library in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[library] = importlib.metadata.version(library)
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "load_average_at_end": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": versions,
    }


def _cpu() -> str:
    with contextlib.suppress(OSError):
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        if model := re.search(r"^model name\s*:\s*(.+)$", info, re.M):
            return model[1]
    return platform.processor() or platform.machine()
