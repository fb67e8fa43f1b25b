"""The command ``darkroom``, above all packages: the pipeline's commands, and Kubeflow's."""

import sys

from darkroom.kubeflow import commands
from darkroom.pipeline import cli


def main() -> int:
    """Runs a command; returns the exit code."""
    return cli.main(further=commands.COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
