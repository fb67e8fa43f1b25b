"""The sections of the configuration that say what model is made, with every default of theirs.

A section checks what it has alone; what several have to agree on is checked in `Config`.
"""

import itertools
import os
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from darkroom.components.base import features
from darkroom.components.base.architectures import ARCHITECTURES
from darkroom.components.base.errors import closest
from darkroom.components.base.remote import is_remote
from darkroom.components.evaluation import cost, metrics


class Section(BaseModel):
    """A branch of the tree: immutable, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class Splits(Section):
    train: str = Field("train/*", pattern="^[^/]")
    """Files of the training split, a glob pattern below `data.path`."""
    eval: str | None = Field("eval/*", pattern="^[^/]")
    """Files of the evaluation split; empty: `eval_share` of the training files' images."""
    test: str | None = Field(None, pattern="^[^/]")
    """Files of a test split, of which nothing is learnt and by which nothing is chosen."""
    eval_share: float = Field(0.1, gt=0, lt=1)
    """Where `eval` is empty: the share of images, chosen by the hash of their pixels."""

    @property
    def patterns(self) -> dict[str, str]:
        """The splits that have files of their own, with their patterns."""
        named = {"train": self.train, "eval": self.eval, "test": self.test}
        return {name: pattern for name, pattern in named.items() if pattern is not None}


class Data(Section):
    path: str | None = None
    """Folder that holds the TFRecord files of tf.Examples; relative to the current folder."""
    bundled: Literal["digits"] | None = None
    """Instead of a path: scikit-learn's handwritten digits, written as TFRecords on first use."""
    splits: Splits = Splits()
    """Which files make which split."""
    image_key: str = features.IMAGE_KEY
    """Feature that holds the image."""
    label_key: str = features.LABEL_KEY
    """Feature that holds the class: its name, or an integer."""
    multi_label: bool = False
    """Images have any number of labels, joined by | in the label feature."""
    class_names: str | None = None
    """File with the names of integer classes, one in a line, from 0; empty: the numbers."""
    form: Literal["encoded", "uint8", "float32"] = "encoded"
    """encoded: PNG, JPEG, GIF or BMP files; uint8, float32: pixels, row by row."""
    shape: list[int] | None = Field(None, min_length=2, max_length=3)
    """uint8 and float32: height, width and channels (1 if left out) of all images."""
    shape_keys: list[str] = []
    """Instead of `shape`: the features that hold it, in this order, one or several."""
    float_range: list[float] = Field([0.0, 1.0], min_length=2, max_length=2)
    """float32: the values of black and white."""
    keep_features: list[str] = []
    """Further features of the examples, such as a manifest's columns, for `evaluation.slices`."""
    max_corrupt_fraction: float = Field(0.01, ge=0, le=1)
    """Share of images that may be unusable; they are set aside. With more, the run fails."""
    leaks: Literal["drop", "report", "fail"] = "drop"
    """What to do where the same image is in two splits; drop: from train (or eval, if in test)."""
    schema_path: str | None = None
    """Your edited schema (docs/data.md); empty: inferred from the examples in each run."""

    @model_validator(mode="after")
    def _consistent(self) -> "Data":
        if (self.path is None) == (self.bundled is None):
            raise ValueError("set exactly one of data.path and data.bundled")
        if self.form == "encoded" and (self.shape or self.shape_keys):
            raise ValueError("data.shape is for pixels: set data.form to uint8 or float32")
        if self.form != "encoded" and bool(self.shape) == bool(self.shape_keys):
            raise ValueError(f"data.form {self.form}: set either data.shape or data.shape_keys")
        low, high = self.float_range
        if not low < high:
            raise ValueError(f"data.float_range: expected low before high, found {low}, {high}")
        return self


class Preprocessing(Section):
    height: int = Field(32, ge=1)
    """Pixels; every image is resized to height × width."""
    width: int = Field(32, ge=1)
    """Pixels; every image is resized to height × width."""
    channels: Literal[1, 3] = 3
    """1: grey, 3: RGB. Images of another kind are converted, alpha is dropped."""
    resize: Literal["stretch", "pad"] = "stretch"
    """stretch: to the target size; pad: keep the proportions and fill with black."""
    normalization: Literal["standardize", "rescale"] = "standardize"
    """standardize: by the training split's mean and deviation per channel; rescale: to [0, 1]."""
    image_fn: str | None = None
    """Your own function of normalised images, by dotted path; it comes last in the graph."""


