"""What is said of a wrong value in the sections of machines, before anything leaves this one."""

import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.config import load


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("name=cells-", "name: expected lower-case letters"),
        ("kubeflow.resources.Trainer.memory=500K", "kubeflow.resources.Trainer.memory"),
        ("kubeflow.image=Registry/A", "kubeflow.image: expected a reference such as registry"),
        ("kubeflow.service_account=My Account", "kubeflow.service_account: expected a name that"),
        ("kubeflow.environment={1X: a}", "kubeflow.environment: expected the name of a variable"),
        ("kubeflow.secrets={MY VAR: a/b}", "kubeflow.secrets: expected the name of a variable"),
        ("kubeflow.secrets={KEY: a}", "kubeflow.secrets: KEY: expected secret/key, found 'a'"),
        ("kubeflow={environment: {A: b}, secrets: {A: b/c}}", "A is in environment and in secrets"),
        ("kubeflow.volumes={data: a}", "expected a path such as /data, found 'data'"),
        ("kubeflow.volumes={/gcs: a}", "Kubeflow Pipelines keeps its own there"),
        ("kubeflow.volumes={/data: A_b}", "expected the name of a claim, found 'A_b'"),
        ("kubeflow.resources={Trainer: {memory: 8GB}}", "kubeflow.resources.Trainer.memory"),
        ("kubeflow.resources={Trainer: {accelerators: 2}}", "set accelerator to what there is"),
        ("kubeflow.resources={Trainer: {node_pool: {a b: c}}}", "a label of Kubernetes' nodes"),
        ("kubeflow.resources={Trainer: {node_pool: {a: b/c}}}", "found a: b/c"),
        ("airflow.start_date=tomorrow", "expected a date such as 2026-01-31, found 'tomorrow'"),
        ("metadata.host=db", "host is for backend mysql, and backend is sqlite"),
        ("metadata.backend=mysql", "backend mysql needs host, database, user as well"),
    ],
)
def test_a_wrong_value_is_a_sentence(override: str, words: str) -> None:
    with pytest.raises(DarkroomError) as caught:
        load("digits", [override])
    assert words in str(caught.value)


def test_what_kubernetes_takes_is_taken() -> None:
    section = (
        "kubeflow={volumes: {/data: team.disk-1}, service_account: runner.of-team, "
        "environment: {_A1: b}, resources: {'*': {node_pool: "
        "{cloud.google.com/gke-nodepool: gpu_pool.1, empty: ''}}}}"
    )
    assert load("digits", [section]).kubeflow.volumes == {"/data": "team.disk-1"}
