"""The command ``darkroom``: a file for each family of its commands.

These files are imported for every command and every ``--help``: what is heavy, a function imports.
"""

import contextlib
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from click.shell_completion import get_completion_class, shell_complete

from darkroom.pipeline.cli import history, model, platforms, review, run
from darkroom.pipeline.command_line import Group, obey

_FAMILIES = (run, review, history, model, platforms)
_OF_ALL = (value for family in _FAMILIES for value in vars(family).values())
COMMANDS = [value for value in _OF_ALL if isinstance(value, click.Command)]
_PROGRAM = "darkroom"


def _print_versions(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    from importlib import metadata

    versions = {}
    for name in ("tfx", "tensorflow", "keras", "apache-beam"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    beside = ", ".join(f"{name} {version}" for name, version in versions.items())
    python = f"Python {platform.python_version()}"
    print(f"{_PROGRAM} {metadata.version('darkroom-tfx')} ({beside or 'without TFX'}, {python})")
    ctx.exit()


_VERSION = click.Option(
    ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_print_versions,
    help="of darkroom, and of what it runs with",
)  # fmt: skip
_COMPLETING = "_DARKROOM_COMPLETE"  # a variable by which the shell asks what may come next


def main(arguments: Sequence[str] | None = None, further: Sequence[click.Command] = ()) -> int:
    """Runs a command, also of ``further`` ones from above this package; returns the exit code."""
    commands = [*COMMANDS, *further, lock, completion]
    group = Group(
        commands={command.name or "": command for command in commands},
        help="From labelled images to a gated, versioned, served model.",
        params=[_VERSION],
        no_args_is_help=False,
    )
    if instruction := os.environ.get(_COMPLETING):
        return shell_complete(group, {}, _PROGRAM, _COMPLETING, instruction)
    code = obey(group, _PROGRAM, arguments)
    if "tensorflow_io" in sys.modules:
        from darkroom.pipeline.running import runner

        runner.leave(code)  # it aborts the interpreter's own end
    return code


@click.command("lock")
def lock() -> None:
    """Print where the versions are that were tested together.

    For pip: pip install 'darkroom-tfx[pipeline]' --constraint "$(darkroom lock)", with Python 3.11
    and --ignore-requires-python, as TFX 1.16 says that it needs an older one, and works with it.
    """
    # TFX 1.16 is the last for these, and what runs on every glibc.
    tfx = "1.16" if sys.version_info < (3, 12) else "1.21"
    print(Path(__file__).absolute().parents[2] / "locks" / f"tfx-{tfx}.txt")


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes words in a shell.

    For bash, put eval "$(darkroom completion bash)" into ~/.bashrc; for zsh the same, with its
    name, into ~/.zshrc; for fish, write it to ~/.config/fish/completions/darkroom.fish.
    """
    script = get_completion_class(shell)
    assert script is not None
    group = click.get_current_context().find_root().command
    print(script(group, {}, _PROGRAM, _COMPLETING).source())
