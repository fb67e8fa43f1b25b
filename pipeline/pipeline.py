"""The whole graph, from top to bottom in the order in which it runs."""

import itertools
from collections.abc import Sequence

# These don't come from tfx.v1, which imports Google Cloud's client for nothing, in 1.5 s.
from tfx.components import StatisticsGen, Trainer, Transform
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.pipeline import Pipeline
from tfx.proto.pusher_pb2 import PushDestination
from tfx.proto.trainer_pb2 import EvalArgs, TrainArgs

from darkroom.components.base import remote
from darkroom.components.evaluation.cross_validation import CrossValidation
from darkroom.components.evaluation.evaluator import Evaluator
from darkroom.components.evaluation.rehearsal import Rehearsal
from darkroom.components.ingestion.example_gen import ImportExampleGen
from darkroom.components.pushing.pusher import Pusher
from darkroom.components.pushing.serving_validator import ServingValidator
from darkroom.components.report.component import Report
from darkroom.components.runs.baseline import baseline
from darkroom.components.runs.last_statistics import last_statistics
from darkroom.components.training.lr_scan import LearningRateScan
from darkroom.components.tuning.tuner import Tuner
from darkroom.components.validation import statistics
from darkroom.components.validation.example_validator import ExampleValidator
from darkroom.components.validation.schema_gen import SchemaGen
from darkroom.pipeline.config import Config
from darkroom.pipeline.node_settings import NodeSettings

_COMPONENTS = "darkroom.components"


def create_pipeline(
    config: Config,
    beam_options: Sequence[str] = (),
    scan: bool = False,
    in_containers: bool = False,
) -> Pipeline:
    """The TFX pipeline of a configuration, the same graph for every runner.

    With ``scan`` it ends in a scan of learning rates, instead of training. ``in_containers`` of
    Kubeflow no node can ask ML Metadata what earlier runs made.
    """
    remote.use(config.staging)
    settings = NodeSettings(config, in_containers)

    # Read the TFRecords, look at every image, and set aside what can't be used.
    reading = settings.of("ImportExampleGen")
    example_gen = ImportExampleGen(config.data_path, config.data.splits, reading)
    examples = example_gen.outputs["examples"]

    # Count labels and what was seen, and hold that against the schema and against the last run.
    counted_keys = statistics.options(config.data.target_keys)
    statistics_gen = StatisticsGen(examples=examples, stats_options=counted_keys)
    counts = statistics_gen.outputs["statistics"]
    schema_gen = SchemaGen(settings.of("SchemaGen"), statistics=counts)
    schema = schema_gen.outputs["schema"]
    last = last_statistics(counts, settings.folder("LastStatistics", f"{config.base}/statistics"))
    counted = {"statistics": counts, "previous_statistics": last.outputs["statistics"]}
    example_validator = ExampleValidator(settings.of("ExampleValidator"), schema=schema, **counted)

    # Compute mean, deviation and label vocabulary, and trace the preprocessing graph.
    transform = Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn=f"{_COMPONENTS}.transform.preprocessing.preprocessing_fn",
        custom_config=settings.of("Transform").pack(),
        materialize=False,
        disable_statistics=True,
    )
    transform.add_upstream_node(example_validator)  # no work on data that failed the gate
    data = {"examples": examples, "transform_graph": transform.outputs["transform_graph"]}
    prepared = [example_gen, statistics_gen, schema_gen, last, example_validator, transform]

    # Look for a learning rate, where that is asked for, and end.
    if scan:
        prepared += [LearningRateScan(settings.of("LearningRateScan"), **data)]
        return _pipeline(config, prepared, beam_options, in_containers)

    # Try the evaluation on a few examples, so that it can't fail after hours of training.
    rehearsal = Rehearsal(settings.of("Rehearsal"), **data)

    # Search hyperparameters, where that is asked for.
    fitted = {**data, "train_args": TrainArgs(), "eval_args": EvalArgs()}
    tuner = Tuner(
        **fitted,
        tuner_fn=f"{_COMPONENTS}.tuning.tuner.tuner_fn",
        custom_config=settings.of("Tuner").pack(),
    )
    searched = tuner.outputs if config.tuner.enabled else {}
    best = {"hyperparameters": searched.get("best_hyperparameters")}

    # Train and export.
    trainer = Trainer(
        **fitted,
        **best,
        run_fn=f"{_COMPONENTS}.training.trainer.run_fn",
        custom_config=settings.of("Trainer").pack(),
    )
    model = trainer.outputs["model"]

    # Train as many more models as there are folds, where that is asked for.
    folds = CrossValidation(settings.of("CrossValidation"), **data, **best)
    folded = folds.outputs if config.evaluation.folds else {}
    training = [rehearsal, *([tuner] if searched else []), trainer, *([folds] if folded else [])]
    for before, node in itertools.pairwise(training):
        node.add_upstream_node(before)  # each of them takes the whole machine

    # Compare with the thresholds and with the stable version.
    looking = settings.folder("Baseline", config.push_uri)
    to_beat = baseline(model, config.push_uri, config.pipeline_root, looking)
    compared = {"model": model, "baseline_model": to_beat.outputs["model"]}
    evaluator = Evaluator(settings.of("Evaluator"), examples=examples, **compared, **folded)
    judged = {"model": model, "model_blessing": evaluator.outputs["blessing"]}

    # Try it on a real server, where that isn't switched off.
    validator = ServingValidator(settings.of("ServingValidator"), examples=examples, **judged)
    validated = config.serving.validation.enabled
    infra_blessing = validator.outputs["blessing"] if validated else None

    # Hand what is blessed to the model server.
    pusher = Pusher(
        **judged,
        infra_blessing=infra_blessing,
        push_destination=PushDestination(filesystem={"base_directory": config.push_uri}),
        custom_config=settings.of("Pusher").pack(),
    )

    # Write down what came of it all.
    report = Report(
        settings.of("Report"),
        statistics=counts,
        anomalies=example_validator.outputs["anomalies"],
        **{key: trainer.outputs[key] for key in ("model", "model_run")},
        **{key: evaluator.outputs[key] for key in ("evaluation", "blessing")},
        infra_blessing=infra_blessing,
        pushed_model=pusher.outputs["pushed_model"],
        **data,
        **{key: searched[key] for key in ("best_hyperparameters", "tuner_results") if searched},
    )
    gated = [to_beat, evaluator, *([validator] if validated else []), pusher, report]
    return _pipeline(config, [*prepared, *training, *gated], beam_options, in_containers)


def _pipeline(
    config: Config, nodes: list[BaseNode], beam_options: Sequence[str], in_containers: bool
) -> Pipeline:
    # These two work on files beside Beam: with artifacts in a bucket, on their own machine.
    if beam_options and remote.is_remote(config.root):
        for node in nodes:
            if node.id in ("Rehearsal", "Evaluator"):
                node.with_beam_pipeline_args(["--runner=DirectRunner"])
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=config.pipeline_root,
        metadata_connection_config=None if in_containers else config.store.connection(),
        components=nodes,
        enable_cache=True,
        beam_pipeline_args=list(beam_options),
    )
