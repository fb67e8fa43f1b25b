"""The Tuner node: a KerasTuner search over keys of the configuration."""

from types import SimpleNamespace
from typing import Any

import keras
import keras_tuner
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from components import dataset, devices, models, progress, settings, training
from components.errors import DarkroomError, explain


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """The search that TFX's Tuner runs, and what its trials are fitted on."""
    config = settings.unpack(fn_args.custom_config)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    train, validation = dataset.splits(
        fn_args.train_files, fn_args.eval_files, transform, training.budget(config.training)
    )
    candidate = Candidate(
        fn_args.custom_config,
        train,
        validation,
        num_classes=len(training.class_names(transform)),
    )
    space = search_space(config)
    # A model that can't be built fails here with its cause, not as so many failed trials.
    candidate.build(space.copy())
    search = RandomSearch(
        candidate,
        objective=config.tuner.objective,
        max_trials=config.tuner.max_trials,
        hyperparameters=space,
        seed=config.training.seed,
        directory=fn_args.working_dir,
        project_name="search",
    )
    return TunerFnResult(tuner=search, fit_kwargs={"verbose": 0})


def search_space(config: SimpleNamespace) -> keras_tuner.HyperParameters:
    """KerasTuner's declaration of ``tuner.space``; the configured values are the defaults."""
    hp = keras_tuner.HyperParameters()
    for key, values in vars(config.tuner.space).items():
        default = settings.look_up(config, key)
        if values.choices is not None:
            choices = [float(c) if isinstance(default, float) else c for c in values.choices]
            hp.Choice(key, choices, default=default if default in choices else choices[0])
        elif isinstance(default, float):
            default = min(max(default, values.min), values.max)
            hp.Float(
                key, values.min, values.max, values.step, sampling=values.sampling, default=default
            )
        else:  # a whole number, or nothing where a whole number can stand
            low, high = int(values.min), int(values.max)
            step = None if values.step is None else int(values.step)
            default = low if default is None else min(max(default, low), high)
            hp.Int(key, low, high, step, sampling=values.sampling, default=default)
    return hp


class Candidate(keras_tuner.HyperModel):
    """One trial: the configuration with the trial's values in it, built and fitted."""

    def __init__(
        self,
        custom_config: dict[str, Any],
        train: dataset.Examples,
        validation: dataset.Examples,
        num_classes: int,
    ):
        """The examples are preprocessed once and shared by all trials."""
        super().__init__()
        self._custom_config = custom_config
        self._train, self._validation = train, validation
        self._num_classes = num_classes

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The compiled model of a trial."""
        config = settings.unpack(self._custom_config, hp.values)
        keras.utils.set_random_seed(config.training.seed)
        with devices.strategy(config.training).scope(), devices.dtype_policy(config.training):
            return models.build_model(hp, config, self._num_classes)

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        *args: Any,
        callbacks: list[keras.callbacks.Callback],
        **kwargs: Any,
    ) -> dict[str, float]:
        """Fits the model and returns the metrics of its best epoch."""
        config = settings.unpack(self._custom_config, hp.values)
        config.training.epochs = config.tuner.epochs or config.training.epochs
        history = training.fit(model, config, self._train, self._validation, callbacks).history
        if config.tuner.objective not in history:
            raise DarkroomError(
                f"tuner.objective: the model has no metric {config.tuner.objective!r}, it has "
                f"{', '.join(history)}. Compile it with metrics=['accuracy']."
            )
        best = max if config.tuner.objective == "val_accuracy" else min
        return {config.tuner.objective: best(history[config.tuner.objective])}


class RandomSearch(keras_tuner.RandomSearch):
    """KerasTuner's random search that says which trial runs and what is best so far."""

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
        """Fits one trial, with progress."""
        number = len(self.oracle.trials)
        best = self.oracle.get_best_trials(1)
        so_far = f"best so far {best[0].score:.4f}, " if best and best[0].score is not None else ""
        reporter = progress.ReportEpochs(
            "Tuner",
            prefix=f"trial {number}/{self.oracle.max_trials}, {so_far}",
            start=(number - 1) / self.oracle.max_trials,
            share=1 / self.oracle.max_trials,
        )
        hp = trial.hyperparameters
        try:
            # Not among the search's callbacks, which KerasTuner copies for every execution.
            return self.hypermodel.fit(hp, self.hypermodel.build(hp), callbacks=[reporter])
        except training.Diverged as error:  # this trial's own fault
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        except DarkroomError as error:  # KerasTuner would go on, and lose the cause
            raise keras_tuner.errors.FatalRuntimeError(str(error)) from error

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Runs all trials.

        Raises:
          DarkroomError: none of them finished.
        """
        super().search(*args, **kwargs)
        trials = list(self.oracle.trials.values())
        # KerasTuner itself would go on and name a failed trial as the best.
        if not any(trial.status == "COMPLETED" for trial in trials):
            cause = explain(RuntimeError(trials[0].message))
            raise DarkroomError(f"None of the trials finished, {len(trials)} failed. {cause}")
