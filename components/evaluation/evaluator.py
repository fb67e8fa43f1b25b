"""The Evaluator node: metrics of the candidate and the baseline, the gate, its verdict in words."""

import os
from pathlib import Path
from typing import ClassVar

from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.types import standard_artifacts
from tfx.utils import io_utils, path_utils

from darkroom.components.base import remote, results, sections
from darkroom.components.base.component import Artifacts, BeamComponent, Properties, existing
from darkroom.components.base.settings import EvaluatorSettings
from darkroom.components.evaluation import faults
from darkroom.components.evaluation.artifacts import Baseline, CrossValidation, Verdict
from darkroom.components.evaluation.candidate import Candidate
from darkroom.serving import description
from darkroom.serving.contract import Contract

# Images of the eval split that show whether the exported model is the one that was trained, where
# another split judges it.
_COMPARED = 1000


class Executor(base_beam_executor.BaseBeamExecutor):
    """Evaluates with TFMA, keeps every prediction, and blesses or says why not."""

    def Do(self, inputs: Artifacts, outputs: Artifacts, properties: Properties) -> None:
        self._log_startup(inputs, outputs, properties)
        settings = EvaluatorSettings.unpack(properties["custom_config"])
        section = settings.evaluation
        [examples], [model] = inputs["examples"], inputs["model"]
        baselines = existing(inputs.get("baseline_model"))
        [artifact], [blessing] = outputs["evaluation"], outputs["blessing"]
        folder, *others = (path_utils.serving_model_path(m.uri) for m in (model, *baselines))
        unwanted = bool(others) and section.baseline == "none"
        obstacle = "" if unwanted else _obstacle(folder, others)
        if obstacle or unwanted:
            baselines, others = [], []
        candidate = Candidate(folder, others, examples, section, artifact.uri)
        with self._make_beam_pipeline() as pipeline:
            candidate.evaluate(pipeline)
        evaluation = candidate.judge(self._trained(folder, examples, section, candidate))
        if obstacle:
            reasons = [obstacle, *evaluation.reasons]
            evaluation = evaluation.model_copy(update={"blessed": False, "reasons": reasons})
        remarks = [
            *evaluation.remarks,
            *faults.judged_by_what_chose(section, settings.judges_chose),
        ]
        if validated := existing(inputs.get("cross_validation")):
            cross = CrossValidation.read(validated[0].uri)
            evaluation = evaluation.model_copy(update={"cross_validation": cross})
            if missed := faults.missed_in_folds(section, cross):
                reasons = [*evaluation.reasons, missed]
                evaluation = evaluation.model_copy(update={"blessed": False, "reasons": reasons})
        if unwanted:
            remarks.append("compared with no other model, as evaluation.baseline is none")
        evaluation = evaluation.model_copy(update={"remarks": remarks})
        for baseline in baselines:
            version = baseline.get_string_custom_property(results.VERSION_PROPERTY)
            uri = remote.origin(baseline.uri)
            source = {"model": baseline.id, "uri": uri, "version": version}
            compared = (evaluation.baseline or Baseline()).model_copy(update=source)
            evaluation = evaluation.model_copy(update={"baseline": compared})
        evaluation.write(artifact.uri)
        verdict = Verdict.of(evaluation)
        # The blessing is marked as TFX's Evaluator does, and says why.
        text, number = blessing.set_string_custom_property, blessing.set_int_custom_property
        text(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)
        number(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
        for baseline in baselines:
            text(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri)
            number(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id)
        if "current_component_id" in properties:
            text("component_id", properties["current_component_id"])
        name = constants.BLESSED_FILE_NAME if verdict.blessed else constants.NOT_BLESSED_FILE_NAME
        io_utils.write_string_file(os.path.join(blessing.uri, name), "")
        blessed = constants.BLESSED_VALUE if verdict.blessed else constants.NOT_BLESSED_VALUE
        number(constants.ARTIFACT_PROPERTY_BLESSED_KEY, blessed)
        text(Verdict.PROPERTY, verdict.text())

    def _trained(
        self,
        model: str,
        examples: types.Artifact,
        section: sections.Evaluation,
        judged: Candidate,
    ) -> faults.Trained | None:
        """What Trainer measured on the eval split, and the exported model does on that; if known.

        A model that is judged on another split is evaluated on some of its images as well.
        """
        facts = description.read_facts(Path(model))
        measures, deviations = facts.get("metrics", {}), facts.get("deviations", [])
        accuracy = measures.get("val_mae" if deviations else "val_accuracy")
        of_eval = section.split == "eval"
        if accuracy is not None and not of_eval:
            section = sections.Evaluation(split="eval", confidence=section.confidence)
            folder = os.path.join(self._get_tmp_dir(), "as_trained")
            judged = Candidate(model, [], examples, section, folder)
            with self._make_beam_pipeline() as pipeline:
                judged.evaluate(pipeline, most=_COMPARED)
        measured = judged.measurements
        if accuracy is None or measured is None:
            return None
        are_all = of_eval or len(measured.predictions.outcome) < _COMPARED
        return faults.Trained(accuracy, measured, are_all, deviations)


def _obstacle(model: str, baselines: list[str]) -> str:
    """Why a model can't be compared with the one to beat; empty where it can, or there is none."""
    for baseline in baselines:
        if not remote.exists(os.path.join(baseline, "saved_model.pb")):
            why = "its saved_model.pb is gone"
        else:
            why = _contract(model).obstacle(_contract(baseline))
        if why:
            return (
                f"the stable version can't be compared with this model: {why}. Where it is to be "
                "replaced all the same, set evaluation.baseline: none"
            )
    return ""


def _contract(model: str) -> Contract:
    path = os.path.join(model, Contract.FILE)
    return Contract.parse(remote.read(path)) if remote.exists(path) else Contract()


class Evaluator(BeamComponent):
    """The gate of the models; ``evaluation`` is TFMA's, ``evaluation.json`` beside it."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    INPUTS: ClassVar = {"examples": standard_artifacts.Examples, "model": standard_artifacts.Model}
    OPTIONAL: ClassVar = {
        "baseline_model": standard_artifacts.Model,
        "cross_validation": standard_artifacts.ModelEvaluation,
    }
    OUTPUTS: ClassVar = {
        "evaluation": standard_artifacts.ModelEvaluation,
        "blessing": standard_artifacts.ModelBlessing,
    }
