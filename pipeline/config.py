"""The configuration: one typed tree, every default written once, here.

Files and ``--set`` only override. Unknown keys and wrong values fail on load, naming the file,
the dotted path, what was expected, what was found and the closest key. Light to import: nothing
here needs TensorFlow.
"""

import itertools
import os
import re
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from components import features, metrics, results, service, settings
from components.architectures import ARCHITECTURES
from components.errors import DarkroomError, closest
from components.remote import is_remote
from pipeline import beam

CONFIGS = Path(__file__).parent / "configs"


class ConfigError(DarkroomError):
    """The configuration can't be used as written."""


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


class Beam(Section):
    runner: Literal["direct", "portable", "flink", "spark", "dataflow"] = "direct"
    """direct: Beam itself on this machine; the others: engines (docs/platforms/beam.md)."""
    direct_running_mode: Literal["auto", "in_memory", "multi_threading", "multi_processing"] = (
        "auto"
    )
    """Of Beam's direct runner; auto: in_memory up to `multi_processing_from_gib` of data."""
    direct_num_workers: int = Field(0, ge=0)
    """Workers of the direct runner where the mode has several; 0: one per core."""
    multi_processing_from_gib: float = Field(1.0, gt=0)
    """GiB of TFRecords from which `auto` starts worker processes (docs/benchmarks.md: why)."""
    job_endpoint: str | None = Field(None, pattern=beam.ADDRESS)
    """portable, flink, spark: host:port of the job server."""
    flink_master: str | None = None
    """flink: host:port of Flink's REST service, for a job server that Beam starts here itself."""
    spark_master_url: str | None = None
    """spark: spark://HOST:PORT, for a job server that Beam starts here itself."""
    environment_type: Literal["DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK"] | None = None
    """portable, flink, spark: how Python is started; EXTERNAL: by a worker pool; LOOPBACK: here."""
    environment_config: str | None = None
    """EXTERNAL: host:port of the worker pool, as the engine sees it; PROCESS: its command, JSON."""
    sdk_container_image: str | None = None
    """dataflow, and DOCKER: the workers' image, with darkroom in it."""
    sdk_worker_parallelism: int | None = Field(None, ge=0)
    """portable, flink, spark: Python processes of each of the engine's workers; 0: it chooses."""
    parallelism: int | None = Field(None, ge=1)
    """flink: so many parts of a step run at once; empty: as Flink is set up."""
    project: str | None = Field(None, pattern="^[a-z][-a-z0-9:.]+[a-z0-9]$")
    """dataflow: id of the Google Cloud project."""
    region: str | None = None
    """dataflow: where the machines are, such as europe-west1."""
    temp_location: str | None = None
    """dataflow: a folder in a bucket, gs://BUCKET/FOLDER, for what is there during a job."""
    num_workers: int | None = Field(None, ge=1)
    """dataflow: machines to begin with; empty: Dataflow chooses."""
    max_num_workers: int | None = Field(None, ge=1)
    """dataflow: machines at most."""
    options: dict[str, bool | int | float | str | list[str] | dict[str, str]] = {}
    """Further options of Beam by their own names, such as worker_machine_type."""

    @field_validator("runner", mode="before")
    @classmethod
    def _keeps_all_data(cls, runner: object) -> object:
        if runner == "dask":
            raise ValueError("Beam's Dask runner loses data without an error; take another one")
        return runner

    @model_validator(mode="after")
    def _fits_the_runner(self) -> "Beam":
        beam.check(self)
        return self


# Where the launcher of Kubeflow Pipelines puts copies of buckets, and what it needs itself.
_LAUNCHERS_FOLDERS = ("/gcs", "/s3", "/minio", "/kfp-launcher", "/.cache", "/.config", "/.local")


class Resources(Section):
    cpu: float | None = Field(None, gt=0)
    """Cores, at most."""
    memory: str | None = Field(None, pattern=r"^\d+(\.\d+)?(k|[MGTPE]|[KMGTPE]i)?$")
    """Memory, at most, as Kubernetes writes it: 8Gi."""
    accelerator: str | None = None
    """Resource name of an accelerator, such as nvidia.com/gpu."""
    accelerators: int = Field(1, ge=1)
    """How many of it."""
    node_pool: dict[str, str] = {}
    """Labels of the nodes that it may run on."""

    @model_validator(mode="after")
    def _counts_something(self) -> "Resources":
        if self.accelerators > 1 and self.accelerator is None:
            raise ValueError("accelerators: set accelerator to what there is to be several of")
        return self


