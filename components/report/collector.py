"""Collects what there is to say of a run, and draws the pictures that go with it."""

import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from tfx.utils import path_utils

from darkroom.components import nodes as table
from darkroom.components.base import features, results
from darkroom.components.base.status import Status
from darkroom.components.evaluation import cost
from darkroom.components.evaluation.artifacts import Verdict
from darkroom.components.ingestion import data_version
from darkroom.components.ingestion.findings import Findings
from darkroom.components.ingestion.inspection_report import InspectionReport
from darkroom.components.pushing import outcome as pushing
from darkroom.components.pushing.artifacts import ServingValidation
from darkroom.components.report import facts, heat_maps, thumbnails
from darkroom.components.runs import environment, lineage
from darkroom.components.training import outcome as training
from darkroom.components.tuning import outcome as tuning
from darkroom.components.validation import artifacts as validation_artifacts
from darkroom.components.validation import outcome as validation
from darkroom.components.validation.statistics import SplitStatistics
from darkroom.serving import description, signatures
from darkroom.serving.codecs.pictures import ImageError

if TYPE_CHECKING:
    from ml_metadata.proto.metadata_store_pb2 import Artifact

T = TypeVar("T")
# Pictures of training images: in all, and of each class where there is room.
_EXAMPLES, _OF_EACH_CLASS = 24, 2
_PREPROCESSED = 6  # images that are shown as they come and as the network gets them


def collect(
    folder: Path,
    run: str,
    config: dict[str, Any],
    artifacts: "Mapping[str, Artifact]",
    nodes: list[lineage.Node],
    failure: facts.Failure | None = None,
) -> facts.Facts:
    """Collects the facts of a run, as far as it got; writes their pictures below ``folder``.

    ``run`` is the run's name in ML Metadata, ``config`` the whole configuration. ``artifacts`` have
    the keys of ``report.component.Report``; ``nodes`` are empty where ML Metadata can't be asked.
    ``failure`` says what ended the run, if anything did.
    """
    (folder / results.PICTURES_FOLDER).mkdir(parents=True, exist_ok=True)
    sections = _Sections(folder, config, artifacts)
    return {
        "pipeline": config["name"],
        "run": run,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "failure": failure,
        "config": config,
        "intended_use": config["report"]["intended_use"],
        "limits": config["report"]["limits"],
        "verdict": _verdict(artifacts),
        "data": sections.of(sections.data, "examples", "statistics"),
        "preprocessing": sections.of(
            sections.preprocessing, "examples", "statistics", "transform_graph"
        ),
        "search": sections.of(sections.search, "tuner_results", "best_hyperparameters"),
        "training": sections.of(sections.training, "model_run"),
        "evaluation": sections.of(sections.evaluation, "examples", "evaluation"),
        "model": sections.of(sections.model, "model"),
        "serving": sections.of(sections.serving, "infra_blessing"),
        "lineage": [_node(node) for node in nodes],
        "environment": environment.describe(),
    }


