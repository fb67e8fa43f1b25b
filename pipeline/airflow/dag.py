"""The graph as a DAG of Airflow: each node a task, each try of it a process of its own.

Parsing it imports no TensorFlow, and makes the graph only where configuration or source changed.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.components.base.errors import DarkroomError, not_installed
from darkroom.pipeline.airflow import graph
from darkroom.pipeline.config import CONFIGS, find, load

if TYPE_CHECKING:
    from airflow.utils.context import Context

try:
    from airflow import DAG
    from airflow.exceptions import AirflowException
    from airflow.hooks.subprocess import SubprocessHook
    from airflow.models.baseoperator import BaseOperator
except ImportError as error:
    raise not_installed("A DAG needs Airflow", error, "airflow") from error


class NodeOperator(BaseOperator):
    """Runs a node; what it prints is the task's log as it comes."""

    template_fields = ("command",)

    def __init__(self, *, command: list[str], folder: str, **of_airflow: object):
        super().__init__(**of_airflow)
        self.command, self.folder = command, folder
        self._process = SubprocessHook()

    def execute(self, context: "Context") -> None:
        code = self._process.run_command(self.command, cwd=self.folder).exit_code
        if code != 0:
            ended = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
            raise AirflowException(f"{self.task_id} {ended}; the lines above say more.")

    def on_kill(self) -> None:
        self._process.send_sigterm()


def create_dag(
    config: str,
    overrides: Sequence[str] = (),
    folder: str | None = None,
    default_args: Mapping[str, object] | None = None,
) -> DAG:
    """The DAG of a configuration, a file or the name of a shipped one, named as the pipeline.

    ``overrides`` are as ``darkroom run --set`` takes them; but for ``name`` and ``root`` they may
    use Airflow's templates, as in ``data.path=/data/{{ ds }}``. In ``folder``, by default that of
    the configuration file, their relative paths begin, and the user's own modules are.
    ``default_args`` are Airflow's for every task, such as ``on_failure_callback``. Raises a
    DarkroomError where the configuration can't be used, or there is no TFX to make the graph with.
    """
    path = find(config).absolute()
    if folder is None and path.parent == CONFIGS:
        raise DarkroomError(
            f"{config} is a configuration of darkroom's own: name the folder where its runs are to "
            "be, as folder of create_dag, or in DARKROOM_FOLDER."
        )
    where = Path(folder or path.parent)
    loaded = load(path, list(overrides), where)
    settings = loaded.airflow
    python = settings.python or sys.executable
    arguments = ["--config", str(path), *(word for o in overrides for word in ("--set", o))]
    nodes = graph.shape(loaded, arguments, where, python)
    start = datetime.fromisoformat(settings.start_date)
    with DAG(
        dag_id=loaded.name,
        description=f"darkroom's pipeline {loaded.name}, from images to a pushed model",
        schedule=settings.schedule,
        start_date=start if start.tzinfo else start.replace(tzinfo=timezone.utc),
        catchup=settings.catchup,
        max_active_runs=1,  # runs share a folder, and each is compared with the one before it
        tags=list(settings.tags),
        default_args={
            "retries": settings.retries,
            "retry_delay": timedelta(seconds=settings.retry_delay),
            **(default_args or {}),
        },
    ) as dag:
        # Pipelines that share a metadata store may have runs of one name: the hour's, say.
        run = "{{ dag.dag_id }}.{{ run_id }}"
        command = [python, "-m", "darkroom.pipeline.running.node", *arguments, "--run", run]
        tasks: dict[str, NodeOperator] = {}
        for node, upstream in nodes.items():
            task = NodeOperator(task_id=node, command=[*command, node], folder=str(where))
            task.set_upstream([tasks[other] for other in upstream])
            tasks[node] = task
    return dag
