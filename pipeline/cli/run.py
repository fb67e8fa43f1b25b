"""Running the pipeline, here or as another machine's help, and looking at its curves."""

import os
import signal
import sys

import click

from darkroom.pipeline.command_line import ConfigOptions, configured

_NOT_BLESSED = 3  # of --require-blessed; a wrong command line has 2


@click.command("run")
@configured
@click.option(
    "--require-blessed", is_flag=True,
    help=f"exit with {_NOT_BLESSED} where the run worked and the model was not blessed",
)  # fmt: skip
def run_pipeline(options: ConfigOptions, require_blessed: bool) -> int:
    """Run the whole pipeline."""
    return _run(options, require_blessed=require_blessed)


@click.command("worker", short_help="Help another machine's run to train, or to search")
@configured
def work(options: ConfigOptions) -> int:
    """Helps the run of the same configuration on another machine, which sees the same folder.

    To train, where TF_CONFIG says that this is one of the machines; to search, where
    KERASTUNER_TUNER_ID does. It waits for that to begin, and ends with it.
    """
    config = options.load()
    from darkroom.pipeline import worker

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else process 1 ignores it
    worker.help_chief(config)
    return 0


@click.command("lr-scan")
@configured
def scan_learning_rates(options: ConfigOptions) -> int:
    """Train shortly at many learning rates, and suggest one."""
    return _run(options, scan=True)


@click.command("tensorboard")
@configured
@click.option("--port", type=int, default=6006, metavar="PORT", help="of the page (6006)")
def show_curves(options: ConfigOptions, port: int) -> int:
    """The curves of all trainings and trials, side by side."""
    config = options.load()
    from darkroom.components.base import remote
    from darkroom.components.base.errors import DarkroomError

    remote.use(config.staging)
    folder = remote.place(config.pipeline_root)
    if not any((folder / node).exists() for node in ("Tuner", "Trainer")):
        raise DarkroomError(f"{config.name} has trained nothing yet: {folder} has no curves.")
    sys.stdout.flush()
    module = [sys.executable, "-m", "tensorboard.main"]
    os.execv(sys.executable, [*module, "--logdir", str(folder), "--port", str(port)])


@click.command("config")
@configured
def print_config(options: ConfigOptions) -> int:
    """Print the whole configuration, defaults included."""
    import yaml

    tree = options.load().model_dump()
    print(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), end="")
    return 0


def _run(options: ConfigOptions, require_blessed: bool = False, scan: bool = False) -> int:
    config = options.load()
    from darkroom.pipeline import display, summaries
    from darkroom.pipeline.running import runner

    runner.raise_on_signals()
    log, terminal = runner.log_to_file(config)
    shown = display.Display(terminal)

    def run() -> int:
        with shown:
            status = runner.run(config, shown, scan)
        summaries.of_run(shown.console, status, options.again())
        # The summary has said why.
        return _NOT_BLESSED if require_blessed and status.blessed is not True else 0

    return runner.leave(runner.attempt(run, shown, log))


COMMANDS = (run_pipeline, work, scan_learning_rates, show_curves, print_config)
