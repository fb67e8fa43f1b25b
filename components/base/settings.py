"""What each node gets of the configuration: the sections that it uses, and nothing more.

It travels as JSON in TFX's ``custom_config``, a part of the cache's key: a key that a node doesn't
read would rerun it without need.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import field_validator
from typing_extensions import Self

from darkroom.components.base import sections
from darkroom.components.base.sections import Section

Value = bool | int | float | str  # a hyperparameter's value, as KerasTuner and YAML have it


# Keys of the training section that no trial of a search reads.
_OF_TRAINER = (
    *("minutes", "calibration", "interval", "keep_every", "starts", "start_epochs"),
    *("warm_start_epochs", "warm_start_dropout", "warm_start_weight_decay"),
)


class Code(Section):
    """The code that decides what a node makes."""

    modules: list[str] = []
    """The code's modules, by dotted name; what they import belongs to it."""
    fingerprint: str = ""
    """A hash of that code: TFX's cache doesn't look into code."""

    @classmethod
    def of(cls, custom_config: str) -> Self:
        """Reads it from a node's packed settings; without modules where they have none."""
        settings = json.loads(custom_config or "{}")
        if "custom_config" in settings:  # as TFX's ExampleGen has it, in a proto
            settings = json.loads(settings["custom_config"]["value"])
        return cls.model_validate(settings.get("code", {}))


class Settings(Section):
    code: Code = Code()

    def pack(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    @classmethod
    def unpack(cls, custom_config: str | bytes | Mapping[str, object]) -> Self:
        """What ``pack`` packed, as a dict or as the JSON that TFX hands to an executor."""
        if isinstance(custom_config, str | bytes):
            return cls.model_validate_json(custom_config)
        return cls.model_validate_json(json.dumps(custom_config))


class IngestionSettings(Settings, sections.Records):
    class_names: list[str] | None
    """The names of integer classes themselves, read from their file."""


class SchemaGenSettings(Settings):
    schema_text: str
    """The user's schema; empty: it is inferred."""
    multi_label: bool
    target_keys: list[str] = []


class FolderSettings(Settings):
    """Where LastStatistics and Baseline look when they can't ask ML Metadata."""

    folder: str
    """Folder or URI in which they look."""


class TransformSettings(Settings):
    preprocessing: sections.Preprocessing


class NetworkSettings(TransformSettings):
    """What builds and fits a network needs; a user's ``build_model`` gets it as ``config``."""

    model: sections.Model
    augmentation: sections.Augmentation
    training: sections.Training
    transfer: sections.Transfer
    weights: str | None = None
    """Fingerprint of what ``model.weights`` names: the file may be another one by the next run."""

    def with_values(self, values: Mapping[str, object]) -> Self:
        """A copy with hyperparameters in it, by dotted key, such as ``training.learning_rate``.

        Those that are no key of the configuration (a user's own) are left to ``build_model``.
        """
        changed: dict[str, Section] = {}
        for key, value in values.items():
            name, _, path = key.partition(".")
            section = changed.get(name, getattr(self, name, None))
            if path and isinstance(section, Section):  # no name of a user's own replaces a section
                changed[name] = section.changed(path, value)
        return self.model_copy(update=changed)

    def value(self, key: str) -> object:
        value: object = self
        for name in key.split("."):
            value = value[int(name)] if isinstance(value, list) else getattr(value, name)
        return value


class ScanSettings(NetworkSettings):
    lr_scan: sections.LearningRateScan


class LongSettings(NetworkSettings):
    """What nodes need that go on where an interrupted one stopped."""

    source: str
    """Fingerprint of the code: the node doesn't go on with what other code began."""
    unfinished: str | None = None
    """A folder for what outlives the node, where its artifacts don't, such as those of a pod;
    empty: beside the node's artifacts."""

    def outliving(self, artifact: str) -> tuple[str, str]:
        """Folders that outlive a run: of the pipeline's artifacts, and of this node's among them.

        TFX tells an executor neither: each artifact is in ``<root>/<node>/<key>/<execution>``.
        """
        node = os.path.dirname(os.path.dirname(os.path.abspath(artifact)))
        return self.unfinished or os.path.dirname(node), self.unfinished or node


class TunerSettings(LongSettings):
    tuner: sections.Tuner

    @field_validator("transfer")
    @classmethod
    def _first_stage(cls, transfer: sections.Transfer) -> sections.Transfer:
        """Trials have the first stage of a transfer alone."""
        return sections.Transfer(mode=transfer.mode)

    @field_validator("training")
    @classmethod
    def _of_trials(cls, training: sections.Training) -> sections.Training:
        """What only Trainer reads begins no search anew."""
        usual = sections.Training()
        return training.model_copy(update={key: getattr(usual, key) for key in _OF_TRAINER})


class TrainerSettings(LongSettings):
    """All that it needs, others that go on need too."""


class CrossValidationSettings(TrainerSettings):
    folds: int | None
    confidence: float
    """Of its intervals."""

    @property
    def of_training(self) -> TrainerSettings:
        """Those of one of its trainings."""
        return TrainerSettings.model_validate(
            self.model_dump(include=set(TrainerSettings.model_fields))
        )


class RehearsalSettings(TransformSettings):
    head: Literal["softmax", "binary", "multi-label", "regression"]
    batch_size: int
    """Of the training, which the train split has to fill once."""
    evaluation: sections.Evaluation


class EvaluatorSettings(Settings):
    evaluation: sections.Evaluation
    judges_chose: list[str] = []
    """What the images that judge the model chose of it before."""


class ServingValidatorSettings(Settings):
    split: Literal["eval", "test"]
    batching: sections.Batching
    validation: sections.Validation


class PusherSettings(Settings):
    keep_versions: int
    rollout: Literal["immediate", "canary"]
    batching: sections.Batching


class ReportSettings(Settings):
    config: dict[str, Any]
    """The tree, with all that may change a result."""
    store: str | None
    """JSON of ML Metadata's store, for the times of nodes; empty: none is at hand."""
