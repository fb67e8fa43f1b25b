"""darkroom's evaluation, verdict and report against TFX's own Evaluator, on CIFAR-10's 10,000.

Each side runs in a process of its own, after its imports, on the model and the examples of one
finished run. The stock side computes accuracy, cross-entropy and the number of examples, as TFX's
tutorials do; a second one also what darkroom's report shows of each class.
"""

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import measure

_SCRIPT = Path(__file__).with_name("evaluation_script.py")
_SIDES = {
    "stock": "stock Evaluator: accuracy, loss, count",
    "stock-per-class": "the same, and precision, recall and AUC of each class, and confusions",
    "darkroom": "darkroom: evaluation, verdict and report",
}


def main() -> None:
    """Trains for one epoch, measures each side in turn, and reports."""
    parser = measure.arguments(__doc__)
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="turns of each side")
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in _SIDES}
    overrides = [
        f"data.path={options.data / 'cifar10'}", "training.epochs=1", "evaluation.min_accuracy=0",
        "evaluation.min_class_recall=0",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        pipeline = measure.pipeline(folder, "cifar10", overrides)
        home = pipeline.status["home"]
        for turn in range(options.repeat):
            for side in _SIDES:
                into = folder / f"{side}-{turn}"
                into.mkdir()
                command = [sys.executable, str(_SCRIPT), side, home, str(into)]
                found[side].append(measure.run(command, folder).result())
        page = Path(pipeline.status["report"]).stat().st_size
    stock = median(one["seconds"] for one in found["stock"])
    rows = [
        {
            "side": words,
            "seconds": (seconds := median(one["seconds"] for one in found[side])),
            "times_stock": seconds / stock,
            "runs": ", ".join(f"{one['seconds']:.1f}" for one in found[side]),
        }
        for side, words in _SIDES.items()
    ]
    measure.report(__file__, rows, page_mib=page / 2**20, of_which=json.dumps(_parts(found)))


def _parts(found: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Median seconds of each part of darkroom's side."""
    parts = [one["parts"] for one in found["darkroom"]]
    return {name: round(median(part[name] for part in parts), 2) for name in parts[0]}


if __name__ == "__main__":
    main()
