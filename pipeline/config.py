"""The configuration: one typed tree, every default written once, here and in its sections.

Unknown keys and wrong values fail on load. Light to import: nothing here needs TensorFlow.
"""

import functools
import operator
import os
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import PrivateAttr, ValidationError, field_validator, model_validator

from darkroom.components.base import features, remote, results, sections
from darkroom.components.base.errors import ConfigurationError, DarkroomError, closest
from darkroom.components.base.sections.training import of_other_heads
from darkroom.components.evaluation import thresholds
from darkroom.components.networks.architectures import ARCHITECTURES
from darkroom.components.runs.metadata import Store
from darkroom.pipeline import search_space
from darkroom.pipeline.platforms import Airflow, Beam, Kubeflow, Metadata

CONFIGS = Path(__file__).parent / "configs"
_KEY = re.compile(r"([a-z_]+(?:\.\w+)*): ")  # that a sentence begins with
# Where relative paths begin in the folder of the configuration's file.
_PATHS = (
    "root", "local_root", "data.path", "data.class_names", "data.schema_path", "model.weights",
)  # fmt: skip
# Of the networks of model.name, by what they learn.
_METRICS = {
    "class": ("val_accuracy", "val_loss", "accuracy", "loss"),
    "number": ("val_mae", "val_loss", "mae", "loss"),
}
# Keys that mean something for one kind of target alone.
_OF_TARGET = {
    "class": (
        *("data.label_key", "data.multi_label", "data.class_names"),
        *("model.build_fn", "augmentation.mixup"),
        *("augmentation.cutmix", "training.class_weights", "training.label_smoothing"),
        *("training.focal_gamma", "evaluation.min_accuracy", "evaluation.min_class_recall"),
        *("evaluation.max_accuracy_drop", "evaluation.metrics", "evaluation.folds"),
    ),
    "number": (
        *("training.interval", "evaluation.max_mae", "evaluation.min_r2"),
        "evaluation.max_r2_drop",
    ),
}


