"""Every benchmark comes to its end in its smoke size; the document says its figures."""

import importlib
import io
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from darkroom.components.base import features, tfrecord
from tests.conftest import REPOSITORY, python

FOLDER = REPOSITORY / "benchmarks"
# All others of the folder measure something; processes/ has what they run.
TOOLS = {"all", "few_images", "measure", "provenance", "stand_ins", "tables", "turns"}
SCRIPTS = sorted({path.stem for path in FOLDER.glob("*.py")} - TOOLS)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """What the scripts share: images, and finished runs that several of them measure on."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "benchmarks"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits in the forms of MNIST and CIFAR-10."""
    folder = tmp_path_factory.mktemp("sets")
    digits = load_digits()
    images = (digits.images / 16 * 255).astype(np.uint8)
    for name, size, kind in (("mnist", (28, 28), "PNG"), ("cifar10", (32, 32), "JPEG")):
        for split, places in (("train", range(160)), ("test", range(160, 320))):
            records = []
            for place in places:
                image = Image.fromarray(images[place]).resize(size)
                buffer = io.BytesIO()
                (image if kind == "PNG" else image.convert("RGB")).save(buffer, kind)
                label = str(digits.target[place]).encode()
                values = {features.IMAGE_KEY: buffer.getvalue(), features.LABEL_KEY: label}
                records.append(tfrecord.encode_example(values))
            path = folder / name / split / f"{name}-00000-of-00001.tfrecord"
            path.parent.mkdir(parents=True)
            tfrecord.write(path, records)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_it_comes_to_its_end(name: str, shared: Path, data: Path, tmp_path: Path) -> None:
    result = python(
        str(FOLDER / "all.py"), "--smoke", f"--only={name}", f"--data={data}",
        f"--results={tmp_path}", f"--runs={shared}", cwd=tmp_path, TMPDIR=str(tmp_path),
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    facts = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", facts["commit"])
    assert facts["command"] == f"python benchmarks/{name}.py --data FOLDER --smoke"
    assert facts["machine"]["cores"]
    keys = list(facts["rows"][0])
    assert all(list(row) == keys for row in facts["rows"])
    for row in facts["rows"]:
        first = next(iter(row.values()))
        assert re.search(rf"^{re.escape(first)}  ", result.stdout, re.MULTILINE), result.stdout


def test_all_of_them_are_measured_in_one_go() -> None:
    result = python(str(FOLDER / "all.py"), "--help")
    [names] = re.findall(r"--only NAME \[NAME \.\.\.\]\s+([\w,\s]+?)\n  --", result.stdout)
    assert sorted(re.split(r",\s+", names)) == SCRIPTS


def test_a_smoke_writes_no_figures() -> None:
    result = python(str(FOLDER / "ingest.py"), "--smoke")
    assert result.returncode == 2
    assert "--smoke measures nothing: --results has to name another folder" in result.stdout


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.delitem(sys.modules, "tables", raising=False)
    return importlib.import_module("tables")


def test_the_document_has_the_figures_of_the_json(tables: ModuleType) -> None:
    text = tables.DOCUMENT.read_text(encoding="utf-8")
    assert tables.with_tables(text) == text, "python benchmarks/tables.py writes it anew"


def test_every_figure_is_in_the_document(tables: ModuleType) -> None:
    text = tables.DOCUMENT.read_text(encoding="utf-8")
    marks = set(re.findall(r"<!-- (\w+)", text)) - {"end"}
    assert marks == set(SCRIPTS) == {path.stem for path in tables.RESULTS.glob("*.json")}


def test_figures_are_shown_as_people_read_them(
    tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"side": "a", "server_cpu_us": 1234.5, "ratio": 0.9733, "all_cached": True, "p99": None}
    results = {
        "date": "2026-01-02T03:04:05+00:00", "commit": "0123456789abcdef", "command": "python x.py",
        "machine": {"cpu": "CPU", "cores": 2}, "rows": [row],
        "facts": {"memory": {"peak_gib": 1.5, "parts": [1, 20000]}},
    }  # fmt: skip
    (tmp_path / "x.json").write_text(json.dumps(results))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    text = """a
<!-- x -->
old
<!-- end -->
b <!-- x: side, p99 -->
<!-- end -->
<!-- x.facts -->
<!-- end -->
"""
    assert (
        tables.with_tables(text)
        == """a
<!-- x -->

`python x.py`, 2026-01-02, commit 0123456789ab, 2 cores of CPU:

| side | server CPU µs | ratio | all cached | p99 |
| --- | --- | --- | --- | --- |
| a | 1,234 | 0.9733 | yes |  |

<!-- end -->
b <!-- x: side, p99 -->

`python x.py`, 2026-01-02, commit 0123456789ab, 2 cores of CPU:

| side | p99 |
| --- | --- |
| a |  |

<!-- end -->
<!-- x.facts -->

| what | measured |
| --- | --- |
| memory, peak GiB | 1.50 |
| memory, parts | 1; 20,000 |

<!-- end -->
"""
    )
