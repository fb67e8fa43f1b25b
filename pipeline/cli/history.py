"""What earlier runs came to."""

from pathlib import Path

import click

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline import command_line
from darkroom.pipeline.command_line import ConfigOptions, as_json, configured


@click.command("schema")
@configured
def print_schema(options: ConfigOptions) -> None:
    """Print the schema of the last run's data, to edit it."""
    config = options.load()
    from darkroom.pipeline.history import status

    path = status.latest(config).schema
    if path is None:
        raise DarkroomError("The last run didn't get to a schema: darkroom status tells why.")
    print(Path(path).read_text(encoding="utf-8"), end="")


@click.command("status")
@configured
@as_json
def show_status(options: ConfigOptions, as_json: bool) -> None:
    """What the last run did, and what is pushed."""
    config = options.load()
    from darkroom.pipeline.history import status
    from darkroom.pipeline.running import lock

    alive = lock.alive(config)
    latest = status.latest(config, alive)
    if as_json:
        command_line.print_json(latest.as_dict())
        return
    from darkroom.pipeline import summaries

    shown = command_line.console()
    shown.print(f"{latest.pipeline}, run {latest.run}{', going on' if alive else ''}")
    for node in latest.nodes:
        summaries.of_node(shown, node)
    summaries.of_run(shown, latest, options.again(), config.tuner.ranges)


@click.command("report")
@configured
@click.argument("run", required=False)
@click.option("--open", "in_browser", is_flag=True, help="open the page in a browser")
@click.option("--markdown", "as_markdown", is_flag=True, help="print it, for a pull request")
@as_json
def show_report(
    options: ConfigOptions, run: str | None, in_browser: bool, as_markdown: bool, as_json: bool
) -> None:
    """The report of a run: where it is, or its text.

    RUN: a run's name, or its beginning, or how many reports back it is, 0 for the newest (default:
    the newest that has a report).
    """
    command_line.exclude_each_other(open=in_browser, markdown=as_markdown, json=as_json)
    config = options.load()
    import webbrowser

    from darkroom.components.base import results
    from darkroom.pipeline.history import reports

    folder = reports.find(config, run)
    page, text, facts = results.REPORT_PAGE, results.REPORT_TEXT, results.REPORT_FACTS
    if as_markdown or as_json:
        path = folder / (text if as_markdown else facts)
        print(path.read_text(encoding="utf-8"), end="" if as_markdown else "\n")
        return
    paths = (folder / page, folder / text, folder / facts)
    print(*(path for path in paths if path.exists()), sep="\n")
    if in_browser and not webbrowser.open((folder / page).as_uri()):
        raise DarkroomError("There is no browser to open it with: open the first of these.")


@click.command("compare")
@configured
@click.argument("runs", nargs=2, metavar="RUN RUN", type=click.Path())
@click.option("--markdown", "as_text", is_flag=True, help="for a pull request")
@as_json
def compare(options: ConfigOptions, runs: tuple[str, str], as_text: bool, as_json: bool) -> None:
    """Two runs side by side: what came of them, what differs.

    RUN: as report takes it; or the folder or report.json of any pipeline's report.
    """
    command_line.exclude_each_other(markdown=as_text, json=as_json)
    from darkroom.pipeline.history import comparison, reports

    one, other = (reports.load_named(run, options.load) for run in runs)
    compared = comparison.compare(one, other)
    if as_json:
        command_line.print_json(compared)
    elif as_text:
        print(comparison.markdown(compared), end="")
    else:
        comparison.show(command_line.console(soft_wrap=False), compared)


@click.command("lineage")
@configured
@click.argument("model", required=False, type=click.Path())
@as_json
def show_lineage(options: ConfigOptions, model: str | None, as_json: bool) -> None:
    """What made a model: run, data, settings, code, versions.

    MODEL: number or folder of a pushed version, or id of a model in ML Metadata (default: the
    newest pushed version).
    """
    config = options.load()
    from darkroom.pipeline.history import provenance

    trace = provenance.trace(config, model)
    if as_json:
        command_line.print_json(trace)
    else:
        command_line.console(soft_wrap=False).print(provenance.tree(trace))
