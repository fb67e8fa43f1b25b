import numpy as np
import pytest

from darkroom.components.evaluation.artifacts import Answer
from darkroom.components.evaluation.measurements import Measurements
from darkroom.components.evaluation.metric_names import Group
from darkroom.components.evaluation.metrics import Outcome
from darkroom.components.evaluation.predictions import Predictions


def measurements(scores: list[list[float]], labels: list[str], **more: object) -> Measurements:
    classes = ["a", "b"]
    truth = np.array([[name in label.split("|") for name in classes] for label in labels])
    multi_label = bool(more.pop("multi_label", False))
    made: dict = {
        "classes": classes,
        "outcome": Outcome(truth, np.array(scores), multi_label),
        "labels": labels,
        "contents": np.arange(len(labels)) + 100,
        "filenames": [f"{number}.png" for number in range(len(labels))],
        "slices": {},
        "baseline_classes": [],
        "baseline": None,
        **more,
    }
    return Measurements(Predictions(**made), 0.95)


def test_mistakes_are_those_that_it_was_surest_of() -> None:
    found = measurements([[0.6, 0.4], [0.1, 0.9], [0.8, 0.2]], ["b", "a", "a"])
    assert found.mistakes() == [
        Answer(content_hash=101, filename="1.png", label="a", predicted="b",
               score=0.9, true_score=0.1),
        Answer(content_hash=100, filename="0.png", label="b", predicted="a",
               score=0.6, true_score=0.4),
    ]  # fmt: skip
    assert [entry.content_hash for entry in found.uncertain()] == [100, 102, 101]
    assert found.shown_confusion() == [[1, 1], [1, 0]]


def test_of_several_labels_the_worst_answer_counts() -> None:
    scores = [[0.9, 0.8], [0.45, 0.1], [0.2, 0.1]]
    found = measurements(scores, ["a", "", "a|b"], multi_label=True)
    assert [(m.label, m.predicted) for m in found.mistakes()] == [("a|b", ""), ("a", "a|b")]
    assert found.uncertain()[0].content_hash == 101
    assert found.shown_confusion() is None


def test_groups_have_their_own_examples() -> None:
    slices = {"camera": np.array(["x", "y", "x"], object)}
    found = measurements([[0.6, 0.4], [0.1, 0.9], [0.8, 0.2]], ["b", "a", "a"], slices=slices)
    of_x = Group(slice=(("camera", "x"),))
    assert found.slices() == [of_x, Group(slice=(("camera", "y"),))]
    assert found.examples(of_x) == 2
    assert found.examples(Group("a", of_x.slice)) == 1
    assert found.measure("accuracy", of_x).value == 0.5
    assert found.measure("recall", Group("b", of_x.slice)).value == 0
    assert found.difference("accuracy", Group()) is None


def test_a_class_that_only_the_candidate_knows_is_a_wrong_answer_in_the_comparison() -> None:
    baseline = Outcome(np.array([[1, 0], [1, 0], [0, 0]]), np.array([[0.9, 0.1]] * 3))
    truth = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1]])
    scores = np.array([[0.1, 0.1, 0.8], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    found = measurements(
        [[0.5, 0.5]] * 3,
        ["a", "a", "new"],
        classes=["a", "b", "new"],
        outcome=Outcome(truth, scores),
        baseline_classes=["a", "b"],
        baseline=baseline,
    )
    difference = found.difference("accuracy", Group())
    assert difference is not None
    assert (difference.candidate, difference.baseline) == (0.5, 1.0)
    assert found.compared_examples(Group()) == 2
    assert found.difference("recall", Group("new")) is None


def test_an_interval_holds_the_value() -> None:
    generator = np.random.default_rng(0)
    first = generator.random(300)
    labels = ["a" if value > 0.4 else "b" for value in first]
    found = measurements(np.stack([first, 1 - first], axis=1).tolist(), labels)
    measured = found.measure("loss", Group())
    assert measured.low < measured.value < measured.high
    assert measured.value == pytest.approx(found.measure("loss", Group(), False).value)
