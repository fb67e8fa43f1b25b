"""A DAG file for Airflow's folder of DAGs; its environment says what to run.

DARKROOM_CONFIG is the configuration file; DARKROOM_SET the keys that are set otherwise, as in
``training.epochs=3 data.path=/data/mnist``; DARKROOM_FOLDER where their relative paths begin.
"""

import os
import shlex

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.airflow.dag import create_dag

if "DARKROOM_CONFIG" not in os.environ:
    raise DarkroomError("Set DARKROOM_CONFIG to the configuration file of the pipeline.")

dag = create_dag(
    os.environ["DARKROOM_CONFIG"],
    shlex.split(os.environ.get("DARKROOM_SET", "")),
    os.environ.get("DARKROOM_FOLDER"),
)
