"""The compiled specification, task by task in processes of their own, against darkroom run.

The same configuration of MNIST on both sides. A task's overhead is what its process takes beyond
its executor's work; the first one's has the imports, as the others are forked from one process.
"""

from statistics import median

import measure

from darkroom.kubeflow import run_local
from darkroom.kubeflow.protocol import task_name

_MOUNT = "/images"


def main() -> None:
    """Runs both sides, and compiles some more times."""
    parser = measure.Parser(__doc__)
    parser.add_size("--compiles", 3, 1, "times to compile")
    options = parser.parse_args()
    overrides = [*measure.ONE_EPOCH, *options.smaller]
    in_cluster = [
        *overrides,
        *(f"data.path={_MOUNT}/mnist", "root=/cluster/runs", "kubeflow.image=darkroom:1"),
        "kubeflow.volumes={/images: images, /cluster: cluster}",
    ]
    whole = measure.kept(options, "mnist", measure.ONE_EPOCH)
    with measure.folder() as folder:
        compiles = [
            measure.darkroom(folder, "compile", "mnist", in_cluster, "-o", "spec.yaml").seconds
            for _ in range(options.compiles)
        ]
        mounts = {_MOUNT: options.data}
        tasks = list(run_local.run(folder / "spec.yaml", folder / "cluster", mounts))
    here = {task_name(node["id"]): node["seconds"] for node in whole.status["nodes"]}
    rows = [
        {
            "task": task.name,
            "seconds": task.seconds,
            "own_work": task.own_seconds,
            "overhead": task.seconds - (task.own_seconds or 0.0),
            "in_darkroom_run": here.get(task.name),
        }
        for task in tasks
    ]
    overheads = [row["overhead"] for row in rows]
    measure.report(
        options,
        rows,
        compile_seconds=median(compiles),
        all_tasks_seconds=sum(task.seconds for task in tasks),
        darkroom_run_seconds=whole.run.seconds,
        median_overhead=median(overheads),
        largest_overhead=max(overheads),
    )


if __name__ == "__main__":
    main()
