"""What is wrong with the images: shown, and decided by people."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline import command_line
from darkroom.pipeline.command_line import ConfigOptions, configured

if TYPE_CHECKING:
    from darkroom.pipeline.review.images import Source

_EXCEEDED = 3  # of a limit; a wrong command line has 2
_share = click.FloatRange(0, 1)


@click.command("review", short_help="Find faults of images and labels, and decide about them")
@configured
@click.argument("records", required=False, type=click.Path(path_type=Path))
@click.option("--csv-only", is_flag=True, help="write the table, and show no page")
@click.option("--no-browser", is_flag=True, help="print the page's address, and open no browser")
@click.option("--port", default=0, metavar="PORT", help="of the page (0: any)")
@click.option(
    "--max-suspect-labels", type=_share, metavar="SHARE",
    help=f"show no page; exit with {_EXCEEDED} where more of the labels are suspect",
)  # fmt: skip
@click.option(
    "--max-near-duplicates", type=_share, metavar="SHARE",
    help=f"show no page; exit with {_EXCEEDED} where more of the images are in another split too",
)  # fmt: skip
def review(
    options: ConfigOptions,
    records: Path | None,
    csv_only: bool,
    no_browser: bool,
    port: int,
    max_suspect_labels: float | None,
    max_near_duplicates: float | None,
) -> int:
    """Finds duplicates, suspect labels and bad pictures, and shows them to decide about.

    All faults are in review.csv beside the records, the decisions in corrections.csv, which
    darkroom ingest applies.

    RECORDS: folder that darkroom ingest has made (default: the configuration's data).
    """
    from rich.console import Console

    from darkroom.components.ingestion.findings import SUSPECT
    from darkroom.pipeline import display, summaries
    from darkroom.pipeline.review import faults, server
    from darkroom.pipeline.review import review as reviewing

    source = _source(options, records)
    with display.bar(Console(stderr=True)) as update:
        found = reviewing.review(source, update)
    summaries.of_review(command_line.console(), found, reviewing.write(found))
    findings = found.findings()
    limits = {
        "suspect labels": (findings.share(SUSPECT), max_suspect_labels),
        "images in two splits": (findings.share(*faults.IN_TWO_SPLITS), max_near_duplicates),
    }
    exceeded = False
    for name, (share, limit) in limits.items():
        if limit is not None and share > limit:
            exceeded = True
            command_line.aside(f"darkroom: {share:.2%} {name}, at most {limit:.2%} may be.")
    if csv_only or any(limit is not None for _, limit in limits.values()):
        return _EXCEEDED * exceeded
    with server.Server(found.images, found.faults, port) as page:
        print(f"page         {page.url}\n             Stop with Ctrl-C.", flush=True)
        if not no_browser:
            webbrowser.open(page.url)
        try:
            page.serve_forever()
        except KeyboardInterrupt:
            print(f"\ndecisions    {page.file}")
    return 0


def _source(options: ConfigOptions, records: Path | None) -> "Source":
    from darkroom.pipeline.review.images import Source

    if records is not None:
        return Source(records.absolute())
    config = options.load()
    data = config.data
    if data.bundled is not None:
        from darkroom.pipeline.ingest import digits

        digits.write(Path(config.data_path))
    if data.form != "encoded":
        raise DarkroomError(
            f"data.form is {data.form}: darkroom review looks at encoded images alone."
        )
    return Source(Path(config.data_path), data.splits.patterns, data.image_key, data.label_key)
