"""Replicas of a model, on the devices of one machine or of several, that share each batch.

Keras 3's ``fit`` knows MirroredStrategy, and adds its metrics up wrongly there: each update counts
what is there already once for each replica (Keras 3.8). Of MultiWorkerMirroredStrategy it knows
nothing. So here it runs epochs and callbacks as ever, and its steps are functions of ours.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.distribute.collective_all_reduce_strategy import coordination_config_pb2
from tensorflow.python.eager import context

from darkroom.components.training import dataset
from darkroom.components.training.distribution.cluster import Cluster

# A machine that isn't heard of for so long is gone: TensorFlow's own default.
_HEARTBEAT_SECONDS = 10
# For all machines to come: a pod may wait for its node.
_REGISTER_SECONDS = 3600
# For all of them to be through at the end.
_SHUTDOWN_SECONDS = 10


class OutOfStep(Exception):
    """The machines are not about to do the same."""


def strategy(cluster: Cluster) -> tf.distribute.MultiWorkerMirroredStrategy:
    """MultiWorkerMirroredStrategy over a cluster; waits until all machines are there.

    Only possible before TensorFlow has been used in this process, and once.
    """
    context.context().configure_coordination_service(
        "standalone",
        cluster.chief,
        cluster_register_timeout_in_ms=_REGISTER_SECONDS * 1000,
        heartbeat_timeout_in_ms=_HEARTBEAT_SECONDS * 1000,
        shutdown_barrier_timeout_in_ms=_SHUTDOWN_SECONDS * 1000,
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(name=kind, num_tasks=len(hosts))
            for kind, hosts in cluster.addresses.items()
        ],
    )
    return tf.distribute.MultiWorkerMirroredStrategy()


def lost(error: BaseException) -> bool:
    """Whether an error means that another machine is gone."""
    if isinstance(error, OutOfStep):
        return True
    kinds = (
        *(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError),
        *(tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError),
    )
    return isinstance(error, kinds) or "Collective ops is aborted" in str(error)


def agree(strategy: tf.distribute.Strategy, *facts: float) -> None:
    """Waits for all machines, and checks that these numbers are the same on all of them.

    Raises:
      OutOfStep: they are not; a file system may show a machine an old file for a while.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    mine = np.array([1.0, *facts])  # TensorFlow 2.16 crashes where there is nothing to add up
    mean = strategy.reduce(tf.distribute.ReduceOp.MEAN, tf.constant(mine), axis=None).numpy()
    if not np.allclose(mean, mine, rtol=1e-9):
        raise OutOfStep(f"The machines begin with different checkpoints: {mine}, mean {mean}.")


def shares(strategy: tf.distribute.Strategy) -> list[dataset.Share]:
    """The shares of each batch that this process has, one for each of its replicas."""
    count = strategy.num_replicas_in_sync
    if count == 1:
        return [dataset.Share()]
    here = len(strategy.extended.worker_devices)
    first = getattr(strategy.extended, "_id_in_cluster", 0) * here
    return [dataset.Share(first + number, count) for number in range(here)]


def together(strategy: tf.distribute.Strategy, parts: Sequence[tf.data.Dataset]) -> tf.data.Dataset:
    """The batches of this process's replicas as one dataset, as ``fitted_by`` takes them."""
    if strategy.num_replicas_in_sync == 1:
        return parts[0]
    return tf.data.Dataset.zip(tuple(parts)).with_options(dataset.OPTIONS)


@contextlib.contextmanager
def stepping(
    model: keras.Model, batches: tf.data.Dataset
) -> Iterator[list[keras.callbacks.Callback]]:
    """A context in which ``model.fit`` shares the batches of ``together`` among the replicas.

    Yields callbacks for it, to come last. Nothing changes where there is only one replica.
    """
    among = model.distribute_strategy
    if among.num_replicas_in_sync == 1:
        yield []
        return
    with among.scope():
        model._symbolic_build(data_batch=batches.element_spec[0])
        for metric in model.metrics:
            _sum_on_read(metric)
    # Of the whole batch, as with one replica; else each would go by its own share.
    apart = [layer for layer in _normalizing(model) if not layer.synchronized]
    for layer in apart:
        layer.synchronized = True
    # Without it Keras hands datasets and iterators on as they are.
    model._distribute_strategy = None
    model.train_function = _function(among, model.train_step)
    model.test_function = _function(among, model.test_step)
    try:
        yield [_Apart(among)]
    finally:
        model._distribute_strategy = among
        model.train_function = model.test_function = None
        for layer in apart:
            layer.synchronized = False


def _function(among: tf.distribute.Strategy, step: Callable[..., Any]) -> Any:
    """Of an iterator over batches: runs a step, returns the mean of the replicas' logs."""
    first = shares(among)[0].number

    @tf.function(reduce_retracing=True, autograph=False)
    def run(iterator: Any) -> Any:
        batches = iterator.get_next()
        mine = among.experimental_distribute_values_from_function(
            lambda replica: batches[replica.replica_id_in_sync_group - first]
        )
        logs = among.run(step, args=(mine,))
        # The same everywhere, as what is decided by it must be.
        return tf.nest.map_structure(
            lambda value: among.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None), logs
        )

    return run


def _sum_on_read(metric: keras.Metric) -> None:
    """Each replica counts for itself, and sums are made when they are read."""
    for variable in metric.variables:
        if variable.value.synchronization != tf.VariableSynchronization.ON_READ:
            variable._value = tf.Variable(
                variable.numpy(),
                trainable=False,
                dtype=variable.dtype,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )


def _normalizing(model: keras.Model) -> list[keras.Layer]:
    kind = keras.layers.BatchNormalization
    return [layer for layer in model._flatten_layers() if isinstance(layer, kind)]


class _Apart(keras.callbacks.Callback):
    """Lets dropout and the like draw otherwise in each replica; as ever in the first."""

    def __init__(self, among: tf.distribute.Strategy):
        super().__init__()
        self._among = among

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        for layer in self.model._flatten_layers():
            for generator in layer._seed_generators:
                state = generator.state.numpy()
                here = self._among.experimental_local_results(generator.state.value)
                # A layer that was made outside of the strategy's scope has one for all.
                for share, variable in zip(shares(self._among), here, strict=False):
                    variable.assign(state + np.array([share.number, 0], state.dtype))
