"""The DAG of Airflow, task by task in processes of their own, against darkroom run.

The same configuration of MNIST on both sides, with airflow dags test: the scheduler's own waiting
is not counted. Parsing is Airflow's own DagBag in a process of its own, once the graph is made.
"""

import os
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
    parser = measure.Parser(__doc__)
    usual = Path(os.environ.get("DARKROOM_AIRFLOW", measure.REPOSITORY / ".venv-airflow"))
    parser.add_place("--airflow", "ENVIRONMENT", "made by locks/install.py --airflow", usual)
    parser.add_size("--parses", 3, 1, "times to parse")
    options = parser.parse_args()
    overrides = [*measure.ONE_EPOCH, *options.smaller, f"data.path={options.data}/mnist"]
    commands = options.airflow / "bin"
    whole = measure.kept(options, "mnist", measure.ONE_EPOCH)
    with measure.folder() as folder:
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
        options,
        rows,
        tasks=tasks,
        more_seconds_per_task=(tested.seconds - whole.run.seconds) / tasks,
        writing_the_file_seconds=made,
        parse_seconds=median(one["seconds"] for one in parsed),
    )


if __name__ == "__main__":
    main()
