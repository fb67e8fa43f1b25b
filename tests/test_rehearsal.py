from pathlib import Path

import pytest
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import RehearsalSettings
from darkroom.components.evaluation import rehearsal
from darkroom.pipeline.config import load
from tests.conftest import Project
from tests.settings import configured


def rehearse(small: Project, folder: Path, *overrides: str) -> None:
    artifacts = small.folder / "runs" / "small" / "artifacts"
    examples, graph = standard_artifacts.Examples(), standard_artifacts.TransformGraph()
    [examples.uri] = map(str, (artifacts / "ImportExampleGen" / "examples").iterdir())
    examples.split_names = artifact_utils.encode_split_names(["train", "eval"])
    [graph.uri] = map(str, (artifacts / "Transform" / "transform_graph").iterdir())
    made = standard_artifacts.ModelEvaluation()
    made.uri = str(folder / "evaluation")
    config = load(small.folder / "config.yaml", list(overrides))
    packed = configured(RehearsalSettings, config=config).model_dump_json()
    context = base_beam_executor.BaseBeamExecutor.Context(tmp_dir=str(folder), unique_id="1")
    rehearsal.Executor(context).Do(
        {"examples": [examples], "transform_graph": [graph]},
        {"evaluation": [made]},
        {"custom_config": packed},
    )


def test_a_class_of_a_threshold_that_is_not_there_is_said_with_those_that_are(
    small: Project, tmp_path: Path
) -> None:
    thresholds = "evaluation.thresholds=[{metric: recall, class_name: seven, min: 0.5}]"
    words = "recall of the class 'seven', which isn't there; the classes are 0, 1, 2"
    with pytest.raises(DarkroomError, match=words):
        rehearse(small, tmp_path, thresholds)


def test_a_batch_larger_than_the_train_split_fails_before_training(
    small: Project, tmp_path: Path
) -> None:
    words = (
        r"training.batch_size is 5000, more than the \d+ examples of the train split\. Set it to"
    )
    with pytest.raises(DarkroomError, match=words):
        rehearse(small, tmp_path, "training.batch_size=5000")
