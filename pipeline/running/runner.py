"""Runs the graph here: one run at a time, output to a log file, a line per node."""

import contextlib
import importlib.util
import io
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

from darkroom.components.base import processes, run_time
from darkroom.components.base.errors import (
    DarkroomError,
    explain,
    not_installed,
    was_interrupted,
)
from darkroom.components.base.status import Status
from darkroom.components.report.facts import Failure
from darkroom.pipeline import beam
from darkroom.pipeline.config import Config
from darkroom.pipeline.display import Display
from darkroom.pipeline.history import reports, status
from darkroom.pipeline.recipe import apply as recipe
from darkroom.pipeline.running import lock, preflight, recovery, smoke
from darkroom.serving import imports, interrupts, logs, telemetry
from darkroom.serving.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer
    from ml_metadata.proto.metadata_store_pb2 import Context
    from tfx.orchestration.pipeline import Pipeline


_NEEDS_TFX = "darkroom run needs TFX"


class RunFailed(DarkroomError):
    """A node failed: which, why and, in a line of its own, where the report is."""

    def __init__(self, node: str, sentence: str, report: str = ""):
        super().__init__(f"{node} failed. {sentence}" + f"\n{report}" * bool(report))
        self.node, self.sentence = node, sentence


def run(config: Config, display: Display, scan: bool = False, is_smoke: bool = False) -> Status:
    """Runs the whole pipeline; with ``scan`` it ends in a scan of learning rates.

    A smoke run takes a few images only.

    Raises a DarkroomError where data or configuration can't be used, or another run is going on;
    RunFailed where a node fails. The next run reuses what was finished before.
    """
    run_time.begin()
    if importlib.util.find_spec("tfx") is None:
        raise not_installed(_NEEDS_TFX, ModuleNotFoundError(name="tfx"), "pipeline")
    with traced(config, display), lock.alone(config), temporary_folder(config.home / "tmp"):
        size = preflight.check(config)
        config = recipe.applied(config, display.say)
        if is_smoke:
            config = smoke.shrunk(config)
            size = preflight.data_bytes(config)
            display.say(f"smoke   some images and one epoch, in {config.home}; no model to use")
        recovery.recover(config, display.say)
        beam.require_engine(config)
        display.started("loading TFX")
        began = time.monotonic()
        pipeline = create(config, size, scan)
        run_time.loaded(time.monotonic() - began)
        prepare(config, pipeline)
        telemetry.send()
        preflight.rehearse(config)
        display.ended("loading TFX", "complete")
        if scan:  # which has a summary, and nothing to report
            launch(config, pipeline, display)
            return status.latest(config)
        began = time.time() * 1000
        with reported(config, display, lambda run: run.create_time_since_epoch >= began):
            launch(config, pipeline, display)
        return status.latest(config)


@contextlib.contextmanager
def traced(config: Config, display: Display) -> Iterator[None]:
    """Makes the run a trace, however it ends, where telemetry has begun."""
    told = logging.getLogger(telemetry.LOGGER)
    told.addHandler(display)
    try:
        with telemetry.span("darkroom run", {"darkroom.pipeline": config.name}):
            try:
                yield
            except BaseException as error:
                telemetry.fail(explain(error))
                raise
            finally:
                telemetry.send()
    finally:
        telemetry.end()
        told.removeHandler(display)


class _Terminal(io.FileIO):
    """Where a run is shown; it goes on where nobody looks any more."""

    def write(self, shown: "Buffer", /) -> int:
        try:
            return super().write(shown)
        except OSError as error:  # head or a pager has left, or the terminal was closed
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            message = "nobody reads the output any more (%s); the run goes on"
            logging.getLogger("darkroom").warning(message, error.strerror)
            return super().write(shown)


