"""Collects what there is to say of a run, and draws the pictures that go with it."""

import os
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
from darkroom.components.evaluation.artifacts import Evaluation, Verdict
from darkroom.components.ingestion import image_formats
from darkroom.components.ingestion.inspection_report import InspectionReport
from darkroom.components.pushing import outcome as pushing
from darkroom.components.pushing.artifacts import ServingValidation
from darkroom.components.report import facts, thumbnails
from darkroom.components.runs import environment, lineage
from darkroom.components.training import outcome as training
from darkroom.components.tuning import outcome as tuning
from darkroom.components.validation import artifacts as validation_artifacts
from darkroom.components.validation import outcome as validation
from darkroom.components.validation.statistics import SplitStatistics
from darkroom.serving import description

if TYPE_CHECKING:
    from ml_metadata.proto.metadata_store_pb2 import Artifact

_Section = TypeVar("_Section")
_Content = TypeVar("_Content")
# Pictures of the training images: of each class two where there is room.
_EXAMPLES, _OF_EACH_CLASS = 24, 2
# Images that are shown as they come and as the network gets them.
_PREPROCESSED = 6


def collect(
    folder: Path,
    run: str,
    config: dict[str, Any],
    artifacts: "Mapping[str, Artifact]",
    nodes: list[lineage.Node],
    failure: facts.Failure | None = None,
) -> facts.Facts:
    """The facts of a run, as far as it got.

    Args:
      folder: of the report; the pictures are written below it.
      run: the run's name in ML Metadata.
      config: the whole tree.
      artifacts: by the keys of ``darkroom.components.report.component.INPUTS``.
      nodes: that have run; none where there is no store to ask.
      failure: what ended the run, where that was no success.
    """
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
        **sections.collect(),
        "lineage": [_node(node) for node in nodes],
        "environment": environment.describe(),
    }


