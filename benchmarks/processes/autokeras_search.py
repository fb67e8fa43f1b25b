"""AutoKeras's image classifier in the minutes given: ``autokeras_search.py DATA.npz MINUTES``.

Run by minutes.py with an interpreter that has AutoKeras; its last line is JSON. AutoKeras 3.0 takes
Keras 3.8, and fails with 3.15 ("invalid value for `units`"). It knows no
limit of time: what it has at the end is its best finished trial, or, where none is, what there is
of the first one.
"""

import json
import os
import sys
import tempfile
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import autokeras
import keras
import numpy as np

_EPOCHS = 1000  # AutoKeras's own; each trial stops where its validation gets no better
_TRIALS = 100  # its own as well; more than there is time for


class _TimeIsUp(Exception):
    pass


class _Limit(keras.callbacks.Callback):
    """Ends the search when the time is over."""

    def __init__(self, end: float):
        super().__init__()
        self._end = end
        self.last: keras.Model | None = None

    def __deepcopy__(self, memo: dict[int, object]) -> "_Limit":
        return self  # KerasTuner copies callbacks for each trial

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.last = self.model
        if time.monotonic() > self._end:
            raise _TimeIsUp


def main() -> None:
    """Searches, and tests what came of it."""
    path, end = sys.argv[1], time.monotonic() + 60 * float(sys.argv[2])
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    limit = _Limit(end)
    with tempfile.TemporaryDirectory() as folder:
        classifier = autokeras.ImageClassifier(max_trials=_TRIALS, directory=folder, seed=0)
        held_out = arrays["eval_images"], arrays["eval_labels"]
        try:
            classifier.fit(
                arrays["train_images"],
                arrays["train_labels"],
                validation_data=held_out,
                epochs=_EPOCHS,
                callbacks=[limit],
                verbose=0,
            )
        except Exception as error:  # KerasTuner may wrap what a callback raises
            if time.monotonic() < end:
                raise
            print(f"ended by {type(error).__name__}", file=sys.stderr)
        trials = [
            trial
            for trial in classifier.tuner.oracle.get_best_trials(_TRIALS)
            if trial.score is not None
        ]
        model = classifier.tuner.get_best_models(1)[0] if trials else limit.last
        scores = model.predict(arrays["test_images"], batch_size=256, verbose=0)
    labels = np.unique(arrays["train_labels"])[scores.argmax(-1)]
    accuracy = float((labels == arrays["test_labels"]).mean())
    print(json.dumps({"accuracy": accuracy, "trials": len(trials)}))


if __name__ == "__main__":
    main()
