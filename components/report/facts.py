"""What there is to say of a run, as plain data, and the pictures that go with it."""

import os
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tfx.utils import path_utils

from darkroom.components import nodes as table
from darkroom.components.base import features, results
from darkroom.components.base.status import Status
from darkroom.components.evaluation import cost
from darkroom.components.evaluation import outcome as evaluation
from darkroom.components.ingestion import image_formats
from darkroom.components.ingestion.inspection_report import InspectionReport
from darkroom.components.pushing import outcome as pushing
from darkroom.components.report import thumbnails
from darkroom.components.runs import environment, lineage
from darkroom.components.training import outcome as training
from darkroom.components.tuning import outcome as tuning
from darkroom.components.validation import artifacts as validation_artifacts
from darkroom.components.validation import outcome as validation
from darkroom.components.validation.statistics import SplitStatistics
from darkroom.serving import description

# Pictures of the training images: of each class two where there is room.
_EXAMPLES, _OF_EACH_CLASS = 24, 2
# Images that are shown as they come and as the network gets them.
_PREPROCESSED = 6


def collect(
    folder: Path,
    pipeline: str,
    run: str,
    config: dict[str, Any],
    artifacts: Mapping[str, Any],
    nodes: list[lineage.Node],
    failure: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The facts of a run, as far as it got.

    Args:
      folder: of the report; the pictures are written below it.
      pipeline: its name.
      run: the run's name in ML Metadata.
      config: the whole tree.
      artifacts: ML Metadata's, by the keys of ``darkroom.components.report.component.INPUTS``.
      nodes: that have run; none where there is no store to ask.
      failure: ``node`` and ``sentence``, where one failed.

    Returns:
      Plain JSON; a section that the run didn't get to is None.
    """
    given = _Given(folder, config, artifacts)
    # Of which artifacts each section is made.
    sections: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
        "data": (("examples", "statistics"), _data),
        "preprocessing": (("examples", "statistics", "transform_graph"), _preprocessing),
        "search": (("tuner_results", "best_hyperparameters"), _search),
        "training": (("model_run",), _training),
        "evaluation": (("examples", "evaluation"), _evaluation),
        "model": (("model",), _model),
        "serving": (("infra_blessing",), _serving),
    }
    found = {
        name: collected(given) if all(key in artifacts for key in needed) else None
        for name, (needed, collected) in sections.items()
    }
    return {
        "pipeline": pipeline,
        "run": run,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "failure": failure,
        "config": config,
        "intended_use": config["report"]["intended_use"],
        "limits": config["report"]["limits"],
        "verdict": _verdict(artifacts),
        **found,
        "lineage": _lineage(nodes),
        "environment": environment.describe(),
    }


class _Given:
    """What a report is made of, its folder of pictures, and what several sections need."""

    def __init__(self, folder: Path, config: dict[str, Any], artifacts: Mapping[str, Any]):
        self.config, self.artifacts = config, artifacts
        self._folder = folder
        (folder / results.PICTURES_FOLDER).mkdir(parents=True, exist_ok=True)

    def picture(self, name: str, write: Callable[..., object], *given: Any) -> str | None:
        """Has a picture written; its path relative to the report, None where that can't be."""
        relative = f"{results.PICTURES_FOLDER}/{name}.png"
        try:
            write(*given, self._folder / relative)
        except image_formats.ImageError:  # which TensorFlow decodes, and Pillow doesn't
            return None
        return relative

    def files(self, split: str) -> list[Path]:
        """The TFRecord files of a split."""
        folder = Path(self.artifacts["examples"].uri, f"Split-{split}")
        return sorted(path for path in folder.iterdir() if path.is_file())

    @cached_property
    def statistics(self) -> dict[str, SplitStatistics]:
        """The statistics of each split."""
        return validation.statistics(self.artifacts["statistics"])

    @cached_property
    def examples(self) -> list[tuple[str, bytes]]:
        """Label and image file of the first images of each class of the train split."""
        classes = len(self.statistics["train"].classes)
        return thumbnails.first_of_classes(self.files("train"), classes, _EXAMPLES, _OF_EACH_CLASS)


def _data(given: _Given) -> Any:
    loaded, artifacts = given.statistics, given.artifacts
    by_split = {name: split.features for name, split in loaded.items()}
    keys = dict.fromkeys(key for measured in by_split.values() for key in measured)
    shown = [
        {"picture": given.picture(f"example-{number}", thumbnails.of_file, image), "label": label}
        for number, (label, image) in enumerate(given.examples)
    ]
    anomalies = artifacts.get("anomalies")
    return {
        "splits": {
            name: {"images": split.images, "classes": split.classes}
            for name, split in loaded.items()
        },
        "inspection": InspectionReport.read(artifacts["examples"].uri).model_dump(),
        "anomalies": validation_artifacts.anomalies(anomalies) if anomalies is not None else [],
        "features": [
            {
                "name": key,
                "splits": {
                    s: validation.distribution(m[key]) for s, m in by_split.items() if key in m
                },
            }
            for key in keys
            if key != features.LABEL_KEY
        ],
        "examples": [example for example in shown if example["picture"]],
    }


def _preprocessing(given: _Given) -> Any:
    first: dict[str, bytes] = {}
    for label, image in given.examples:
        first.setdefault(label, image)
    chosen = list(first.items())[:_PREPROCESSED]
    graph = given.artifacts["transform_graph"].uri
    after = _transformed(graph, [image for _, image in chosen])
    # The graph's values have any range: the lowest of all these images becomes black, the highest
    # white, in every channel alike, so that colours and differences between images stay.
    low, high = float(after.min()), float(after.max())
    after = (after - low) / max(high - low, 1e-6)
    shown = [
        {
            "label": label,
            "before": given.picture(f"before-{number}", thumbnails.of_file, image),
            "after": given.picture(f"after-{number}", thumbnails.of_pixels, after[number]),
        }
        for number, (label, image) in enumerate(chosen)
    ]
    kept = [pair for pair in shown if pair["before"] and pair["after"]]
    return {"settings": given.config["preprocessing"], "pictures": kept}


def _transformed(transform_graph: str, encoded: list[bytes]) -> np.ndarray:
    """What the network gets of images: float32 [count, height, width, channels]."""
    import keras  # noqa: F401  # before tensorflow_transform, which would choose tf_keras
    import tensorflow as tf
    import tensorflow_transform as tft

    layer = tft.TFTransformOutput(transform_graph).transform_features_layer()
    inputs = {features.IMAGE_KEY: tf.reshape(tf.constant(encoded), [-1, 1])}
    pixels: np.ndarray = layer(inputs)[features.IMAGE].numpy()
    return pixels


def _search(given: _Given) -> Any:
    rows, picture = tuning.search(given.artifacts["tuner_results"])
    return {
        "objective": given.config["tuner"]["objective"],
        "rows": rows,
        "best": tuning.best_hyperparameters(given.artifacts["best_hyperparameters"]),
        "picture": given.picture("search", shutil.copyfile, picture) if picture else None,
    }


def _training(given: _Given) -> Any:
    found, sheet = training.training(given.artifacts["model_run"])
    return {
        "history": found["history"],
        "exported_epoch": found["exported_epoch"],
        "diagnosis": found["diagnosis"],
        "augmentation": given.picture("augmentation", shutil.copyfile, sheet)
        if sheet.exists()
        else None,
    }


def _evaluation(given: _Given) -> Any:
    found = evaluation.evaluation(given.artifacts["evaluation"])
    if found is None:
        return None
    groups = {"mistakes": "mistake", "uncertain": "uncertain"}
    wanted = {entry["content_hash"] for key in groups for entry in found[key]}
    by_content = thumbnails.by_content(given.files(found["split"]), wanted) if wanted else {}
    for key, name in groups.items():
        for number, entry in enumerate(found[key]):
            image = by_content.get(entry["content_hash"])
            entry["picture"] = (
                given.picture(f"{name}-{number}", thumbnails.of_file, image) if image else None
            )
    return found


def _model(given: _Given) -> Any:
    folder = Path(path_utils.serving_model_path(given.artifacts["model"].uri))
    found = description.describe(folder)

    def tensors(named: list[description.Tensor]) -> list[dict[str, Any]]:
        return [{"name": t.name, "type": t.dtype, "shape": t.shape} for t in named]

    return {
        "architecture": found.facts.get("network"),
        "parameters": found.parameters,
        "trainable": found.facts.get("trainable"),  # which older models don't say
        "signatures": [
            {"name": s.name, "inputs": tensors(s.inputs), "outputs": tensors(s.outputs)}
            for s in found.signatures
        ],
        "size_mib": cost.size_mib(str(folder)),
        "facts": found.facts,
    }


def _serving(given: _Given) -> Any:
    return pushing.validation(given.artifacts["infra_blessing"])


def _verdict(artifacts: Mapping[str, Any]) -> dict[str, Any]:
    blessing, pushed_model = artifacts.get("blessing"), artifacts.get("pushed_model")
    tried = artifacts.get("infra_blessing")
    found = evaluation.verdict(blessing) if blessing is not None else {}
    reasons = found.get("reasons", [])
    servable = None
    if found.get("blessed") and tried is not None:
        reasons = pushing.validation(tried)["reasons"]
        servable = not reasons
    pushed = pushing.pushed(pushed_model) if pushed_model is not None else None
    return {
        "blessed": found.get("blessed"),
        "servable": servable,  # None: not tried
        "reasons": reasons,
        "remarks": found.get("remarks", []),
        "pushed_version": os.path.basename(pushed) if pushed else None,
    }


def _lineage(ran: list[lineage.Node]) -> list[dict[str, Any]]:
    status = Status("", "", "")
    return [
        {
            "node": node.id,
            "state": node.state,
            "seconds": round((node.updated - node.started) / 1000, 1),
            "started": lineage.moment(node.started),
            "result": table.read_outputs(status, node.id, node.made)
            if node.state in lineage.DONE
            else "",
            "inputs": _artifacts(node.inputs),
            "outputs": _artifacts(node.outputs),
        }
        for node in ran
    ]


def _artifacts(by_key: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [
        {"key": key, "type": artifact.type, "id": artifact.id, "uri": artifact.uri}
        for key, artifacts in by_key.items()
        for artifact in artifacts
    ]
