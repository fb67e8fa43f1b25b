"""KerasTuner on MNIST as one would write it by hand: load, declare the space, search."""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
from plain_keras import load

from darkroom.components.base.settings import TunerSettings
from darkroom.pipeline.config import Config
from darkroom.pipeline.node_settings import NodeSettings


class Candidate(keras_tuner.HyperModel):
    """A trial's network, and its training with the trial's batch size and learning rates."""

    def __init__(self, config: TunerSettings, num_classes: int, steps_per_execution: int):
        """``config``: what the Tuner node gets."""
        super().__init__()
        self.epochs_trained = 0
        self._steps_per_execution = steps_per_execution
        self._config = config
        self._num_classes = num_classes

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The compiled network."""
        declare(hp, self._config)
        config = self._config.with_values(hp.values)
        model, training = config.model, config.training
        size = config.preprocessing
        layers = [keras.Input((size.height, size.width, size.channels)), keras.layers.Flatten()]
        for units in filter(None, model.units):
            layers.append(
                keras.layers.Dense(units, model.activation, kernel_initializer=model.initializer)
            )
            layers.append(keras.layers.Dropout(model.dropout))
        layers.append(keras.layers.Dense(self._num_classes))
        optimizers = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
        network = keras.Sequential(layers)
        network.compile(
            optimizer=optimizers[training.optimizer](training.learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=self._steps_per_execution,
        )
        return network

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        *args: Any,
        epochs: int,
        callbacks: list[keras.callbacks.Callback],
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Fits the network; ``epochs``, and from which on, are the tuner's."""
        training = self._config.with_values(hp.values).training
        if training.schedule == "cosine":
            rate = lambda e: training.learning_rate * 0.5 * (1 + math.cos(math.pi * e / epochs))  # noqa: E731
            callbacks = [*callbacks, keras.callbacks.LearningRateScheduler(rate)]
        kwargs |= {"epochs": epochs, "callbacks": callbacks, "batch_size": training.batch_size}
        history = model.fit(*args, **kwargs)
        self.epochs_trained += len(history.epoch)
        return history


def declare(hp: keras_tuner.HyperParameters, config: TunerSettings) -> None:
    """Declares ``tuner.space``; the configured values are the defaults."""
    # KerasTuner draws in this order, and TFX hands darkroom the keys sorted: now both draw alike.
    for key, values in sorted(config.tuner.space.items()):
        default = config.value(key)
        between = {"step": values.step, "sampling": values.sampling, "default": default}
        if values.choices is not None:
            hp.Choice(key, values.choices, default=default)
        elif isinstance(default, float):
            hp.Float(key, values.min, values.max, **between)
        else:
            hp.Int(key, values.min, values.max, **between)


def search_with(config: TunerSettings, candidate: Candidate) -> keras_tuner.Tuner:
    """The tuner of the configured algorithm, which writes to the current folder."""
    options = {
        "objective": config.tuner.objective,
        "executions_per_trial": config.tuner.executions_per_trial,
        "seed": config.training.seed + 1,  # KerasTuner takes 0 for none
        "directory": ".",
        "project_name": "search",
    }
    if config.tuner.algorithm == "hyperband":
        return keras_tuner.Hyperband(
            candidate,
            max_epochs=config.tuner.epochs,
            factor=config.tuner.factor,
            hyperband_iterations=config.tuner.iterations,
            **options,
        )
    return keras_tuner.RandomSearch(candidate, max_trials=config.tuner.max_trials, **options)


def main(data: Path, tree: dict[str, Any], steps_per_execution: int) -> None:
    """Searches, and prints what came of it."""
    begin = time.monotonic()
    train_images, train_names = load(data / "train", channels=1)
    test_images, test_names = load(data / "test", channels=1)
    classes, train_labels = np.unique(train_names, return_inverse=True)
    test = test_images.astype(np.float32) / 255, np.searchsorted(classes, test_names)
    train = train_images.astype(np.float32) / 255, train_labels
    load_seconds = time.monotonic() - begin

    config = NodeSettings(Config.model_validate(tree)).of("Tuner")
    keras.utils.set_random_seed(config.training.seed + 1)
    begin = time.monotonic()
    candidate = Candidate(config, len(classes), steps_per_execution)
    tuner = search_with(config, candidate)
    tuner.search(
        *train,
        epochs=config.tuner.epochs,
        validation_data=test,
        validation_batch_size=256,
        verbose=2,
    )
    search_seconds = time.monotonic() - begin
    trials = tuner.oracle.trials.values()
    keys = tree["tuner"]["space"]
    scores = sorted((t.score for t in trials if t.status == "COMPLETED"), reverse=True)
    result = {
        "load_seconds": load_seconds,
        "search_seconds": search_seconds,
        "trials": len(trials),
        "epochs": candidate.epochs_trained,
        "best_score": scores[0],
        "scores": scores,
        "values": [{key: t.hyperparameters.values[key] for key in keys} for t in trials],
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]))
