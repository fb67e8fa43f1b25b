"""Which nodes have another key after a change: those that it touches, and no others.

A node runs again where its key is another, or that of a node whose artifacts it takes. All of its
key that an edit changes is what it gets of the configuration, and the fingerprint of its code.
"""

import ast
import hashlib
import json
import shutil
from collections.abc import Callable

import pytest

from darkroom.components import nodes
from darkroom.pipeline.config import load
from darkroom.pipeline.pipeline import create_pipeline
from tests.conftest import REPOSITORY, python

# Of the configuration: what is set, and the nodes whose key that changes.
CONFIGURATION = {
    "data.label_key=other": {"ImportExampleGen", "Report"},
    "data.max_corrupt_fraction=0.5": {"ImportExampleGen", "Report"},
    "data.max_near_duplicates=0.5": {"ImportExampleGen", "Report"},
    "data.max_suspect_labels=0.5": {"ImportExampleGen", "Report"},
    "data.splits.train=other/*": {"ImportExampleGen", "Report"},
    "data.splits.test=null": {
        *("ImportExampleGen", "Rehearsal", "Evaluator", "ServingValidator", "Report"),
    },
    "data.multi_label=true": {
        *("ImportExampleGen", "SchemaGen", "Rehearsal", "Tuner", "Trainer", "Report"),
    },
    "preprocessing.height=9": {"Transform", "Rehearsal", "Tuner", "Trainer", "Report"},
    "model.dropout=0.5": {"Tuner", "Trainer", "Report"},
    "model.stem=whitened": {"Tuner", "Trainer", "Report"},
    "training.loss=focal": {"Tuner", "Trainer", "Report"},
    "training.examples=streamed": {"Tuner", "Trainer", "Report"},
    "training.calibration=none": {"Trainer", "Report"},
    "training.starts=3": {"Trainer", "Report"},
    "training.warm_start_epochs=2": {"Trainer", "Report"},
    "training.keep_every=2": {"Trainer", "Report"},
    "training.batch_size=8": {"Rehearsal", "Tuner", "Trainer", "Report"},
    "model.head=binary": {"Rehearsal", "Tuner", "Trainer", "Report"},
    "augmentation.flip=horizontal": {"Tuner", "Trainer", "Report"},
    "training.recipe=auto": {"Report"},  # values count, whoever chose them
    "training.epochs=21": {"Tuner", "Trainer", "Report"},
    "transfer.group_epochs=4": {"Trainer", "Report"},
    "tuner.max_trials=5": {"Tuner", "Report"},
    "lr_scan.points=5": {"Report"},
    "evaluation.min_accuracy=0.5": {"Rehearsal", "Evaluator", "Report"},
    "evaluation.baseline=none": {"Rehearsal", "Evaluator", "Report"},
    "evaluation.confidence=0.9": {"Rehearsal", "Evaluator", "Report"},
    "serving.validation.images=3": {"ServingValidator", "Report"},
    "serving.batching.max_batch_size=8": {"ServingValidator", "Pusher", "Report"},
    "serving.keep_versions=3": {"Pusher", "Report"},
    "serving.rollout=canary": {"Pusher", "Report"},
    "serving.canary_share=0.5": {"Report"},
    "report.limits=none": {"Report"},
    "runner=local": set(),
    "airflow.schedule='@daily'": set(),
    "kubeflow.retries=3": set(),
    "metadata.port=3307": {"Report"},  # which has the times of nodes from there
}


def keys(*overrides: str) -> dict[str, str]:
    """A digest of what each node gets, by the node's id."""
    pipeline = create_pipeline(load("digits", list(overrides)))
    return {
        node.id: hashlib.sha256(repr(sorted(node.exec_properties.items())).encode()).hexdigest()
        for node in pipeline.components
    }


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    return keys()


def test_folds_are_trained_anew_for_what_trains_them_alone() -> None:
    folds = "evaluation.folds=3"
    before = keys(folds)
    assert before.keys() == keys().keys() | {"CrossValidation"}

    def changed(*overrides: str) -> set[str]:
        after = keys(folds, *overrides)
        return {name for name, key in after.items() if key != before[name]}

    assert changed("evaluation.min_accuracy=0.5") == {"Rehearsal", "Evaluator", "Report"}
    assert "CrossValidation" in changed("training.epochs=21")
    assert "Trainer" not in changed("evaluation.folds=4")


@pytest.mark.parametrize("override", CONFIGURATION)
def test_a_key_of_the_configuration_changes_those_that_use_it(
    before: dict[str, str], override: str
) -> None:
    after = keys(override)
    assert {name for name, key in after.items() if key != before[name]} == CONFIGURATION[override]


def test_what_is_a_number_reaches_the_nodes_that_use_it() -> None:
    usual = ("tuner.enabled=false", "evaluation.min_accuracy=0.8")
    numbers = "data={bundled: digits, splits: {test: test/*}, target: number, target_keys: [%s]}"
    before, one, other = (keys(*usual, *data) for data in ((), (numbers % "x",), (numbers % "y",)))
    differ = {name for name in before if before[name] != one[name]}
    of_data = {"ImportExampleGen", "StatisticsGen", "SchemaGen", "Report"}
    assert differ == {*of_data, "Rehearsal", "Trainer"}
    assert {name for name in one if one[name] != other[name]} == of_data
    interval = keys(*usual, numbers % "x", "training.interval=0.8")
    assert {name for name in one if one[name] != interval[name]} == {"Trainer", "Report"}


