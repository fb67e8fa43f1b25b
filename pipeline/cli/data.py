"""The images before a run, and what is expected of them."""

from pathlib import Path

import click

from darkroom.pipeline.command_line import ConfigOptions, configured, console

_USUAL = "(default: 0.2 below 1,000 images, 0.1 below 10,000, else 0.05)"


def _check_share(ctx: click.Context, param: click.Parameter, share: float | None) -> float | None:
    if share is not None and not 0 <= share < 1:
        raise click.BadParameter(f"expected a share from 0 to below 1, found {share:g}")
    return share


@click.command("ingest", short_help="Make TFRecords of image files")
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
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
def ingest(
    source: Path,
    target: Path,
    method: str | None,
    eval_share: float | None,
    test_share: float | None,
    seed: int | None,
    multi_label: bool,
) -> int:
    """Makes TFRecords of image files, in a train, an eval and a test split.

    A second time it adds what is new; an image never changes its split.

    SRC: folder with a folder for each class (or for each split, and in it for each class), or a
    CSV manifest with the columns path, label and, optionally, split.

    DST: folder for the TFRecords.
    """
    from rich.console import Console

    from darkroom.pipeline import display, summaries
    from darkroom.pipeline.ingest import records

    options = records.Options(method, eval_share, test_share, seed, multi_label or None)
    with display.Bar(Console(stderr=True)) as bar:
        summary = records.ingest(source, target, options, bar.update)
    summaries.of_ingest(console(), summary, target)
    return 0


@click.command("schema")
@configured
def print_schema(options: ConfigOptions) -> int:
    """Print the schema of the last run's data, to edit it."""
    config = options.load()
    from darkroom.components.base.errors import DarkroomError
    from darkroom.pipeline.history import status

    path = status.latest(config).schema
    if path is None:
        raise DarkroomError("The last run didn't get to a schema: darkroom status tells why.")
    print(Path(path).read_text(encoding="utf-8"), end="")
    return 0


COMMANDS = (ingest, print_schema)
