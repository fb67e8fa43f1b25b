"""The nodes on Beam in the run's own process, against processes that are forked of it.

On MNIST and on CIFAR-10, each whole and with the first of its files alone.
"""

from pathlib import Path
from typing import Any

import measure

_NODES = ("ImportExampleGen", "StatisticsGen", "Transform", "Rehearsal", "Evaluator")
# The training split's files.
_PARTS = {"": "*", ", first file": "*-00000-*"}
_MODES = {"in memory": "in_memory", "processes, one per core": "multi_processing"}
_NETWORK = (
    "model.name=dense", "model.units=[8]", "training.steps_per_epoch=20", "augmentation={}",
    "training.schedule=constant", "training.warmup_epochs=0", "training.epochs=1",
    "evaluation.min_accuracy=0", "evaluation.min_class_recall=0",
    "serving.validation.enabled=false", "tuner.enabled=false",
)  # fmt: skip


def main() -> None:
    """Runs all in turns and reports seconds of the nodes, and the ratio in each turn."""
    parser = measure.Parser(__doc__)
    parser.add_size("--repeat", 3, 1, "runs of each side")
    options = parser.parse_args()
    sets = [(name, part) for name in ("mnist", "cifar10") for part in _PARTS]
    rows = []
    for name, part in sets[:1] if options.smoke else sets:
        data = measure.data_of(options, name)
        turns = measure.Turns(
            [
                {mode: _run(name, data, _PARTS[part], mode) for mode in _MODES}
                for _ in range(options.repeat)
            ]
        )
        sizes = [path.stat().st_size for path in data.glob(f"*/{_PARTS[part]}")]
        facts = {"data": name + part, "mib": sum(sizes) / 2**20}
        ratios = {"times_in_memory": ("seconds", next(iter(_MODES)))}
        rows += [facts | row for row in turns.rows("seconds", "peak_gib", **ratios)]
    measure.report(options, rows)


def _run(name: str, data: Path, files: str, mode: str) -> dict[str, Any]:
    overrides = [
        f"data.path={data}", f"data.splits.train=train/{files}",
        f"beam.direct_running_mode={_MODES[mode]}", *_NETWORK,
    ]  # fmt: skip
    with measure.folder() as folder:
        done = measure.pipeline(folder, name, overrides)
    seconds = sum(done.node_seconds(node) or 0.0 for node in _NODES)
    return {"seconds": seconds, "peak_gib": done.run.peak_gib}


if __name__ == "__main__":
    main()