# --- of the code ---


def comment(source: str) -> str:
    return source.replace("\nimport ", "\n# A word.\nimport ", 1) + "\n\n# Another.\n"


def docstrings(source: str) -> str:
    """With other words in each of them."""
    lines = source.splitlines(keepends=True)
    for node in reversed(list(ast.walk(ast.parse(source)))):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            number = body[0].lineno - 1
            lines[number] = lines[number].replace('"""', '"""Other words. ', 1)
    return "".join(lines)


def layout(source: str) -> str:
    """The same in the layout of Python's own unparser, without any comment."""
    return ast.unparse(ast.parse(source))


def code(source: str) -> str:
    return source + "\n\n_ANOTHER = 1\n"


ALL = {node.id for node in nodes.NODES if node.modules}
FITTING = {"LearningRateScan", "Tuner", "Trainer", "CrossValidation"}
# The file, what is done to it, and the nodes whose code that changes.
EDITS: list[tuple[str, Callable[[str], str], set[str]]] = [
    *(
        (path, edit, set())
        for edit in (comment, docstrings, layout)
        for path in (
            "components/base/errors.py",
            "components/training/fitting.py",
            "components/tuning/tuner.py",
            "components/evaluation/gate.py",
        )
    ),
    ("components/base/errors.py", code, ALL),
    ("components/ingestion/inspection.py", code, {"ImportExampleGen"}),
    ("components/validation/example_validator.py", code, {"ExampleValidator"}),
    ("components/training/lr_scan.py", code, {"LearningRateScan"}),
    ("components/training/streaming.py", code, FITTING),
    ("components/training/transfer.py", code, FITTING),
    ("components/training/fitting.py", code, FITTING),
    ("components/networks/models.py", code, FITTING),
    ("components/training/trainer.py", code, {"Trainer"}),
    ("components/tuning/search.py", code, {"Tuner"}),
    ("components/tuning/trial.py", code, {"Tuner"}),
    ("components/training/folds.py", code, {"Tuner", "CrossValidation"}),
    ("components/evaluation/cross_validation.py", code, {"CrossValidation"}),
    ("components/evaluation/metrics.py", code, {"Rehearsal", "CrossValidation", "Evaluator"}),
    ("components/evaluation/rehearsal.py", code, {"Rehearsal"}),
    ("components/evaluation/gate.py", code, {"Rehearsal", "Evaluator"}),
    ("components/pushing/serving_validator.py", code, {"ServingValidator"}),
    ("components/pushing/pusher.py", code, {"Pusher"}),
    ("components/report/files.py", code, {"Report"}),
    ("components/report/report.html.jinja", code, {"Report"}),
    ("components/training/diagnosis.py", code, {"Report"}),
    ("serving/server/batching.py", code, {"ServingValidator"}),
    ("serving/protocols/rest_api.py", code, {"ServingValidator"}),
    ("pipeline/display.py", code, set()),
    ("pipeline/pipeline.py", code, set()),
    ("pipeline/history/comparison.py", code, set()),
    ("kubeflow/compile.py", code, set()),
]
SCRIPT = """
import json, sys
from pathlib import Path
from darkroom.components import nodes
from darkroom.pipeline.config import load
from darkroom.pipeline.node_settings import NodeSettings

def codes():
    settings = NodeSettings(load("digits"))
    return {node.id: settings.code(node.id).fingerprint for node in nodes.NODES}

before = codes()
for path, edited in json.load(open(sys.argv[1])):
    source = Path(path).read_text()
    Path(path).write_text(edited)
    after = codes()
    print(json.dumps([name for name in after if after[name] != before[name]]))
    Path(path).write_text(source)
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> list[set[str]]:
    """Of each edit: the nodes whose code has another fingerprint, in a copy of the source."""
    copy = tmp_path_factory.mktemp("source")
    for part in ("darkroom", "pipeline", "components", "serving", "kubeflow"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / part, copy / part, symlinks=True, ignore=ignored)
    edits = [
        (str(copy / path), edit((copy / path).read_text(encoding="utf-8")))
        for path, edit, _ in EDITS
    ]
    (copy / "edits.json").write_text(json.dumps(edits))
    result = python("-c", SCRIPT, str(copy / "edits.json"), cwd=copy, source=copy)
    assert result.returncode == 0, result.stdout
    return [set(json.loads(line)) for line in result.stdout.splitlines()]


@pytest.mark.parametrize(
    "number", range(len(EDITS)), ids=[f"{edit.__name__}:{path}" for path, edit, _ in EDITS]
)
def test_an_edit_changes_those_that_run_the_code(changed: list[set[str]], number: int) -> None:
    assert changed[number] == EDITS[number][2]


def test_every_node_of_the_graph_is_in_the_table() -> None:
    for scan in (False, True):
        for node in create_pipeline(load("digits"), scan=scan).components:
            assert node.id in nodes.BY_ID
