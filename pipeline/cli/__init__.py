"""The command ``darkroom``: a file for each family of its commands.

These files are imported for every command and every ``--help``: what is heavy, a function imports.
"""

import os
import sys
from collections.abc import Sequence

import click
from click.shell_completion import shell_complete

from darkroom.pipeline.cli import completion, data, history, model, platforms, run
from darkroom.pipeline.command_line import Group, obey

COMMANDS = (
    *run.COMMANDS,
    *data.COMMANDS,
    *history.COMMANDS,
    *model.COMMANDS,
    *platforms.COMMANDS,
)


def main(arguments: Sequence[str] | None = None, further: Sequence[click.Command] = ()) -> int:
    """Runs a command.

    Args:
      arguments: of the command line; None: those of this process.
      further: commands of packages that stand above this one.

    Returns:
      The exit code.
    """
    commands = (*COMMANDS, *further, completion.print_script)
    group = Group(
        completion.PROGRAM,
        {command.name or "": command for command in commands},
        help="From labelled images to a gated, versioned, served model.",
        no_args_is_help=False,
    )
    if instruction := os.environ.get(completion.VARIABLE):
        return shell_complete(group, {}, completion.PROGRAM, completion.VARIABLE, instruction)
    code = obey(group, completion.PROGRAM, arguments)
    if "tensorflow_io" in sys.modules:
        from darkroom.pipeline.running import runner

        runner.leave(code)  # it aborts the interpreter's own end
    return code
