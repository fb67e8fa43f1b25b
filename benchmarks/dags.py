"""The DAG of Airflow, task by task in processes of their own, against darkroom run.

The same configuration of MNIST on both sides, with airflow dags test: the scheduler's own waiting
is not counted. Parsing is Airflow's own DagBag in a process of its own, once the graph is made.
"""

import os
import tempfile
from pathlib import Path
from statistics import median

import measure

_PARSE = """
import sys, time
from airflow.models import DagBag

begin = time.monotonic()
bag = DagBag(sys.argv[1], include_examples=False)
assert not bag.import_errors, bag.import_errors
[dag] = bag.dags.values()
print('{"seconds": %f, "tasks": %d}' % (time.monotonic() - begin, len(dag.tasks)))
"""


def main() -> None:
    """Runs both sides, and parses some more times."""
    parser = measure.arguments(__doc__)
    parser.add_argument(
        "--airflow", type=lambda text: Path(text).resolve(), metavar="FOLDER",
        default=os.path.relpath(measure.REPOSITORY / ".venv-airflow"),
        help="environment that locks/install.py --airflow made",
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, default=1, help="of the training")
    parser.add_argument("--parses", type=int, default=3, metavar="N", help="times to parse")
    options = parser.parse_args()
    overrides = [f"training.epochs={options.epochs}", "training.warmup_epochs=0"]
    overrides += ["evaluation.min_accuracy=0.5", f"data.path={options.data}/mnist"]
    commands = options.airflow / "bin"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        whole = measure.pipeline(folder, "mnist", overrides)
        dags = folder / "home" / "dags"
        os.environ |= {
            "AIRFLOW_HOME": str(dags.parent),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",
        }
        measure.run([str(commands / "airflow"), "db", "migrate"], folder)
        file, root = dags / "mnist.py", f"root={folder / 'dags_runs'}"
        written = [f"airflow.python={commands / 'python'}", *overrides, root]
        made = measure.darkroom(folder, "airflow", "mnist", written, "-o", str(file)).seconds
        parse = [str(commands / "python"), "-c", _PARSE, str(dags)]
        parsed = [measure.run(parse, folder).result() for _ in range(options.parses)]
        tested = measure.run([str(commands / "airflow"), "dags", "test", "mnist"], folder)
        status = measure.darkroom(folder, "status", "mnist", [*overrides, root], "--json")
        assert '"pushed_version": null' not in status.stdout, status.stdout
    tasks = parsed[0]["tasks"]
    rows = [
        {"side": "darkroom run", "seconds": whole.run.seconds},
        {"side": "airflow dags test", "seconds": tested.seconds},
    ]
    measure.report(
        __file__,
        rows,
        tasks=tasks,
        more_seconds_per_task=(tested.seconds - whole.run.seconds) / tasks,
        writing_the_file_seconds=made,
        parse_seconds=median(one["seconds"] for one in parsed),
    )


if __name__ == "__main__":
    main()
