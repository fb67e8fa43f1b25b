"""A run in MLflow: its configuration, curves, metrics and report, and the pushed model."""

import contextlib
import importlib.util
import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.components.base.errors import not_installed
from darkroom.components.report.facts import Facts, flat

if TYPE_CHECKING:
    from mlflow import MlflowClient

_METRICS, _PARAMETERS = 1000, 100  # that MLflow takes in one call
_LONGEST = 6000  # characters of a parameter's value
# Of a server that doesn't answer: MLflow would go on for minutes. And it would tell its makers.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def check() -> None:
    """Raises a DarkroomError where MLflow isn't installed. Light."""
    if importlib.util.find_spec("mlflow") is None:
        error = ModuleNotFoundError(name="mlflow")
        raise not_installed("report.mlflow needs MLflow's client", error, "mlflow")


def log(uri: str, facts: Facts, report: Path, pushed: Path | None) -> None:
    """Logs a run below the experiment of the pipeline's name; registers what it pushed by it.

    ``uri`` is MLflow's tracking URI, ``report`` the folder of the report's files, ``pushed`` that
    of the version. Raises a DarkroomError without MLflow, else MLflow's own errors; a run that was
    begun is then marked as failed there.
    """
    check()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    client, name = MlflowClient(tracking_uri=uri), facts["pipeline"]
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else client.create_experiment(name)
    run = client.create_run(number, run_name=facts["run"] or None, tags=_tags(facts)).info.run_id
    try:
        _log_values(client, run, facts)
        client.log_artifacts(run, str(report), "report")
        if pushed is not None:
            client.log_artifacts(run, str(pushed), "model")
            _register(client, name, run, pushed.name)
    except BaseException:
        with contextlib.suppress(Exception):
            client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run)


def _tags(facts: Facts) -> dict[str, str]:
    verdict = facts["verdict"]
    told = {"pushed_version": verdict["pushed_version"], "reasons": "; ".join(verdict["reasons"])}
    blessed = {None: "not asked", True: "yes", False: "no"}[verdict["blessed"]]
    return {"blessed": blessed, **{name: words for name, words in told.items() if words}}


def _log_values(client: "MlflowClient", run: str, facts: Facts) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    metrics = (Metric(name, value, now, step) for name, value, step in _numbers(facts))
    while part := list(itertools.islice(metrics, _METRICS)):
        client.log_batch(run, metrics=part)
    parameters = (Param(key, _text(value)) for key, value in flat(facts["config"]).items())
    while some := list(itertools.islice(parameters, _PARAMETERS)):
        client.log_batch(run, params=some)


def _numbers(facts: Facts) -> Iterator[tuple[str, float, int]]:
    """Each metric with its step: curves by epoch, from 1, and the Evaluator's as they are."""
    training, evaluation = facts["training"], facts["evaluation"]
    for name, values in (training["history"] if training else {}).items():
        for epoch, value in enumerate(values, 1):
            yield f"training/{name}", float("nan") if value is None else value, epoch
    for name, row in (evaluation.whole if evaluation else {}).items():
        if row.value is not None:
            yield f"evaluation/{name}", row.value, 0


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:_LONGEST]


def _register(client: "MlflowClient", name: str, run: str, version: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {"pushed_version": version}
    client.create_model_version(name, f"runs:/{run}/model", run, tags)
