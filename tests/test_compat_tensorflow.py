"""Each use of what TensorFlow doesn't promise: these say what broke after an upgrade."""

import inspect
import json
import subprocess
import sys

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader

from darkroom.components.compat import tensorflow as compat
from tests.conftest import environment

ALONE = """
from tests import model_servers
from darkroom.components.compat import tensorflow as compat
import json, os, tensorflow as tf
address = f"127.0.0.1:{model_servers.free_port()}"
cluster = {"worker": [address]}
os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}})
compat.configure_coordination_service(
    cluster, "/job:worker/replica:0/task:0",
    register_seconds=60, heartbeat_seconds=10, shutdown_seconds=10,
)
from tensorflow.python.eager import context
config = context.context().coordination_service
strategy = tf.distribute.MultiWorkerMirroredStrategy()
print(json.dumps([config.cluster_register_timeout_in_ms, strategy.num_replicas_in_sync]))
"""


def test_the_coordination_service_takes_time_outs() -> None:
    method = context.Context.configure_coordination_service
    names = set(inspect.signature(method).parameters)
    assert {
        "cluster_register_timeout_in_ms",
        "heartbeat_timeout_in_ms",
        "shutdown_barrier_timeout_in_ms",
        "coordinated_jobs",
    } <= names, "TensorFlow's coordination service is configured in another way"


def test_a_strategy_begins_with_them() -> None:
    command = [sys.executable, "-c", ALONE]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"MultiWorkerMirroredStrategy doesn't begin: {done.stderr[-2000:]}"
    assert json.loads(done.stdout.splitlines()[-1]) == [60_000, 1]


def test_an_aborted_collective_is_known() -> None:
    aborted = tf.errors.InvalidArgumentError(None, None, "Collective ops is aborted by: x")
    assert compat.collective_was_aborted(aborted)
    assert not compat.collective_was_aborted(ValueError("x"))


def test_a_transform_graph_can_be_called_without_keras() -> None:
    assert callable(getattr(SavedModelLoader, "apply_transform_model", None)), (
        "TensorFlow Transform's SavedModelLoader has no apply_transform_model any more"
    )
