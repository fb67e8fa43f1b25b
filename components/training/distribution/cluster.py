"""The machines that train together, as TF_CONFIG, TensorFlow's own, names them. Light to import."""

import contextlib
import itertools
import json
import os
import re
from collections import Counter
from typing import NamedTuple

from darkroom.components.base.errors import DarkroomError

VARIABLE = "TF_CONFIG"
_EXAMPLE = (
    '{"cluster": {"chief": ["10.0.0.1:2222"], "worker": ["10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


class Cluster(NamedTuple):
    """All machines of a training, and which of them this one is."""

    addresses: dict[str, list[str]]  # host:port by type, chief and worker
    task_type: str
    task_index: int

    @property
    def size(self) -> int:
        return sum(map(len, self.addresses.values()))

    @property
    def is_chief(self) -> bool:
        """Whether this machine keeps the model: the chief or, where none is called so, worker 0."""
        without = "chief" not in self.addresses
        return self.task_type == "chief" or (without and self.task_index == 0)

    @property
    def name(self) -> str:
        """What people call this machine, such as ``worker 1``."""
        return f"{self.task_type} {self.task_index}"

    @property
    def chief(self) -> str:
        """TensorFlow's name of the chief's task."""
        job = "chief" if "chief" in self.addresses else "worker"
        return f"/job:{job}/replica:0/task:0"


def read() -> Cluster | None:
    """What TF_CONFIG says, as ``parse`` reads it; None where it isn't set."""
    text = os.environ.get(VARIABLE, "").strip()
    return parse(text) if text else None


def parse(text: str) -> Cluster:
    """Reads TF_CONFIG; raises a DarkroomError where it is malformed or lacks this machine."""
    try:
        config = json.loads(text)
    except ValueError as error:
        raise _wrong(f"is not valid JSON: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("cluster"), dict):
        raise _wrong("has no cluster")
    named = {kind: _hosts(kind, hosts) for kind, hosts in config["cluster"].items()}
    addresses = {kind: hosts for kind, hosts in named.items() if hosts}
    if not addresses:
        raise _wrong("names no machine in its cluster")
    if len(addresses.get("chief", [])) > 1:
        raise _wrong(f"has {len(addresses['chief'])} chiefs, where one keeps the model")
    [(host, count)] = Counter(itertools.chain(*addresses.values())).most_common(1)
    if count > 1:
        raise _wrong(f"gives two machines the address {host}")
    task = config.get("task")
    if not isinstance(task, dict) or not {"type", "index"} <= task.keys():
        raise _wrong("has no task with a type and an index, which say what this machine is")
    kind, index = task["type"], task["index"]
    if not isinstance(kind, str) or kind not in addresses:
        raise _wrong(f"says that this machine is a {kind}, and its cluster has none")
    count = len(addresses[kind])
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
        raise _wrong(f"says that this machine is {kind} {index}, and its cluster has {count}")
    return Cluster(addresses, kind, index)


def of(strategy: str) -> Cluster | None:
    """The machines to train on by ``training.strategy``; None: this one alone.

    Raises a DarkroomError where TF_CONFIG is missing, wrong, or says that this isn't the chief.
    """
    if strategy != "multi_worker":
        return None
    cluster = read()
    if cluster is None:
        raise DarkroomError(
            f"training.strategy is multi_worker, and {VARIABLE}, which names the machines, isn't "
            f"set. Set it as in {_EXAMPLE}, or strategy to mirrored."
        )
    if not cluster.is_chief:
        raise DarkroomError(
            f"{VARIABLE} says that this machine is {cluster.name}, and the pipeline runs on the "
            "chief. On this one start darkroom worker, with the same configuration."
        )
    return cluster if cluster.size > 1 else None


def left_alone(strategy: str) -> str | None:
    """A sentence where TF_CONFIG names machines that ``training.strategy`` leaves out."""
    with contextlib.suppress(DarkroomError):
        cluster = read() if strategy != "multi_worker" else None
        if cluster is not None and cluster.size > 1:
            named = f"{VARIABLE} names {cluster.size} machines, and training.strategy is {strategy}"
            return f"{named}: this one trains alone"
    return None


def _hosts(kind: object, hosts: object) -> list[str]:
    if kind not in ("chief", "worker"):
        raise _wrong(f"has machines of the type {kind}; a training has a chief and workers")
    if isinstance(hosts, list):
        ports = [re.fullmatch(r".+:([0-9]+)", str(host), re.DOTALL) for host in hosts]
        if all(port and 0 < int(port[1]) < 2**16 for port in ports):
            return hosts
    raise _wrong(f"has no list of host:port at cluster.{kind}")


def _wrong(what: str) -> DarkroomError:
    return DarkroomError(f"{VARIABLE} {what}. Expected something like {_EXAMPLE}.")
