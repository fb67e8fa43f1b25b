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

from components import lookup, metadata, remote, results, settings, statistics
from components.baseline import LatestBefore, LatestBlessedBefore
from components.evaluation import Evaluator
from components.example_gen import ImportExampleGen
from components.lr_scan import LearningRateScan
from components.pusher import Pusher
from components.rehearsal import Rehearsal
from components.report.component import Report
from components.schema import SchemaGen
from components.serving_validator import ServingValidator
from components.tuner import Tuner
from components.validation import ExampleValidator
from pipeline import fingerprint
from pipeline.config import Config


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
        preprocessing_fn="components.preprocessing.preprocessing_fn",
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
        tuner_fn="components.tuner.tuner_fn",
        train_args=TrainArgs(),
        eval_args=EvalArgs(),
        custom_config={
            **settings.pack(tree, *sections, "tuner"),
            **kept,
            "weights": source,
            # Nor is a search of other code gone on with.
            "source": fingerprint.of_modules("components.worker", *users_network),
        },
    )

    # Train and export.
    trainer = Trainer(
        examples=examples,
        transform_graph=transform_graph,
        hyperparameters=tuner.outputs["best_hyperparameters"] if config.tuner.enabled else None,
        run_fn="components.trainer.run_fn",
        train_args=TrainArgs(),
        eval_args=EvalArgs(),
        custom_config={
            **settings.pack(tree, *sections, "transfer"),
            **kept,
            "weights": source,
            # A training that other code began is not gone on with.
            "source": fingerprint.of_modules("components.trainer", *users_network),
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
        (example_gen, ["components.example_gen"]),
        (schema_gen, ["components.schema"]),
        (example_validator, ["components.validation"]),
        (transform, ["components.preprocessing", *users_images]),
        (learning_rate_scan, ["components.lr_scan", *users_network]),
        (rehearsal, ["components.rehearsal", *users_metrics]),
        (tuner, ["components.tuner", *users_network]),
        (trainer, ["components.trainer", *users_network]),
        (evaluator, ["components.evaluation", *users_metrics]),
        (serving_validator, ["components.serving_validator", "serving.model_server"]),
        (pusher, ["components.pusher"]),
        (report, ["components.report.component"]),
        *(
            (node, ["components.lookup"])
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