class Model(Section):
    name: str = "cnn"
    """cnn, dense, residual, or an architecture of keras.applications, such as ResNet50V2."""
    build_fn: str | None = None
    """Your own `build_model(hp, config, num_classes)` by dotted path, used instead of `name`."""
    head: Literal["softmax", "binary"] = "softmax"
    """softmax: one output for each class; binary: one sigmoid output for two classes."""
    input_layer: str | None = None
    """Your own Keras layer, by dotted path, with which the network of `name` begins."""
    filters: list[int | list[int]] = Field([32, 64], min_length=1)
    """cnn: filters of each block, a list for several convolutions; residual: of each stage."""
    kernel_size: int = Field(3, ge=1)
    """cnn: height and width of the convolutions' kernels."""
    first_kernel_size: int | None = Field(None, ge=1)
    """cnn: the same for the very first convolution; empty: as `kernel_size`."""
    padding: Literal["same", "valid"] = "same"
    """cnn: same keeps height and width in a convolution; valid loses what the kernel overlaps."""
    normalize: Literal["before", "after"] = "before"
    """cnn: batch normalisation before or after the activation."""
    pooled_blocks: int | None = Field(None, ge=0)
    """cnn: so many blocks end in pooling, which halves height and width; empty: all of them."""
    blocks: int = Field(2, ge=1)
    """residual: blocks in each stage; every stage but the first halves height and width."""
    pooling: Literal["average", "flatten"] = "average"
    """keras.applications: what the classifier sees: the mean over all places, or every place."""
    units: list[Annotated[int, Field(ge=0)]] = [128]
    """Units of each dense layer before the classifier; 0 leaves a layer out."""
    activation: Literal["relu", "tanh", "sigmoid", "gelu"] = "relu"
    """Activation of the convolutions and dense layers."""
    dropout: float = Field(0.25, ge=0, lt=1)
    """Share of values dropped after the convolutions and after each dense layer."""
    initializer: Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal"] = (
        "glorot_uniform"
    )
    """Initial weights of the convolutions and dense layers."""
    weights: str | None = None
    """Start from: imagenet, a .weights.h5 or .keras file, or the folder of a pushed version."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        known = ["cnn", "dense", "residual", *ARCHITECTURES]
        if name not in known:
            raise ValueError(f"no such model, found {name!r}.{closest(name, known)}")
        return name

    @field_validator("weights")
    @classmethod
    def _found_from_everywhere(cls, source: str | None) -> str | None:
        if source in (None, "imagenet") or is_remote(source):
            return source
        return os.path.abspath(os.path.expanduser(source))


class Augmentation(Section):
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    """Mirror images at random."""
    rotation: float = Field(0.0, ge=0, le=0.5)
    """Turn by up to this share of a full turn, either way: 0.1 is 36 degrees."""
    zoom: float | list[float] = 0.0
    """Up to this share smaller or larger; or the two ends: [0, 0.3] only makes smaller."""
    shear: float = Field(0.0, ge=0, le=1)
    """Slant by up to this share."""
    translation: float = Field(0.0, ge=0, le=1)
    """Move by up to this share of height and width, either way."""
    fill: Literal["reflect", "nearest", "constant", "wrap"] = "reflect"
    """What comes in from outside where an image was turned, zoomed, slanted or moved."""
    brightness: float = Field(0.0, ge=0, le=1)
    """Lighter or darker by up to this share of an image's own range."""
    contrast: float = Field(0.0, ge=0, lt=1)
    """Stronger or weaker by up to this share."""
    cutout: float = Field(0.0, ge=0, lt=1)
    """Paint over a square of this share of the sides."""
    copies: int = Field(1, ge=1)
    """Where a frozen backbone's outputs are kept: of so many changed copies of each image."""

    @field_validator("zoom")
    @classmethod
    def _two_ends(cls, zoom: float | list[float]) -> float | list[float]:
        ends = zoom if isinstance(zoom, list) else [-zoom, zoom]
        if len(ends) != 2 or not -1 < ends[0] <= ends[1] < 1:
            raise ValueError(f"expected a share below 1, or two ends in order, found {zoom}")
        return zoom