class _Sections:
    def __init__(self, folder: Path, config: dict[str, Any], artifacts: "Mapping[str, Artifact]"):
        self._folder, self._config, self._artifacts = folder, config, artifacts

    def of(self, section: Callable[[], T | None], *keys: str) -> T | None:
        return section() if all(key in self._artifacts for key in keys) else None

    def _picture(self, name: str, write: Callable[[T, Path], object], content: T) -> str | None:
        """Has a picture written; its path relative to the report, None where that can't be."""
        path = f"{results.PICTURES_FOLDER}/{name}.png"
        try:
            write(content, self._folder / path)
        except ImageError:  # which TensorFlow decodes, and Pillow doesn't
            return None
        return path

    def _files(self, split: str) -> list[Path]:
        folder = Path(self._artifacts["examples"].uri, f"Split-{split}")
        return sorted(path for path in folder.iterdir() if path.is_file())

    @cached_property
    def _statistics(self) -> dict[str, SplitStatistics]:
        return validation.statistics(self._artifacts["statistics"])

    @property
    def _model_folder(self) -> Path:
        return Path(path_utils.serving_model_path(self._artifacts["model"].uri))

    @cached_property
    def _examples(self) -> list[tuple[str, bytes]]:
        # Of numbers each image has a label of its own.
        classes = len(self._statistics["train"].classes) or _EXAMPLES
        return thumbnails.first_of_classes(self._files("train"), classes, _EXAMPLES, _OF_EACH_CLASS)

    def data(self) -> facts.Data:
        splits, anomalies = self._statistics, self._artifacts.get("anomalies")
        keys = dict.fromkeys(key for split in splits.values() for key in split.features)
        keys.pop(features.LABEL_KEY, None)
        inspection = InspectionReport.read(self._artifacts["examples"].uri)
        pictures = [
            (
                self._picture(results.EXAMPLE_PICTURE.format(number), thumbnails.of_file, image),
                label,
            )
            for number, (label, image) in enumerate(self._examples)
        ]
        properties = self._artifacts["examples"].custom_properties
        version = properties.get(data_version.PROPERTY)
        return {
            "version": version.string_value if version else None,
            "splits": {
                name: {"images": split.images, "classes": split.classes}
                for name, split in splits.items()
            },
            "inspection": inspection.model_dump(exclude_unset=True),
            "review": _review(self._artifacts["examples"]),
            "anomalies": validation_artifacts.anomalies(anomalies) if anomalies else [],
            "features": [
                {
                    "name": key,
                    "splits": {
                        name: cast(facts.Distribution, validation.distribution(split.features[key]))
                        for name, split in splits.items()
                        if key in split.features
                    },
                }
                for key in keys
            ],
            "examples": [{"picture": path, "label": label} for path, label in pictures if path],
        }

    def preprocessing(self) -> facts.Preprocessing:
        first = dict(reversed(self._examples))  # of each class
        chosen = sorted(first.items())[:_PREPROCESSED]
        pixels = _transformed(
            self._artifacts["transform_graph"].uri, [image for _, image in chosen]
        )
        # The graph's values have any range: the lowest of all these images becomes black, the
        # highest white, in every channel alike, so that colours and differences between images
        # stay.
        low, high = float(pixels.min()), float(pixels.max())
        pixels = (pixels - low) / max(high - low, 1e-6)
        pictures = []
        for number, (label, image) in enumerate(chosen):
            before = self._picture(f"before-{number}", thumbnails.of_file, image)
            after = self._picture(f"after-{number}", thumbnails.of_pixels, pixels[number])
            if before and after:
                pictures.append({"label": label, "before": before, "after": after})
        return {"settings": self._config["preprocessing"], "pictures": pictures}

    def search(self) -> facts.Search:
        rows, picture = tuning.search(self._artifacts["tuner_results"])
        return {
            "objective": self._config["tuner"]["objective"],
            "rows": [row.flat() for row in rows],
            "best": tuning.best_hyperparameters(self._artifacts["best_hyperparameters"]),
            "picture": self._picture("search", shutil.copyfile, picture) if picture else None,
        }

    def training(self) -> facts.Training:
        fit, sheet = training.training(self._artifacts["model_run"])
        shown = self._picture("augmentation", shutil.copyfile, sheet) if sheet else None
        return {
            "history": fit.history,
            "exported_epoch": fit.exported_epoch,
            "diagnosis": training.advice(fit),
            "augmentation": shown,
        }

    def evaluation(self) -> facts.Evaluation | None:
        evaluation = facts.Evaluation.read(self._artifacts["evaluation"])
        if evaluation is None:
            return None
        groups = {"mistake": evaluation.mistakes, "uncertain": evaluation.uncertain}
        hashes = {answer.content_hash for answers in groups.values() for answer in answers}
        images = thumbnails.by_content(self._files(evaluation.split), hashes) if hashes else {}
        for name, answers in groups.items():
            for number, answer in enumerate(answers):
                image, path = images.get(answer.content_hash), f"{name}-{number}"
                answer.picture = self._picture(path, thumbnails.of_file, image) if image else None
        if "model" in self._artifacts and not evaluation.numbers:
            self._draw_heat_maps(evaluation, images)
        return evaluation

    def _draw_heat_maps(self, evaluation: facts.Evaluation, images: dict[int, bytes]) -> None:
        """Of the mistakes whose images are there, for the first class that was seen in each."""
        named = [
            (number, answer, images[answer.content_hash])
            for number, answer in enumerate(evaluation.mistakes)
            if answer.content_hash in images and answer.predicted
        ]
        if not named:
            return
        size = self._config["preprocessing"]["height"], self._config["preprocessing"]["width"]
        maps = heat_maps.HeatMaps(self._model_folder, max(size))
        for number, answer, image in named:
            seen = answer.predicted
            if evaluation.multi_label:
                seen, *_ = seen.split(signatures.LABEL_SEPARATOR)
            answer.heat_map = self._picture(f"mistake-{number}-heat", maps.draw, (image, seen))

    def model(self) -> facts.Model:
        model = description.describe(self._model_folder)

        def tensors(named: list[description.Tensor]) -> list[dict[str, object]]:
            return [{"name": t.name, "type": t.dtype, "shape": t.shape} for t in named]

        return {
            "architecture": model.facts.get("network"),
            "parameters": model.parameters,
            "trainable": model.facts.get("trainable"),
            "signatures": [
                {"name": s.name, "inputs": tensors(s.inputs), "outputs": tensors(s.outputs)}
                for s in model.signatures
            ],
            "size_mib": cost.size_mib(str(self._model_folder)),
            "facts": cast("dict[str, object]", model.facts),
        }

    def serving(self) -> facts.Serving:
        validation = ServingValidation.read(self._artifacts["infra_blessing"])
        return cast(facts.Serving, validation.as_json())


