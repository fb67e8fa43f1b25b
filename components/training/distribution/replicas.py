"""Replicas of a model, on the devices of one machine or of several, that share each batch.

Keras's own ``fit`` adds metrics up wrongly under MirroredStrategy (Keras 3.8), and knows nothing of
MultiWorkerMirroredStrategy. So here is a loop as Keras's guide to custom training has it.
"""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from darkroom.components.base.errors import DarkroomError
from darkroom.components.compat import tensorflow as compat
from darkroom.components.compat.keras import random_states
from darkroom.components.networks import parts
from darkroom.components.training import dataset
from darkroom.components.training.distribution.cluster import Cluster


class OutOfStep(Exception):
    """The machines are not about to do the same."""


def strategy(cluster: Cluster) -> tf.distribute.MultiWorkerMirroredStrategy:
    """Makes it when all machines are there; only once, before this process uses TensorFlow."""
    compat.configure_coordination_service(
        cluster.addresses,
        cluster.chief,
        register_seconds=3600,  # for all machines to come: a pod may wait for its node
        heartbeat_seconds=10,  # a machine that isn't heard of so long is gone: TensorFlow's default
        shutdown_seconds=10,  # for all of them to be through at the end
    )
    return tf.distribute.MultiWorkerMirroredStrategy()


def lost(error: BaseException) -> bool:
    """Whether an error means that another machine is gone."""
    names = ("Unavailable", "Aborted", "Cancelled", "DeadlineExceeded", "FailedPrecondition")
    kinds = [getattr(tf.errors, f"{name}Error") for name in names]
    return isinstance(error, (OutOfStep, *kinds)) or compat.collective_was_aborted(error)


