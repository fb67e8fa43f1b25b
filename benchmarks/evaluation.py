"""darkroom's evaluation, verdict and report against TFX's own Evaluator, on CIFAR-10's 10,000.

Each side runs in a process of its own, after its imports, on the model and the examples of one
finished run. The stock side computes accuracy, cross-entropy and the number of examples, as TFX's
tutorials do; a second one also what darkroom's report shows of each class.
"""

from pathlib import Path

import measure

SIDES = {
    "stock: accuracy, loss, count": "stock",
    "the same, and precision, recall and AUC of each class, and confusions": "stock-per-class",
    "darkroom: all metrics with intervals, verdict and report": "darkroom",
}


def main() -> None:
    """Measures each side in turn, and reports."""
    parser = measure.Parser(__doc__)
    parser.add_size("--repeat", 3, 1, "turns of each side")
    options = parser.parse_args()
    # All stock metrics take the same way: in the smoke size, the longer one of the two.
    sides = dict(list(SIDES.items())[1 if options.smoke else 0 :])
    finished = measure.kept(options, "cifar10", measure.BRIEF)
    turns = measure.Turns(
        [
            {
                words: measure.side("evaluation", side, finished.home).result()
                for words, side in sides.items()
            }
            for _ in range(options.repeat)
        ]
    )
    stock, *_, ours = turns.sides
    rows = turns.rows("seconds", times_stock=("seconds", stock))
    parts = {f"seconds_of_{node}": turns.median(ours, node) for node in ("Evaluator", "Report")}
    page = Path(finished.status["report"]).stat().st_size
    measure.report(options, rows, **parts, page_mib=page / 2**20)


if __name__ == "__main__":
    main()