class Training(Section):
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
    weight_decay: float = Field(0.0, ge=0)
    """Share of each weight taken off in each step, in units of the learning rate."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the label that is spread over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: an image weighs the more, the fewer its class has."""
    schedule: Literal["constant", "step", "exponential", "cosine"] = "constant"
    """How the learning rate falls from epoch to epoch; cosine: to almost 0 in the last one."""
    decay: float = Field(0.1, gt=0, lt=1)
    """step, exponential: what is left of the learning rate after `decay_epochs`."""
    decay_epochs: int = Field(10, ge=1)
    """step: at once every so many epochs; exponential: evenly over so many."""
    warmup_epochs: int = Field(0, ge=0)
    """The learning rate rises evenly over so many epochs first."""
    patience: int | None = Field(None, ge=1)
    """Stop after so many epochs without a better `monitor`; empty: train all epochs."""
    min_delta: float = Field(0.0, ge=0)
    """By how much `monitor` must be better to count."""
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    """What the best epoch is best at."""
    export_epoch: Literal["best", "last"] = "best"
    """Whose weights are exported."""
    keep_every: int | None = Field(None, ge=1)
    """Keep the weights of every so many epochs as .weights.h5 files beside the history."""
    starts: int = Field(1, ge=1)
    """Begin so often from other initial weights; only the best of them goes on."""
    start_epochs: int = Field(1, ge=1)
    """Where there are several starts: they are compared after so many epochs."""
    warm_start_epochs: int = Field(0, ge=0)
    """Train so many epochs with the two values below first, then from those weights."""
    warm_start_dropout: float = Field(0.5, ge=0, lt=1)
    """`model.dropout` of the warm start."""
    warm_start_weight_decay: float = Field(0.01, ge=0)
    """`weight_decay` of the warm start."""
    seed: int = Field(0, ge=0)
    """Seed of initial weights, dropout, shuffling and augmentation."""
    cache_budget: float = Field(4.0, gt=0)
    """GiB of memory for preprocessed images; what is more goes into a temporary file."""
    strategy: Literal["mirrored", "multi_worker"] = "mirrored"
    """mirrored: all devices of this machine; multi_worker: all machines that TF_CONFIG names."""
    cpu_replicas: int = Field(1, ge=1)
    """Where there is no GPU: devices of the CPU that share each batch, to try that out."""
    precision: Literal["float32", "mixed"] = "float32"
    """mixed: compute with 16 bits where all GPUs have tensor cores; elsewhere it is float32."""
    jit_compile: bool | None = None
    """Compile the training step with XLA; empty: only of a classifier on a frozen backbone. Where
    several devices train, it is never compiled."""
    steps_per_execution: int = Field(32, ge=1)
    """Batches that run in one call of the graph: less overhead for small models."""


class Transfer(Section):
    mode: Literal["none", "similar", "distinct"] = "none"
    """similar: train the classifier on a frozen backbone; distinct: then the backbone as well."""
    groups: int | None = Field(None, ge=1)
    """distinct: so many groups of layers, from the top; empty: all, the stem last."""
    group_epochs: int = Field(3, ge=1)
    """distinct: epochs after each further group is unfrozen."""
    group_learning_rate: float = Field(1e-4, gt=0)
    """distinct: learning rate of those epochs."""
    scratch_epochs: int = Field(0, ge=0)
    """Train so many epochs from random weights as well, and say if that does better."""