def _review(examples: "Artifact") -> facts.Review | None:
    names = (data_version.FOLDER_PROPERTY, data_version.IDENTITY_PROPERTY)
    if not all(name in examples.custom_properties for name in names):  # of an earlier darkroom
        return None
    folder, identity = (examples.custom_properties[name].string_value for name in names)
    found = Findings.read(folder, identity)
    if found is None:
        return None
    return {
        "images": found.images,
        "faults": found.counts(),
        "notes": found.notes,
        "command": f"darkroom review {shlex.quote(folder)}",
    }


def _transformed(transform_graph: str, encoded: list[bytes]) -> np.ndarray:
    """What the network gets of images: float32 [count, height, width, channels]."""
    import tensorflow as tf
    import tensorflow_transform as tft

    layer = tft.TFTransformOutput(transform_graph).transform_features_layer()
    inputs = {features.IMAGE_KEY: tf.reshape(tf.constant(encoded), [-1, 1])}
    pixels: np.ndarray = layer(inputs)[features.IMAGE].numpy()
    return pixels


def _verdict(artifacts: "Mapping[str, Artifact]") -> facts.Verdict:
    verdict = facts.Verdict(
        blessed=None, servable=None, reasons=[], remarks=[], pushed_version=None
    )
    if "blessing" in artifacts:
        gate = Verdict.read(artifacts["blessing"])
        verdict |= {"blessed": gate.blessed, "reasons": gate.reasons, "remarks": gate.remarks}
    if verdict["blessed"] and "infra_blessing" in artifacts:
        verdict["reasons"] = ServingValidation.read(artifacts["infra_blessing"]).reasons
        verdict["servable"] = not verdict["reasons"]
    if "pushed_model" in artifacts and (folder := pushing.pushed(artifacts["pushed_model"])):
        verdict["pushed_version"] = os.path.basename(folder)
    return verdict


def _node(node: lineage.Node) -> facts.Node:
    is_done = node.state in lineage.DONE
    return {
        "node": node.id,
        "state": node.state,
        "seconds": round((node.updated - node.started) / 1000, 1),
        "started": lineage.moment(node.started),
        "result": table.read_outputs(Status("", "", ""), node.id, node.made) if is_done else "",
        "inputs": lineage.rows(node.inputs),
        "outputs": lineage.rows(node.outputs),
    }