def log_to_file(config: Config, node: str = "") -> tuple[Path, IO[str]]:
    """Sends everything that is printed or logged, also by C++, to a new log file.

    Gives its path, and a stream to the terminal that was before. ``node``: the only one that runs.
    Raises a DarkroomError where the pipeline's folder can't be written.
    """
    logs.begin(sys.stderr, "%(asctime)s %(levelname)s %(name)s: %(message)s")
    moment = time.strftime("%Y%m%d-%H%M%S")
    path = config.home / "logs" / f"{moment}{'-' * bool(node)}{node}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise DarkroomError(
            f"root: {config.home} can't be written: {error.strerror}. "
            "Set root to a folder of yours."
        ) from error
    shown, encoding = _Terminal(os.dup(sys.stdout.fileno()), "w"), sys.stdout.encoding
    terminal = io.TextIOWrapper(io.BufferedWriter(shown), encoding, "replace", line_buffering=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    os.close(file)
    return path, terminal


def create(config: Config, data_bytes: int, scan: bool = False) -> "Pipeline":
    """The TFX pipeline, for this machine; imports TensorFlow, or DarkroomError without TFX."""
    options = beam.arguments(config.beam, data_bytes, os.cpu_count() or 1)
    try:
        with imports.without_collections():
            from darkroom.components.compat.beam import remember_signatures
            from darkroom.pipeline.pipeline import create_pipeline
    except ImportError as error:
        raise not_installed(_NEEDS_TFX, error, "pipeline") from error
    remember_signatures()
    return create_pipeline(config, options, scan)


def prepare(config: Config, pipeline: "Pipeline") -> None:
    """Forks, and sets devices up, before anything uses TensorFlow."""
    from darkroom.components.training import devices

    is_multi_processing = "--direct_running_mode=multi_processing" in pipeline.beam_pipeline_args
    searches = "Tuner" in {node.id for node in pipeline.components}  # a scan has no search
    if searches or is_multi_processing:
        with contextlib.suppress(OSError):  # then their processes import it all themselves
            processes.server = processes.ForkServer.here()
    devices.grow_memory()
    devices.split_cpu(config.training.cpu_replicas)


@contextlib.contextmanager
def reported(
    config: Config, display: Display, is_this: "Callable[[Context], bool]"
) -> Iterator[None]:
    """Writes the report of the run that ``is_this``, where it doesn't get to its Report node."""
    try:
        yield
        return
    except (RunFailed, KeyboardInterrupt) as error:
        ended = error
    # Not in the except block: an error of the report's would seem to come of the node's.
    interrupted = RunFailed(display.node, explain(ended))
    failed = ended if isinstance(ended, RunFailed) else interrupted
    failure: Failure = {"node": failed.node, "sentence": failed.sentence}
    report = reports.write_unfinished(config, failure, is_this)
    if failed is ended:
        raise RunFailed(failed.node, failed.sentence, report) from ended
    display.say(report)
    raise ended


def launch(
    config: Config, pipeline: "Pipeline", display: Display, run: str = "", node: str = ""
) -> None:
    """Runs a graph by the runner that is configured, or a ``node`` of a ``run``; or RunFailed."""
    from darkroom.components.compat import tfx
    from darkroom.pipeline.running.launcher import NodeLauncher, SequentialRunner

    launcher = NodeLauncher(config, pipeline, display)
    progress_log = logging.getLogger("darkroom.progress")
    progress_log.addHandler(display)
    try:
        if node or config.runner == "local":
            SequentialRunner(launcher.launch, run, node).run(pipeline)
        else:
            tfx.beam_runner(launcher.launch).run(pipeline)
    except Exception as error:
        failed, cause = launcher.failure or (node or "the runner", error)
        if was_interrupted(cause):  # Beam wraps what comes out of a node
            raise KeyboardInterrupt from None
        logging.getLogger("darkroom").exception("%s failed", failed)
        raise RunFailed(failed, explain(cause)) from error
    finally:
        progress_log.removeHandler(display)
        telemetry.note({"darkroom.run": launcher.run})


@contextlib.contextmanager
def temporary_folder(folder: Path) -> Iterator[None]:
    """A temporary folder of the run's own: TFX and Beam leave files behind, so do killed runs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = None
        shutil.rmtree(folder, ignore_errors=True)


def heed_signals() -> None:
    """SIGTERM ends a run as Ctrl-C does; a terminal that is closed ends none."""
    interrupts.heed_in_work((signal.SIGTERM, signal.SIGINT))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which processes that it starts inherit


def attempt(work: Callable[[], int], display: Display, log: Path) -> int:
    """Does work whose output goes to a log; the exit code. What ends it otherwise is said."""
    try:
        return work()
    except BaseException as error:
        if was_interrupted(error):
            display.say("darkroom: interrupted. The next run goes on from the nodes that are done.")
            return INTERRUPTED
        if isinstance(error, DarkroomError) and not isinstance(error, RunFailed):
            display.say(f"darkroom: {error}")
            log.unlink(missing_ok=True)  # nothing ran
            return error.exit_code
        if not isinstance(error, RunFailed):
            logging.getLogger("darkroom").exception("the run failed")
        display.say(f"darkroom: {explain(error)}\nThe log is {log}")
    return 1


def leave(code: int) -> NoReturn:
    """Ends now: threads of Beam and TensorFlow that still run would hold the process for long."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
