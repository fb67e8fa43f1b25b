"""A model's answers for people, spreadsheets and programs. Light to import."""

import csv
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from darkroom.pipeline import command_line

if TYPE_CHECKING:
    from darkroom.serving.predictor import Prediction

FORMATS = ("text", "json", "jsonl", "csv")


class Answer(NamedTuple):
    """What a model says of an image file."""

    image: str  # its path
    prediction: "Prediction"

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        own = self.prediction
        if (ends := _intervals(own)) is None:
            return {"image": self.image, **vars(own)}
        numbers = {
            name: {"value": value, "low": low, "high": high}
            for name, value, (low, high) in zip(own.classes, own.scores, ends, strict=True)
        }
        return {"image": self.image, "numbers": numbers, "version": own.version}


def show(answers: Iterator[Answer], form: str, top: int, multi_label: bool) -> None:
    """Prints answers in one of the ``FORMATS``, all but json as they come; ``top``: of text."""
    if form == "json":
        command_line.print_json([answer.plain() for answer in answers])
    elif form == "csv":
        _write_csv(answers)
    else:
        for answer in answers:
            as_json = form == "jsonl"
            print(_line(answer) if as_json else _text(answer, top, multi_label), flush=True)


def _write_csv(answers: Iterator[Answer]) -> None:
    """A row for each image, the classes' columns by name."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    columns: list[str] = []
    for image, own in answers:
        if (ends := _intervals(own)) is not None:
            if not columns:
                columns = list(own.classes)
                parts = ("", "_low", "_high")
                named = (f"{name}{part}" for name in columns for part in parts)
                writer.writerow(["image", "version", *named])
            values = zip(own.scores, ends, strict=True)
            cells = (cell for value, (low, high) in values for cell in (value, low, high))
            writer.writerow([image, own.version, *cells])
            sys.stdout.flush()
            continue
        if not columns:
            columns = sorted(own.classes)
            writer.writerow(["image", "label", "score", "version", *columns])
        scores = dict(zip(own.classes, own.scores, strict=True))
        row = [image, own.label, own.scores[0], own.version, *(scores[name] for name in columns)]
        writer.writerow(row)
        sys.stdout.flush()


def _intervals(prediction: "Prediction") -> tuple[tuple[float, float], ...] | None:
    """Of numbers; None of classes."""
    found: tuple[tuple[float, float], ...] | None = getattr(prediction, "intervals", None)
    return found


def _line(answer: Answer) -> str:
    return json.dumps(answer.plain(), ensure_ascii=False)


def _text(answer: Answer, top: int, multi_label: bool) -> str:
    image, own = answer
    if (ends := _intervals(own)) is not None:
        each = zip(own.classes, own.scores, ends, strict=True)
        named = (
            f"{name} {value:.6g} ({low:.6g} to {high:.6g})" for name, value, (low, high) in each
        )
        return f"{image}: {'  '.join(named)}"
    best = list(zip(own.classes, own.scores, strict=True))[:top]
    words = "  ".join(f"{label} {score:.4f}" for label, score in best)
    if multi_label:
        words = f"{own.label or 'no label'} ({words})"
    return f"{image}: {words}"
