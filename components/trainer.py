"""The Trainer node: fit under MirroredStrategy, export."""

import json
import math
import os

import keras  # noqa: F401  # before tensorflow_transform, which would choose tf_keras
import keras_tuner
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components import (
    augmentation,
    dataset,
    diagnosis,
    export,
    remote,
    results,
    settings,
    training,
    trials,
)
from components.stages import Training


def run_fn(fn_args: FnArgs) -> None:
    """Trains the configured model and exports it; called by TFX's Trainer.

    Writes the SavedModel to ``fn_args.serving_model_dir``, and the metrics of every epoch to
    ``history.json`` in ``fn_args.model_run_dir``. A training that was interrupted goes on.
    """
    best = fn_args.hyperparameters or {"space": [], "values": {}}
    config = settings.unpack(fn_args.custom_config, best["values"])
    transform = tft.TFTransformOutput(fn_args.transform_output)
    classes = training.class_names(transform)
    above = os.path.join(fn_args.model_run_dir, *[os.pardir] * 2)
    examples = os.path.join(above, os.pardir, results.SEARCHES_FOLDER, results.EXAMPLES_FOLDER)
    data = (fn_args.train_files, fn_args.eval_files, transform)
    train, evaluation = dataset.splits(
        *data, training.budget(config.training), dataset.place_for(examples, *data)
    )
    run = Training(
        keras_tuner.HyperParameters.from_config(best),
        config,
        len(classes),
        (train, evaluation),
        run_folder=fn_args.model_run_dir,
        # Beside the folders of all executions, where the next one looks.
        checkpoint_folder=remote.origin(os.path.join(above, "checkpoints")),
        determined_by={
            "custom_config": fn_args.custom_config,
            "hyperparameters": best["values"],
            "files": list(map(remote.origin, [*fn_args.train_files, *fn_args.eval_files])),
            "transform": remote.origin(fn_args.transform_output),
            "begin_with": best.get("checkpoint"),
        },
        begin_with=best.get("checkpoint"),
    )
    os.makedirs(fn_args.model_run_dir, exist_ok=True)
    sheet = os.path.join(fn_args.model_run_dir, results.CONTACT_SHEET)
    augmentation.contact_sheet(train.first(8), config.augmentation, config.training.seed, sheet)

    history, epoch = run.run()

    found = diagnosis.diagnose(history, train.constant_accuracy())
    written = {
        "history": history,
        "exported_epoch": epoch,
        "resumed_at": run.resumed_at,
        "searched": run.searched,
        "stages": run.stages,
        "diagnosis": [*run.notes, *found.values()],
    }
    path = os.path.join(fn_args.model_run_dir, results.HISTORY_FILE)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(written, file)
    serving_model = export.ServingModel(run.model, transform, classes, config.model.head)
    samples = dataset.sample_images(fn_args.eval_files, count=8)
    facts = {
        "network": run.model.name,
        "head": config.model.head,
        "examples": len(train),
        "trainable": sum(math.prod(weight.shape) for weight in run.model.trainable_weights),
        "epochs": len(history["loss"]),
        "exported_epoch": epoch + 1,
        "metrics": {name: values[epoch] for name, values in history.items()},
        "settings": {**vars(config.training), **trials.hyperparameters(best["values"])},
    }
    export.save(serving_model, fn_args.serving_model_dir, samples, facts)
    run.forget()
