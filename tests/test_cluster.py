import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from darkroom.components.base.errors import DarkroomError
from darkroom.components.training.distribution import cluster

HOSTS = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}


def config(kind: object = "worker", index: object = 1, hosts: Any = HOSTS) -> str:
    return json.dumps({"cluster": hosts, "task": {"type": kind, "index": index}})


def test_each_machine_knows_itself() -> None:
    this = cluster.parse(config())
    assert (this.name, this.size, this.is_chief) == ("worker 1", 3, False)
    assert cluster.parse(config("chief", 0)).is_chief
    assert this.chief == "/job:chief/replica:0/task:0"


def test_where_none_is_called_chief_it_is_the_first_worker() -> None:
    hosts = {"worker": ["b:2", "c:3"]}
    first, second = (cluster.parse(config("worker", index, hosts)) for index in (0, 1))
    assert (first.is_chief, second.is_chief) == (True, False)
    assert first.chief == "/job:worker/replica:0/task:0"


def test_what_the_training_operator_sets_is_read() -> None:
    text = (
        '{"cluster":{"chief":["f-chief-0.ns.svc:2222"],"worker":["f-worker-0.ns.svc:2222"]},'
        '"task":{"type":"worker","index":0},"environment":"cloud"}'
    )
    assert cluster.parse(text).size == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "is not valid JSON"),
        ("[]", "has no cluster"),
        ("{}", "has no cluster"),
        ('{"cluster": {}}', "names no machine"),
        (json.dumps({"cluster": HOSTS}), "has no task"),
        (config("worker", 2), "this machine is worker 2, and its cluster has 2"),
        (config("worker", -1), "this machine is worker -1, and its cluster has 2"),
        (config("worker", "1"), "this machine is worker 1, and its cluster has 2"),
        (config("worker", True), "worker True"),
        (config("ps", 0), "this machine is a ps, and its cluster has none"),
        (config("ps", 0, {"ps": ["a:1"]}), "has machines of the type ps"),
        (config("chief", 0, {"chief": ["a:1", "b:1"]}), "has 2 chiefs"),
        (config("chief", 0, {"chief": "a:1"}), "no list of host:port at cluster.chief"),
        (config("chief", 0, {"chief": ["a"]}), "no list of host:port at cluster.chief"),
        (config("chief", 0, {"chief": ["a:99999"]}), "no list of host:port at cluster.chief"),
        (config("worker", 0, {"worker": ["a:1", "a:1"]}), "gives two machines the address a:1"),
    ],
)
def test_what_is_wrong_is_said(text: str, expected: str) -> None:
    with pytest.raises(DarkroomError, match=expected) as caught:
        cluster.parse(text)
    assert str(caught.value).startswith("TF_CONFIG ")
    assert "Expected something like {" in str(caught.value)


JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=5),
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(
            strategies.sampled_from(["cluster", "task", "type", "index", "chief", "worker"]), inner
        )
    ),
    max_leaves=12,
)


@hypothesis.given(strategies.text() | JSON.map(json.dumps))
def test_whatever_it_holds_is_read_or_refused(text: str) -> None:
    try:
        this = cluster.parse(text)
    except DarkroomError:
        return
    assert this.task_index < len(this.addresses[this.task_type])


def test_only_the_chief_runs_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster.of("mirrored") is None
    with pytest.raises(DarkroomError, match="TF_CONFIG, which names the machines, isn't set"):
        cluster.of("multi_worker")
    monkeypatch.setenv("TF_CONFIG", config())
    with pytest.raises(DarkroomError, match=r"is worker 1, .* start darkroom worker"):
        cluster.of("multi_worker")
    monkeypatch.setenv("TF_CONFIG", config("chief", 0))
    found = cluster.of("multi_worker")
    assert found is not None
    assert found.size == 3
    monkeypatch.setenv("TF_CONFIG", config("chief", 0, {"chief": ["a:1"]}))
    assert cluster.of("multi_worker") is None  # nobody to share it with


def test_machines_that_the_strategy_leaves_out_are_mentioned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_CONFIG", config())
    said = cluster.left_alone("mirrored")
    assert said == (
        "TF_CONFIG names 3 machines, and training.strategy is mirrored: this one trains alone"
    )
    assert cluster.left_alone("multi_worker") is None
    for text in ("{", config("chief", 0, {"chief": ["a:1"]}), ""):
        monkeypatch.setenv("TF_CONFIG", text)
        assert cluster.left_alone("mirrored") is None
