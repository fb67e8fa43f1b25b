"""Making the data, running the pipeline, here or as another's help, looking at its curves."""

import contextlib
import importlib.util
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline import command_line
from darkroom.pipeline.command_line import ConfigOptions, configured

if TYPE_CHECKING:
    from darkroom.pipeline.ingest.changes import Change

_NOT_BLESSED = 3  # of --require-blessed; a wrong command line has 2
_LEAST_SIDE = 8  # pixels; smaller pictures show nothing
_USUAL = "(default: 0.2 below 1,000 images, 0.1 below 10,000, else 0.05)"


class _Minutes(click.ParamType):
    name = "minutes"

    def convert(self, value: str, param: object, ctx: object) -> float:
        minutes = 0.0
        with contextlib.suppress(ValueError):
            minutes = float(value)
        if not 0 < minutes < math.inf:
            self.fail(f"expected a number above 0, received {value!r}.")
        return minutes


_SOURCE = click.Path(path_type=Path)
_yes = click.option("--yes", is_flag=True, help="don't ask whether what was understood is right")
_minutes = click.option(
    "--minutes", type=_Minutes(), metavar="N", help="how long a run may take: training.minutes"
)


def _grouped(command: Callable[..., int | None]) -> Callable[..., int | None]:
    column = click.option(
        "--group", metavar="COLUMN",
        help="of a table: images with the same value here stay in one split, as those of a patient",
    )  # fmt: skip
    pattern = click.option(
        "--group-pattern", metavar="REGEX",
        help="the same by a part of the files' paths, as 'patient\\d+'",
    )  # fmt: skip
    return column(pattern(command))


@click.command("run")
@configured
@click.argument("source", metavar="[SOURCE]", required=False, type=_SOURCE)
@_grouped
@_yes
@click.option(
    "--require-blessed", is_flag=True,
    help=f"exit with {_NOT_BLESSED} where the run worked and the model was not blessed",
)  # fmt: skip
@_minutes
@click.option(
    "--smoke", "is_smoke", is_flag=True,
    help="try the whole graph on some images, for one epoch, beside the real runs",
)  # fmt: skip
def run_pipeline(
    options: ConfigOptions,
    source: Path | None,
    yes: bool,
    require_blessed: bool,
    minutes: float | None,
    is_smoke: bool,
    **groups: str | None,
) -> int:
    """Run the whole pipeline.

    SOURCE: images, as ingest takes them. The first time they are ingested into records/, and
    darkroom.yaml is written, which all commands in this folder take from then on; later on what
    has changed in them is taken over.
    """
    command_line.exclude_each_other(require_blessed=require_blessed, smoke=is_smoke)
    if source is not None:
        options = _prepare(options, source, minutes, yes, groups)
    elif any(groups.values()):
        click.get_current_context().fail("Groups are of images: say in which SOURCE they are.")
    if minutes is not None:
        options.overrides.append(f"training.minutes={minutes}")
    return _run(options, require_blessed=require_blessed, is_smoke=is_smoke)


@click.command("init")
@configured
@click.argument("source", metavar="SOURCE", type=_SOURCE)
@_grouped
@_yes
@_minutes
def begin_project(
    options: ConfigOptions,
    source: Path,
    minutes: float | None,
    yes: bool,
    **groups: str | None,
) -> None:
    """Make records and a configuration of images, and run nothing yet.

    SOURCE: images, as ingest takes them.
    """
    _prepare(options, source, minutes, yes, groups, following="darkroom run{}")


@click.command("worker", short_help="Help another machine's run to train, or to search")
@configured
def work(options: ConfigOptions) -> None:
    """Helps the run of the same configuration on another machine, which sees the same folder.

    To train, where TF_CONFIG says that this is one of the machines; to search, where
    KERASTUNER_TUNER_ID does. It waits for that to begin, and ends with it.
    """
    config = options.load()
    from darkroom.pipeline import worker

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else process 1 ignores it
    worker.help_chief(config)


@click.command("lr-scan")
@configured
def scan_learning_rates(options: ConfigOptions) -> int:
    """Train shortly at many learning rates, and suggest one."""
    return _run(options, scan=True)


@click.command("tensorboard")
@configured
@click.option("--port", type=int, default=6006, metavar="PORT", help="of the page (6006)")
def show_curves(options: ConfigOptions, port: int) -> None:
    """The curves of all trainings and trials, side by side."""
    config = options.load()
    from darkroom.components.base import remote

    remote.use(config.staging)
    folder = remote.place(config.pipeline_root)
    if not any((folder / node).exists() for node in ("Tuner", "Trainer")):
        raise DarkroomError(f"{config.name} has trained nothing yet: {folder} has no curves.")
    if importlib.util.find_spec("tensorboard") is None:
        raise DarkroomError("Curves need TensorBoard: pip install 'darkroom-tfx[pipeline]'.")
    sys.stdout.flush()
    module = [sys.executable, "-m", "tensorboard.main"]
    os.execv(sys.executable, [*module, "--logdir", str(folder), "--port", str(port)])


@click.command("config")
@configured
def print_config(options: ConfigOptions) -> None:
    """Print the whole configuration, defaults included."""
    import yaml

    from darkroom.pipeline.recipe import apply as recipe

    config = options.load()
    try:
        config = recipe.applied(config, command_line.aside)
    except DarkroomError as error:
        command_line.aside(str(error))
    print(yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True), end="")


def _check_share(ctx: click.Context, param: click.Parameter, share: float | None) -> float | None:
    if share is not None and not 0 <= share < 1:
        raise click.BadParameter(f"expected a share from 0 to below 1, found {share:g}")
    return share


