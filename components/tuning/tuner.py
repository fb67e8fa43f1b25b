"""The Tuner node: a KerasTuner search whose trials run in parallel and survive a kill."""

import os
import shutil
from typing import Any

import keras  # noqa: F401  # before tensorflow_transform, which would choose tf_keras
import tensorflow_transform as tft
from tfx import types
from tfx.components import Tuner as StockTuner
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner import executor as stock
from tfx.components.tuner.component import TunerFnResult
from tfx.dsl.components.base import base_executor, executor_spec
from tfx.types import artifact_utils
from tfx.utils import json_utils

from darkroom.components.base import remote, results, settings
from darkroom.components.training import dataset, fitting
from darkroom.components.tuning import importance, parallel_coordinates
from darkroom.components.tuning.search import Search
from darkroom.components.tuning.trial import Candidate
from darkroom.serving import files


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """The search of TFX's Tuner contract, in a sub-folder of ``fn_args.working_dir``."""
    custom_config = fn_args.custom_config
    config = settings.unpack(custom_config)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    data = (fn_args.train_files, fn_args.eval_files, transform)
    place = dataset.place_for(os.path.join(fn_args.working_dir, results.EXAMPLES_FOLDER), *data)
    candidate = Candidate(custom_config, len(fitting.class_names(transform)))

    def prepare() -> None:
        if not os.path.exists(place):
            dataset.keep(dataset.splits(*data, fitting.budget(config.training)), place)

    source = {
        "files": [*fn_args.train_files, *fn_args.eval_files],
        "transform": fn_args.transform_graph_path,
    }
    search = Search(candidate, fn_args.working_dir, source, place, prepare)
    return TunerFnResult(tuner=search, fit_kwargs={})


class Executor(base_executor.BaseExecutor):
    """Runs the search in a folder that outlives it, and writes all that it came to."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the best hyperparameters, what each trial came to, and a picture of it."""
        best = artifact_utils.get_single_uri(output_dict["best_hyperparameters"])
        found = artifact_utils.get_single_uri(output_dict["tuner_results"])
        custom_config = json_utils.loads(exec_properties["custom_config"])
        root = custom_config.get(results.UNFINISHED_KEY) or os.path.join(best, *[os.pardir] * 3)
        folder = os.path.join(root, results.SEARCHES_FOLDER)
        search = stock.search(
            input_dict, exec_properties, os.path.abspath(folder), print_tuning_summary=False
        )
        os.makedirs(best, exist_ok=True)
        os.makedirs(found, exist_ok=True)
        files.write_json(os.path.join(best, "best_hyperparameters.txt"), _handed_on(search, found))
        rows = search.rows()
        files.write_json(os.path.join(found, results.TUNER_RESULTS), rows)
        picture = os.path.join(found, results.SEARCH_PICTURE)
        _draw(search, rows, picture)


def _draw(search: Search, rows: list[dict[str, Any]], path: str) -> None:
    """The trials, and which hyperparameters mattered."""
    space = search.oracle.get_space().space
    log = {entry.name for entry in space if getattr(entry, "sampling", None) == "log"}
    done = [row for row in rows if row["score"] is not None]
    values = [{e.name: row[e.name] for e in space if e.name in row} for row in done]
    mattered = importance.importances(values, [row["score"] for row in done], log)
    objective = search.oracle.objective.name
    parallel_coordinates.draw(rows, objective, search.maximize, log, mattered, path)


def _handed_on(search: Search, folder: str) -> dict[str, Any]:
    """What Trainer gets: KerasTuner's HyperParameters as plain data, and more in the same dict.

    A checkpoint goes to ``folder``: TFX wants a single file with the hyperparameters.
    """
    handed: dict[str, Any] = search.best().hyperparameters.get_config()
    tuner = search.config.tuner
    if tuner.carry_epochs:
        epochs = search.rows()[0]["best_epoch"] + 1
        handed["values"] = {**handed["values"], "training.epochs": epochs}
    if tuner.carry_over == "checkpoint":
        path = os.path.join(folder, "checkpoint.npz")
        shutil.copy(search.best_checkpoint(), path)
        handed["checkpoint"] = remote.origin(path)
    return handed


class Tuner(StockTuner):
    """TFX's Tuner, with its contract, and an executor of ours."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
