"""How a network is trained, from random weights or from another task's."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from darkroom.components.base.errors import closest
from darkroom.components.base.sections.section import Section

_ONE_CLASS, _YES_OR_NO, _NUMBERS = ("softmax",), ("binary", "multi-label"), ("regression",)
_CLASSES = _ONE_CLASS + _YES_OR_NO
# The heads that a loss is for, by its name, all but the first three of Keras.
LOSSES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("crossentropy", "focal", "hinge"), _CLASSES),
    **dict.fromkeys(("MeanSquaredError", "MeanAbsoluteError"), _CLASSES + _NUMBERS),
    **dict.fromkeys(("Huber", "LogCosh"), _CLASSES + _NUMBERS),
    **dict.fromkeys(("MeanSquaredLogarithmicError", "Poisson"), _CLASSES),
    **dict.fromkeys(("CategoricalCrossentropy", "CategoricalFocalCrossentropy"), _ONE_CLASS),
    **dict.fromkeys(("CategoricalHinge", "KLDivergence", "CosineSimilarity"), _ONE_CLASS),
    **dict.fromkeys(("BinaryCrossentropy", "BinaryFocalCrossentropy"), _YES_OR_NO),
    **dict.fromkeys(("Hinge", "SquaredHinge"), _YES_OR_NO),
}


def loss_of(loss: str | None, head: str) -> str:
    """The loss that is set, or that of a head where none is."""
    return loss or ("MeanSquaredError" if head in _NUMBERS else "crossentropy")


def of_other_heads(loss: str | None, head: str) -> str:
    """Says that a loss is for other heads than ``head``; nothing where it is for that."""
    heads = LOSSES.get(loss or "", (head,))
    if head in heads:
        return ""
    *others, last = heads
    named = f"{', '.join(others)} and {last}" if others else last
    remedy = "crossentropy, focal and hinge are for every head of classes"
    if head in _NUMBERS:
        remedy = f"take one of {', '.join(name for name in LOSSES if head in LOSSES[name])}"
    return f"training.loss: {loss} is for model.head {named}, found {head}: {remedy}"


class Training(Section):
    recipe: Literal["auto", "none"] = "auto"
    """auto: what isn't set is chosen for the data, the hardware and the minutes; none: it has the
    defaults."""
    minutes: float | None = Field(None, gt=0)
    """Minutes that a whole run may take; training ends in time for the nodes after it. Where a node
    runs alone, as on Kubeflow and Airflow: what Trainer may take. Empty: all `epochs`."""
    epochs: int = Field(10, ge=1)
    """Passes over the training split, at most."""
    steps_per_epoch: int | None = Field(None, ge=1)
    """Batches in an epoch; empty: the whole training split."""
    batch_size: int = Field(64, ge=1)
    """Examples in a batch, over all replicas together."""
    optimizer: Literal["adam", "adagrad", "rmsprop", "sgd"] = "adam"
    """Keras optimizer."""
    learning_rate: float = Field(1e-3, gt=0)
    """Step size of the optimizer."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """sgd: share of the last step that goes into the next."""
    nesterov: bool = False
    """sgd: look ahead by the momentum (Nesterov)."""
    weight_decay: float = Field(0.0, ge=0)
    """Share of each weight taken off in each step, in units of the learning rate; biases, and what
    batch normalisation learns, keep theirs."""
    clip_norm: float | None = Field(None, gt=0)
    """Longest gradient of all weights together; what is longer is scaled down; empty: any."""
    loss: str | None = None
    """crossentropy, focal, hinge, a loss of Keras by its class's name, or your own of labels and
    logits by dotted path: a function, or a class of Keras's losses. Empty: crossentropy, and of
    numbers, which it sees in standard deviations, MeanSquaredError."""
    focal_gamma: float = Field(2.0, ge=0)
    """focal: how much less what is right anyway counts; 0: cross-entropy."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """crossentropy, focal: share of the label that is spread over all classes."""
    class_weights: Literal["none", "balanced"] | dict[str, float] = "none"
    """balanced: an image weighs the more, the fewer its class has; or weights by class, as in
    {cat: 3}; classes that aren't named weigh 1."""
    schedule: Literal["constant", "step", "exponential", "cosine", "one_cycle"] = "constant"
    """How the learning rate falls from epoch to epoch; cosine: to almost 0 in the last one;
    one_cycle: it rises for the first quarter, or for `warmup_epochs`, and falls evenly to 0, from
    batch to batch."""
    decay: float = Field(0.1, gt=0, lt=1)
    """step, exponential: what is left of the learning rate after `decay_epochs`."""
    decay_epochs: int = Field(10, ge=1)
    """step: the epochs between two falls; exponential: those over which it falls evenly."""
    warmup_epochs: int = Field(0, ge=0)
    """Epochs over which the learning rate rises evenly at first."""
    average_epochs: float = Field(0.0, ge=0)
    """Validate and export a moving average of the weights over about so many epochs; 0: none."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many epochs without a better `monitor`; empty: train all epochs."""
    min_delta: float = Field(0.0, ge=0)
    """How much better `monitor` must be to count."""
    monitor: Literal["val_loss", "val_accuracy", "val_mae"] = "val_loss"
    """What the best epoch is best at; val_accuracy is of classes, val_mae of numbers."""
    export_epoch: Literal["best", "last"] = "best"
    """The epoch whose weights are exported."""
    calibration: Literal["temperature", "none"] = "temperature"
    """temperature: divide the exported network's logits by the number that makes its scores as
    often right on the eval split as they say; no image gets another class by it."""
    interval: float = Field(0.9, gt=0, lt=1)
    """regression: the share of numbers that lie within the interval that is given beside each;
    its width is that which holds for so many of the eval split (conformal prediction)."""
    keep_every: int | None = Field(None, ge=1)
    """Keep the weights of every n-th epoch as .weights.h5 files beside the history."""
    starts: int = Field(1, ge=1)
    """How often to begin, each time from other initial weights; only the best start goes on."""
    start_epochs: int = Field(1, ge=1)
    """Epochs after which several starts are compared."""
    warm_start_epochs: int = Field(0, ge=0)
    """Train this many epochs with the two values below first, then from those weights."""
    warm_start_dropout: float = Field(0.5, ge=0, lt=1)
    """`model.dropout` of the warm start."""
    warm_start_weight_decay: float = Field(0.01, ge=0)
    """`weight_decay` of the warm start."""
    seed: int = Field(0, ge=0)
    """Seed of initial weights, dropout, shuffling and augmentation."""
    examples: Literal["auto", "cached", "streamed"] = "auto"
    """cached: preprocess all images once, and keep them; streamed: read and preprocess them anew in
    every pass; auto: streamed where the cache would take more than `cache_budget` plus half of the
    free disk."""
    cache_budget: float = Field(4.0, gt=0)
    """GiB of memory for cached images; what is more goes into a temporary file."""
    strategy: Literal["mirrored", "multi_worker"] = "mirrored"
    """mirrored: all devices of this machine; multi_worker: all machines that TF_CONFIG names."""
    cpu_replicas: int = Field(1, ge=1)
    """Devices of the CPU that share each batch where there is no GPU, to try that out."""
    precision: Literal["float32", "mixed"] = "float32"
    """mixed: compute with 16 bits where all GPUs have tensor cores, or where the CPU has bfloat16
    and takes some steps of the network quicker with it; elsewhere it is float32."""
    jit_compile: bool | None = None
    """Compile the training step with XLA; empty: only of a classifier on a frozen backbone. Where
    several devices train, it is never compiled."""
    steps_per_execution: int = Field(32, ge=1)
    """Batches that run in one call of the graph: less overhead for small models."""

    @field_validator("loss")
    @classmethod
    def _is_a_loss(cls, name: str | None) -> str | None:
        if name is not None and name not in LOSSES and "." not in name:
            raise ValueError(
                f"expected {', '.join(LOSSES)}, or your own by dotted path, found {name!r}."
                f"{closest(name, list(LOSSES))}"
            )
        return name

    @field_validator("class_weights", mode="before")
    @classmethod
    def _are_weights(cls, weights: object) -> object:
        """Says what both kinds may be, in one sentence."""
        named = weights.values() if isinstance(weights, dict) else []
        are_numbers = all(isinstance(value, int | float) and value >= 0 for value in named)
        if weights not in ("none", "balanced") and not (named and are_numbers):
            raise ValueError(
                "expected none, balanced, or weights from 0 up by class, as in {cat: 3}, "
                f"found {weights}"
            )
        return weights

    @model_validator(mode="after")
    def _smooths_what_can_be(self) -> "Training":
        if self.label_smoothing and self.loss not in (None, "crossentropy", "focal"):
            raise ValueError(
                f"expected loss crossentropy or focal with label_smoothing, found {self.loss}"
            )
        return self

    @property
    def cache_bytes(self) -> int:
        """Bytes of ``cache_budget``."""
        return int(self.cache_budget * 2**30)


