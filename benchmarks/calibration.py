"""How often scores are right that say how often they are: with the temperature, and without.

One training each, judged on a test split by which nothing was chosen; what the scores were without
the temperature is computed from those with it.
"""

import sys
from pathlib import Path
from typing import Any

import measure
import numpy as np
import yaml
from scipy import special

from darkroom.components.evaluation import metrics, predictions
from darkroom.serving import description

# A model is pushed however good it is, as it is the one that is measured.
_OPEN = ("evaluation.split=test", "evaluation.min_accuracy=0", "evaluation.min_class_recall=0")
# The temperature is fitted on a tenth of the train split.
_SPLITS = ("data.splits.eval=null", "data.splits.test=test/*")


def main() -> None:
    """Trains and reports."""
    parser = measure.Parser(__doc__)
    parser.add_size("--epochs", 10, 1, "on CIFAR-10")
    parser.add_place(
        "--photos", "PHOTOS", "folder of photographs as darkroom ingest takes it, with a test split"
    )
    parser.add_size("--minutes", 15, 4, "of the run on them")
    options = parser.parse_args()
    with measure.folder() as folder:
        rise = options.epochs // 10
        epochs = [f"training.epochs={options.epochs}", f"training.warmup_epochs={rise}"]
        path = f"data.path={options.data / 'cifar10'}"
        overrides = [*options.smaller, path, *_SPLITS, *_OPEN, *epochs]
        config = "cifar10" if options.smoke else "cifar10_quick"
        rows = [_row("CIFAR-10", measure.pipeline(folder / "cifar10", config, overrides))]
        if options.photos:
            rows.append(_row("photographs", _photographs(options, folder)))
    measure.report(options, rows)


def _photographs(options: Any, folder: Path) -> measure.Pipeline:
    data = folder / "photos"
    command = [sys.executable, "-m", "darkroom", "ingest", str(options.photos), str(data)]
    measure.run(command, folder)
    config = folder / "photos.yaml"
    splits = {"splits": {"test": "test/*"}}
    config.write_text(yaml.safe_dump({"name": "photos", "data": {"path": str(data), **splits}}))
    limit = f"training.minutes={float(options.minutes)}"
    return measure.pipeline(folder / "run", str(config), [limit, *_OPEN])


def _row(name: str, done: measure.Pipeline) -> dict[str, Any]:
    [path] = done.home.glob("artifacts/Evaluator/evaluation/*/predictions.parquet")
    judged = predictions.read(str(path), multi_label=False)
    assert judged is not None
    outcome = judged.outcome
    temperature = description.read_facts(done.pushed)["temperature"]
    # A logit is the score's logarithm, but for what softmax takes out again.
    tiny = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(outcome.scores, tiny)) * temperature
    without = metrics.Outcome(outcome.truth, special.softmax(logits, axis=1))

    def value(metric: str, of: metrics.Outcome) -> float:
        return float(metrics.value(metrics.OVERALL[metric], of))

    return {
        "set": name,
        "temperature": temperature,
        "calibration_error": value("calibration_error", outcome),
        "error_without": value("calibration_error", without),
        "log_loss": value("loss", outcome),
        "loss_without": value("loss", without),
        "accuracy": value("accuracy", outcome),
        "tested_on": len(outcome),
    }


if __name__ == "__main__":
    main()
