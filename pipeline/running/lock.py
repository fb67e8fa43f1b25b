"""Who may run in a pipeline's folder: one ``darkroom run``, or nodes beside each other."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.config import Config
from darkroom.serving import files

_PATIENCE = 1.0  # seconds: who looks whether a lock is held, holds it for a moment


@contextmanager
def alone(config: Config) -> Iterator[None]:
    """Holds the pipeline; raises DarkroomError where another run goes on, or a node of one."""
    with ExitStack() as held:
        try:
            _take(held, config.home / "lock", patience=_PATIENCE)
        except files.Locked as error:
            raise DarkroomError(
                f"Another run of {config.name} is going on (process {error.holder}). Wait for it, "
                "or give this one another root or name."
            ) from None
        yield


@contextmanager
def beside(config: Config, node: str, say: Callable[[str], None]) -> Iterator[None]:
    """Holds a node, beside others; says where it waits for the same one, or for a whole run."""
    own = config.home / "nodes" / node
    own.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        for path, shared, who in ((config.home / "lock", True, config.name), (own, False, node)):
            try:
                _take(held, path, shared, _PATIENCE)
            except files.Locked as error:
                holder = f"process {error.holder}"
                say(f"Another run of {who} is going on ({holder}): waiting for its end.")
                _take(held, path, shared)
        yield


def alive(config: Config) -> bool | set[str]:
    """What goes on now: True for ``darkroom run``; else the ids of nodes that others started."""
    if files.is_locked(config.home / "lock"):
        return True
    return {path.name for path in (config.home / "nodes").glob("*") if files.is_locked(path)}


def _take(held: ExitStack, path: Path, shared: bool = False, patience: float | None = None) -> None:
    try:
        held.enter_context(files.locked(path, shared=shared, patience=patience))
    except OSError as error:
        raise DarkroomError(
            f"{path} can't be locked: {error.strerror}. Set root, or local_root where root is in a "
            "bucket, to a folder of a disk that has locks."
        ) from error