class Kubeflow(Section):
    image: str | None = None
    """Reference of the container image with darkroom and your own code (kubeflow/Dockerfile)."""
    resources: dict[str, Resources] = {}
    """What a node's container gets, by the node's id, such as Trainer; `*`: of all others."""
    environment: dict[str, str] = {}
    """Environment variables of all containers; nothing secret, the spec shows them."""
    secrets: dict[str, str] = {}
    """Environment variables from Kubernetes' secrets: VARIABLE: secret/key."""
    volumes: dict[str, str] = {}
    """Persistent volume claims by the path at which all containers have them: /data: claim."""
    retries: int = Field(0, ge=0)
    """How often a failed task is tried again."""
    experiment: str = "Default"
    """Of Kubeflow Pipelines, in which runs are listed."""
    service_account: str | None = None
    """Of Kubernetes, as which the containers run."""

    @field_validator("secrets")
    @classmethod
    def _name_a_key(cls, secrets: dict[str, str]) -> dict[str, str]:
        for variable, source in secrets.items():
            if not re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[-._a-zA-Z0-9]+", source):
                raise ValueError(f"{variable}: expected secret/key, found {source!r}")
        return secrets

    @field_validator("volumes")
    @classmethod
    def _at_a_path(cls, volumes: dict[str, str]) -> dict[str, str]:
        for path, claim in volumes.items():
            if not path.startswith("/") or os.path.normpath(path) != path or path == "/":
                raise ValueError(f"expected a path such as /data, found {path!r}")
            if path in _LAUNCHERS_FOLDERS:
                raise ValueError(f"{path}: Kubeflow Pipelines keeps its own there; take another")
            if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", claim):
                raise ValueError(f"{path}: expected the name of a claim, found {claim!r}")
        return volumes

    def resources_of(self, node: str) -> Resources:
        """Those of a node, by its id."""
        return self.resources.get(node, self.resources.get("*", Resources()))


class Airflow(Section):
    schedule: str | None = None
    """When a run begins: a cron expression, or a preset such as "@daily"; empty: when triggered."""
    start_date: str = "2026-01-01"
    """The first day, or moment (UTC), that the schedule counts from."""
    catchup: bool = False
    """Begin the runs, too, that the schedule had between `start_date` and now: a backfill."""
    retries: int = Field(2, ge=0)
    """How often a node that failed is tried again."""
    retry_delay: float = Field(60.0, ge=0)
    """Seconds before it is."""
    tags: list[str] = ["darkroom"]
    """Of the DAG, by which Airflow's page finds it."""
    python: str | None = None
    """Interpreter of the environment with TFX; empty: the one that Airflow runs in."""

    @field_validator("start_date", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else value  # as YAML reads it

    @field_validator("start_date")
    @classmethod
    def _is_a_date(cls, text: str) -> str:
        try:
            datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"expected a date such as 2026-01-31, found {text!r}") from None
        return text


class Metadata(Section):
    backend: Literal["sqlite", "mysql"] = "sqlite"
    """What ML Metadata keeps its records in; sqlite: a file in the pipeline's folder."""
    host: str | None = None
    """mysql: name or address of the server."""
    port: int = Field(3306, ge=1, le=65535)
    """mysql: its port."""
    database: str | None = Field(None, min_length=1)
    """mysql: its database, which several pipelines may share."""
    user: str | None = None
    """mysql: its user. The password is in no file: it is taken from DARKROOM_METADATA_PASSWORD."""
    ssl: bool = False
    """mysql: encrypt the connection. ML Metadata's client can't check the server's certificate."""

    @field_validator("backend", mode="before")
    @classmethod
    def _not_postgresql(cls, backend: Any) -> Any:
        if backend in ("postgresql", "postgres"):
            raise ValueError(
                "ML Metadata's client fails with PostgreSQL as soon as a value has a backslash, "
                "which it doesn't escape, and values of TFX's have some; take mysql"
            )
        return backend

    @model_validator(mode="after")
    def _names_a_server(self) -> "Metadata":
        server = {"host": self.host, "database": self.database, "user": self.user}
        missing = [name for name, value in server.items() if value is None]
        given = [name for name in server if name not in missing]
        if self.backend == "sqlite" and given:
            raise ValueError(f"{given[0]} is for backend mysql, and backend is sqlite")
        if self.backend == "mysql" and missing:
            raise ValueError(f"backend mysql needs {', '.join(missing)} as well")
        return self


