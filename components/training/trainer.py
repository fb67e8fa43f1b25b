"""The Trainer node: fit under MirroredStrategy, or on several machines, and export."""

import json
import math
import os
import tempfile

import keras  # noqa: F401  # before tensorflow_transform, which would choose tf_keras
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from darkroom.components.base import progress, remote, results, settings
from darkroom.components.networks import export
from darkroom.components.training import augmentation, dataset, diagnosis, fitting
from darkroom.components.training.distribution import cluster, multi_worker, shared_work
from darkroom.components.training.stages import prepared
from darkroom.components.tuning import trial_table


def run_fn(fn_args: FnArgs) -> None:
    """Trains the configured model and exports it; called by TFX's Trainer.

    Writes the SavedModel to ``fn_args.serving_model_dir``, and the metrics of every epoch to
    ``history.json`` in ``fn_args.model_run_dir``. A training that was interrupted goes on.
    """
    best = fn_args.hyperparameters or {"space": [], "values": {}}
    config = settings.TrainerSettings.unpack(fn_args.custom_config).with_values(best["values"])
    chief = cluster.of(config.training.strategy)
    if said := cluster.left_alone(config.training.strategy):
        progress.warn("Trainer", said)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    classes = fitting.class_names(transform)
    kept = config.unfinished
    root = kept or os.path.join(fn_args.model_run_dir, *[os.pardir] * 3)
    # Beside the folders of all executions, where the next one looks.
    beside = kept or os.path.join(fn_args.model_run_dir, *[os.pardir] * 2)
    examples = os.path.join(root, results.SEARCHES_FOLDER, results.EXAMPLES_FOLDER)
    data = (fn_args.train_files, fn_args.eval_files, transform)
    place = dataset.place_for(examples, *data)
    train, evaluation = dataset.splits(*data, fitting.budget(config.training), place)
    facts = {
        "hyperparameters": best,
        "custom_config": fn_args.custom_config,
        "num_classes": len(classes),
        "examples": place,
        "run_folder": fn_args.model_run_dir,
        "checkpoint_folder": remote.origin(os.path.join(beside, "checkpoints")),
        "determined_by": {
            "custom_config": fn_args.custom_config,
            "hyperparameters": best["values"],
            "files": list(map(remote.origin, [*fn_args.train_files, *fn_args.eval_files])),
            "transform": remote.origin(fn_args.transform_output),
            "begin_with": best.get("checkpoint"),
        },
    }
    os.makedirs(fn_args.model_run_dir, exist_ok=True)
    sheet = os.path.join(fn_args.model_run_dir, results.CONTACT_SHEET)
    augmentation.contact_sheet(train.first(8), config.augmentation, config.training.seed, sheet)

    with tempfile.TemporaryDirectory() as nowhere:
        # Where several machines train, the process that does so on this one writes the curves.
        run = prepared(facts, (train, evaluation), nowhere if chief else fn_args.model_run_dir)
        if chief:
            path = os.path.join(root, results.TRAINING_FILE)
            if run.is_over():  # when this machine was lost after the last epoch
                shared_work.conclude(path)
            else:
                if not os.path.exists(place):
                    dataset.keep((train, evaluation), place)  # decoded once for all of them
                multi_worker.train(chief, path, facts, run.done)
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
        "settings": {**config.training.model_dump(), **trial_table.hyperparameters(best["values"])},
    }
    export.save(serving_model, fn_args.serving_model_dir, samples, facts)
    run.forget()
