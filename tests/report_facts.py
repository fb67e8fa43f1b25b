"""The facts of a run's report, with real pictures, for tests of what is made of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from darkroom.components.evaluation.artifacts import MetricRow
from darkroom.components.report.facts import Evaluation

DIGITS = tuple(str(digit) for digit in range(10))
# Names that would do harm on a page, and in a table of Markdown.
HOSTILE = (
    "<script>window.harmed = true</script>",
    '"><img src=x onerror="window.harmed = true">',
    "a|b & `c` *d*",
    "{{ 7 * 7 }}",
    "ünïcode 猫 $x$",
    "endless" * 13,
)
# A section a node, in the order in which a run gets to them.
SECTIONS = ("data", "preprocessing", "search", "training", "model", "evaluation", "serving")


def facts(folder: Path, classes: Sequence[str] = DIGITS, reached: int = len(SECTIONS)) -> Any:
    """The facts of a run of scikit-learn's digits under other names, not blessed.

    Args:
      folder: gets the pictures.
      classes: their names.
      reached: so many of ``SECTIONS`` are there.
    """
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    images = load_digits().images

    def picture(name: str, number: int, side: int = 64) -> str:
        pixels = (images[number] * 15).astype(np.uint8)
        path = f"pictures/{name}-{number}.png"
        Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST).save(folder / path)
        return path

    several = range(min(12, len(classes)))
    counts = {"train": 160, "eval": 18}
    every = {
        "data": {
            "version": "0002-3f9a1c52",
            "splits": {
                split: {
                    "images": count * len(classes),
                    "classes": dict.fromkeys(reversed(classes), count),
                }
                for split, count in counts.items()
            },
            "inspection": {
                "splits": {
                    split: {"images": count * len(classes), "duplicates": 1, "with_two_labels": 0,
                            "in_two_splits": 0, "near_in_two_splits": 1,
                            "quarantined": {"does not decode": 2}}
                    for split, count in counts.items()
                },
                "lost": 0,
                "first_quarantined": [f"{classes[0]}.png: does not decode"],
            },
            "review": {
                "images": 178 * len(classes),
                "faults": {"suspect label": 3, "near duplicate in another split": 1},
                "notes": ["Labels were judged by pixels."],
                "command": "darkroom review 'my records'",
            },
            "anomalies": ["image/brightness differs"],
            "features": [
                {"name": "image/height", "splits": {
                    s: {"mean": 8.0, "min": 8, "max": 8, "std": 0.0, "histogram": [[8, 8, n]]}
                    for s, n in counts.items()
                }},
                {"name": "image/brightness", "splits": {
                    s: {"mean": 0.3, "min": 0.1, "max": 0.5, "std": 0.1,
                        "histogram": [[0.1, 0.2, n], [0.2, 0.4, 3 * n], [0.4, 0.5, 2 * n]]}
                    for s, n in counts.items()
                }},
                {"name": "image/format", "splits": {
                    "train": {"values": {"PNG": 100, "JPEG": 60}}, "eval": {"values": {"PNG": 18}},
                }},
            ],
            "examples": [{"picture": picture("example", i), "label": classes[i]} for i in several],
        },
        "preprocessing": {
            "settings": {"height": 8, "width": 8, "channels": 1, "image_fn": None},
            "pictures": [
                {"label": classes[0], "before": picture("before", 0), "after": picture("after", 0)}
            ],
        },
        "search": {
            "objective": "val_accuracy",
            "rows": [
                {"trial_id": "1", "score": 0.97, "status": "COMPLETED", "seconds": 2.5,
                 "training.learning_rate": 0.002, "message": None},
                {"trial_id": "0", "score": None, "status": "FAILED", "seconds": 1.0,
                 "training.learning_rate": 0.9, "message": "no number"},
            ],
            "best": {"training.learning_rate": 0.002},
            "picture": picture("search", 0, 400),
        },
        "training": {
            "history": {
                "loss": [2.0, 0.9, 0.5, 0.4], "val_loss": [1.8, None, 0.6, 0.7],
                "accuracy": [0.4, 0.7, 0.9, 0.95], "val_accuracy": [0.5, 0.7, 0.9, 0.9],
                "learning_rate": [0.1, 0.2, 0.1, 0.05],
            },
            "exported_epoch": 2,
            "diagnosis": ["The training loss has stood still."],
            "augmentation": picture("augmentation", 0, 200),
        },
        "model": {
            "architecture": "cnn", "parameters": 12345, "trainable": 12000,
            "signatures": [
                {"name": "serving_default",
                 "inputs": [{"name": "image_bytes", "type": "string", "shape": [None]}],
                 "outputs": [{"name": "scores", "type": "float32", "shape": [None, len(classes)]}]}
            ],
            "size_mib": 1.2,
            "facts": {"network": "cnn", "examples": 1437, "metrics": {"loss": 0.1}},
        },
        "evaluation": Evaluation.model_validate(
            _evaluation(list(classes), [picture("mistake", i) for i in several])
        ),
        "serving": {
            "reasons": [], "server": "darkroom's model server", "ready_seconds": 4.25,
            "memory_mib": 412.6, "images": 16, "largest_difference": 2.4e-7,
            "latency": {"rest": {"p50_ms": 2.5, "p99_ms": 4.0},
                        "grpc": {"p50_ms": 1.5, "p99_ms": 3.25}},
        },
    }  # fmt: skip
    names = ("ImportExampleGen", "StatisticsGen", "Transform", "Tuner", "Trainer", "Evaluator")
    return {
        "pipeline": "digits",
        "run": "2026-11-21T13:20:00.123456",
        "created": "2026-11-21T13:21:00+00:00",
        "failure": None,
        "config": {"name": "digits", "data": {"bundled": "digits", "path": None}},
        "intended_use": "Digits of forms.",
        "limits": "",
        "verdict": {
            "blessed": False if reached == len(SECTIONS) else None,
            "servable": None,
            "reasons": [f"recall of '{classes[0]}' is 0.61, must be at least 0.80"],
            "remarks": ["the baseline knew other classes"],
            "pushed_version": None,
        },
        **{name: every[name] if i < reached else None for i, name in enumerate(SECTIONS)},
        "lineage": [
            {"node": name, "state": "complete", "seconds": 14.2 * i, "started":
             "2026-11-21T13:20:00+00:00", "result": "done", "inputs": [], "outputs": [
                {"key": "out", "type": "Examples", "id": i, "uri": f"/runs/digits/{name}/{i}"}
            ]}
            for i, name in enumerate(names)
        ],
        "environment": {
            "versions": {"darkroom": "0.1.0", "python": "3.11.7"},
            "git": {"commit": "0123456789" * 4, "branch": "main", "changed": True},
            "cores": 2,
            "memory_gib": 23.4,
        },
    }  # fmt: skip


def _evaluation(classes: list[str], pictures: list[str]) -> Any:
    """Of 18 examples a class, of which 7 of the first are taken for the second."""
    confusion = (18 * np.eye(len(classes), dtype=int)).tolist()
    confusion[0][:2] = [11, 7]
    examples = 18 * len(classes)

    def metric(name: str, value: float | None, **more: Any) -> dict[str, Any]:
        given = {
            "metric": name, "class": None, "slice": None, "value": value, "low": None, "high": None,
            "baseline": None, "difference": None, "examples": examples,
        }  # fmt: skip
        return {**given, **more}

    def compared(name: str, value: float | None, **more: Any) -> dict[str, Any]:
        """With a baseline that had 0.9 of everything."""
        difference = None if value is None else value - 0.9
        return metric(name, value, baseline=0.9, difference=difference, **more)

    recalled = {"low": 0.36, "high": 0.83}
    overall = {"accuracy": 0.96, "loss": 0.2, "macro_f1": 0.959, "macro_precision": 0.97,
               "macro_recall": 0.96, "weighted_f1": 0.958, "calibration_error": None}  # fmt: skip
    shown = [
        {"content_hash": i, "filename": f"{name}.png", "label": name,
         "predicted": classes[(i + 1) % len(classes)], "score": 0.97, "true_score": 0.02,
         "picture": path if i else None}
        for i, (name, path) in enumerate(zip(classes, pictures, strict=False))
    ]  # fmt: skip
    return {
        "split": "eval", "examples": examples, "multi_label": False, "classes": classes,
        "blessed": False, "reasons": [], "remarks": [], "confidence": 0.95,
        "thresholds": [
            {**metric("recall", 0.61, **recalled, baseline=0.83, difference=-0.22, examples=18),
             "difference_low": None, "difference_high": None, "class": classes[0], "bound": "min",
             "limit": 0.8, "passed": False, "sentence": ""},
            {**compared("accuracy", 0.96), "difference_low": -0.004, "difference_high": 0.12,
             "bound": "max_drop", "limit": 0.01, "passed": True, "sentence": ""},
        ],
        "metrics": [
            *(compared(name, value) for name, value in overall.items()),
            *(
                compared(name, 11 / 18 if i == 0 else 1.0, examples=18)
                | {"class": c, **(recalled if name == "recall" else {})}
                for i, c in enumerate(classes)
                for name in ("precision", "recall", "f1", "auc")
            ),
            metric("accuracy", 0.7, slice={"image/format": "JPEG"}, low=0.6, high=0.8, examples=9),
            metric("accuracy", 0.97, slice={"image/format": "PNG"}, low=0.9, high=1, examples=171),
        ],
        "confusion": confusion,
        "calibration": [
            {"low": 0.9, "high": 1.0, "examples": examples, "score": 0.98, "correct": 0.96},
        ],
        "mistakes": shown, "uncertain": shown[:2],
        "latency": {"p50_ms": 1.9, "p99_ms": 3.0, "batch_size": 1, "requests": 50},
        "size_mib": 0.4,
        "baseline": {
            "model": 12, "uri": "/runs/digits/12", "version": "1795700000", "other_classes": [],
        },
    }  # fmt: skip


def without_predictions(found: Any) -> Any:
    """The same facts, of a split that gave Evaluator no predictions."""
    reason = "the eval split gave no predictions"
    found["verdict"]["reasons"] = [reason]
    found["evaluation"] = Evaluation(split="eval", reasons=[reason])
    return found


def without_intervals(rows: list[MetricRow]) -> None:
    """Takes the confidence intervals out of metrics."""
    rows[:] = [row.model_copy(update={"low": None, "high": None}) for row in rows]