class Range(Section):
    """The values of one hyperparameter: `choices`, or `min` and `max`."""

    choices: list[bool | int | float | str] | None = Field(None, min_length=1)
    """The values to choose from."""
    min: float | int | None = None
    """The smallest value."""
    max: float | int | None = None
    """The largest value."""
    step: float | int | None = Field(None, gt=0)
    """Distance of two values, for log their ratio; empty: any value between (grid: 10 of them)."""
    sampling: Literal["linear", "log"] = "linear"
    """log: every order of magnitude is equally likely."""

    @model_validator(mode="after")
    def _choices_or_bounds(self) -> "Range":
        bounds = self.min is not None and self.max is not None
        if (self.choices is None) == (not bounds) or (self.choices is not None and bounds):
            raise ValueError("set either choices, or both min and max")
        if self.min is not None and self.max is not None and not self.min < self.max:
            raise ValueError(f"min must be below max, got min {self.min} and max {self.max}")
        if self.sampling == "log" and self.min is not None and self.min <= 0:
            raise ValueError(f"log sampling needs min above 0, got {self.min}")
        if self.choices is not None:
            if len(set(self.choices)) < len(self.choices):
                raise ValueError(f"expected choices that differ, found {self.choices}")
            if self.step is not None or self.sampling != "linear":
                raise ValueError("step and sampling are for min and max, not for choices")
            if len({isinstance(c, str) for c in self.choices}) > 1:
                raise ValueError(f"expected choices of one kind, found {self.choices}")
        if self.step is not None and self.min is not None and self.max is not None:
            if self.sampling == "log" and self.step <= 1:
                raise ValueError(f"log sampling: step is a factor above 1, got {self.step}")
            second = self.min * self.step if self.sampling == "log" else self.min + self.step
            if second > self.max:
                raise ValueError(
                    f"step {self.step} leaves nothing but min {self.min} below max {self.max}"
                )
        return self


class Tuner(Section):
    enabled: bool = False
    """Search hyperparameters with KerasTuner; off: the values of this configuration are used."""
    algorithm: Literal["random", "grid", "hyperband", "bayesian", "list"] = "random"
    """How values are chosen; list: those of `trials`, one after the other."""
    objective: str = "val_accuracy"
    """What the best trial is best at: a metric of the model's, with val_ of held-out examples."""
    direction: Literal["max", "min"] | None = None
    """Whether more or less of the objective is better; empty: as Keras knows of its own metrics."""
    space: dict[str, Range] = {}
    """Hyperparameters by their key in this tree: `training.learning_rate`, `model.units.0`."""
    trials: list[dict[str, bool | int | float | str]] = []
    """list: the trials, each of them values by their key in this tree."""
    max_trials: int | None = Field(None, ge=1)
    """random, bayesian: how many trials; grid: at most so many, empty: all combinations."""
    epochs: int | None = Field(None, ge=1)
    """Epochs of each trial, at most; empty: as `training.epochs`."""
    patience: int | None = Field(None, ge=1)
    """End a trial as `training.patience` says, with this number; empty: with that one."""
    executions_per_trial: int = Field(1, ge=1)
    """Fits of each trial, from other initial weights; the score is their mean."""
    folds: int | None = Field(None, ge=2)
    """Cross-validation in so many parts of the train split; empty: trials are scored on eval."""
    factor: int = Field(3, ge=2)
    """hyperband: one in so many trials goes on, with so many times the epochs."""
    iterations: int = Field(1, ge=1)
    """hyperband: how often the whole algorithm runs."""
    initial_trials: int | None = Field(None, ge=1)
    """bayesian: random trials before it; empty: three times the number of hyperparameters."""
    workers: int | None = Field(None, ge=1)
    """Trials at the same time; empty: one on each GPU, or on each core where there is none."""
    keep_checkpoints: int = Field(3, ge=1)
    """How many of the best trials' checkpoints stay on disk."""
    carry_over: Literal["values", "checkpoint"] = "values"
    """What Trainer gets; values: it trains anew; checkpoint: it goes on with the best trial's."""
    carry_epochs: bool = False
    """Train as many epochs as were best for the best trial, instead of `training.epochs`."""


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


class TfmaMetric(Section):
    class_name: str
    """A metric of `tfma.metrics` or `keras.metrics`, such as BalancedAccuracy."""
    module: str | None = None
    """Of a metric of your own: where its class is."""
    config: dict[str, Any] = {}
    """Its arguments."""
    per_class: bool = False
    """Compute it of each class against all others."""


