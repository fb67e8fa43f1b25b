import csv
import io
import json

import pytest

from darkroom.pipeline import answers
from darkroom.pipeline.answers import Answer
from darkroom.serving.predictor import Prediction, Regression

ANSWERS = [
    Answer("a,b.png", Prediction("dog", ("dog", "cät"), (0.75, 0.25), 3)),
    Answer("c.png", Prediction("cät", ("cät", "dog"), (0.5, 0.5), 3)),
]
OF_NONE = Answer("d.png", Prediction("", ("cät", "dog"), (0.25, 0.125)))


def shown(capsys: pytest.CaptureFixture[str], form: str, *given: Answer, several: bool) -> str:
    answers.show(iter(given), form, 1, several)
    return capsys.readouterr().out


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "text", *ANSWERS, several=False)
    assert text == "a,b.png: dog 0.7500\nc.png: cät 0.5000\n"
    text = shown(capsys, "text", OF_NONE, ANSWERS[0], several=True)
    assert text == "d.png: no label (cät 0.2500)\na,b.png: dog (dog 0.7500)\n"


def test_json_and_lines_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    whole = json.loads(shown(capsys, "json", *ANSWERS, several=False))
    first = {"image": "a,b.png", "label": "dog", "classes": ["dog", "cät"]}
    assert whole[0] == {**first, "scores": [0.75, 0.25], "version": 3}
    lines = shown(capsys, "jsonl", *ANSWERS, several=False).splitlines()
    assert [json.loads(line) for line in lines] == whole
    assert json.loads(shown(capsys, "json", several=False)) == []


def test_csv_has_a_column_for_each_class(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.reader(io.StringIO(shown(capsys, "csv", *ANSWERS, several=False))))
    assert rows == [
        ["image", "label", "score", "version", "cät", "dog"],
        ["a,b.png", "dog", "0.75", "3", "0.25", "0.75"],
        ["c.png", "cät", "0.5", "3", "0.5", "0.5"],
    ]
    assert shown(capsys, "csv", several=False) == ""


OF_NUMBERS = [
    Answer("a.png", Regression("1.5, -2", ("x", "y"), (1.5, -2.0), 3, ((1.0, 2.0), (-3.0, -1.0)))),
    Answer("b.png", Regression("0, 4", ("x", "y"), (0.0, 4.0), 3, ((-0.5, 0.5), (3.0, 5.0)))),
]


def test_numbers_come_with_their_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "text", OF_NUMBERS[0], several=False)
    assert text == "a.png: x 1.5 (1 to 2)  y -2 (-3 to -1)\n"
    line = json.loads(shown(capsys, "jsonl", OF_NUMBERS[0], several=False))
    numbers = {"x": {"value": 1.5, "low": 1.0, "high": 2.0},
               "y": {"value": -2.0, "low": -3.0, "high": -1.0}}  # fmt: skip
    assert line == {"image": "a.png", "numbers": numbers, "version": 3}
    head, *rows = csv.reader(io.StringIO(shown(capsys, "csv", *OF_NUMBERS, several=False)))
    assert head == ["image", "version", "x", "x_low", "x_high", "y", "y_low", "y_high"]
    assert rows[1] == ["b.png", "3", "0.0", "-0.5", "0.5", "4.0", "3.0", "5.0"]