class _Sections:
    """The sections of a report, and what several of them need."""

    def __init__(self, folder: Path, config: dict[str, Any], artifacts: "Mapping[str, Artifact]"):
        self._folder, self._config, self._artifacts = folder, config, artifacts
        (folder / results.PICTURES_FOLDER).mkdir(parents=True, exist_ok=True)

    def collect(self) -> facts.Sections:
        """Every section whose artifacts are there."""
        return {
            "data": self._of(self._data, "examples", "statistics"),
            "preprocessing": self._of(
                self._preprocessing, "examples", "statistics", "transform_graph"
            ),
            "search": self._of(self._search, "tuner_results", "best_hyperparameters"),
            "training": self._of(self._training, "model_run"),
            "evaluation": self._of(self._evaluation, "examples", "evaluation"),
            "model": self._of(self._model, "model"),
            "serving": self._of(self._serving, "infra_blessing"),
        }

    def _of(self, section: Callable[[], _Section | None], *keys: str) -> _Section | None:
        return section() if all(key in self._artifacts for key in keys) else None

    def _picture(
        self, name: str, write: Callable[[_Content, Path], object], content: _Content
    ) -> str | None:
        """Has a picture written; its path relative to the report, None where that can't be."""
        path = f"{results.PICTURES_FOLDER}/{name}.png"
        try:
            write(content, self._folder / path)
        except image_formats.ImageError:  # which TensorFlow decodes, and Pillow doesn't
            return None
        return path

    def _files(self, split: str) -> list[Path]:
        """The TFRecord files of a split."""
        folder = Path(self._artifacts["examples"].uri, f"Split-{split}")
        return sorted(path for path in folder.iterdir() if path.is_file())

    @cached_property
    def _statistics(self) -> dict[str, SplitStatistics]:
        """The statistics of each split."""
        return validation.statistics(self._artifacts["statistics"])

    @cached_property
    def _examples(self) -> list[tuple[str, bytes]]:
        """Label and image file of the first images of each class of the train split."""
        classes = len(self._statistics["train"].classes)
        return thumbnails.first_of_classes(self._files("train"), classes, _EXAMPLES, _OF_EACH_CLASS)

    def _data(self) -> facts.Data:
        splits, artifacts = self._statistics, self._artifacts
        by_split = {name: split.features for name, split in splits.items()}
        keys = dict.fromkeys(key for by_key in by_split.values() for key in by_key)
        examples = [
            (self._picture(f"example-{number}", thumbnails.of_file, image), label)
            for number, (label, image) in enumerate(self._examples)
        ]
        return {
            "splits": {
                name: {"images": split.images, "classes": split.classes}
                for name, split in splits.items()
            },
            "inspection": InspectionReport.read(artifacts["examples"].uri).model_dump(),
            "anomalies": validation_artifacts.anomalies(artifacts["anomalies"])
            if "anomalies" in artifacts
            else [],
            "features": [
                {
                    "name": key,
                    "splits": {
                        split: cast(facts.Distribution, validation.distribution(by_key[key]))
                        for split, by_key in by_split.items()
                        if key in by_key
                    },
                }
                for key in keys
                if key != features.LABEL_KEY
            ],
            "examples": [
                {"picture": picture, "label": label} for picture, label in examples if picture
            ],
        }

    def _preprocessing(self) -> facts.Preprocessing:
        first: dict[str, bytes] = {}
        for label, image in self._examples:
            first.setdefault(label, image)
        chosen = list(first.items())[:_PREPROCESSED]
        graph = self._artifacts["transform_graph"].uri
        pixels = _transformed(graph, [image for _, image in chosen])
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

    def _search(self) -> facts.Search:
        rows, picture = tuning.search(self._artifacts["tuner_results"])
        return {
            "objective": self._config["tuner"]["objective"],
            "rows": [row.flat() for row in rows],
            "best": tuning.best_hyperparameters(self._artifacts["best_hyperparameters"]),
            "picture": self._picture("search", shutil.copyfile, picture) if picture else None,
        }

    def _training(self) -> facts.Training:
        fit, sheet = training.training(self._artifacts["model_run"])
        return {
            "history": cast(facts.History, fit.history),
            "exported_epoch": fit.exported_epoch,
            "diagnosis": training.advice(fit),
            "augmentation": self._picture("augmentation", shutil.copyfile, sheet)
            if sheet.exists()
            else None,
        }

    def _evaluation(self) -> facts.Evaluation | None:
        evaluation = Evaluation.read(self._artifacts["evaluation"])
        if evaluation is None:
            return None
        measured = evaluation.as_json()
        groups = {"mistake": measured["mistakes"], "uncertain": measured["uncertain"]}
        hashes = {answer["content_hash"] for answers in groups.values() for answer in answers}
        images = thumbnails.by_content(self._files(measured["split"]), hashes) if hashes else {}
        for name, answers in groups.items():
            for number, answer in enumerate(answers):
                image = images.get(answer["content_hash"])
                answer["picture"] = (
                    self._picture(f"{name}-{number}", thumbnails.of_file, image) if image else None
                )
        return cast(facts.Evaluation, measured)

    def _model(self) -> facts.Model:
        folder = Path(path_utils.serving_model_path(self._artifacts["model"].uri))
        model = description.describe(folder)

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
            "size_mib": cost.size_mib(str(folder)),
            "facts": cast("dict[str, object]", model.facts),
        }

    def _serving(self) -> facts.Serving:
        validation = ServingValidation.read(self._artifacts["infra_blessing"])
        return cast(facts.Serving, validation.as_json())


def _transformed(transform_graph: str, encoded: list[bytes]) -> np.ndarray:
    """What the network gets of images: float32 [count, height, width, channels]."""
    import keras  # noqa: F401  # before tensorflow_transform, which would choose tf_keras
    import tensorflow as tf
    import tensorflow_transform as tft

    layer = tft.TFTransformOutput(transform_graph).transform_features_layer()
    inputs = {features.IMAGE_KEY: tf.reshape(tf.constant(encoded), [-1, 1])}
    pixels: np.ndarray = layer(inputs)[features.IMAGE].numpy()
    return pixels


def _verdict(artifacts: "Mapping[str, Artifact]") -> facts.Verdict:
    verdict: facts.Verdict = {
        "blessed": None,
        "servable": None,
        "reasons": [],
        "remarks": [],
        "pushed_version": None,
    }
    if "blessing" in artifacts:
        gate = Verdict.read(artifacts["blessing"])
        verdict["blessed"], verdict["reasons"] = gate.blessed, list(gate.reasons)
        verdict["remarks"] = list(gate.remarks)
    if verdict["blessed"] and "infra_blessing" in artifacts:
        verdict["reasons"] = list(ServingValidation.read(artifacts["infra_blessing"]).reasons)
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
        "inputs": _artifacts(node.inputs),
        "outputs": _artifacts(node.outputs),
    }


def _artifacts(by_key: "Mapping[str, list[Artifact]]") -> list[dict[str, object]]:
    return [
        {"key": key, "type": artifact.type, "id": artifact.id, "uri": artifact.uri}
        for key, artifacts in by_key.items()
        for artifact in artifacts
    ]