class Config(Section):
    name: str
    """Name of the pipeline and of the served model: lower case, digits, dashes."""
    root: str = "runs"
    """Folder below which everything is written, in a folder named as the pipeline; or a bucket's,
    such as `gs://bucket/runs`."""
    local_root: str = "runs"
    """Where `root` is in a bucket: the folder for what needs a disk, such as logs and locks."""
    runner: Literal["beam", "local"] = "beam"
    """beam: TFX's BeamDagRunner; local: TFX's LocalDagRunner."""
    data: Data
    """Where the examples are and what is in them."""
    preprocessing: Preprocessing = Preprocessing()
    """What the transform graph does to an image, in training and in serving."""
    model: Model = Model()
    """The network."""
    augmentation: Augmentation = Augmentation()
    """How training images are changed at random."""
    training: Training = Training()
    """How the network is trained."""
    transfer: Transfer = Transfer()
    """What is trained of a network that starts from another task's weights."""
    lr_scan: LearningRateScan = LearningRateScan()
    """What `darkroom lr-scan` tries."""
    tuner: Tuner = Tuner()
    """The hyperparameter search before training."""
    evaluation: Evaluation = Evaluation()
    """What a model must reach to be pushed."""
    serving: Serving = Serving()
    """What a model server is told of the pushed versions."""
    report: Report = Report()
    """What a run's report says besides what is measured."""
    beam: Beam = Beam()
    """How Beam runs the data steps."""
    kubeflow: Kubeflow = Kubeflow()
    """How Kubeflow Pipelines runs the nodes (docs/platforms/kubeflow.md)."""
    airflow: Airflow = Airflow()
    """When and how often Airflow runs the nodes (docs/platforms/airflow.md)."""
    metadata: Metadata = Metadata()
    """Where ML Metadata's records of runs and artifacts are."""

    @field_validator("name")
    @classmethod
    def _kubernetes_takes_it(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name):
            raise ValueError(
                "expected lower-case letters, digits and dashes, at most 63 of them, beginning "
                f"with a letter and not ending with a dash, as Kubernetes wants it; found {name!r}"
            )
        return name

    @model_validator(mode="after")
    def _fits_the_architecture(self) -> "Config":
        architecture = ARCHITECTURES.get(self.model.name)
        if architecture is None or self.model.build_fn is not None:
            return self
        prepared = self.preprocessing
        if min(prepared.height, prepared.width) < architecture.smallest:
            raise ValueError(
                f"preprocessing: {self.model.name} needs images of at least "
                f"{architecture.smallest}×{architecture.smallest} pixels, found "
                f"{prepared.height}×{prepared.width}"
            )
        if prepared.channels != 3 or prepared.normalization != "rescale":
            raise ValueError(
                f"preprocessing: {self.model.name} scales RGB pixels itself: set channels to 3 and "
                f"normalization to rescale, found {prepared.channels} and {prepared.normalization}"
            )
        return self

    @model_validator(mode="after")
    def _epochs_are_enough(self) -> "Config":
        training = self.training
        if training.warmup_epochs >= training.epochs:
            raise ValueError(
                f"training.warmup_epochs is {training.warmup_epochs}, which leaves none of the "
                f"{training.epochs} training.epochs for the schedule"
            )
        if training.starts > 1 and training.start_epochs > training.epochs:
            raise ValueError(
                f"training.start_epochs is {training.start_epochs}, more than the "
                f"{training.epochs} training.epochs"
            )
        return self

    @model_validator(mode="after")
    def _several_machines_can_do_it(self) -> "Config":
        training = self.training
        if training.strategy == "mirrored":
            return self
        if training.cpu_replicas > 1:
            raise ValueError(
                f"training.cpu_replicas is {training.cpu_replicas}; with strategy multi_worker "
                "each machine has one device on its CPU: set it to 1"
            )
        if is_remote(self.root):
            raise ValueError(
                "root: with training.strategy multi_worker a folder that all machines see, such "
                f"as one of a network disk; found {self.root}"
            )
        if training.jit_compile:
            raise ValueError(
                "training.jit_compile: XLA can't compile what several machines add up; take it out "
                "or set training.strategy to mirrored"
            )
        if self.transfer.scratch_epochs:
            raise ValueError(
                "transfer.scratch_epochs compares on one machine; set it to 0, or "
                "training.strategy to mirrored"
            )
        return self

    @model_validator(mode="after")
    def _transfers_something(self) -> "Config":
        if self.transfer.mode != "none" and self.model.weights is None:
            raise ValueError(
                f"transfer.mode is {self.transfer.mode}, which needs model.weights to start from: "
                "imagenet, a file, or the folder of a pushed version"
            )
        own = self.model.build_fn is not None
        if own and (self.model.weights is not None or self.transfer.mode != "none"):
            raise ValueError(
                "model.weights and transfer are for the networks of model.name; load weights in "
                "model.build_fn instead"
            )
        if own and self.model.input_layer is not None:
            raise ValueError(
                "model.input_layer is for the networks of model.name; use the layer in "
                "model.build_fn instead"
            )
        if self.model.weights == "imagenet" and self.model.name not in ARCHITECTURES:
            raise ValueError(
                f"model.weights: imagenet is for the architectures of keras.applications, found "
                f"model.name {self.model.name}"
            )
        begins = self.training.starts > 1 or self.training.warm_start_epochs
        if begins and self.model.weights is not None:
            raise ValueError(
                "training.starts and warm_start_epochs are for random weights; model.weights is set"
            )
        if self.transfer.scratch_epochs > self.training.epochs:
            raise ValueError(
                f"transfer.scratch_epochs is {self.transfer.scratch_epochs}, more than the "
                f"{self.training.epochs} training.epochs that it is compared with"
            )
        return self

    @model_validator(mode="after")
    def _can_be_evaluated(self) -> "Config":
        taken = [key for key in self.data.keep_features if key in features.OWN]
        if taken:
            raise ValueError(f"data.keep_features: {taken[0]} is kept anyway; take it out")
        if self.evaluation.split == "test" and self.data.splits.test is None:
            raise ValueError("evaluation.split is test: set data.splits.test to its files")
        known = [*features.INSPECTED, *self.data.keep_features]
        for key in self.evaluation.slices:
            if key not in known:
                raise ValueError(
                    f"evaluation.slices: {key} is no feature; there are {', '.join(known)}. Name "
                    f"others of your examples in data.keep_features.{closest(key, known)}"
                )
        return self

    @model_validator(mode="after")
    def _one_head(self) -> "Config":
        if self.data.multi_label and self.model.head == "binary":
            raise ValueError(
                "model.head: binary is for images of one of two classes, and data.multi_label is "
                "set: leave head as softmax, multi-label data have a sigmoid for each class"
            )
        if self.data.multi_label and "model.head" in self.tuner.space:
            raise ValueError("tuner.space.model.head: data.multi_label leaves nothing to choose")
        return self

    @model_validator(mode="after")
    def _search_has_something_to_do(self) -> "Config":
        tuner, own = self.tuner, self.model.build_fn is not None
        if not tuner.enabled:
            return self
        if tuner.algorithm == "list":
            if not tuner.trials or tuner.space:
                raise ValueError("tuner.algorithm is list: name the trials' values in tuner.trials")
        elif tuner.trials:
            raise ValueError(
                f"tuner.trials is for algorithm: list, found algorithm: {tuner.algorithm}"
            )
        elif not tuner.space and not own:
            raise ValueError("tuner.space: empty, there is nothing to search")
        if tuner.algorithm in ("random", "bayesian") and tuner.max_trials is None:
            raise ValueError(
                f"tuner.max_trials: empty; {tuner.algorithm} needs a number of trials, such as 10"
            )
        if not own and tuner.objective not in _METRICS:
            raise ValueError(
                f"tuner.objective: {tuner.objective} is no metric of the network; there are "
                f"{', '.join(_METRICS)}.{closest(tuner.objective, list(_METRICS))}"
            )
        if tuner.folds is not None and tuner.carry_over == "checkpoint":
            raise ValueError(
                "tuner.carry_over: checkpoint goes on with a trial that was fitted on the whole "
                "train split; with tuner.folds there is none: set it to values"
            )
        epochs = self.training.epochs
        if tuner.carry_over == "checkpoint" and tuner.carry_epochs:
            raise ValueError(
                "tuner.carry_epochs: there is nothing left to train where tuner.carry_over is "
                "checkpoint; set one of them"
            )
        if tuner.carry_over == "checkpoint" and (tuner.epochs or epochs) >= epochs:
            raise ValueError(
                f"tuner.carry_over: checkpoint goes on after the trials' {tuner.epochs or epochs} "
                f"epochs, and training.epochs is {epochs}: nothing left to train"
            )
        if self.training.warmup_epochs >= (tuner.epochs or epochs):
            raise ValueError(
                f"tuner.epochs is {tuner.epochs}, and training.warmup_epochs is "
                f"{self.training.warmup_epochs}: trials would end within it"
            )
        if self.transfer.mode != "none" and tuner.carry_over == "checkpoint":
            raise ValueError(
                "tuner.carry_over: checkpoint is for transfer.mode none; a trial fits the whole "
                "network: set it to values"
            )
        return self

    @model_validator(mode="after")
    def _workers_see_the_files(self) -> "Config":
        where = beam.elsewhere(self.beam)
        for key, path in (("root", self.root), ("data.path", self.data.path)):
            if where and path is not None and "://" not in path:
                raise ValueError(
                    f"{key}: the workers of beam.runner {self.beam.runner} are {where} and don't "
                    f"see this machine's folders; expected one in a bucket, such as "
                    f"gs://BUCKET/FOLDER, found {path}"
                )
        return self

    @model_validator(mode="after")
    def _space_is_in_the_tree(self) -> "Config":
        tuner = self.tuner
        if tuner.algorithm == "hyperband" and "training.epochs" in tuner.space:
            raise ValueError(
                "tuner.space.training.epochs: hyperband chooses the epochs itself, up to "
                "tuner.epochs; take the key out"
            )
        if tuner.epochs is not None and "training.epochs" in tuner.space:
            raise ValueError("set either tuner.epochs, or training.epochs in tuner.space")
        if tuner.carry_epochs and "training.epochs" in tuner.space:
            raise ValueError("set either tuner.carry_epochs, or training.epochs in tuner.space")
        for key, values in tuner.space.items():
            ends = values.choices if values.choices is not None else [values.min, values.max]
            for value in ends:
                if isinstance(_lookup(self, key), int) and isinstance(value, float):
                    value = int(value) if value.is_integer() else value
                _check_hyperparameter(self, f"tuner.space.{key}", key, value)
        keys = sorted(tuner.space)
        for key, longer in itertools.pairwise(keys):
            if longer.startswith(f"{key}."):
                raise ValueError(f"tuner.space: {key} and {longer} contradict each other")
        for number, trial in enumerate(tuner.trials):
            if not trial:
                raise ValueError(f"tuner.trials.{number}: empty, expected values by key")
            for key, value in trial.items():
                _lookup(self, key, f"tuner.trials.{number}")
                _check_hyperparameter(self, f"tuner.trials.{number}.{key}", key, value)
        return self

    @property
    def home(self) -> Path:
        """The folder of this pipeline on this machine; it has all, unless `base` is elsewhere."""
        root = self.local_root if is_remote(self.root) else self.root
        return Path(os.path.abspath(os.path.expanduser(root))) / self.name

    @property
    def base(self) -> str:
        """Folder or URI of the artifacts and of the pushed models."""
        if not is_remote(self.root):
            return str(self.home)
        return f"{self.root.rstrip('/')}/{self.name}"

    @property
    def staging(self) -> Path:
        """The folder of the copies of what is in a bucket, made as they are needed."""
        return self.home / "staging"

    @property
    def data_path(self) -> str:
        """Folder or URI of the TFRecords."""
        if self.data.path is None:
            return str(self.home / "data")
        if is_remote(self.data.path):
            return self.data.path.rstrip("/")
        return os.path.abspath(os.path.expanduser(self.data.path))

    @property
    def user_code(self) -> dict[str, str]:
        """Dotted paths of the user's functions and classes, by the keys that name them."""
        named = {
            "preprocessing.image_fn": self.preprocessing.image_fn,
            "model.build_fn": self.model.build_fn,
            "model.input_layer": self.model.input_layer,
        }
        return {key: path for key, path in named.items() if path is not None}

    def inspection(self) -> dict[str, Any]:
        """What ImportExampleGen reads of the ``data`` section, with the class names themselves."""
        elsewhere = {"path", "bundled", "splits", "schema_path"}
        return {**self.data.model_dump(exclude=elsewhere), "class_names": self.class_names()}

    def class_names(self) -> list[str] | None:
        """The names of integer classes, read from their file."""
        if self.data.class_names is None:
            return None
        text = _read("data.class_names", self.data.class_names)
        # TensorFlow's own data sets write "0:name".
        return [re.sub(r"^\d+:", "", line).strip() for line in text.splitlines() if line.strip()]

    def schema_text(self) -> str:
        """The user's schema; empty where there is none."""
        path = self.data.schema_path
        return "" if path is None else _read("data.schema_path", path)

    @property
    def pipeline_root(self) -> str:
        """TFX's folder of artifacts, or its URI."""
        return f"{self.base}/artifacts"

    @property
    def metadata_path(self) -> Path:
        """The SQLite file of ML Metadata."""
        return self.home / "metadata.sqlite"

    @property
    def store(self) -> dict[str, Any]:
        """ML Metadata's store, as ``components.metadata`` takes it."""
        return {**self.metadata.model_dump(), "path": str(self.metadata_path)}

    @property
    def reported(self) -> dict[str, Any]:
        """The tree as a report has it: who runs the graph changes nothing in what comes of it."""
        platforms = {"runner", "kubeflow", "airflow", "metadata", "local_root"}
        return self.model_dump(exclude=platforms)

    def unfinished_report(self, run: str) -> Path:
        """The folder of the report of a run that didn't get to its end; always on this machine."""
        return self.home / "artifacts" / results.UNFINISHED_REPORTS / run

    @property
    def statistics_uri(self) -> str:
        """The folder of the last runs' statistics, where ML Metadata can't be asked for them."""
        return f"{self.base}/statistics"

    @property
    def push_path(self) -> Path:
        """The folder that a model server watches: one sub-folder per version.

        Raises:
          ConfigError: it is in a bucket.
        """
        if is_remote(self.base):
            raise ConfigError(
                f"root: the pushed versions are in {self.push_uri}, and this command works on a "
                "folder of this machine. Copy what you need of it, or give it to a TensorFlow "
                "Serving that reads buckets (docs/platforms/storage.md)."
            )
        return Path(self.push_uri)

    @property
    def push_uri(self) -> str:
        """The same as text, or its URI."""
        return f"{self.base}/pushed/{self.name}"