def agree(strategy: tf.distribute.Strategy, *facts: float) -> None:
    """Waits for all machines; OutOfStep where these numbers aren't the same on all of them."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    mine = np.array([1.0, *facts])  # TensorFlow 2.16 crashes where there is nothing to add up
    mean = strategy.reduce(tf.distribute.ReduceOp.MEAN, tf.constant(mine), axis=None).numpy()
    if not np.allclose(mean, mine, rtol=1e-9):
        raise OutOfStep(f"The machines begin with different checkpoints: {mine}, mean {mean}.")


def shares(strategy: tf.distribute.Strategy) -> list[dataset.Share]:
    """The shares of each batch that this process has, one for each of its replicas."""
    count = strategy.num_replicas_in_sync
    numbers = strategy.experimental_distribute_values_from_function(
        lambda replica: replica.replica_id_in_sync_group
    )
    return [dataset.Share(n, count) for n in strategy.experimental_local_results(numbers)]


def distributed(
    strategy: tf.distribute.Strategy, values: Sequence[object]
) -> tf.distribute.DistributedValues:
    """What ``strategy.run`` gives to each replica of this process: one of the values."""
    first = shares(strategy)[0].number
    return strategy.experimental_distribute_values_from_function(
        lambda replica: values[replica.replica_id_in_sync_group - first]
    )


def fit(
    model: keras.Model,
    train: Sequence[tf.data.Dataset],
    evaluation: Sequence[tf.data.Dataset],
    epochs: range,
    steps_per_epoch: int | None,
    callbacks: Sequence[keras.callbacks.Callback],
) -> dict[str, list[float]]:
    """Does with several replicas what ``model.fit`` does with one; returns Keras's history.

    ``train`` has a dataset of (inputs, labels and perhaps weights) for each replica of this
    process, whose iterators begin with the current epoch; ``epochs`` count from 0. Raises a
    DarkroomError where the model has a step of its own, which only Keras's ``fit`` can run.
    """
    if model.distribute_strategy.num_replicas_in_sync == 1:
        fitted = model.fit(
            train[0],
            initial_epoch=epochs.start,
            epochs=epochs.stop,
            steps_per_epoch=steps_per_epoch,
            validation_data=evaluation[0],
            callbacks=callbacks,
            verbose=2,
        )
        return dict(fitted.history)
    for method in ("train_step", "test_step"):
        if getattr(type(model), method) is not getattr(keras.Model, method):
            raise DarkroomError(
                f"model.build_fn: {type(model).__name__} has a {method} of its own, which several "
                "devices can't share. Train it on one device, or without that method."
            )
    batches, held_out = (
        # Tuples of a batch for each replica of this process.
        tf.data.Dataset.zip(tuple(of_replicas)).with_options(dataset.OPTIONS)
        for of_replicas in (train, evaluation)
    )
    history = keras.callbacks.History()
    steps = steps_per_epoch or int(batches.cardinality())
    options = {"model": model, "verbose": 2, "epochs": epochs.stop, "steps": steps}
    listeners = keras.callbacks.CallbackList([history, *callbacks], add_progbar=True, **options)
    with model.distribute_strategy.scope(), _normalizing_together(model):
        _build(model, batches.element_spec[0])
        model.stop_training = False
        listeners.on_train_begin()
        _draw_apart(model)
        _run_epochs(model, epochs, batches.take(steps), held_out, listeners)
        model.optimizer.finalize_variable_values(model.trainable_weights)
        listeners.on_train_end()
    return dict(history.history)


def _run_epochs(
    model: keras.Model,
    epochs: range,
    batches: tf.data.Dataset,
    held_out: tf.data.Dataset,
    listeners: keras.callbacks.CallbackList,
) -> None:
    train_on, test_on = _function(model, training=True), _function(model, training=False)
    for epoch in epochs:
        model.reset_metrics()
        listeners.on_epoch_begin(epoch)
        for step, batch in enumerate(batches):
            listeners.on_train_batch_begin(step)
            listeners.on_train_batch_end(step, train_on(batch))
            if model.stop_training:
                break
        logs = model.get_metrics_result()
        model.reset_metrics()
        listeners.on_test_begin()
        for batch in held_out:
            test_on(batch)
        logs |= {f"val_{name}": v for name, v in model.get_metrics_result().items()}
        listeners.on_epoch_end(epoch, logs)
        if model.stop_training:
            break


def _build(model: keras.Model, spec: tuple[tf.TensorSpec, ...]) -> None:
    """Makes the variables of metrics and optimizer, on every replica: no graph may do that."""
    inputs, labels = (tf.zeros([1, *part.shape[1:]], part.dtype) for part in spec[:2])
    outputs = model(inputs, training=False)
    model.compute_loss(inputs, labels, outputs, training=False)
    model.compute_metrics(None, labels, outputs)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def _function(model: keras.Model, training: bool) -> tf.types.experimental.PolymorphicFunction:
    """Makes the function that trains or only measures on a batch, and returns metrics so far."""
    among = model.distribute_strategy
    [mean_loss] = [metric for metric in model.metrics if metric.name == "loss"]

    def of_replica(part: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(part)
        shared = _shared(weights, labels)
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=training)
            loss = model.compute_loss(inputs, labels, outputs, shared, training=training)
            scaled = model.optimizer.scale_loss(loss)
        if training:
            variables = model.trainable_weights
            gradients = tape.gradient(scaled, variables)
            model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss, labels, outputs, *([] if weights is None else [weights])

    @tf.function(reduce_retracing=True, autograph=False)
    def run(batches: tuple[tuple[tf.Tensor, ...], ...]) -> dict[str, tf.Tensor]:
        loss, *shared = among.run(of_replica, args=(distributed(among, batches),))
        # Metrics get the whole batch, once, on every machine: they are exact, and the same.
        labels, outputs, *weights = (among.gather(part, axis=0) for part in shared)
        # Keras divides losses by the number of replicas, as it adds their gradients.
        loss = among.reduce(tf.distribute.ReduceOp.SUM, loss, axis=None)
        mean_loss.update_state(loss, sample_weight=tf.shape(labels)[0])
        logs: dict[str, tf.Tensor] = model.compute_metrics(None, labels, outputs, *weights)
        return logs

    return run


def _shared(weights: tf.Tensor | None, labels: tf.Tensor) -> tf.Tensor:
    """Weights with which the mean over the replicas' means is the mean of the batch."""
    # The replicas' shares of a batch may differ by one example.
    replica = tf.distribute.get_replica_context()
    count = tf.cast(tf.shape(labels)[0], tf.float32)
    total = replica.all_reduce(tf.distribute.ReduceOp.SUM, count)
    share = replica.num_replicas_in_sync * count / total
    return tf.fill(tf.shape(labels)[:1], share) if weights is None else weights * share


@contextlib.contextmanager
def _normalizing_together(model: keras.Model) -> Iterator[None]:
    """Has batch normalisation see the whole batch, as with one replica."""
    with contextlib.ExitStack() as ends:
        for layer in parts.batch_normalizations(model):
            if not layer.synchronized:
                layer.synchronized = True
                ends.callback(setattr, layer, "synchronized", False)
        yield


def _draw_apart(model: keras.Model) -> None:
    """Has dropout and the like draw differently in each replica; in the first one as alone."""
    among = model.distribute_strategy
    for variable in random_states(model):
        state = variable.numpy()
        here = among.experimental_local_results(variable.value)
        # A layer that was made outside of the strategy's scope has one for all.
        for share, own in zip(shares(among), here, strict=False):
            own.assign(state + np.array([share.number, 0], state.dtype))