class Threshold(Section):
    metric: str
    """What is compared (docs/evaluation.md names all)."""
    class_name: str | None = None
    """Of one class; `*`: of each; empty: of all examples."""
    slice: dict[str, str] = {}
    """Of the examples with these values, by features of `evaluation.slices`; `*`: of each value."""
    min: float | None = None
    """The lowest value allowed."""
    max: float | None = None
    """The highest value allowed."""
    max_drop: float | None = None
    """How much lower than the baseline's it may be; below 0: how much higher it must be."""
    max_rise: float | None = None
    """How much higher than the baseline's it may be; below 0: how much lower it must be."""
    min_examples: int = Field(1, ge=1)
    """With fewer examples of that class or slice nothing is said; where it is named, it fails."""
    judged_by: Literal["value", "worst", "best"] | None = None
    """The measured value, or the worse or better end of its confidence interval. Empty: value for
    min and max; against a baseline best, and worst where it must be better."""

    @model_validator(mode="after")
    def _has_bounds(self) -> "Threshold":
        bounds = (self.min, self.max, self.max_drop, self.max_rise)
        if all(bound is None for bound in bounds):
            raise ValueError("set a bound: min, max, max_drop or max_rise")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(
                f"contradictory bounds: nothing is at least {self.min:g} and at most {self.max:g}"
            )
        drop, rise = self.max_drop, self.max_rise
        if drop is not None and rise is not None and drop + rise < 0:
            raise ValueError(
                f"contradictory bounds: nothing drops by at most {drop:g} and rises by at most "
                f"{rise:g}"
            )
        return self

    @property
    def group(self) -> tuple[Any, ...]:
        """What is compared, for finding others that compare the same."""
        return self.metric, self.class_name, tuple(sorted(self.slice.items()))


class Evaluation(Section):
    split: Literal["eval", "test"] = "eval"
    """The examples that a model is judged by."""
    min_accuracy: float = Field(0.8, ge=0, le=1)
    """A model with a lower accuracy is not blessed."""
    min_class_recall: float = Field(0.1, ge=0, le=1)
    """Nor is one that recognises less of any class of at least 10 examples: it forgot the class."""
    max_accuracy_drop: float = Field(0.01, ge=0, le=1)
    """Nor is one whose accuracy is surely lower than the last blessed one's by more than this."""
    thresholds: list[Threshold] = []
    """What else a model must keep."""
    slices: dict[str, list[float]] = {}
    """Features whose values divide the examples; of a number: the edges of its ranges."""
    metrics: dict[str, TfmaMetric] = {}
    """Metrics of TFMA or Keras beside those of every evaluation, by a name for them."""
    confidence: float = Field(0.95, gt=0, le=0.99)
    """Share of the bootstrap's draws between the ends of an interval."""

    @field_validator("slices")
    @classmethod
    def _rising(cls, slices: dict[str, list[float]]) -> dict[str, list[float]]:
        for key, edges in slices.items():
            if not edges and key in features.CONTINUOUS:
                raise ValueError(
                    f"{key}: expected the edges of ranges, such as [64, 256], found none"
                )
            if any(high <= low for low, high in itertools.pairwise(edges)):
                raise ValueError(f"{key}: expected edges in rising order, found {edges}")
        return slices

    @model_validator(mode="after")
    def _thresholds_can_be_met(self) -> "Evaluation":
        for number, threshold in enumerate(self.thresholds):
            _check_metric(f"thresholds.{number}", threshold, self)
            for key in threshold.slice:
                if key not in self.slices:
                    there = f"it has {', '.join(self.slices)}" if self.slices else "it is empty"
                    raise ValueError(
                        f"thresholds.{number}.slice: {key} is not in evaluation.slices, {there}."
                        f"{closest(key, list(self.slices))}"
                    )
        taken = [name for name in self.metrics if name in _taken_names()]
        if taken:
            raise ValueError(
                f"metrics.{taken[0]}: every evaluation has a metric of this name; take another"
            )
        for one, other in itertools.permutations(self.gate(), 2):
            both = [one.group == other.group, one.min is not None, other.max is not None]
            if all(both) and cast(float, one.min) > cast(float, other.max):
                raise ValueError(
                    f"contradictory bounds in thresholds (or min_accuracy): no {one.metric} is at "
                    f"least {one.min:g} and at most {other.max:g}"
                )
        return self

    def gate(self) -> list[Threshold]:
        """All thresholds, that of the accuracy first."""
        first = Threshold(metric="accuracy", min=self.min_accuracy, max_drop=self.max_accuracy_drop)
        return [first, *self.thresholds]