class Config(sections.Section):
    name: str
    """Name of the pipeline and of the served model: lower case, digits, dashes."""
    root: str = "runs"
    """Folder below which everything is written, in a folder named as the pipeline; or a bucket's,
    such as `gs://bucket/runs`."""
    local_root: str = "runs"
    """Where `root` is in a bucket: the folder for what needs a disk, such as logs and locks."""
    runner: Literal["beam", "local"] = "beam"
    """beam: TFX's BeamDagRunner; local: TFX's LocalDagRunner."""
    data: sections.Data
    """Where the examples are and what is in them."""
    preprocessing: sections.Preprocessing = sections.Preprocessing()
    """What the transform graph does to an image, in training and in serving."""
    model: sections.Model = sections.Model()
    """The network."""
    augmentation: sections.Augmentation = sections.Augmentation()
    """How training images are changed at random."""
    training: sections.Training = sections.Training()
    """How the network is trained."""
    transfer: sections.Transfer = sections.Transfer()
    """What is trained of a network that starts from another task's weights."""
    lr_scan: sections.LearningRateScan = sections.LearningRateScan()
    """What `darkroom lr-scan` tries."""
    tuner: sections.Tuner = sections.Tuner()
    """The hyperparameter search before training."""
    evaluation: sections.Evaluation = sections.Evaluation()
    """What a model must reach to be pushed."""
    serving: sections.Serving = sections.Serving()
    """What a model server is told of the pushed versions."""
    report: sections.Report = sections.Report()
    """What a run's report says besides what is measured."""
    beam: Beam = Beam()
    """How Beam runs the data steps."""
    kubeflow: Kubeflow = Kubeflow()
    """How Kubeflow Pipelines runs the nodes (docs/platforms/kubeflow.md)."""
    airflow: Airflow = Airflow()
    """When and how often Airflow runs the nodes (docs/platforms/airflow.md)."""
    metadata: Metadata = Metadata()
    """Where ML Metadata's records of runs and artifacts are."""

    _chosen: dict[str, object] = PrivateAttr(default_factory=dict)  # by a recipe

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
    def _sections_agree(self) -> "Config":
        """Raises the first sentence; a rule that is kept yields something false."""
        of_tuner = self._tuner_rules() if self.tuner.enabled else ()
        of_data = chain(self._target_rules(), self._data_rules())
        rules = chain(self._model_rules(), self._training_rules(), of_data, of_tuner)
        for sentence in filter(None, rules):
            raise ValueError(sentence)
        searched = {key: getattr(self, key) for key in ("model", "augmentation", "training")}
        search_space.check(self.tuner, **searched)
        return self

    def _model_rules(self) -> Iterator[object]:
        model, prepared = self.model, self.preprocessing
        names = ["cnn", "dense", "residual", *ARCHITECTURES]
        yield model.name not in names and (
            f"model.name: no such model, found {model.name!r}.{closest(model.name, names)}"
        )
        architecture = ARCHITECTURES.get(model.name)
        own = model.build_fn is not None or model.backbone_fn is not None
        if architecture is not None and not own:
            least = architecture.smallest
            height, width = model.image_size or (prepared.height, prepared.width)
            key = "preprocessing" if model.image_size is None else "model.image_size"
            yield min(height, width) < least and (
                f"{key}: {model.name} needs images of at least {least}×{least} pixels, "
                f"found {height}×{width}"
            )
            yield (prepared.channels != 3 or prepared.normalization != "rescale") and (
                f"preprocessing: {model.name} scales RGB pixels itself: set channels to 3 and "
                f"normalization to rescale, found {prepared.channels} and {prepared.normalization}"
            )
        transfers, own = self.transfer.mode != "none", model.build_fn is not None
        yield (own and model.backbone_fn is not None) and (
            "model.backbone_fn and model.build_fn are two ways to a network of yours: set one"
        )
        yield (transfers and model.weights is None and model.backbone_fn is None) and (
            f"transfer.mode is {self.transfer.mode}, which needs model.weights to start from: "
            "imagenet, a file, or the folder of a pushed version; or a model.backbone_fn"
        )
        yield (own and (model.weights is not None or transfers)) and (
            "model.weights and transfer are for the networks of model.name and backbone_fn; load "
            "weights in model.build_fn, or set model.backbone_fn instead"
        )
        yield (own and model.input_layer is not None) and (
            "model.input_layer is for the networks of model.name; use the layer in model.build_fn "
            "instead"
        )
        of_user = model.backbone_fn is not None
        yield (model.stem != "none" and (own or of_user or model.name != "cnn")) and (
            f"model.stem is {model.stem}, which is for model.name cnn: set it to none"
        )
        yield (model.weights == "imagenet" and (architecture is None or of_user)) and (
            "model.weights: imagenet is for EfficientNetLite0 to 2 and the architectures of "
            "keras.applications, found "
            + (f"backbone_fn {model.backbone_fn}" if of_user else f"model.name {model.name}")
        )
        multi_label = self.data.multi_label
        yield (multi_label and model.head == "binary") and (
            "model.head: binary is for images of one of two classes, and data.multi_label is set: "
            "leave head as softmax, multi-label data have a sigmoid for each class"
        )
        yield (model.head == "multi-label" and not multi_label) and (
            "model.head: multi-label is for data.multi_label; set that to true"
        )
        numbers = self.data.target == "number"
        yield ((multi_label or numbers) and "model.head" in self.tuner.searched) and (
            f"tuner.space.model.head: data.{'target number' if numbers else 'multi_label'} leaves "
            "nothing to choose"
        )
        yield (numbers and model.head not in ("softmax", "regression")) and (
            f"model.head: {model.head} is for classes, and data.target is number: leave it out, "
            "numbers have regression"
        )
        yield (model.head == "regression" and not numbers) and (
            "model.head: regression is for data.target number; set that and data.target_keys"
        )

    def _training_rules(self) -> Iterator[object]:
        training, scratch_epochs = self.training, self.transfer.scratch_epochs
        own, mixes = self.model.build_fn is not None, self.augmentation
        yield (own and (mixes.mixup or mixes.cutmix)) and (
            "augmentation.mixup and cutmix give labels that are shares of classes, which the loss "
            "of model.build_fn may not take: they are for model.name and model.backbone_fn"
        )
        yield (self.transfer.mode == "similar" and (mixes.mixup or mixes.cutmix)) and (
            "augmentation.mixup and cutmix change images in each epoch, and transfer.mode similar "
            "keeps the frozen backbone's outputs: take them out, or set mode to distinct"
        )
        yield (own and self.model.image_size is not None) and (
            "model.image_size is for the networks of model.name and backbone_fn; resize in "
            "model.build_fn instead"
        )
        yield (own and training.loss not in (None, "crossentropy")) and (
            "training.loss is for the networks of model.name and backbone_fn; give compile() the "
            "loss in model.build_fn instead"
        )
        yield of_other_heads(training.loss, self.network.head)
        incomparable = {"training.loss", "training.focal_gamma"} & self.tuner.searched
        yield (bool(incomparable) and self.tuner.objective.endswith("loss")) and (
            f"tuner.objective is {self.tuner.objective}, and {min(incomparable)} is searched: "
            f"losses of different kinds can't be compared. Set it to {self._metrics[0]}"
        )
        yield (training.monitor not in self._metrics) and (
            f"training.monitor: {training.monitor} is no metric of data.target "
            f"{self.data.target}; there are {self._metrics[0]} and val_loss"
        )
        yield training.warmup_epochs >= training.epochs and (
            f"training.warmup_epochs is {training.warmup_epochs}, which leaves none of the "
            f"{training.epochs} training.epochs for the schedule: set it to fewer, or to 0"
        )
        yield (training.starts > 1 and training.start_epochs > training.epochs) and (
            f"training.start_epochs is {training.start_epochs}, more than the {training.epochs} "
            "training.epochs"
        )
        if training.minutes is not None:
            yield self.tuner.enabled and (
                "training.minutes is for a run without a search: set tuner.enabled to false, or "
                "take it out"
            )
            yield training.strategy != "mirrored" and (
                "training.minutes: several machines can't end by the clocks of each; set "
                "training.strategy to mirrored, or take it out"
            )
            yield (training.starts > 1 or training.warm_start_epochs or scratch_epochs) and (
                "training.minutes is for one training: take training.starts, warm_start_epochs and "
                "transfer.scratch_epochs out, or it"
            )
        if training.strategy != "mirrored":
            yield training.cpu_replicas > 1 and (
                f"training.cpu_replicas is {training.cpu_replicas}; with strategy multi_worker "
                "each machine has one device on its CPU: set it to 1"
            )
            yield remote.is_remote(self.root) and (
                "root: with training.strategy multi_worker a folder that all machines see, such "
                f"as one of a network disk; found {self.root}"
            )
            yield training.jit_compile and (
                "training.jit_compile: XLA can't compile what several machines add up; take it out "
                "or set training.strategy to mirrored"
            )
            yield scratch_epochs and (
                "transfer.scratch_epochs compares on one machine; set it to 0, or "
                "training.strategy to mirrored"
            )
        begins = training.starts > 1 or training.warm_start_epochs
        yield (begins and self.model.weights is not None) and (
            "training.starts and warm_start_epochs are for random weights; model.weights is set"
        )
        yield scratch_epochs > training.epochs and (
            f"transfer.scratch_epochs is {scratch_epochs}, more than the {training.epochs} "
            "training.epochs that it is compared with"
        )

    def _target_rules(self) -> Iterator[object]:
        """What is for classes alone isn't taken for numbers, nor the other way round."""
        [other] = _OF_TARGET.keys() - {self.data.target}
        for key in _OF_TARGET[other]:
            section, name = key.split(".")
            value = getattr(getattr(self, section), name)
            usual = type(getattr(self, section)).model_fields[name].default
            yield (value != usual or key in self.tuner.searched) and (
                f"{key} is for data.target {other}, and that is {self.data.target}: take it out"
                + ("; of networks of yours a model.backbone_fn" * (key == "model.build_fn"))
            )

    def _data_rules(self) -> Iterator[object]:
        for key in self.data.keep_features:
            yield key in features.OWN and f"data.keep_features: {key} is kept anyway; take it out"
        thresholds.check(self.evaluation, self.data.target == "number")
        yield (self.evaluation.split == "test" and self.data.splits.test is None) and (
            "evaluation.split is test: set data.splits.test to its files"
        )
        if self.evaluation.folds is not None:
            of_folds = f"evaluation.folds trains {self.evaluation.folds} models more"
            yield self.training.minutes is not None and (
                f"{of_folds}, for which training.minutes leaves no time: take one of them out"
            )
            yield self.training.strategy != "mirrored" and (
                f"{of_folds}, on one machine: set training.strategy to mirrored, or take it out"
            )
        numbers = [f"{features.TARGET_PREFIX}{key}" for key in self.data.target_keys]
        for key in numbers:
            yield self.evaluation.slices.get(key, [0.0]) == [] and (
                f"evaluation.slices: {key}: expected the edges of ranges, such as [64, 256], found "
                "none"
            )
        sliceable = [*features.INSPECTED, *self.data.keep_features, *numbers]
        for key in self.evaluation.slices:
            yield key not in sliceable and (
                f"evaluation.slices: {key} is no feature; there are {', '.join(sliceable)}. Name "
                f"others of your examples in data.keep_features.{closest(key, sliceable)}"
            )
        where = self.beam.elsewhere
        for key, path in (("root", self.root), ("data.path", self.data.path)):
            yield (where and path is not None and "://" not in path) and (
                f"{key}: the workers of beam.runner {self.beam.runner} are {where} and don't see "
                "this machine's folders; expected one in a bucket, such as gs://BUCKET/FOLDER, "
                f"found {path}"
            )

    def _tuner_rules(self) -> Iterator[object]:
        tuner, own, epochs = self.tuner, self.model.build_fn is not None, self.training.epochs
        is_list, goes_on = tuner.algorithm == "list", tuner.carry_over == "checkpoint"
        yield (is_list and (not tuner.trials or tuner.space)) and (
            "tuner.algorithm is list: name the trials' values in tuner.trials"
        )
        yield (not is_list and tuner.trials) and (
            f"tuner.trials is for algorithm: list, found algorithm: {tuner.algorithm}"
        )
        is_searched = is_list or tuner.space or own
        yield not is_searched and "tuner.space: empty, there is nothing to search"
        yield (tuner.algorithm in ("random", "bayesian") and tuner.max_trials is None) and (
            f"tuner.max_trials: empty; {tuner.algorithm} needs a number of trials, such as 10"
        )
        yield not (own or tuner.objective in self._metrics) and (
            f"tuner.objective: {tuner.objective} is no metric of the network; there are "
            f"{', '.join(self._metrics)}.{closest(tuner.objective, list(self._metrics))}"
        )
        yield (tuner.folds is not None and goes_on) and (
            "tuner.carry_over: checkpoint goes on with a trial that was fitted on the whole train "
            "split; with tuner.folds there is none: set it to values"
        )
        yield (goes_on and tuner.carry_epochs) and (
            "tuner.carry_epochs: there is nothing left to train where tuner.carry_over is "
            "checkpoint; set one of them"
        )
        of_trials = tuner.epochs or epochs
        yield (goes_on and of_trials >= epochs) and (
            f"tuner.carry_over: checkpoint goes on after the trials' {of_trials} epochs, and "
            f"training.epochs is {epochs}: nothing left to train"
        )
        yield self.training.warmup_epochs >= of_trials and (
            f"tuner.epochs is {tuner.epochs}, and training.warmup_epochs is "
            f"{self.training.warmup_epochs}: trials would end within it"
        )

    @property
    def root_on_disk(self) -> str:
        """`root` as it is written, or what stands for it on this machine."""
        return self.local_root if remote.is_remote(self.root) else self.root

    @property
    def home(self) -> Path:
        """The folder of this pipeline on this machine; it has all, unless `base` is elsewhere."""
        return Path(_absolute(self.root_on_disk)) / self.name

    @property
    def base(self) -> str:
        """Folder or URI of the artifacts and of the pushed models."""
        root = self.root.rstrip("/")
        return f"{root}/{self.name}" if remote.is_remote(root) else str(self.home)

    @property
    def staging(self) -> Path:
        """The folder of the copies of what is in a bucket, made as they are needed."""
        return self.home / "staging"

    @property
    def data_path(self) -> str:
        path = self.data.path or str(self.home / "data")
        return path.rstrip("/") if remote.is_remote(path) else _absolute(path)

    @property
    def user_code(self) -> dict[str, str]:
        """Dotted paths of the user's functions and classes, by the keys that name them."""
        of_model = [f"model.{name}" for name in ("build_fn", "backbone_fn", "input_layer")]
        keys = ["preprocessing.image_fn", *of_model]
        paths = {key: operator.attrgetter(key)(self) for key in keys}
        if "." in (self.training.loss or ""):
            paths["training.loss"] = self.training.loss
        return {key: path for key, path in paths.items() if path is not None}

    @property
    def network(self) -> sections.Model:
        """The section ``model``, with what the network's outputs mean."""
        head = "multi-label" if self.data.multi_label else self.model.head
        head = "regression" if self.data.target == "number" else head
        return self.model.model_copy(update={"head": head})

    @property
    def _metrics(self) -> tuple[str, ...]:
        return _METRICS[self.data.target]

    @property
    def judged(self) -> sections.Evaluation:
        """The section ``evaluation``, with the split that models are judged by."""
        if self.evaluation.split != "auto":
            return self.evaluation
        split = "eval" if self.data.splits.test is None else "test"
        return self.evaluation.model_copy(update={"split": split})

    @property
    def judges_chose(self) -> list[str]:
        """What the images that judge a model chose of it before, in words."""
        training, tuner = self.training, self.tuner
        on_eval = tuner.folds is None and tuner.objective.startswith("val_")
        choices = {
            "start": training.starts > 1,
            "epoch": training.export_epoch == "best" or training.patience is not None,
            "trial": tuner.enabled and on_eval,
        }
        return [name for name, made in choices.items() if made and self.judged.split == "eval"]

    def class_names(self) -> list[str] | None:
        if self.data.class_names is None:
            return None
        text = _read("data.class_names", self.data.class_names)
        # TensorFlow's own data sets write "0:name".
        names = [re.sub(r"^\d+:", "", line).strip() for line in text.splitlines() if line.strip()]
        if not names:
            raise ConfigurationError(
                f"data.class_names: {self.data.class_names} is empty, expected the name of a class "
                "in each line."
            )
        return names

    def schema_text(self) -> str:
        """The user's schema; empty where there is none."""
        path = self.data.schema_path
        if path is None:
            return ""
        text = _read("data.schema_path", path)
        if not re.sub(r"#.*", "", text).strip():
            raise ConfigurationError(
                f"data.schema_path: {path} is empty, expected a schema in protobuf's text format. "
                "Write it again with darkroom schema, or leave data.schema_path empty for one that "
                "is inferred."
            )
        return text

    @property
    def pipeline_root(self) -> str:
        return f"{self.base}/artifacts"

    @property
    def store(self) -> Store:
        path = str(self.home / "metadata.sqlite")
        return Store(path=path, **self.metadata.model_dump(exclude_none=True))

    @property
    def reported(self) -> dict[str, Any]:
        """The tree as a report has it: who runs the graph changes nothing in what comes of it."""
        tree = self.model_dump(exclude={"runner", "kubeflow", "airflow", "metadata", "local_root"})
        return {**tree, "chosen": self._chosen} if self._chosen else tree

    def with_choices(self, values: Mapping[str, object]) -> "Config":
        """A copy with what a recipe chose, by dotted keys; or ConfigurationError."""
        config = self.with_values(values)
        config._chosen = dict(values)
        return config

    def with_values(self, values: Mapping[str, object]) -> "Config":
        """A copy with other values, by dotted keys; or ConfigurationError."""
        tree = self.model_dump()
        for key, value in values.items():
            *sections, name = key.split(".")
            functools.reduce(operator.getitem, sections, tree)[name] = value
        try:
            config = Config.model_validate(tree)
        except ValidationError as error:
            messages = (each["msg"].removeprefix("Value error, ") for each in error.errors())
            raise ConfigurationError(" ".join(messages)) from None
        config._chosen = dict(self._chosen)
        return config

    def unfinished_report(self, run: str) -> Path:
        """The folder of the report of a run that didn't get to its end; always on this machine."""
        return self.home / "artifacts" / results.UNFINISHED_REPORTS / run

    @property
    def push_path(self) -> Path:
        """The folder that a model server watches; raises DarkroomError if that is in a bucket."""
        if remote.is_remote(self.base):
            raise DarkroomError(
                f"root: the pushed versions are in {self.push_uri}, and this command works on a "
                "folder of this machine. Copy what you need of it, or give it to a TensorFlow "
                "Serving that reads buckets (docs/platforms/storage.md)."
            )
        return Path(self.push_uri)

    @property
    def push_uri(self) -> str:
        return f"{self.base}/pushed/{self.name}"


