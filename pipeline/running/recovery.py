"""Before a run: what of the pipeline's folder was moved or lost since the last one."""

from collections import Counter
from collections.abc import Callable

from darkroom.components.base import remote
from darkroom.components.base.errors import DarkroomError
from darkroom.components.runs import inventory
from darkroom.pipeline.config import Config
from darkroom.pipeline.history import status
from darkroom.serving import rollout
from darkroom.serving.pushed_files import RolloutError


def recover(config: Config, say: Callable[[str], None]) -> None:
    """Makes records true to the files, so that a run makes again what it needs; says what it did.

    Raises a DarkroomError where the store or the model config file can't be used.
    """
    root, here = config.pipeline_root, not remote.is_remote(config.base)
    if here:
        try:
            rollout.readdress(config.push_path)
        except RolloutError as error:
            raise DarkroomError(str(error)) from None
    if not config.store.exists() and not (here and remote.exists(root)):
        return  # the first run
    store = config.store.open()
    if moved_from := status.relocate(config, store):
        say(
            f"{config.home} was {moved_from} before. What earlier runs made is there; all nodes "
            "run anew, as the paths of what they read are others now."
        )
    if here and (aside := inventory.set_aside_unknown(store, root)):
        say(
            f"ML Metadata ({config.store.place}) doesn't know some of what is in {root}: it was "
            f"removed, or is an older one. That is in {aside} now; remove it if you don't need it."
        )
    if gone := inventory.mark_gone(store, config.name):
        kinds = Counter(artifact.type for artifact in gone)
        listed = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
        say(
            f"Removed since the last run, in part at least: {listed}. What is needed is made again."
        )
