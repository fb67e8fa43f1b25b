"""The command ``darkroom``, above all packages: the pipeline's commands, and Kubeflow's."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      arguments: of the command line; None: those of this process.

    Returns:
      The exit code.
    """
    try:  # Ctrl-C comes while they are imported, too
        from darkroom.kubeflow import commands
        from darkroom.pipeline import cli
    except KeyboardInterrupt:
        return 130  # errors.INTERRUPTED, which is perhaps not imported yet
    return cli.main(arguments, further=commands.COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