def load(
    path: str | Path, overrides: list[str] | None = None, current: Path | None = None
) -> Config:
    """Reads a configuration file, or a shipped one by its name, and applies ``KEY=VALUE``.

    Their values are YAML. Relative paths begin in the file's folder; of a shipped file, and of
    ``KEY=VALUE``, in the ``current`` one, by default the process's. Raises a ConfigurationError
    with a sentence for each of all problems.
    """
    path = find(path)
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: can't be read: {error}.") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2024-13-01 is no date
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigurationError(f"{path}{where}: not valid YAML: {problem}.") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        kind = "a list" if isinstance(tree, list) else repr(tree)
        raise ConfigurationError(f"{path}: expected keys and values, found {kind}.")
    if path.parent != CONFIGS:
        _place(tree, path.parent.resolve(), (current or Path.cwd()).resolve())
    origins: dict[str, str] = {}
    for override in overrides or []:
        _override(tree, override, origins)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        sentences = (_sentence(each, path, origins) for each in error.errors())
        raise ConfigurationError("\n".join(sentences)) from None


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


class _Loader(yaml.SafeLoader):
    """YAML as people write it.

    1e-3 is a number, which YAML 1.1 takes for text; a key that stands twice is a mistake, of which
    PyYAML would take the last one.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"the key {key.value} stands twice"
                raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return node


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
        raise ConfigurationError(f"{key}: {path} can't be read: {reason}.") from None


def find(path: str | Path) -> Path:
    """The file of a configuration, by path or by a shipped one's name; or ConfigurationError."""
    shipped = CONFIGS / f"{path}.yaml"
    if not Path(path).is_file() and shipped.exists():
        return shipped
    if Path(path).is_dir():
        raise ConfigurationError(f"{path}: expected a YAML file, found a folder.")
    if not Path(path).exists():
        names = sorted(p.stem for p in CONFIGS.glob("*.yaml"))
        raise ConfigurationError(
            f"{path}: no such configuration file, and no shipped configuration of that name "
            f"(there are {', '.join(names)}).{closest(str(path), names)}"
        )
    return Path(path)