class Batching(Section):
    max_batch_size: int = Field(64, ge=1)
    """Images that the model gets at once, at most."""
    batch_timeout_micros: int = Field(0, ge=0)
    """Microseconds that an image waits for others; 0: batches form only while the model is busy."""
    max_enqueued_batches: int = Field(100, ge=1)
    """Batches that wait, at most; who comes then is told that the server is not available."""
    num_batch_threads: int | None = Field(None, ge=1)
    """Batches at the same time; empty: as many as the server's machine has cores."""
    allowed_batch_sizes: list[Annotated[int, Field(ge=1)]] = []
    """Batches are filled up to one of these sizes; rising, the last is `max_batch_size`."""

    @model_validator(mode="after")
    def _sizes_end_at_the_largest(self) -> "Batching":
        sizes = self.allowed_batch_sizes
        if any(high <= low for low, high in itertools.pairwise(sizes)):
            raise ValueError(f"allowed_batch_sizes: expected sizes in rising order, found {sizes}")
        if sizes and sizes[-1] != self.max_batch_size:
            raise ValueError(
                f"allowed_batch_sizes: expected the last to be max_batch_size, "
                f"{self.max_batch_size}, found {sizes[-1]}"
            )
        return self


class Validation(Section):
    enabled: bool = True
    """Whether a model is tried on a real server before it is pushed."""
    images: int = Field(16, ge=1)
    """Images of the evaluated split that the server is asked about."""
    requests: int = Field(100, ge=1)
    """Requests of one image that are timed, over REST and over gRPC each."""
    load_seconds: float = Field(120.0, gt=0)
    """For the server to start and to load the model."""
    max_latency_p50_ms: float | None = Field(None, gt=0)
    """Of half of the requests, in milliseconds, at most."""
    max_latency_p99_ms: float | None = Field(None, gt=0)
    """Of 99 of 100 requests, in milliseconds, at most."""
    max_memory_mib: int | None = Field(None, gt=0)
    """Resident memory of the server after the requests, at most."""


class Serving(Section):
    keep_versions: int = Field(5, ge=1)
    """The newest versions that stay on disk; those served, and that before them, stay anyway."""
    rollout: Literal["immediate", "canary"] = "immediate"
    """immediate: a pushed version becomes stable; canary: it waits for `darkroom promote`."""
    canary_share: float = Field(0.0, ge=0, le=1)
    """Of requests that name no version, so many go to the canary, the others to the stable one."""
    batching: Batching = Batching()
    """How a model server makes batches of requests, in TensorFlow Serving's words."""
    validation: Validation = Validation()
    """The trial of a model on a server, between Evaluator and Pusher."""


class Report(Section):
    intended_use: str = ""
    """What the model is for, and what not, in your words: a heading of the report."""
    limits: str = ""
    """What the model is known not to do well, in your words: a heading of the report."""


def _check_metric(where: str, threshold: Threshold, evaluation: Evaluation) -> None:
    name, own = threshold.metric, evaluation.metrics
    if name in own:
        if (threshold.class_name is not None) != own[name].per_class:
            remedy = "take class_name out" if threshold.class_name else "set class_name"
            raise ValueError(
                f"{where}: evaluation.metrics.{name}.per_class is {own[name].per_class}: {remedy}"
            )
        return
    of_classes, overall = list(metrics.OF_CLASSES), list(metrics.OVERALL)
    known = sorted({*of_classes, *overall, *cost.METRICS, *own})
    limits = (threshold.min, threshold.max)
    if name not in known:
        raise ValueError(
            f"{where}.metric: no metric {name!r}; there are {', '.join(known)}, and those that "
            f"evaluation.metrics names.{closest(name, known)}"
        )
    if name in cost.METRICS:
        more = (threshold.class_name, threshold.max_drop, threshold.max_rise, threshold.judged_by)
        if any(value is not None for value in more) or threshold.slice:
            raise ValueError(f"{where}: {name} is of the whole model: set max (or min) alone")
        return
    outside = [limit for limit in limits if limit is not None and not 0 <= limit <= 1]
    if name != "loss" and outside:
        raise ValueError(f"{where}: {name} is from 0 to 1, found {outside[0]:g}")
    if threshold.class_name is None and name not in overall:
        raise ValueError(
            f"{where}: {name} is of a class: set class_name, to '*' for each of them, or take "
            f"macro_{name}"
        )
    if threshold.class_name is not None and name not in of_classes:
        raise ValueError(
            f"{where}: {name} is of all classes together; of one there are {', '.join(of_classes)}"
        )


def _taken_names() -> set[str]:
    return {*metrics.OVERALL, *metrics.OF_CLASSES, *cost.METRICS, "example_count"}
