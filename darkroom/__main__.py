"""The command ``darkroom``, above all packages: the pipeline's commands, and Kubeflow's."""

import gc
import os
import sys
from collections.abc import Sequence

from darkroom.serving import interrupts

# Objects that come to be between two looks for those that refer to each other: with Python's own,
# 700, a command that only imports spends a tenth of its time looking.
_COLLECT_AFTER = 100_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      arguments: of the command line; None: those of this process.

    Returns:
      The exit code.
    """
    gc.set_threshold(_COLLECT_AFTER)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")  # looks through all distributions
    interrupts.heed_at_once()
    from darkroom.kubeflow import commands
    from darkroom.pipeline import cli

    return cli.main(arguments, further=commands.COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
