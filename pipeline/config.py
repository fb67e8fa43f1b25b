"""The configuration: one typed tree, every default written once, here and in its sections.

Files and ``--set`` only override. Unknown keys and wrong values fail on load, naming the file,
the dotted path, what was expected, what was found and the closest key. Light to import: nothing
here needs TensorFlow.
"""

import os
import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError, field_validator, model_validator

from darkroom.components.base import features, results
from darkroom.components.base.errors import DarkroomError, closest
from darkroom.components.base.remote import is_remote
from darkroom.components.base.sections import (
    Augmentation,
    Data,
    Evaluation,
    LearningRateScan,
    Model,
    Preprocessing,
    Report,
    Section,
    Serving,
    Training,
    Transfer,
    Tuner,
)
from darkroom.components.evaluation import thresholds
from darkroom.components.networks.architectures import ARCHITECTURES
from darkroom.components.runs.metadata import Store
from darkroom.pipeline import search_space
from darkroom.pipeline.platforms import Airflow, Beam, Kubeflow, Metadata

CONFIGS = Path(__file__).parent / "configs"


class ConfigError(DarkroomError):
    """The configuration can't be used as written."""


# The key that a sentence begins with.
_KEY = re.compile(r"Value error, ([a-z_]+(?:\.\w+)*): ")
# Of the networks that model.name chooses.
_METRICS = ("val_accuracy", "val_loss", "accuracy", "loss")


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
        names = ["cnn", "dense", "residual", *ARCHITECTURES]
        if self.model.name not in names:
            raise ValueError(
                f"model.name: no such model, found {self.model.name!r}."
                f"{closest(self.model.name, names)}"
            )
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
        thresholds.check(self.evaluation)
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
        if self.model.head == "multi-label" and not self.data.multi_label:
            raise ValueError("model.head: multi-label is for data.multi_label; set that to true")
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
        where = self.beam.elsewhere
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
        search_space.check(
            self.tuner, model=self.model, augmentation=self.augmentation, training=self.training
        )
        return self

    @property
    def root_on_disk(self) -> str:
        """As it is written: `root`, or what stands for it on this machine."""
        return self.local_root if is_remote(self.root) else self.root

    @property
    def home(self) -> Path:
        """The folder of this pipeline on this machine; it has all, unless `base` is elsewhere."""
        root = self.root_on_disk
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

    @property
    def network(self) -> Model:
        """The section ``model``, with what the network's outputs mean."""
        if not self.data.multi_label:
            return self.model
        return self.model.model_copy(update={"head": "multi-label"})

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
    def store(self) -> Store:
        """ML Metadata's store."""
        return Store(path=str(self.metadata_path), **self.metadata.model_dump(exclude_none=True))

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
    if not key and (named := _KEY.match(message)):  # of a check that several sections have part in
        origin = next((o for k, o in origins.items() if _related(named[1], k)), origin)
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
