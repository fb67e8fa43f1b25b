"""How darkroom's commands are declared, and what becomes of their errors. Light to import."""

import functools
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from rich.console import Console

    from darkroom.pipeline.config import Config

DEFAULT_CONFIG = "digits"  # that anyone can run: its images come with scikit-learn
_SHIPPED = sorted(path.stem for path in Path(__file__).parent.glob("configs/*.yaml"))

Function = Callable[..., int]  # returns the exit code


class ConfigOptions(NamedTuple):
    """What ``--config`` and ``--set`` say."""

    config: str
    overrides: list[str]

    def load(self) -> "Config":
        """The configuration."""
        from darkroom.pipeline.config import load

        return load(self.config, self.overrides)

    def again(self) -> str:
        """The words, after a space, that name the same pipeline in another command."""
        words = [] if self.config == DEFAULT_CONFIG else ["--config", self.config]
        for override in self.overrides:
            if override.partition("=")[0] in ("root", "name"):
                words += ["--set", override]
        return "".join(f" {shlex.quote(word)}" for word in words)


class Command(click.Command):
    """A command whose help tells of its arguments, and of some options in sections of their own."""

    arguments: Mapping[str, str] = {}  # a sentence on each

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # so that the sentence can say whose help tells more
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = {"Arguments": list(self.arguments.items())}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                section = getattr(parameter, "section", "Options")
                sections.setdefault(section, []).append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class Group(click.Group):
    """Commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not ctx.resilient_parsing:
            from darkroom.components.base.errors import closest

            ctx.fail(f"There is no command {args[0]}.{closest(args[0], list(self.commands))}")
        return super().resolve_command(ctx, args)


class _ConfigFile(click.ParamType):
    """A YAML file, or the name of a shipped configuration."""

    name = "file"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        names = [name for name in _SHIPPED if name.startswith(incomplete)]
        folder, _, beginning = incomplete.rpartition("/")
        files = Path(folder or ("/" if incomplete.startswith("/") else ".")).glob("*.yaml")
        names += sorted(
            f"{incomplete[: len(incomplete) - len(beginning)]}{file.name}"
            for file in files
            if file.name.startswith(beginning)
        )
        # Where nothing fits, the shell offers what it has: other files, and folders.
        return [CompletionItem(name) for name in names] or [CompletionItem("", type="file")]


def command(
    name: str, sentence: str, description: str = "", arguments: Mapping[str, str] | None = None
) -> Callable[[Function], Command]:
    """Makes a command of a function whose parameters click's decorators declare.

    Args:
      name: of the command.
      sentence: what it does, in the list of all commands.
      description: in its own help, where there is more to say.
      arguments: a sentence on each of its arguments.
    """

    def declare(function: Function) -> Command:
        help_text = description or f"{sentence[0].upper()}{sentence[1:]}."
        made = click.command(name, cls=Command, short_help=sentence, help=help_text)(function)
        made.arguments = arguments or {}
        return made

    return declare


def configured(function: Function) -> Function:
    """Gives a command ``--config`` and ``--set``; its function gets a ``ConfigOptions`` first."""
    return _with_config(
        function,
        f"YAML file, or the name of a shipped one: {', '.join(_SHIPPED)} "
        f"(default: {DEFAULT_CONFIG})",
        "override a key, as in training.epochs=3; can be repeated",
        is_required=False,
    )


def configured_by_programs(function: Function) -> Function:
    """The same, for a command that programs start: it has no default configuration."""
    same = "as darkroom run takes it"
    return _with_config(function, same, same, is_required=True)


def _with_config(function: Function, on_config: str, on_set: str, is_required: bool) -> Function:
    @click.option(
        "--config", type=_ConfigFile(), metavar="FILE", required=is_required,
        default=None if is_required else DEFAULT_CONFIG, help=on_config,
    )  # fmt: skip
    @click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=on_set)
    @functools.wraps(function)
    def with_config(config: str, overrides: tuple[str, ...], **others: object) -> int:
        return function(ConfigOptions(config, list(overrides)), **others)

    return with_config


as_json = click.option("--json", "as_json", is_flag=True, help="for programs")


def exclude_each_other(**options: object) -> None:
    """Complains where more than one of some options is used."""
    used = [f"--{name}" for name, value in options.items() if value]
    if len(used) > 1:
        click.get_current_context().fail(f"{' and '.join(used)} exclude each other.")


def obey(group: click.Command, name: str, arguments: Sequence[str] | None = None) -> int:
    """Does what a command line says; what is the user's to mend is a sentence on stderr.

    Args:
      group: the command, or all of them.
      name: of the program.
      arguments: None: those of this process.

    Returns:
      The exit code.
    """
    sys.path.append(os.getcwd())  # the user's own functions; last, so as to shadow nothing
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        with group.make_context(
            name, words, help_option_names=["-h", "--help"], max_content_width=100
        ) as context:
            code: int = group.invoke(context)
        sys.stdout.flush()  # a reader that has left shows here, not at the interpreter's end
        return code
    except click.exceptions.Exit as ended:  # after --help
        return ended.exit_code
    except click.UsageError as error:
        print(f"darkroom: {_usage(error, name)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        from darkroom.components.base.errors import INTERRUPTED

        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from darkroom.components.base.errors import DarkroomError, explain
        from darkroom.serving.predictor import PredictionError

        is_ours = isinstance(error, (DarkroomError, PredictionError))
        print(f"darkroom: {error if is_ours else explain(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1) if is_ours else 1


def _usage(error: click.UsageError, name: str) -> str:
    path = error.ctx.command_path if error.ctx else name
    sentence = error.format_message()
    if type(error) is click.BadParameter and error.param is not None:
        option = isinstance(error.param, click.Option)
        wrong = max(error.param.opts, key=len) if option else error.param.human_readable_name
        sentence = f"{wrong}: {error.message}"
    elif isinstance(error, click.NoSuchOption):
        from darkroom.components.base.errors import closest

        similar = closest(error.option_name, list(error.possibilities or ()))
        sentence = f"There is no option {error.option_name}.{similar}"
    return (
        f"{sentence.rstrip('.')}{'' if sentence.endswith('?') else '.'} {path} --help tells more."
    )


def print_json(value: object) -> None:
    """Prints plain data for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def console(soft_wrap: bool = True) -> "Console":
    """Prints for people; ``soft_wrap`` leaves it to the terminal where long lines go on."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=soft_wrap)