def load(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Reads a configuration file and applies ``dotted.key=value`` overrides.

    Args:
      path: a YAML file, or the name of a shipped configuration such as ``digits``.
      overrides: values are YAML, as in ``training.epochs=3`` or ``model.filters=[16, 32]``.

    Raises:
      ConfigError: one sentence per problem, all problems at once.
    """
    path = find(path)
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.load(text, Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}.") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2024-13-01 is no date
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{path}{where}: not valid YAML: {problem}.") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values, found {_kind(tree)}.")
    origins: dict[str, str] = {}
    for override in overrides or []:
        _override(tree, override, origins)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(e, path, origins) for e in error.errors())) from None


class _Loader(yaml.SafeLoader):
    """YAML as people write it: 1e-3 is a number, which YAML 1.1 takes for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _read(key: str, path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ConfigError(f"{key}: {path} can't be read: {reason}.") from None


def find(path: str | Path) -> Path:
    """The file of a configuration, by its path or by the name of a shipped one.

    Raises:
      ConfigError: there is none.
    """
    shipped = CONFIGS / f"{path}.yaml"
    if not Path(path).is_file() and shipped.exists():
        return shipped
    if Path(path).is_dir():
        raise ConfigError(f"{path}: expected a YAML file, found a folder.")
    if not Path(path).exists():
        names = sorted(p.stem for p in CONFIGS.glob("*.yaml"))
        raise ConfigError(
            f"{path}: no such configuration file, and no shipped configuration of that name "
            f"(there are {', '.join(names)}).{closest(str(path), names)}"
        )
    return Path(path)


def _override(tree: dict[str, Any], override: str, origins: dict[str, str]) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(
            f"--set {override}: expected dotted.key=value, such as training.epochs=3."
        )
    try:
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML.") from error
    branch = tree
    *parents, leaf = key.split(".")
    if parents[:2] == ["tuner", "space"]:  # a hyperparameter's own key has dots
        parents, leaf = parents[:2], ".".join([*parents[2:], leaf])
    for parent in parents:
        if branch.get(parent) is None:
            branch[parent] = {}
        branch = branch[parent]
        if not isinstance(branch, dict):
            raise ConfigError(f"--set {override}: {parent} holds a value, no further keys.")
    branch[leaf] = value
    origins[key] = f"--set {override}"


def _sentence(error: Any, path: Path, origins: dict[str, str]) -> str:
    """One of pydantic's errors as a sentence with the file, the key and the remedy."""
    key = ".".join(
        str(part) for part in error["loc"] if part not in ("int", "float", "str", "bool")
    )
    origin = next((o for k, o in origins.items() if _related(key, k)), str(path))
    found, message = error["input"], error["msg"]
    if error["type"] == "extra_forbidden":
        *parents, word = [str(part) for part in error["loc"]]
        valid = _keys(parents)
        prefix = ".".join(parents)
        near = closest(word, valid) or (f" {prefix or 'The top level'} has {', '.join(valid)}.")
        return f"{origin}: {key}: unknown key.{near}"
    if error["type"] == "missing":
        return f"{origin}: {key}: missing, and it has no default."
    if error["type"] == "value_error":
        sentence = message.removeprefix("Value error, ")
        return (
            f"{origin}: {key + ': ' if key else ''}{sentence}{'' if sentence[-1] in '?.' else '.'}"
        )
    expected = message.removeprefix("Input should ").removeprefix("be ").removeprefix("have ")
    return f"{origin}: {key}: expected {expected}, found {found!r}."


def _related(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _keys(parents: list[str]) -> list[str]:
    section: Any = Config
    for parent in parents:
        field = getattr(section, "model_fields", {}).get(parent)
        if field is None:
            return []
        section = field.annotation
    return list(getattr(section, "model_fields", {}))


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else repr(value)


# Only what one trial can change without the data being prepared again.
_SEARCHABLE = ("model", "augmentation", "training")
_CODE_AND_FILES = ("model.build_fn", "model.input_layer", "model.weights")
# Of the networks that model.name chooses.
_METRICS = ("val_accuracy", "val_loss", "accuracy", "loss")


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
    known = sorted({*of_classes, *overall, *service.METRICS, *own})
    limits = (threshold.min, threshold.max)
    if name not in known:
        raise ValueError(
            f"{where}.metric: no metric {name!r}; there are {', '.join(known)}, and those that "
            f"evaluation.metrics names.{closest(name, known)}"
        )
    if name in service.METRICS:
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
    return {*metrics.OVERALL, *metrics.OF_CLASSES, *service.METRICS, "example_count"}


def _lookup(config: Config, key: str, owner: str = "tuner.space") -> Any:
    section, _, path = key.partition(".")
    where = f"{owner}.{key}"
    if section not in _SEARCHABLE:
        raise ValueError(
            f"{where}: only keys of {', '.join(_SEARCHABLE)} can be searched, "
            "such as training.learning_rate"
        )
    if key == "training.strategy":
        raise ValueError(f"{where}: a trial runs on one machine; take the key out")
    if key in _CODE_AND_FILES:
        raise ValueError(
            f"{where}: code and files are checked before anything runs, and can't be searched; "
            "choose among them with hp.Choice in model.build_fn"
        )
    branch = cast(Section, getattr(config, section))
    valid = list(type(branch).model_fields)
    name, *places = path.split(".")
    if name not in valid:
        raise ValueError(
            f"{where}: no such key.{closest(name, valid)} {section} has {', '.join(valid)}"
        )
    found, named = getattr(branch, name), f"{section}.{name}"
    for place in places:
        if not isinstance(found, list):
            raise ValueError(f"{where}: {named} is no list, expected {named} alone")
        if place not in map(str, range(len(found))):
            numbers = f"numbers are 0 to {len(found) - 1}" if found else "list is empty"
            raise ValueError(f"{where}: {named} has no entry {place!r}, its {numbers}")
        found, named = found[int(place)], f"{named}.{place}"
    return found


def _check_hyperparameter(config: Config, where: str, key: str, value: Any) -> None:
    section, *path = key.split(".")
    branch = cast(Section, getattr(config, section))
    try:
        type(branch).model_validate(settings.changed(branch.model_dump(), path, value))
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Input should be ")
        remedy = f"; name an entry, such as {key}.0" if first["type"] == "list_type" else ""
        raise ValueError(
            f"{where}: expected values that are {message}, found {value!r}{remedy}"
        ) from None
