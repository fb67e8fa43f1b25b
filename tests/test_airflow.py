"""The DAG in a real Airflow, with its own environment, scheduler and processes."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from darkroom.components.runs import lineage
from darkroom.pipeline.config import load
from darkroom.pipeline.history import status
from darkroom.pipeline.running import lock
from tests.conftest import PATIENCE, REPOSITORY, SMALL_CONFIG, Project, darkroom, environment

pytestmark = pytest.mark.slow

# What each node waits for, nearest first.
EDGES = {
    "ImportExampleGen": [],
    "StatisticsGen": ["ImportExampleGen"],
    "LastStatistics": ["StatisticsGen"],
    "SchemaGen": ["StatisticsGen"],
    "ExampleValidator": ["LastStatistics", "SchemaGen", "StatisticsGen"],
    "Transform": ["ExampleValidator", "ImportExampleGen", "SchemaGen"],
    "Rehearsal": ["ImportExampleGen", "Transform"],
    "Trainer": ["ImportExampleGen", "Rehearsal", "Transform"],
    "Baseline": ["Trainer"],
    "Evaluator": ["Baseline", "ImportExampleGen", "Trainer"],
    "Pusher": ["Evaluator", "Trainer"],
    "Report": [
        "Evaluator", "ExampleValidator", "ImportExampleGen", "Pusher", "StatisticsGen", "Trainer",
        "Transform",
    ],
}  # fmt: skip
# Without a search, and with any model good enough: so that little is left to run.
CONFIG = SMALL_CONFIG.replace("enabled: true", "enabled: false", 1).replace(
    "evaluation: {min_accuracy: 0.5}",
    "evaluation: {min_accuracy: 0.1, min_class_recall: 0.0, max_accuracy_drop: 1.0}\n"
    "airflow: {retries: 1, retry_delay: 0, tags: [digits]}",
)
# Run by Airflow's Python: what it finds in a folder of DAGs, and what that imports.
PARSE = """
import json, sys
from airflow.models import DagBag

bag = DagBag(sys.argv[1], include_examples=False)
heavy = [name for name in ("tensorflow", "tfx", "keras", "apache_beam") if name in sys.modules]
dags = {
    dag.dag_id: {
        "edges": {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks},
        "retries": sorted({task.retries for task in dag.tasks}),
        "schedule": str(dag.schedule_interval),
        "start": dag.start_date.isoformat(),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "tags": sorted(dag.tags),
        "command": dag.tasks[0].render_template(
            dag.tasks[0].command, {"dag": dag, "run_id": "by_hand", "ds": "2026-01-05"}
        ),
    }
    for dag in bag.dags.values()
}
print(json.dumps({"errors": bag.import_errors, "heavy": heavy, "dags": dags}))
"""


@dataclass
class Airflow:
    """A home of Airflow's, and the environment that it is in."""

    home: Path
    folder: Path
    variables: dict[str, str]

    def __call__(self, *arguments: str, **variables: str) -> Any:
        """Runs a command of its environment to its end."""
        return subprocess.run(
            [self.folder / "bin" / arguments[0], *arguments[1:]],
            env={**self.variables, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )

    def parse(self, folder: Path, **variables: str) -> dict[str, Any]:
        """What it makes of a folder of DAGs."""
        result = self("python", "-c", PARSE, str(folder), **variables)
        assert result.returncode == 0, result.stdout
        found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return found

    def rows(self, query: str) -> list[tuple]:
        """Of its database."""
        with sqlite3.connect(f"file:{self.home / 'airflow.db'}?mode=ro", uri=True) as database:
            return database.execute(query).fetchall()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    folder = Path(os.environ.get("DARKROOM_AIRFLOW", REPOSITORY / ".venv-airflow"))
    if not (folder / "bin" / "airflow").exists():
        pytest.fail(f"There is no Airflow in {folder}: python3 locks/install.py --airflow FOLDER.")
    home = tmp_path_factory.mktemp("airflow")
    variables = {
        **environment(),
        # As where the environment is active: the scheduler starts other commands of Airflow's.
        "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "1",  # seconds, else five minutes
        "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
    }
    (home / "dags").mkdir()
    made = Airflow(home, folder, variables)
    result = made("airflow", "db", "migrate")
    assert result.returncode == 0, result.stdout
    return made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "config.yaml").write_text(CONFIG)
    yield Project(folder)
    for path in (folder / "runs" / "small" / "nodes").glob("*"):  # where a test failed half-way
        if path.name in lock.alive(load(folder / "config.yaml", [f"root={folder / 'runs'}"])):
            os.kill(int(path.read_text()), signal.SIGKILL)


