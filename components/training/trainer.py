"""The Trainer node: fit under MirroredStrategy, or on several machines, and export."""

import math
import os
import tempfile

import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from darkroom.components.base import examples as base_examples
from darkroom.components.base import progress, remote, results
from darkroom.components.base.sections.training import loss_of
from darkroom.components.base.settings import TrainerSettings
from darkroom.components.networks import export
from darkroom.components.training import (
    aside,
    calibration,
    dataset,
    multi_worker,
    precision,
    stages,
)
from darkroom.components.training.distribution import cluster, shared_work
from darkroom.components.training.hand_over import HandOver
from darkroom.components.training.model_run import CONTACT_SHEET, TrainingHistory
from darkroom.components.transform import vocabulary


def run_fn(fn_args: FnArgs) -> None:
    """Trains the configured model, from where it was interrupted, and exports it."""
    settings = TrainerSettings.unpack(fn_args.custom_config)
    best = HandOver.of(fn_args.hyperparameters)
    config = settings.with_values(best.values)
    chief = cluster.of(config.training.strategy)
    if warning := cluster.left_alone(config.training.strategy):
        progress.warn("Trainer", warning)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    classes = vocabulary.class_names(transform)
    root, node_folder = settings.outliving(fn_args.model_run_dir)
    examples = os.path.join(root, results.SEARCHES_FOLDER, results.EXAMPLES_FOLDER)
    data = (fn_args.train_files, fn_args.eval_files, transform)
    place = dataset.place_for(examples, *data, config.training)
    splits = dataset.splits(*data, config.training, "Trainer", place)
    train = splits[0]
    job = stages.TrainingJob(
        settings=settings,
        hand_over=best,
        classes=classes,
        run_folder=fn_args.model_run_dir,
        checkpoint_folder=remote.origin(os.path.join(node_folder, "checkpoints")),
        examples=place,
        files=list(map(remote.origin, [*fn_args.train_files, *fn_args.eval_files])),
        transform=remote.origin(fn_args.transform_output),
        evaluated=base_examples.most_evaluated(fn_args.eval_files, len(splits[1])),
    )
    policy = precision.chosen(config, job.build, train, "Trainer", job.checkpoint_folder)
    job = job.model_copy(update={"policy": policy})
    os.makedirs(job.run_folder, exist_ok=True)
    if config.augmentation.changes_images:
        sheet = os.path.join(job.run_folder, CONTACT_SHEET)
        draw = aside.module("training.contact_sheet").draw
        seen = config.model.image_size
        draw(train.first(8), config.augmentation, config.training.seed, sheet, seen)

    training, course = _train(job, splits, chief, os.path.join(root, multi_worker.FILE))
    course.write(job.run_folder)
    model = training.exported()
    head, radii, temperature = config.model.head, [], 1.0
    loss = loss_of(config.training.loss, head)
    if head == "regression":
        radii = calibration.radii(model, splits[1], config)
    else:
        temperature = calibration.temperature(model, splits[1], config)
    samples = dataset.sample_images(fn_args.eval_files, count=8)
    serving_model = export.of_head(model, transform, classes, head, temperature, radii)
    facts = {
        "network": model.name,
        "head": head,
        "examples": len(train),
        "trainable": sum(math.prod(weight.shape) for weight in model.trainable_weights),
        "epochs": course.epochs,
        "exported_epoch": course.exported_epoch + 1,
        "policy": policy,
        **_calibrated(serving_model, temperature, samples[0]),
        "metrics": {name: values[course.exported_epoch] for name, values in course.history.items()},
        "settings": {**config.training.model_dump(), "loss": loss, **best.named},
    }
    export.save(serving_model, fn_args.serving_model_dir, samples, facts)
    training.forget()


def _calibrated(
    serving_model: export.ServingModel, temperature: float, image: bytes
) -> dict[str, object]:
    """What the training's metrics, and the scores or numbers of the model, are to be read by."""
    if isinstance(serving_model, export.RegressionModel):
        return {"deviations": serving_model.deviations(image)}
    return {"temperature": temperature}


def _train(
    job: stages.TrainingJob, splits: dataset.Splits, chief: cluster.Cluster | None, path: str
) -> tuple[stages.Training, TrainingHistory]:
    """Trains here, or in a process of its own on each machine, which leaves the last checkpoint."""
    if chief is None:
        training = stages.Training(job, splits)
        return training, training.run()
    with tempfile.TemporaryDirectory() as nowhere:  # the other process writes the curves
        training = stages.Training(job.model_copy(update={"run_folder": nowhere}), splits)
        if training.is_over():  # when this machine was lost after the last epoch
            shared_work.conclude(path)
        else:
            if not os.path.exists(job.examples):
                dataset.keep(splits, job.examples)  # decoded once for all of them
            multi_worker.train(chief, path, job, training.done)
        return training, training.run()
