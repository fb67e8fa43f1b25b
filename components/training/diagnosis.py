"""What the curves of a training say, in words, with what to try; light to import."""

import math
from collections.abc import Sequence

from darkroom.components.training.model_run import Comparison, History

# At chance: the accuracy is above a constant answer's by at most this share of the way to 1.
_CHANCE_MARGIN = 0.02
# Not falling: the loss has fallen by less than this share of its first value.
_LEAST_FALL = 0.02
# Overfitting: the validation loss has risen by this share of its best value, and by this much.
_RISE, _LEAST_RISE = 0.1, 0.05
# Plateau: over the last third of the epochs, at least three, the loss fell by a smaller share.
_PLATEAU_FALL = 0.005


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
    sentences = {}
    at_chance_up_to = constant_accuracy + _CHANCE_MARGIN * (1 - constant_accuracy)
    at_chance = history.get("accuracy", [1.0])[-1] <= at_chance_up_to
    falls = len(losses) < 2 or losses[-1] < losses[0] * (1 - _LEAST_FALL)
    if at_chance:
        sentences["at chance"] = (
            f"The accuracy is at chance ({history['accuracy'][-1]:.2f}; always the "
            f"same answer gives {constant_accuracy:.2f}): nothing was learnt. Try another "
            "training.learning_rate, and check that the labels belong to the images."
        )
    elif not falls:
        sentences["not falling"] = (
            f"The training loss doesn't fall ({losses[0]:.3g} to {losses[-1]:.3g}). Try a higher "
            "or a lower training.learning_rate, or a larger model."
        )
    last = max(3, len(losses) // 3)
    is_flat = len(losses) >= 2 * last and losses[-1] > losses[-last] * (1 - _PLATEAU_FALL)
    since = _overfits_since(history.get("val_loss", []), losses)
    if since is not None:
        best = min(history["val_loss"])
        sentences["overfitting"] = (
            f"Overfitting since epoch {since + 1}: the validation loss rises from {best:.3g} to "
            f"{history['val_loss'][-1]:.3g} while the training loss falls. Try augmentation, a "
            "higher model.dropout, training.patience, or more images."
        )
    elif falls and not at_chance and is_flat:
        sentences["plateau"] = (
            f"The training loss has stood still at {losses[-1]:.3g} for the last third of the "
            "epochs. Fewer epochs would do, or try training.schedule: cosine."
        )
    return sentences


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


def _overfits_since(validation: Sequence[float], losses: Sequence[float]) -> int | None:
    """The epoch (from 0) of the best validation loss, if it was left behind since."""
    if not 3 <= len(validation) == len(losses) or not all(map(math.isfinite, validation)):
        return None
    best = min(range(len(validation)), key=lambda epoch: validation[epoch])
    rose = validation[-1] > max(validation[best] * (1 + _RISE), validation[best] + _LEAST_RISE)
    return best if rose and losses[-1] < losses[best] else None
