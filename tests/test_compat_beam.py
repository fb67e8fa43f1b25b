"""What is private of Beam does what ``components.compat.beam`` says."""

import gc
import types
from pathlib import Path
from typing import Any

import pytest
from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.transforms import core

from darkroom.components.compat import beam as private
from tests.conftest import python


class Counts:
    """A function of a class."""

    def method(self, element: int, other: int = 3) -> int:
        return element + other


@pytest.mark.parametrize(
    "function",
    [Counts.method, Counts().method, lambda element, more=[1]: element, len, int, Counts, print],
)  # fmt: skip
def test_a_signature_is_looked_at_once(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(core.get_signature), "Beam asks for signatures otherwise: runs get slower."
    monkeypatch.setattr(core, "get_signature", core.get_signature)  # as it was, afterwards
    expected = private._inspect(function)
    private.remember_signatures()
    assert core.get_signature(function) == expected
    assert core.get_signature(function) == expected
    assert core.get_function_args_defaults(function)[0] == [
        name
        for name, parameter in expected.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if isinstance(function, types.FunctionType | types.MethodType):
        monkeypatch.setattr(private, "_inspect", None)
        assert core.get_signature(function) == expected


def test_what_is_remembered_of_a_function_goes_with_it() -> None:
    def function(element: int) -> int:
        return element

    private._signature(function)
    known = len(private._signatures[False])
    del function
    gc.collect()
    assert len(private._signatures[False]) == known - 1


# Says how the process of each element has come to be.
CODE = """
import os, sys
import apache_beam
from apache_beam.options.pipeline_options import PipelineOptions

from darkroom.components.base import processes
from darkroom.components.compat import beam

options = PipelineOptions(["--direct_running_mode=multi_processing", "--direct_num_workers=2"])

def origin(element):
    return f"process {os.getpid()} of {os.getppid()}: {element * 2}\\n"

if sys.argv[1] != "new":
    processes.server = processes.ForkServer.here()
if sys.argv[1] == "killed":
    processes.server.close()
with apache_beam.Pipeline(options=options) as pipeline:
    numbers = pipeline | apache_beam.Create(range(8))
    lines = numbers | apache_beam.Reshuffle() | apache_beam.Map(origin)
    lines | apache_beam.io.WriteToText("lines", num_shards=1, append_trailing_newlines=False)
print("own", os.getpid())
"""


def origins(folder: Path, how: str) -> tuple[set[int], set[int], list[int], int]:
    """Processes, their parents, what was made in them, and whose pipeline it was."""
    folder.mkdir()
    (folder / "script.py").write_text(CODE)
    ended = python("script.py", how, cwd=folder)
    assert ended.returncode == 0, ended.stdout
    [path] = folder.glob("lines*")
    words = [line.replace(":", "").split() for line in path.read_text().splitlines() if line]
    pids, parents, elements = zip(*((int(w[1]), int(w[3]), int(w[4])) for w in words), strict=True)
    return set(pids), set(parents), sorted(elements), int(ended.stdout.split()[-1])


def test_processes_of_the_direct_runner_are_forked_where_there_is_a_server(tmp_path: Path) -> None:
    registered = worker_handlers.WorkerHandler._registered_environments
    assert registered[python_urns.SUBPROCESS_SDK][0] is private.ForkedWorkerHandler, (
        "Beam's direct runner has no register of its workers any more: they aren't forked."
    )
    pids, parents, elements, own = origins(tmp_path / "fork", "fork")
    assert elements == list(range(0, 16, 2))
    assert len(pids) == 2
    assert own not in pids
    [server] = parents
    assert server != own


@pytest.mark.parametrize("how", ["new", "killed"])
def test_and_are_beams_own_elsewhere(tmp_path: Path, how: str) -> None:
    pids, parents, elements, _ = origins(tmp_path / how, how)
    assert elements == list(range(0, 16, 2))
    assert len(pids) == len(parents) == 2  # Beam starts each by a shell
