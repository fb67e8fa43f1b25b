"""The shape of the graph, for those who draw it often and can't import TensorFlow each time.

python -m darkroom.pipeline.airflow.graph --config FILE makes the graph and prints its shape.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline import command_line, fingerprint
from darkroom.pipeline.config import Config, load
from darkroom.serving import files

_DAG_FILE = '''\
"""Airflow's DAG of the pipeline {name}; written by darkroom airflow."""

from darkroom.pipeline.airflow.dag import create_dag

dag = create_dag(
    config={config},
    overrides={overrides},
    folder={folder},
)
'''


def shape(config: Config, arguments: list[str], folder: Path, python: str) -> dict[str, list[str]]:
    """The ids of all nodes in the order in which they run, each with those that it waits for.

    Made by ``python`` in the ``folder`` where relative paths begin, with a command line's
    ``arguments`` that load the configuration; kept for as long as that and the source stay.
    Raises a DarkroomError where graph or file can't be made.
    """
    determined_by = [config.model_dump(), fingerprint.of_modules("darkroom.pipeline.pipeline")]
    key = hashlib.sha256(json.dumps(determined_by).encode()).hexdigest()[:16]
    graphs = folder / os.path.expanduser(config.root_on_disk) / config.name / "graphs"
    path = graphs / f"{key}.json"
    if not path.exists():
        try:
            graphs.mkdir(parents=True, exist_ok=True)
            with files.locked(graphs / "lock"):  # whoever comes second waits for the first
                if not path.exists():
                    files.replace(path, _printed_shape(arguments, folder, python))
        except OSError as error:
            raise DarkroomError(f"{graphs} can't be written: {error.strerror}.") from error
    nodes: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return nodes


def _printed_shape(arguments: Sequence[str], folder: Path, python: str) -> str:
    command = [python, "-m", "darkroom.pipeline.airflow.graph", *arguments]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8")
    except OSError as error:
        raise DarkroomError(f"{python} can't be started in {folder}: {error.strerror}.") from error
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        reason = lines[-1].removeprefix("darkroom: ")
        if "needs TFX" in reason or "No module named" in reason:
            reason += " Set airflow.python to the interpreter of an environment with "
            reason += "darkroom-tfx[pipeline]."
        raise DarkroomError(f"The graph can't be made with {python}: {reason}")
    return result.stdout.splitlines()[-1]


def dag_file(name: str, config: Path, overrides: Sequence[str], folder: Path) -> str:
    """Python that Airflow parses in about a second; the arguments are those of ``create_dag``."""
    literals = {"config": str(config), "overrides": list(overrides), "folder": str(folder)}
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in literals.items()}
    return _DAG_FILE.format(name=name, **quoted)


@click.command(help=__doc__)
@click.option("--config", "path", required=True, metavar="FILE", help="as darkroom run takes it")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="the same")
def print_shape(path: str, overrides: Sequence[str]) -> None:
    """Prints the shape as JSON in the last line; libraries may print before it."""
    from darkroom.pipeline.running import runner

    pipeline = runner.create(load(path, list(overrides)), data_bytes=0)
    print(json.dumps({n.id: sorted(o.id for o in n.upstream_nodes) for n in pipeline.components}))


if __name__ == "__main__":
    sys.exit(command_line.obey(print_shape, "python -m darkroom.pipeline.airflow.graph"))
