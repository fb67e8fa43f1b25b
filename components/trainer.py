"""The Trainer node: fit under MirroredStrategy, export."""

import json
import os

import keras
import keras_tuner
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components import (
    augmentation,
    dataset,
    diagnosis,
    export,
    models,
    progress,
    results,
    settings,
    training,
)


def run_fn(fn_args: FnArgs) -> None:
    """Trains the configured model and exports it; called by TFX's Trainer.

    Writes the SavedModel to ``fn_args.serving_model_dir`` and the metrics of every epoch to
    ``history.json`` in ``fn_args.model_run_dir``.
    """
    best = fn_args.hyperparameters or {"space": [], "values": {}}
    config = settings.unpack(fn_args.custom_config, best["values"])
    hp = keras_tuner.HyperParameters.from_config(best)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    classes = training.class_names(transform)
    train = dataset.preprocessed(fn_args.train_files, transform)
    evaluation = dataset.preprocessed(fn_args.eval_files, transform)

    keras.utils.set_random_seed(config.training.seed)
    with tf.distribute.MirroredStrategy().scope():
        model = models.build_model(hp, config, len(classes))
    os.makedirs(fn_args.model_run_dir, exist_ok=True)
    first = next(iter(train.batch(8).take(1)))[0].numpy()
    sheet = os.path.join(fn_args.model_run_dir, results.CONTACT_SHEET)
    augmentation.contact_sheet(first, config.augmentation, config.training.seed, sheet)
    history = training.fit(model, config, train, evaluation, [progress.ReportEpochs("Trainer")])

    losses = history["val_loss"]
    restored = config.training.patience is not None  # then the best epoch's weights are
    epoch = losses.index(min(losses)) if restored else len(losses) - 1
    path = os.path.join(fn_args.model_run_dir, results.HISTORY_FILE)
    with open(path, "w", encoding="utf-8") as file:
        sentences = diagnosis.diagnose(history, _largest_share(train))
        json.dump({"history": history, "exported_epoch": epoch, "diagnosis": sentences}, file)
    serving_model = export.ServingModel(model, transform, classes)
    samples = dataset.sample_images(fn_args.eval_files, transform, count=8)
    facts = {
        "network": model.name,
        "examples": int(train.cardinality()),
        "epochs": len(losses),
        "exported_epoch": epoch + 1,
        "metrics": {name: values[epoch] for name, values in history.items()},
        "settings": {**vars(config.training), **best["values"]},
    }
    export.save(serving_model, fn_args.serving_model_dir, samples, facts)


def _largest_share(train: tf.data.Dataset) -> float:
    counts = dataset.class_counts(train)
    return max(counts.values()) / counts.total()