class Transfer(Section):
    mode: Literal["none", "similar", "distinct"] = "none"
    """similar: train the classifier on a frozen backbone; distinct: then the backbone as well."""
    groups: int | None = Field(None, ge=1)
    """distinct: how many groups of layers to train, from the top; empty: all, the stem last."""
    unfreezing: Literal["gradual", "together"] = "gradual"
    """distinct: one group after the other; or all of them in one stage, with the `schedule`."""
    group_epochs: int = Field(3, ge=1)
    """distinct: epochs after each further group is unfrozen, or after all of them are."""
    group_learning_rate: float = Field(1e-4, gt=0)
    """distinct: learning rate of those epochs."""
    group_decay: float = Field(1.0, gt=0, le=1)
    """distinct: what is left of it from each group to the one below; the classifier has all."""
    scratch_epochs: int = Field(0, ge=0)
    """Train this many epochs from random weights as well, and say if that does better."""


class LearningRateScan(Section):
    min: float = Field(1e-5, gt=0)
    """The lowest learning rate of `darkroom lr-scan`."""
    max: float = Field(1.0, gt=0)
    """The highest one."""
    points: int = Field(11, ge=2)
    """Learning rates, evenly spread on a log scale."""
    epochs: int = Field(2, ge=1)
    """Epochs at each of them."""

    @model_validator(mode="after")
    def _has_a_width(self) -> "LearningRateScan":
        if self.min >= self.max:
            raise ValueError(f"expected min below max, found {self.min:g} and {self.max:g}")
        return self
