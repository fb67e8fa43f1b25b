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
        return {"image": self.image, **vars(self.prediction)}


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
        if not columns:
            columns = sorted(own.classes)
            writer.writerow(["image", "label", "score", "version", *columns])
        scores = dict(zip(own.classes, own.scores, strict=True))
        row = [image, own.label, own.scores[0], own.version, *(scores[name] for name in columns)]
        writer.writerow(row)
        sys.stdout.flush()


def _line(answer: Answer) -> str:
    return json.dumps(answer.plain(), ensure_ascii=False)


def _text(answer: Answer, top: int, multi_label: bool) -> str:
    image, own = answer
    best = list(zip(own.classes, own.scores, strict=True))[:top]
    words = "  ".join(f"{label} {score:.4f}" for label, score in best)
    if multi_label:
        words = f"{own.label or 'no label'} ({words})"
    return f"{image}: {words}"
