"""The commands of Kubeflow Pipelines, beside ``darkroom.pipeline.cli``'s. Light to import."""

from pathlib import Path

import click

from darkroom.pipeline import command_line
from darkroom.pipeline.command_line import DEFAULT_CONFIG, ConfigOptions, configured


@click.command("compile", short_help="Write the specification that Kubeflow Pipelines runs")
@configured
@click.option(
    "--target", type=click.Choice(["kubeflow"]), default="kubeflow",
    help="what is to run it (kubeflow)",
)  # fmt: skip
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="FILE",
    help="for the YAML (default: NAME-kubeflow.yaml)",
)  # fmt: skip
def compile_pipeline(options: ConfigOptions, target: str, out: Path | None) -> int:
    """Writes the pipeline as Kubeflow Pipelines (from version 2.5) and Vertex AI run it.

    python -m darkroom.kubeflow.run_local runs it here.
    """
    from darkroom.pipeline.recipe import apply as recipe

    config = recipe.applied(options.load(), command_line.aside)
    from darkroom.kubeflow import compile as compiler

    path = out or Path(f"{config.name}-kubeflow.yaml")
    compiler.write(compiler.compiled(config), path)
    print(f"{path}: {config.name} for Kubeflow Pipelines")
    return 0


@click.command("submit")
@configured
@click.option("--host", required=True, metavar="URL", help="of Kubeflow Pipelines")
@click.option(
    "--spec", type=click.Path(path_type=Path), metavar="FILE",
    help="that darkroom compile wrote (default: compile the configuration)",
)  # fmt: skip
@click.option("--namespace", metavar="NAMESPACE", help="of a multi-user installation")
@click.option("--run-name", metavar="NAME", help="(default: the pipeline's)")
@click.option(
    "--recurring", metavar="CRON",
    help="run again and again: seconds, minutes, hours, day, month, weekday, as in 0 0 3 * * *",
)  # fmt: skip
def submit_pipeline(
    options: ConfigOptions,
    host: str,
    spec: Path | None,
    namespace: str | None,
    run_name: str | None,
    recurring: str | None,
) -> int:
    """Run it on Kubeflow Pipelines, once or again and again."""
    import tempfile

    from darkroom.components.base.errors import DarkroomError

    if spec is not None and options.config == DEFAULT_CONFIG:
        raise DarkroomError(
            "--spec: name the configuration beside it, with --config: a run's experiment and "
            "service account are in its section kubeflow."
        )
    config = options.load()
    from darkroom.kubeflow import compile as compiler
    from darkroom.kubeflow import submit
    from darkroom.pipeline.recipe import apply as recipe

    submit.reach(host)  # before seconds of compiling
    with tempfile.TemporaryDirectory() as folder:
        if spec is None:
            spec = Path(folder) / f"{config.name}.yaml"
            compiler.write(compiler.compiled(recipe.applied(config, command_line.aside)), spec)
        submitted = submit.submit(
            spec, host, config.kubeflow, namespace=namespace, name=run_name, cron=recurring
        )
    print(f"{submitted.kind} {submitted.id}\n{submitted.url}")
    return 0


COMMANDS = (compile_pipeline, submit_pipeline)
