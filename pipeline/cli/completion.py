"""Completion in the shell: a script that asks darkroom itself what may come next."""

import click
from click.shell_completion import get_completion_class

from darkroom.pipeline.command_line import command

PROGRAM = "darkroom"
VARIABLE = "_DARKROOM_COMPLETE"  # by which the script asks


@command(
    "completion",
    "print the script that completes the words of a command in a shell",
    "Prints the script that completes commands, options and files in a shell. For bash, put eval "
    '"$(darkroom completion bash)" into ~/.bashrc; for zsh the same, with its name, into ~/.zshrc; '
    "for fish, write it to ~/.config/fish/completions/darkroom.fish.",
    {"SHELL": "which shell"},
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def print_script(shell: str) -> int:
    """Completion for a shell."""
    completion = get_completion_class(shell)
    assert completion is not None
    root = click.get_current_context().find_root().command
    print(completion(root, {}, PROGRAM, VARIABLE).source())
    return 0
