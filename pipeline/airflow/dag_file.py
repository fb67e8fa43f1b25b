"""The file that Airflow reads of a pipeline. Needs no Airflow itself."""

import json
from collections.abc import Sequence
from pathlib import Path

_FILE = '''\
"""Airflow's DAG of the pipeline {name}; written by darkroom airflow."""

from darkroom.pipeline.airflow.dag import create_dag

dag = create_dag(
    config={config},
    overrides={overrides},
    folder={folder},
)
'''


def text(name: str, config: Path, overrides: Sequence[str], folder: Path) -> str:
    """Python that Airflow parses in about a second; the arguments are those of ``create_dag``."""
    literals = {"config": str(config), "overrides": list(overrides), "folder": str(folder)}
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in literals.items()}
    return _FILE.format(name=name, **quoted)
