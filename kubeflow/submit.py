"""Hands a compiled specification to Kubeflow Pipelines, to run once or again and again."""

import contextlib
import io
import os
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import urllib3

from darkroom.components.base.errors import DarkroomError, not_installed
from darkroom.kubeflow import spec
from darkroom.pipeline.platforms import Kubeflow

_MOST_WORDS = 500  # of the server's, in characters
_SECONDS = 10  # for the API server to say that it is there
_HEALTH = "/apis/v2beta1/healthz"
TOKEN_VARIABLE = "KFP_EXISTING_TOKEN"  # of kfp's own command line


class Submitted(NamedTuple):
    """What the API server made of it."""

    kind: str  # run or recurring run
    id: str
    url: str


def submit(
    path: Path,
    host: str,
    settings: Kubeflow,
    *,
    namespace: str | None = None,
    name: str | None = None,
    cron: str | None = None,
) -> Submitted:
    """Starts a run, or with ``cron`` (fields from seconds to the day of the week) a recurring run.

    Makes the experiment if need be. Raises DarkroomError without kfp, at a bad file or a refusal.
    """
    try:
        import kfp
        import kfp_server_api
    except ImportError as error:
        raise not_installed("darkroom submit needs kfp", error, "kubeflow") from error
    pipeline, _ = spec.load(path)
    host, token = host.rstrip("/"), os.environ.get(TOKEN_VARIABLE) or None
    run = {"pipeline_package_path": str(path), "service_account": settings.service_account}
    try:
        # kfp prints links, for notebooks, and warns of older servers than spec 2.1 runs on.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            space = namespace or "kubeflow"
            client = kfp.Client(host=host, namespace=space, existing_token=token)
            group = client.create_experiment(settings.experiment, namespace=namespace).experiment_id
            name = name or pipeline
            if cron is None:
                number = client.run_pipeline(group, name, **run).run_id
                return Submitted("run", number, f"{host}/#/runs/details/{number}")
            # A run that is late because of the one before is left out.
            often = {"cron_expression": cron, "max_concurrency": 1, "no_catchup": True}
            number = client.create_recurring_run(group, name, **often, **run).recurring_run_id
            return Submitted("recurring run", number, f"{host}/#/recurringrun/details/{number}")
    except kfp_server_api.ApiException as error:
        words = " ".join(str(error.body or "").split())[:_MOST_WORDS]
        message = f"{host} refused {pipeline}: {error.status} {error.reason}. {words}"
        raise DarkroomError(message) from error
    except urllib3.exceptions.HTTPError as error:
        raise DarkroomError(f"{host} was reached, and then was not: {error}. Try again.") from error


def reach(host: str) -> None:
    """Raises DarkroomError where Kubeflow Pipelines doesn't answer there."""
    host = host.rstrip("/")
    if not host.startswith(("http://", "https://")):
        raise DarkroomError(f"--host: expected http://… or https://…, found {host}.")
    token = os.environ.get(TOKEN_VARIABLE)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    forward = "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80"
    remedy = f"Is the address right? On the cluster: {forward}"
    try:
        answer = urllib3.request(
            "GET", host + _HEALTH, headers=headers, timeout=_SECONDS, retries=False
        )
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        # urllib3 names its own connection first.
        reason = re.sub(r"^(<.*>|\w+\(.*\)): ", "", str(error))
        raise DarkroomError(f"{host} is not reached: {reason}. {remedy}") from error
    moved = answer.headers.get("location", "")
    if moved == host.replace("http://", "https://", 1) + _HEALTH:
        raise DarkroomError(f"{host} answers over https alone: take {moved.removesuffix(_HEALTH)}.")
    if answer.status in (301, 302, 303, 307, 401, 403):  # also one that leads to a page to log in
        remedy = f"Set {TOKEN_VARIABLE} to a token."
        raise DarkroomError(f"{host} wants to know who asks: {answer.status}. {remedy}")
    if answer.status != 200:
        message = f"{host} is not Kubeflow Pipelines: {_HEALTH} answers {answer.status}. {remedy}"
        raise DarkroomError(message)
