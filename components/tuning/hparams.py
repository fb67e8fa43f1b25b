"""A search for TensorBoard's HParams dashboard: its space, and each trial's values and end."""

import time
from collections.abc import Mapping

import keras_tuner
import tensorflow as tf
from keras_tuner.engine import hyperparameters as declarations
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.hparams import api, api_pb2, summary

from darkroom.components.base.settings import Value
from darkroom.components.training import callbacks
from darkroom.components.training.hand_over import without_notes

# The dashboard shows the last epoch's metrics, and trials are compared by their best epoch's.
_SCORE = "score"


def experiment(
    folder: str, space: keras_tuner.HyperParameters, metrics: list[str], objective: str
) -> None:
    """Writes which hyperparameters and metrics there are, to the folder above the trials'."""
    declared: dict[str, list[declarations.HyperParameter]] = {}
    for hyperparameter in space.space:
        declared.setdefault(hyperparameter.name, []).append(hyperparameter)
    dimensions = [api.HParam(name, _domain(several)) for name, several in declared.items()]
    places = [(name, *callbacks.place(name)) for name in metrics]
    shown = [api.Metric(_SCORE, display_name=f"score: {objective} of the best epoch")]
    shown += [api.Metric(tag, group=split, display_name=name) for name, split, tag in places]
    _write(folder, api.hparams_config_pb(dimensions, shown))


def begin(folder: str, trial_id: str, values: Mapping[str, Value]) -> None:
    """Writes a trial's hyperparameters to its folder, once: TensorBoard keeps the first it sees."""
    _write(folder, api.hparams_pb(without_notes(values), trial_id=trial_id))


def end(folder: str, score: float | None) -> None:
    """Writes how a trial ended to its folder, once: TensorBoard keeps the first it sees.

    ``score``: what it is compared by; None: it failed.
    """
    status = api_pb2.STATUS_FAILURE if score is None else api_pb2.STATUS_SUCCESS
    _write(folder, summary.session_end_pb(status, time.time()), score)


def _write(folder: str, message: summary_pb2.Summary, score: float | None = None) -> None:
    writer = tf.summary.create_file_writer(folder)
    with writer.as_default():
        if score is not None:
            tf.summary.scalar(_SCORE, score, step=0)
        tf.summary.experimental.write_raw_pb(message.SerializeToString(), step=0)
    writer.close()


def _domain(declared: list[declarations.HyperParameter]) -> api.Domain | None:
    """All values that declarations of one name allow; None where they are of several types."""
    numbers = [one for one in declared if isinstance(one, declarations.Int | declarations.Float)]
    values: set[Value] = {end for one in numbers for end in (one.min_value, one.max_value)}
    values.update(*(one.values for one in declared if one not in numbers))
    kinds = {type(value) for value in values}
    if kinds == {int, float}:
        values, kinds = {float(value) for value in values}, {float}
    if len(kinds) > 1:
        return None
    if not numbers:
        return api.Discrete(values)
    return (api.IntInterval if kinds == {int} else api.RealInterval)(min(values), max(values))