def _place(tree: dict[str, Any], folder: Path, current: Path) -> None:
    """Has relative paths begin in a folder, where that isn't the current one."""
    if folder == current:
        return
    for key in _PATHS:
        section, _, name = key.rpartition(".")
        branch = tree.get(section) if section else tree
        if not isinstance(branch, dict):
            continue
        value = branch.get(name, None if section else Config.model_fields[name].default)
        is_word = key == "model.weights" and value == "imagenet"
        if isinstance(value, str) and not is_word and not remote.is_remote(value):
            branch[name] = str(folder / os.path.expanduser(value))


def _override(tree: dict[str, Any], override: str, origins: dict[str, str]) -> None:
    key, equals, text = override.partition("=")
    origin = f"--set {override}"
    if not equals or not key:
        raise ConfigurationError(f"{origin}: expected dotted.key=value, such as training.epochs=3.")
    try:
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(f"{origin}: the value is not valid YAML.") from error
    branch = tree
    # A hyperparameter's own key has dots.
    *parents, leaf = key.split(".", 2 if key.startswith("tuner.space.") else -1)
    for parent in parents:
        if branch.get(parent) is None:
            branch[parent] = {}
        branch = branch[parent]
        if not isinstance(branch, dict):
            raise ConfigurationError(f"{origin}: {parent} holds a value, no further keys.")
    branch[leaf], origins[key] = value, origin


