"""The whole graph, from top to bottom in the order in which it runs."""

from collections.abc import Sequence

# Not from tfx.v1, which imports Google Cloud's client for nothing: a second and a half.
from tfx.components import StatisticsGen, Trainer, Transform
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.pipeline import Pipeline
from tfx.proto.pusher_pb2 import PushDestination
from tfx.proto.trainer_pb2 import EvalArgs, TrainArgs
from tfx.types.channel import Channel
from tfx.types.standard_artifacts import ExampleStatistics, Model, ModelBlessing

from darkroom.components.base import remote, results, settings
from darkroom.components.evaluation.evaluator import Evaluator
from darkroom.components.evaluation.rehearsal import Rehearsal
from darkroom.components.ingestion.example_gen import ImportExampleGen
from darkroom.components.pushing.pusher import Pusher
from darkroom.components.pushing.serving_validator import ServingValidator
from darkroom.components.report.component import Report
from darkroom.components.runs import last_statistics as lookup
from darkroom.components.runs import metadata
from darkroom.components.runs.baseline import LatestBefore, LatestBlessedBefore
from darkroom.components.training.lr_scan import LearningRateScan
from darkroom.components.tuning.tuner import Tuner
from darkroom.components.validation import statistics
from darkroom.components.validation.example_validator import ExampleValidator
from darkroom.components.validation.schema_gen import SchemaGen
from darkroom.pipeline import fingerprint
from darkroom.pipeline.config import Config


