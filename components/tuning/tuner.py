"""The Tuner node: a KerasTuner search whose trials run in parallel and survive a kill."""

import os
import shutil

import keras_tuner
import tensorflow_transform as tft
from tfx.components import Tuner as StockTuner
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner import executor as stock
from tfx.components.tuner.component import TunerFnResult
from tfx.dsl.components.base import base_executor, executor_spec
from tfx.types import artifact_utils

from darkroom.components.base import remote, results
from darkroom.components.base.component import Artifacts, Properties
from darkroom.components.base.settings import TunerSettings
from darkroom.components.networks import parts
from darkroom.components.training import aside, dataset, transfer
from darkroom.components.training.hand_over import HandOver
from darkroom.components.transform import vocabulary
from darkroom.components.tuning.search import Search, Source
from darkroom.components.tuning.trial import Candidate
from darkroom.components.tuning.tuner_results import TunerResults


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """The search of TFX's Tuner contract, in a sub-folder of ``fn_args.working_dir``."""
    config = TunerSettings.unpack(fn_args.custom_config)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    data = (fn_args.train_files, fn_args.eval_files, transform)
    examples = os.path.join(fn_args.working_dir, results.EXAMPLES_FOLDER)
    place = dataset.place_for(examples, *data, config.training)
    candidate = Candidate(config, vocabulary.class_names(transform))
    budget, frozen = config.training.cache_bytes, transfer.is_shared(config)
    outputs = os.path.join(fn_args.working_dir, results.OUTPUTS_FOLDER, _named(config, place))
    kept = outputs if frozen else place

    def prepare() -> None:
        if not os.path.exists(place):
            dataset.keep(dataset.splits(*data, config.training, "Tuner"), place)
        if frozen and not os.path.exists(outputs):
            model = candidate.build(keras_tuner.HyperParameters())
            backbone, splits = model.get_layer(parts.BACKBONE), dataset.kept(place, budget)
            dataset.keep(transfer.frozen_splits(backbone, splits, config, "Tuner"), outputs)
        if config.tuner.folds is not None:
            dataset.keep_groups(kept, fn_args.train_files)

    source = Source([*fn_args.train_files, *fn_args.eval_files], fn_args.transform_graph_path)
    search = Search(candidate, fn_args.working_dir, source, kept, prepare, frozen)
    return TunerFnResult(tuner=search, fit_kwargs={})


def _named(config: TunerSettings, place: str) -> str:
    """A name for the outputs of a frozen backbone for the examples kept in a place."""
    facts = config.model_dump(mode="json", include={"model", "augmentation", "weights", "source"})
    facts |= {"examples": place, "seed": config.training.seed}
    return results.name_of(facts)


class Executor(base_executor.BaseExecutor):
    """Runs the search in a folder that outlives it, and writes all that it came to."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """Writes the best hyperparameters, what each trial came to, and a picture of it."""
        best = artifact_utils.get_single_uri(output_dict["best_hyperparameters"])
        tuner_results = artifact_utils.get_single_uri(output_dict["tuner_results"])
        config = TunerSettings.unpack(exec_properties["custom_config"])
        folder = os.path.join(config.outliving(best)[0], results.SEARCHES_FOLDER)
        search = stock.search(input_dict, exec_properties, folder, print_tuning_summary=False)
        table = search.results()
        table.write(tuner_results)
        hand_over(search, tuner_results).write(best)
        space = search.oracle.get_space().space
        log = {entry.name for entry in space if getattr(entry, "sampling", None) == "log"}
        picture = os.path.join(tuner_results, TunerResults.PICTURE)
        draw = aside.module("tuning.parallel_coordinates").draw
        draw(table.rows, config.tuner.objective, search.maximize, log, picture)


def hand_over(search: Search, folder: str) -> HandOver:
    """What Trainer gets; a checkpoint goes to ``folder``: TFX's artifact may have only one file."""
    best = search.best().hyperparameters.get_config()
    tuner, epochs, checkpoint = search.config.tuner, None, None
    if tuner.carry_epochs:
        best_epoch = search.row(search.best()).best_epoch
        assert best_epoch is not None
        epochs = best_epoch + 1
    if tuner.carry_over == "checkpoint":
        path = os.path.join(folder, "checkpoint.npz")
        shutil.copy(search.checkpoint(search.best()), path)
        checkpoint = remote.origin(path)
    return HandOver(
        hyperparameters=best["values"], space=best["space"], checkpoint=checkpoint, epochs=epochs
    )


class Tuner(StockTuner):
    """TFX's Tuner, with its contract, and an executor of ours."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