def _sentence(error: Any, path: Path, origins: dict[str, str]) -> str:
    places = [str(part) for part in error["loc"]]
    key = ".".join(place for place in places if place not in ("int", "float", "str", "bool"))
    message = error["msg"].removeprefix("Value error, ")
    # Where several sections have part in a check, its sentence begins with the key.
    named = _KEY.match(message) if error["type"] == "value_error" and not key else None
    cause = named[1] if named else key
    guilty = [o for set_key, o in origins.items() if _related(cause, set_key)]
    # Else it is what was set of the other keys that the sentence names.
    guilty += [o for set_key, o in origins.items() if not key and set_key in message]
    origin = next(iter(guilty), str(path))
    if error["type"] == "extra_forbidden":
        valid = _keys(places[:-1])
        has = f" {'.'.join(places[:-1]) or 'The top level'} has {', '.join(valid)}."
        problem = f"unknown key.{closest(places[-1], valid) or has}"
    elif error["type"] == "missing":
        problem = "missing, and it has no default."
    elif error["type"] == "list_type":
        problem = f"expected a list, such as [{error['input']}], found {error['input']!r}."
    elif error["type"] == "value_error":
        problem = message if message[-1] in "?." else f"{message}."
    else:
        expected = message.removeprefix("Input should ").removeprefix("be ").removeprefix("have ")
        problem = f"expected {expected}, found {error['input']!r}."
    return f"{origin}: {key}{': ' * bool(key)}{problem}"


def _related(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _keys(parents: list[str]) -> list[str]:
    section: object = Config
    for parent in parents:
        field = getattr(section, "model_fields", {}).get(parent)
        section = field and field.annotation
    return list(getattr(section, "model_fields", {}))