def create_pipeline(
    config: Config,
    beam_pipeline_args: Sequence[str] = (),
    scan: bool = False,
    in_containers: bool = False,
) -> Pipeline:
    """The TFX pipeline of a configuration, the same graph for every runner.

    Args:
      config: the whole tree; every node gets only the sections that it uses.
      beam_pipeline_args: options of Beam, chosen by the runner.
      scan: end in a scan of learning rates, instead of training.
      in_containers: of Kubeflow, where no node can ask ML Metadata what earlier runs made.
    """
    remote.use(config.staging)
    tree = config.model_dump()
    if config.data.multi_label:
        tree["model"]["head"] = "multi-label"  # what the network's outputs mean
    tree["evaluation"]["thresholds"] = [t.model_dump() for t in config.evaluation.gate()]
    data = config.data
    # The file may be another one by the next run. What containers see, this machine may not.
    source = config.model.weights
    if source not in (None, "imagenet") and (remote.exists(source) or not in_containers):
        source = fingerprint.of_files(str(remote.fetch(source, anew=True)))
    # Beside a container's artifacts nothing outlives it; on a volume it does.
    kept = {}
    if in_containers and not remote.is_remote(config.root):
        kept = {results.UNFINISHED_KEY: f"{config.base}/unfinished"}
    users = {key: path.rpartition(".")[0] for key, path in config.user_code.items()}
    users_images = [users[key] for key in users if key.startswith("preprocessing.")]
    users_metrics = [m.module for m in config.evaluation.metrics.values() if m.module is not None]
    users_network = [users[key] for key in users if key.startswith("model.")]

    # Read the TFRecords, look at every image, and set aside what can't be used.
    example_gen = ImportExampleGen(
        input_base=config.data_path,
        patterns=data.splits.patterns,
        eval_share=data.splits.eval_share,
        data=config.inspection(),
    )
    examples = example_gen.outputs["examples"]

    # Count labels and what was seen, and hold that against the schema and against the last run.
    statistics_gen = StatisticsGen(examples=examples, stats_options=statistics.options())
    statistics_of_splits = statistics_gen.outputs["statistics"]
    schema_gen = SchemaGen(
        statistics=statistics_of_splits,
        schema_text=config.schema_text(),
        multi_label=data.multi_label,
    )
    schema = schema_gen.outputs["schema"]
    last_statistics: BaseNode
    if in_containers:
        last_statistics = lookup.LastStatistics(statistics_of_splits, config.statistics_uri)
    else:
        last_statistics = Resolver(
            strategy_class=LatestBefore,
            statistics=Channel(type=ExampleStatistics),
            candidate=statistics_of_splits,
        ).with_id("LastStatistics")
    example_validator = ExampleValidator(
        statistics=statistics_of_splits,
        schema=schema,
        previous_statistics=last_statistics.outputs["statistics"],
    )

    # Compute mean, deviation and label vocabulary, and trace the preprocessing graph.
    transform = Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn="darkroom.components.transform.preprocessing.preprocessing_fn",
        custom_config=settings.pack(tree, "preprocessing"),
        materialize=False,
        disable_statistics=True,
    )
    transform.add_upstream_node(example_validator)  # no work on data that failed the gate
    transform_graph = transform.outputs["transform_graph"]

    sections = ["preprocessing", "model", "augmentation", "training"]

    # Look for a learning rate, where that is asked for.
    learning_rate_scan = LearningRateScan(
        examples=examples,
        transform_graph=transform_graph,
        custom_config={
            **settings.pack(tree, *sections, "transfer", "lr_scan"),
            "weights": source,
        },
    )

    # Try the evaluation on a few examples, so that it can't fail after hours of training.
    rehearsal = Rehearsal(
        examples=examples,
        transform_graph=transform_graph,
        custom_config={
            **settings.pack(tree, "evaluation", "preprocessing"),
            "model": {"head": tree["model"]["head"]},
        },
    )

    # Search hyperparameters, where that is asked for.
    tuner = Tuner(
        examples=examples,
        transform_graph=transform_graph,
        tuner_fn="darkroom.components.tuning.tuner.tuner_fn",
        train_args=TrainArgs(),
        eval_args=EvalArgs(),
        custom_config={
            **settings.pack(tree, *sections, "tuner"),
            **kept,
            "weights": source,
            # Nor is a search of other code gone on with.
            "source": fingerprint.of_modules(
                "darkroom.components.tuning.trial_process", *users_network
            ),
        },
    )

    # Train and export.
    trainer = Trainer(
        examples=examples,
        transform_graph=transform_graph,
        hyperparameters=tuner.outputs["best_hyperparameters"] if config.tuner.enabled else None,
        run_fn="darkroom.components.training.trainer.run_fn",
        train_args=TrainArgs(),
        eval_args=EvalArgs(),
        custom_config={
            **settings.pack(tree, *sections, "transfer"),
            **kept,
            "weights": source,
            # A training that other code began is not gone on with.
            "source": fingerprint.of_modules(
                "darkroom.components.training.trainer", *users_network
            ),
        },
    )
    for node in [*([tuner] if config.tuner.enabled else []), trainer]:
        node.add_upstream_node(rehearsal)
    model = trainer.outputs["model"]

    # Compare with the thresholds and with the last blessed model.
    baseline: BaseNode
    if in_containers:
        baseline = lookup.Baseline(model, config.push_uri)
    else:
        baseline = Resolver(
            strategy_class=LatestBlessedBefore,
            model=Channel(type=Model),
            model_blessing=Channel(type=ModelBlessing),
            candidate=model,
        ).with_id("Resolver")
    evaluator = Evaluator(
        examples=examples,
        model=model,
        baseline_model=baseline.outputs["model"],
        custom_config=settings.pack(tree, "evaluation"),
    )

    # Try it on a real server.
    serving_validator = ServingValidator(
        model=model,
        examples=examples,
        model_blessing=evaluator.outputs["blessing"],
        custom_config={
            **settings.pack(tree["serving"], "batching", "validation"),
            "split": config.evaluation.split,
        },
    )
    tried = serving_validator.outputs["blessing"] if config.serving.validation.enabled else None

    # Hand what is blessed to the model server.
    pusher = Pusher(
        model=model,
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=tried,
        push_destination=PushDestination(
            filesystem=PushDestination.Filesystem(base_directory=config.push_uri)
        ),
        custom_config=settings.pack(tree, "serving"),
    )

    # Write down what came of it all.
    channels = {
        "examples": examples,
        "statistics": statistics_of_splits,
        "anomalies": example_validator.outputs["anomalies"],
        "transform_graph": transform_graph,
        "model": model,
        "model_run": trainer.outputs["model_run"],
        "evaluation": evaluator.outputs["evaluation"],
        "blessing": evaluator.outputs["blessing"],
        "pushed_model": pusher.outputs["pushed_model"],
    }
    if tried:
        channels["infra_blessing"] = tried
    if config.tuner.enabled:
        channels |= {key: tuner.outputs[key] for key in ("best_hyperparameters", "tuner_results")}
    report = Report(channels, config.reported, None if in_containers else config.store)

    # TFX's cache doesn't look into code: the code's fingerprint becomes part of each node's key.
    sources: list[tuple[BaseComponent, list[str]]] = [
        (example_gen, ["darkroom.components.ingestion.example_gen"]),
        (schema_gen, ["darkroom.components.validation.schema_gen"]),
        (example_validator, ["darkroom.components.validation.example_validator"]),
        (transform, ["darkroom.components.transform.preprocessing", *users_images]),
        (learning_rate_scan, ["darkroom.components.training.lr_scan", *users_network]),
        (rehearsal, ["darkroom.components.evaluation.rehearsal", *users_metrics]),
        (tuner, ["darkroom.components.tuning.tuner", *users_network]),
        (trainer, ["darkroom.components.training.trainer", *users_network]),
        (evaluator, ["darkroom.components.evaluation.evaluator", *users_metrics]),
        (
            serving_validator,
            ["darkroom.components.pushing.serving_validator", "darkroom.serving.model_server"],
        ),
        (pusher, ["darkroom.components.pushing.pusher"]),
        (report, ["darkroom.components.report.component"]),
        *(
            (node, ["darkroom.components.runs.last_statistics"])
            for node in (last_statistics, baseline)
            if isinstance(node, BaseComponent)
        ),
    ]
    for component, modules in sources:
        flags = [f"--modules={','.join(modules)}", f"--source={fingerprint.of_modules(*modules)}"]
        component.executor_spec.add_extra_flags(flags)

    # These two work on files beside Beam: with artifacts in a bucket, on their own machine.
    if beam_pipeline_args and remote.is_remote(config.root):
        for beam_node in (rehearsal, evaluator):
            beam_node.with_beam_pipeline_args(["--runner=DirectRunner"])

    nodes = [example_gen, statistics_gen, schema_gen, last_statistics, example_validator, transform]
    if scan:
        nodes += [learning_rate_scan]
    else:
        nodes += [rehearsal, *([tuner] if config.tuner.enabled else [])]
        nodes += [trainer, baseline, evaluator, *([serving_validator] if tried else [])]
        nodes += [pusher, report]
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=config.pipeline_root,
        metadata_connection_config=None if in_containers else metadata.connection(config.store),
        components=nodes,
        enable_cache=True,
        beam_pipeline_args=list(beam_pipeline_args),
    )
