"""What the curves of a training say, in words, with what to try; light to import."""

import math
import statistics
from collections.abc import Sequence

from darkroom.components.training.model_run import Comparison, History

_WINDOW = 3  # epochs; single ones are chance
# At chance: the accuracy is above a constant answer's by at most this share of the way to 1.
_CHANCE_MARGIN = 0.02
# Not falling: the loss has fallen by less than this share of its first value.
_LEAST_FALL = 0.02
# Overfitting: the validation loss has risen by this share of its best value, and by this much; or
# the validation accuracy, over three epochs, has fallen by so much.
_RISE, _LEAST_RISE, _LEAST_DROP = 0.05, 0.05, 0.03
# Overconfident: the loss has risen so, and the accuracy gained this much meanwhile.
_GAIN = 0.01
# Not carried over: the validation accuracy is at chance, that of training by this much above it.
_LEARNT_BY_HEART = 0.03
# Plateau: over the last third of the epochs, at least three, no loss fell by a larger share.
_PLATEAU_FALL = 0.005
# And there the training loss is in a range of this share of its lowest value.
_PLATEAU_WIDTH = 0.1

_OVERFITTING = (
    "while the training loss falls. Try augmentation, a higher model.dropout, "
    "training.patience, or more images."
)


def diagnose(history: History, constant_accuracy: float) -> dict[str, str]:
    """Sentences on what is wrong, by rule; ``constant_accuracy`` is ``TrainingHistory``'s."""
    losses = history["loss"]
    for epoch, loss in enumerate(losses, 1):
        if not math.isfinite(loss):
            words = (
                f"The loss is no number any more in epoch {epoch}. Try a tenth of "
                "training.learning_rate, and look for images that are all one value."
            )
            return {"no number": words}
    at_chance_up_to = constant_accuracy + _CHANCE_MARGIN * (1 - constant_accuracy)
    if history.get("accuracy", [1.0])[-1] <= at_chance_up_to:
        words = (
            f"The accuracy is at chance ({history['accuracy'][-1]:.2f}; always the "
            f"same answer gives {constant_accuracy:.2f}): nothing was learnt. Try another "
            "training.learning_rate, and check that the labels belong to the images."
        )
        return {"at chance": words} | _overfitting(history)
    if len(losses) > 1 and losses[-1] >= losses[0] * (1 - _LEAST_FALL):
        words = (
            f"The training loss doesn't fall ({losses[0]:.3g} to {losses[-1]:.3g}). Try a higher "
            "or a lower training.learning_rate, or a larger model."
        )
        return {"not falling": words} | _overfitting(history)
    return _not_carried_over(history, at_chance_up_to) or _overfitting(history) or _plateau(history)


def _not_carried_over(history: History, at_chance_up_to: float) -> dict[str, str]:
    both = [history.get(name, []) for name in ("accuracy", "val_accuracy")]
    if any(len(values) < _WINDOW for values in both):
        return {}
    trained, validated = (_mean(values, len(values) - 1) for values in both)
    if validated > at_chance_up_to or trained < at_chance_up_to + _LEARNT_BY_HEART:
        return {}
    words = (
        f"What is learnt doesn't carry over: the training accuracy is {trained:.2f}, that of "
        f"validation at chance ({validated:.2f}). Check that the labels belong to the images, and "
        "that both splits come from the same source."
    )
    return {"not carried over": words}


def _overfitting(history: History) -> dict[str, str]:
    losses, validation = history["loss"], history.get("val_loss", [])
    if not _WINDOW <= len(validation) == len(losses) or not all(map(math.isfinite, validation)):
        return {}
    accuracy = history.get("val_accuracy", [])
    accuracy = accuracy if len(accuracy) == len(losses) else []
    now, best = len(losses) - 1, min(range(len(losses)), key=lambda epoch: validation[epoch])
    rose = validation[-1] > max(validation[best] * (1 + _RISE), validation[best] + _LEAST_RISE)
    if rose and losses[-1] < losses[best]:
        since = (
            f"since epoch {best + 1}: the validation loss rises from {validation[best]:.3g} to "
            f"{validation[-1]:.3g} "
        )
        before, after = (_mean(accuracy, epoch) for epoch in (best, now)) if accuracy else (0, 0)
        if after <= before + _GAIN:
            return {"overfitting": f"Overfitting {since}{_OVERFITTING}"}
        words = (
            f"Ever surer {since}while the validation accuracy gains, {before:.2f} to {after:.2f}. "
            "Try training.label_smoothing or a higher model.dropout; with training.monitor: "
            "val_accuracy the epoch with the best accuracy is exported."
        )
        return {"overconfident": words}
    if accuracy:
        best = max(range(len(losses)), key=lambda epoch: _mean(accuracy, epoch))
        before, after = (_mean(accuracy, epoch) for epoch in (best, now))
        if before - after > _LEAST_DROP and losses[-1] < losses[best]:
            words = f"the validation accuracy falls from {before:.2f} to {after:.2f} {_OVERFITTING}"
            return {"overfitting": f"Overfitting since epoch {best + 1}: {words}"}
    return {}


def _plateau(history: History) -> dict[str, str]:
    losses = history["loss"]
    last = max(_WINDOW, len(losses) // 3)
    end = losses[-last:]
    falls = end[-1] <= end[0] * (1 - _PLATEAU_FALL)
    if len(losses) < 2 * last or falls or max(end) > min(end) * (1 + _PLATEAU_WIDTH):
        return {}
    validation, accuracy = (history.get(name, []) for name in ("val_loss", "val_accuracy"))
    if len(validation) > last:
        least = min(validation[:-last]) * (1 - _PLATEAU_FALL)
        if not min(validation[-last:]) >= least:  # so too where it is no number
            return {}
    if len(accuracy) > last and max(accuracy[-last:]) > max(accuracy[:-last]):
        return {}
    words = (
        f"The training loss has stood still at {losses[-1]:.3g} for the last third of the "
        "epochs, and validation gained nothing. Fewer epochs would do, or try training.schedule: "
        "cosine."
    )
    return {"plateau": words}


def _mean(values: Sequence[float], epoch: int) -> float:
    """The mean of an epoch and the two before."""
    return statistics.fmean(values[max(0, epoch - _WINDOW + 1) : epoch + 1])


def negative_transfer(comparison: Comparison | None) -> list[str]:
    """A sentence where random weights do better than the transferred ones in the first epochs."""
    if comparison is None:
        return []
    transferred, scratch = comparison.transferred, comparison.scratch
    best = max if comparison.metric == "val_accuracy" else min
    if transferred == best(transferred, scratch):
        return []
    return [
        f"Negative transfer: after {comparison.epochs} epochs the best {comparison.metric} is "
        f"{transferred:.4f} with model.weights, and {scratch:.4f} from random weights. Try "
        "transfer.mode: distinct, weights of a task that is more alike, or no model.weights."
    ]
