"""What darkroom's commands share: their configuration, completion, errors. Light to import."""

import functools
import glob
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from click.shell_completion import CompletionItem

from darkroom.components.base.errors import DarkroomError, closest, explain
from darkroom.serving import interrupts
from darkroom.serving.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from rich.console import Console

    from darkroom.pipeline.config import Config

PROJECT_FILE = "darkroom.yaml"  # of a folder in which commands need no --config
DEFAULT_CONFIG = "digits"  # that anyone can run: its images come with scikit-learn
SHIPPED = sorted(path.stem for path in Path(__file__).parent.glob("configs/*.yaml"))


class ConfigOptions(NamedTuple):
    """What ``--config`` and ``--set`` say."""

    config: str
    overrides: list[str]

    def load(self) -> "Config":
        from darkroom.pipeline.config import load

        return load(self.config, self.overrides)

    def again(self) -> str:
        """The words, after a space, that name the same pipeline in another command."""
        words = [] if self.config == usual_config() else ["--config", self.config]
        for override in self.overrides:
            if override.partition("=")[0] in ("root", "name"):
                words += ["--set", override]
        return "".join(f" {shlex.quote(word)}" for word in words)


def usual_config() -> str:
    """The configuration of who names none: this folder's, or else one that anyone can run."""
    return PROJECT_FILE if os.path.isfile(PROJECT_FILE) else DEFAULT_CONFIG


class Group(click.Group):
    """Commands in the order in which they are given; a typo gets the nearest one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not ctx.resilient_parsing:
            ctx.fail(f"There is no command {args[0]}.{closest(args[0], list(self.commands))}")
        return super().resolve_command(ctx, args)


def _complete_config(ctx: click.Context, param: click.Parameter, word: str) -> list[CompletionItem]:
    names = [name for name in SHIPPED if name.startswith(word)]
    names += sorted(glob.glob(f"{glob.escape(word)}*.yaml"))
    # Where nothing fits, the shell offers what it has: other files, and folders.
    return [CompletionItem(name) for name in names] or [CompletionItem("", type="file")]


def configured(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Gives a command ``--config`` and ``--set``; its function gets a ``ConfigOptions`` first."""

    @click.option(
        "--config", default=usual_config, metavar="FILE", shell_complete=_complete_config,
        help=f"YAML file, or the name of a shipped one: {', '.join(SHIPPED)} "
        f"(default: {PROJECT_FILE} where this folder has one, else {DEFAULT_CONFIG})",
    )  # fmt: skip
    @click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE",
        help="override a key, as in training.epochs=3; can be repeated",
    )  # fmt: skip
    @functools.wraps(function)
    def with_config(config: str, overrides: tuple[str, ...], **others: object) -> int | None:
        return function(ConfigOptions(config, list(overrides)), **others)

    return with_config


as_json = click.option("--json", "as_json", is_flag=True, help="for programs")


def exclude_each_other(**options: object) -> None:
    """Complains where more than one of some options is used."""
    used = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if len(used) > 1:
        click.get_current_context().fail(f"{' and '.join(used)} exclude each other.")


def obey(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> int:
    """Does what a command line says, this process's where there is none; returns the exit code.

    What is the user's to mend is a sentence on stderr. A command's function may return a code.
    """
    _open_streams()
    interrupts.heed()
    sys.path.append(os.getcwd())  # the user's own functions; last, so as to shadow nothing
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        with command.make_context(name, words, None, **settings) as context:
            code: int = command.invoke(context) or 0
        sys.stdout.flush()  # a reader that has left shows here, not at the interpreter's end
        return code
    except click.exceptions.Exit as ended:  # after --help
        return ended.exit_code
    except click.UsageError as error:
        help_of = error.ctx.command_path if error.ctx else name
        if error.ctx is None and isinstance(command, click.Group) and words[0] in command.commands:
            help_of = f"{name} {words[0]}"  # which click 8.1 doesn't tell of an option's value
        print(f"darkroom: {_sentence(error)} {help_of} --help tells more.", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):  # Abort: at a question
        return _interrupted()
    except BrokenPipeError:  # the reader, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if interrupts.came():
            return _interrupted()
        from darkroom.serving.errors import ServingError
        from darkroom.serving.predictor import PredictionError

        is_ours = isinstance(error, (DarkroomError, PredictionError, ServingError))
        print(f"darkroom: {error if is_ours else explain(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1) if is_ours else 1


def _interrupted() -> int:
    print("darkroom: interrupted.", file=sys.stderr)
    return INTERRUPTED


def _open_streams() -> None:
    """Makes up for standard streams that were closed, and for what their encoding lacks."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # or the next file that is opened would be taken for it
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _sentence(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        similar = closest(error.option_name, list(error.possibilities or ()))
        return f"There is no option {error.option_name}.{similar}"
    words = " ".join(error.format_message().split())  # click puts choices on lines of their own
    if type(error) is click.BadParameter and error.param is not None:
        option = isinstance(error.param, click.Option)
        name = max(error.param.opts, key=len) if option else error.param.human_readable_name
        words = f"{name}: {error.message}"
    return words if words.endswith((".", "?")) else f"{words}."


def aside(sentence: str) -> None:
    """Prints for people what isn't a command's result."""
    print(sentence, file=sys.stderr)


def print_json(value: object) -> None:
    """Prints plain data for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def console(soft_wrap: bool = True) -> "Console":
    """Prints for people; ``soft_wrap`` leaves it to the terminal where long lines go on."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=soft_wrap)
