"""Runs the graph here: one run at a time, output to a log file, a line per node."""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components import environment, lineage, results, summary
from components.errors import DarkroomError, explain
from pipeline import beam, preflight, reports, status
from pipeline.config import Config
from pipeline.display import Display


class RunFailed(DarkroomError):
    """A node failed: which, and why."""

    def __init__(self, node: str, sentence: str, report: str = ""):
        """Says what failed and, in a line of its own, where the report is."""
        super().__init__(f"{node} failed. {sentence}" + f"\n{report}" * bool(report))
        self.node, self.sentence = node, sentence


def run(config: Config, display: Display, scan: bool = False) -> summary.Status:
    """Runs the whole pipeline, nodes that need not run again from the cache.

    Args:
      config: of the pipeline.
      display: is told of every node.
      scan: end in a scan of learning rates, instead of training.

    Raises:
      DarkroomError: the data or the configuration can't be used, or another run is going on.
      RunFailed: a node failed. What was finished before is kept and reused by the next run.
    """
    with _alone(config), _temporary_folder(config):
        size = preflight.check(config)
        options = beam.arguments(config.beam, size, os.cpu_count() or 1)
        beam.require_engine(config)
        display.started("loading TFX")
        pipeline = _create(config, options, scan)
        display.ended("loading TFX", "complete")
        if scan:  # which has a summary, and nothing to report
            _run_nodes(config, pipeline, display)
        else:
            _run_reported(config, pipeline, display)
        return status.latest(config)


def is_running(config: Config) -> bool:
    """Whether a run of this pipeline is going on."""
    try:
        lock = open(config.home / "lock", encoding="utf-8")  # noqa: SIM115
    except FileNotFoundError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def log_to_file(config: Config) -> tuple[Path, Any]:
    """Sends everything that is printed or logged, also by C++, to a new log file.

    Returns:
      The file's path, and a stream to the terminal that was before.

    Raises:
      DarkroomError: the pipeline's folder can't be written.
    """
    path = config.home / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise DarkroomError(
            f"root: {config.home} can't be written: {error.strerror}. "
            "Set root to a folder of yours."
        ) from error
    terminal = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    os.close(file)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    return path, terminal


def _create(config: Config, options: list[str], scan: bool) -> Any:
    try:
        import keras  # noqa: F401  # before tensorflow_transform, which would choose tf_keras

        from components import devices
        from pipeline.pipeline import create_pipeline
    except ImportError as error:
        raise DarkroomError(
            f"darkroom run needs TFX, and {error.name} can't be imported: "
            "pip install 'darkroom[pipeline]', with locks/ as constraints."
        ) from error
    devices.grow_memory()  # before anything has used TensorFlow
    devices.split_cpu(config.training.cpu_replicas)
    preflight.rehearse(config)
    return create_pipeline(config, options, scan)


def _run_reported(config: Config, pipeline: Any, display: Display) -> None:
    """Runs the nodes; writes the report of a run that doesn't get to its Report node."""
    began = time.time()
    ended: RunFailed | KeyboardInterrupt
    try:
        _run_nodes(config, pipeline, display)
        return
    except (RunFailed, KeyboardInterrupt) as error:
        ended = error
    # Not while that is handled: what then went wrong with the report would be laid to it.
    if isinstance(ended, RunFailed):
        failure = {"node": ended.node, "sentence": ended.sentence}
        report = reports.write_unfinished(config, failure, began)
        raise RunFailed(ended.node, ended.sentence, report) from ended
    failure = {"node": display.node, "sentence": "The run was interrupted."}
    display.say(reports.write_unfinished(config, failure, began))
    raise ended


def _record(config: Config, pipeline: Any, run: Any, store: Any) -> None:
    """Notes on the run, in ML Metadata, what ``darkroom lineage`` tells of it."""
    sources = {
        node.id: flag.removeprefix("--source=")
        for node in pipeline.components
        for flag in getattr(node.executor_spec, "extra_flags", None) or []
        if flag.startswith("--source=")
    }
    noted = {
        results.CONFIG_PROPERTY: config.model_dump(),
        results.ENVIRONMENT_PROPERTY: environment.describe(),
        results.SOURCES_PROPERTY: sources,
    }
    for name, value in noted.items():
        run.custom_properties[name].string_value = json.dumps(value)
    store.put_contexts([run])


def _run_nodes(config: Config, pipeline: Any, display: Display) -> None:
    from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.portable import launcher

    failure: list[tuple[str, BaseException]] = []
    recorded: list[str] = []

    class ReportingLauncher(launcher.Launcher):
        """TFX's launcher of one node, which tells the display."""

        def launch(self) -> Any:
            node = self._pipeline_node.node_info.id
            display.started(node)
            try:
                info = super().launch()
                state, result = self._outcome(node, info.execution_id)
            except BaseException as error:
                if not failure:
                    failure.append((node, error))
                    interrupted = isinstance(error, KeyboardInterrupt)
                    display.ended(node, "interrupted" if interrupted else "failed")
                raise
            display.ended(node, state, result)
            return info

        def _outcome(self, node: str, execution_id: int) -> tuple[str, str]:
            with self._mlmd_connection as metadata:
                ran = lineage.node(metadata.store, execution_id)
                if not recorded:  # now there is a run to note it on
                    run = lineage.run_of(metadata.store, execution_id)
                    _record(config, pipeline, run, metadata.store)
                    recorded.append(run.name)
            if ran.state == "failed":
                # TFX publishes this and goes on, with every later node failing the same way.
                raise RuntimeError(f"{node}: its inputs could not be resolved")
            made = summary.Status(config.name, str(config.home), "")
            return ran.state, summary.read_outputs(made, node, ran.made)

    runner = BeamDagRunner() if config.runner == "beam" else LocalDagRunner()
    # Both runners look the launcher up here for each node; it is TFX's one place that they share.
    stock, launcher.Launcher = launcher.Launcher, ReportingLauncher
    progress_log = logging.getLogger("darkroom.progress")
    progress_log.addHandler(display)
    try:
        runner.run(pipeline)
    except Exception as error:
        node, cause = failure[0] if failure else ("the runner", error)
        if isinstance(cause, KeyboardInterrupt):  # Beam wraps what comes out of a node
            raise cause from None
        logging.getLogger("darkroom").exception("%s failed", node)
        raise RunFailed(node, explain(cause)) from error
    finally:
        launcher.Launcher = stock
        progress_log.removeHandler(display)


@contextlib.contextmanager
def _alone(config: Config) -> Iterator[None]:
    """Holds the pipeline's lock; a killed process loses it by itself."""
    with open(config.home / "lock", "a+", encoding="utf-8") as lock:
        for attempt in range(10):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt == 9:
                    lock.seek(0)
                    raise DarkroomError(
                        f"Another run of {config.name} is going on (process "
                        f"{lock.read() or 'unknown'}). Wait for it, or give this one another root "
                        "or name."
                    ) from None
                time.sleep(0.1)  # darkroom status holds the lock for a moment
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextlib.contextmanager
def _temporary_folder(config: Config) -> Iterator[None]:
    """A temporary folder of the run's own: TFX and Beam leave files behind, so do killed runs."""
    folder = config.home / "tmp"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = None
        shutil.rmtree(folder, ignore_errors=True)


def raise_on_signals() -> None:
    """SIGTERM ends a run as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