@click.command("ingest", short_help="Make TFRecords of image files")
@click.argument("source", metavar="SRC", type=_SOURCE)
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@click.option(
    "--method", type=click.Choice(["stratified", "random"]),
    help="stratified keeps the shares in every class (the default)",
)  # fmt: skip
@click.option("--eval-share", type=float, metavar="SHARE", callback=_check_share, help=_USUAL)
@click.option("--test-share", type=float, metavar="SHARE", callback=_check_share, help=_USUAL)
@click.option("--seed", type=int, metavar="SEED", help="which images are drawn for which split (0)")
@click.option(
    "--multi-label", is_flag=True,
    help="an image has any number of labels: a manifest's label is none, or several, as in a|b",
)  # fmt: skip
@click.option(
    "--number", "numbers", metavar="COLUMN", multiple=True,
    help="of a table: what is to be learnt, instead of a label; several times for several numbers",
)  # fmt: skip
@_grouped
@click.option(
    "--max-side", type=click.IntRange(min=_LEAST_SIDE), metavar="N",
    help="make larger images so many pixels wide or high, whichever is more (as they are)",
)  # fmt: skip
@click.option(
    "--sync", is_flag=True,
    help="make DST what SRC is now: labels, names, images that are gone or others; asks first",
)  # fmt: skip
@click.option("--yes", "agreed", is_flag=True, help="don't ask")
@click.option(
    "--corrections", "corrected", metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="take these corrections of images into DST/corrections.csv first",
)  # fmt: skip
@click.option(
    "--root", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
    help="of a table: the folder that the images are in (its own)",
)  # fmt: skip
def ingest(
    source: Path,
    target: Path,
    sync: bool,
    agreed: bool,
    corrected: Path | None,
    root: Path | None,
    numbers: tuple[str, ...],
    **options: object,
) -> None:
    """Makes TFRecords of image files, in a train, an eval and a test split.

    A second time it adds what is new, and with --sync takes over whatever has changed; an image
    never changes its split. The corrections in DST/corrections.csv are applied each time.

    SRC: folder with a folder for each class (or for each split, and in it for each class), or with
    labels in a table or in annotations; a zip or tar of one; or a table (CSV, JSON lines, Parquet)
    with the columns path, label and, optionally, split.

    DST: folder for the TFRecords.
    """
    from darkroom.serving import imports

    with imports.without_collections():
        from rich.console import Console

        from darkroom.pipeline import display, summaries
        from darkroom.pipeline.ingest import records

    confirm = _changes_confirmed(target, agreed)
    with display.bar(Console(stderr=True)) as update:
        summary = records.ingest(
            source,
            target,
            {**options, "numbers": list(numbers) or None},
            update,
            root=root,
            sync=sync,
            corrected=corrected,
            confirm=confirm,
        )
    summaries.of_ingest(command_line.console(), summary, target)


def _prepare(
    options: ConfigOptions,
    source: Path,
    minutes: float | None,
    yes: bool,
    groups: dict[str, str | None],
    following: str = "",
) -> ConfigOptions:
    """Makes the project of a source, as far as it isn't there; returns its configuration.

    ``groups`` are ingest's options of them; ``following`` is the command that comes next, with a
    place for what names the configuration.
    """
    if str(source) in command_line.SHIPPED and not source.exists():
        raise DarkroomError(f"{source} is a configuration: darkroom run --config {source}.")
    if options.config == command_line.DEFAULT_CONFIG:
        options = options._replace(config=command_line.PROJECT_FILE)
    from rich.console import Console

    from darkroom.pipeline import display, project, summaries
    from darkroom.pipeline.ingest.listing import describe

    made = project.Project.of(source, Path(options.config))
    if made.is_new:
        words = f"Writes {made.file} and {made.target.name}/."
        command_line.aside("\n".join([f"{source}:", *describe(made.look(**groups)), words]))
        _confirm(yes)
    with display.bar(Console(stderr=True)) as update:
        summary = made.ingest(minutes, groups, update, _changes_confirmed(made.target, yes))
    following = following.format(options.again())
    summaries.of_ingest(command_line.console(), summary, made.target, following)
    return options


def _changes_confirmed(target: Path, yes: bool) -> Callable[["list[Change]"], bool]:
    """What a person says to changes of what is in a target; ``yes`` speaks for them."""

    def confirm(changes: "list[Change]") -> bool:
        if yes:
            return True
        from darkroom.pipeline import summaries

        summaries.of_changes(command_line.console(), changes)
        if not sys.stdin.isatty():
            raise DarkroomError(
                f"Nothing was changed in {target}: above is what would change, and nobody is at a "
                "terminal to agree. Say --yes."
            )
        return click.confirm(f"Change {target} so?")

    return confirm


def _confirm(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise DarkroomError("There is nobody to ask whether this is right: add --yes if it is.")
    if not click.confirm("Go on?", default=True, err=True):
        raise DarkroomError("Nothing was done.")


def _run(
    options: ConfigOptions,
    require_blessed: bool = False,
    scan: bool = False,
    is_smoke: bool = False,
) -> int:
    config = options.load()
    from darkroom.pipeline import display, summaries
    from darkroom.pipeline.running import runner, smoke
    from darkroom.serving import telemetry

    if is_smoke:
        options.overrides.append(f"name={smoke.name(config)}")
        config = options.load()

    runner.heed_signals()
    telemetry.begin("darkroom")
    log, terminal = runner.log_to_file(config)
    shown = display.Display(terminal)

    def run() -> int:
        with shown:
            status = runner.run(config, shown, scan, is_smoke)
        summaries.of_run(shown.console, status, options.again(), config.tuner.ranges)
        # The summary has said why.
        return _NOT_BLESSED if require_blessed and status.blessed is not True else 0

    return runner.leave(runner.attempt(run, shown, log))