@pytest.fixture
def until(airflow: Airflow) -> Iterator[Callable]:
    """Waits for what a scheduler brings about, which runs while a test does."""
    with open(airflow.home / "scheduler.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [airflow.folder / "bin" / "airflow", "scheduler"],
            env=airflow.variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 2 * PATIENCE

    def wait(happened: Callable[[], bool]) -> None:
        while not happened():
            told = (airflow.home / "scheduler.log").read_text(encoding="utf-8")
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.2)

    yield wait
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        os.killpg(process.pid, signal.SIGKILL)  # what is left of it


def test_a_file_makes_the_graph_a_dag(airflow: Airflow, project: Project, tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    own = {"schedule": "'@daily'", "catchup": "true", "start_date": "2026-01-05"}
    overrides = [f"airflow.{key}={value}" for key, value in own.items()]
    overrides.append("report.limits='of {{ ds }}'")  # Airflow fills it in, for each day's run
    given = [word for override in overrides for word in ("--set", override)]
    arguments = ("airflow", *project.options, *given, "-o", str(file))
    result = darkroom(*arguments, cwd=project.folder)
    assert result.returncode == 0, result.stdout
    # The graph was made for that, and is not made again.
    graphs = project.folder / "runs" / "small" / "graphs"
    made = {path: path.stat().st_mtime_ns for path in graphs.glob("*.json")}
    found = airflow.parse(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in graphs.glob("*.json")} == made
    assert found["errors"] == {}
    assert found["heavy"] == []
    command = found["dags"]["small"].pop("command")
    assert command[-3:] == ["--run", "small.by_hand", "ImportExampleGen"]
    assert "report.limits='of 2026-01-05'" in command
    assert found["dags"] == {
        "small": {
            "edges": EDGES,
            "retries": [1],
            "schedule": "@daily",
            "start": "2026-01-05T00:00:00+00:00",
            "catchup": True,
            "max_active_runs": 1,
            "tags": ["digits"],
        }
    }

    file.write_text("# mine\n" + file.read_text())
    result = darkroom(*arguments, cwd=project.folder)
    assert result.returncode == 1
    assert "small.py is there already, and not as it would be written now." in result.stdout
    assert darkroom(*arguments, "--force", cwd=project.folder).returncode == 0
    printed = darkroom(*arguments[:-2], cwd=project.folder).stdout
    assert printed == file.read_text()


def test_a_configuration_that_can_not_be_used_is_an_import_error(
    airflow: Airflow, project: Project, tmp_path: Path
) -> None:
    shutil.copy(REPOSITORY / "pipeline" / "airflow" / "dag_from_environment.py", tmp_path)
    config = str(project.folder / "config.yaml")
    found = airflow.parse(tmp_path, DARKROOM_CONFIG=config, DARKROOM_SET="training.epocs=3")
    [error] = found["errors"].values()
    assert "--set training.epocs=3: training.epocs: unknown key. Did you mean 'epochs'?" in error
    found = airflow.parse(tmp_path, DARKROOM_CONFIG="digits")  # whose runs would be in the package
    [error] = found["errors"].values()
    assert "digits is a configuration of darkroom's own: name the folder" in error


def test_the_scheduler_tries_a_killed_training_again(
    airflow: Airflow, project: Project, until: Callable
) -> None:
    home = project.folder / "runs" / "small"
    config = load(project.folder / "config.yaml", [f"root={home.parent}"])
    file = airflow.home / "dags" / "small.py"
    long = ("--set", "training.epochs=40")
    result = darkroom("airflow", *project.options, *long, "-o", str(file), cwd=project.folder)
    assert result.returncode == 0, result.stdout
    dags = "select count(*) from serialized_dag"
    until(lambda: airflow.rows(dags) == [(1,)])
    for arguments in (("unpause", "small"), ("trigger", "small", "--run-id", "by_hand")):
        result = airflow("airflow", "dags", *arguments)
        assert result.returncode == 0, result.stdout

    checkpoints = home / "artifacts" / "Trainer" / "checkpoints"
    until(lambda: any(checkpoints.glob("*.npz")))
    refused = project.run("training.epochs=1")
    assert refused.returncode == 1
    assert "Another run of small is going on" in refused.stdout
    assert project.states()["Trainer"] == "running"
    killed = int((home / "nodes" / "Trainer").read_text())
    os.kill(killed, signal.SIGKILL)

    ended = "select state from dag_run where state in ('success', 'failed')"
    until(lambda: airflow.rows(ended) != [])
    tasks = {name: (state, tries) for name, state, tries in airflow.rows(
        "select task_id, state, try_number from task_instance"
    )}  # fmt: skip
    assert tasks == {name: ("success", 2 if name == "Trainer" else 1) for name in EDGES}

    # One training that was gone on with, one model, one version.
    found = project.status()
    assert found["run"] == "small.by_hand"
    assert project.states() == dict.fromkeys(EDGES, "complete")
    assert found["versions"] == [found["pushed_version"]]
    assert Path(found["report"]).name == "report.html"
    store = status.open_store(config)
    [run] = lineage.runs(store, "small")
    tries = [e for e in store.get_executions_by_context(run.id) if e.type.endswith("Trainer")]
    states = [one.last_known_state for one in sorted(tries, key=lambda one: one.id)]
    assert states == [tries[0].FAILED, tries[0].COMPLETE]
    [history] = (home / "artifacts" / "Trainer" / "model_run").glob("*/history.json")
    assert 1 <= json.loads(history.read_text())["resumed_at"] < 40
    traced = darkroom("lineage", "--json", *project.options, cwd=project.folder)
    assert json.loads(traced.stdout)["run"] == "small.by_hand"

    # Airflow's logs have what the nodes had to say.
    def said(task: str, attempt: int = 1) -> str:
        [path] = (airflow.home / "logs").glob(
            f"dag_id=small/*/task_id={task}/attempt={attempt}.log"
        )
        return path.read_text(encoding="utf-8")

    assert re.search(
        r"INFO - ✓ ImportExampleGen .* train 1,437, eval 180 images", said("ImportExampleGen")
    )
    assert "INFO -   epoch 1/40" in said("Trainer")
    assert "Trainer was killed by signal 9; the lines above say more." in said("Trainer")
    assert re.search(r"INFO - ✓ Trainer .* of them in an interrupted run", said("Trainer", 2))
    for task in EDGES:
        assert f"✓ {task} " in said(task, 2 if task == "Trainer" else 1)
    assert "cpu_feature_guard" not in said("Trainer")  # that is in darkroom's log


def test_dags_test_goes_on_from_what_is_done(airflow: Airflow, project: Project) -> None:
    """After the scheduler's run, in the same folder: a second version."""
    dags = airflow.home / "from_environment"
    dags.mkdir()
    shutil.copy(REPOSITORY / "pipeline" / "airflow" / "dag_from_environment.py", dags)
    result = airflow(
        "airflow", "dags", "test", "small",
        AIRFLOW__CORE__DAGS_FOLDER=str(dags),
        DARKROOM_CONFIG=str(project.folder / "config.yaml"),
        DARKROOM_SET="training.epochs=2",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    ended = airflow.rows("select state from dag_run order by id desc limit 1")
    assert ended == [("success",)], result.stdout
    states = project.states()
    assert {name for name, state in states.items() if state == "complete"} == {
        "LastStatistics", "Trainer", "Baseline", "Evaluator", "Pusher", "Report",
    }  # fmt: skip
    found = project.status()
    assert re.fullmatch(r"small\.manual__[\d-]+T[\d:.+]+", found["run"])
    assert found["pushed_version"] == found["versions"][0]
    assert len(found["versions"]) == 2
