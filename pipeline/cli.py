"""The command ``darkroom``. Nothing heavy is imported before it is known to be needed."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from darkroom.pipeline.config import Config
    from darkroom.serving.predictor import Prediction

_DEFAULT_CONFIG = "digits"  # that anyone can run: its images come with scikit-learn
_NOT_BLESSED = 3  # of darkroom run --require-blessed; argparse has 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    code = _obey(arguments)
    if "tensorflow_io" in sys.modules:
        from darkroom.pipeline.running import runner

        runner.leave(code)  # it aborts the interpreter's own end
    return code


def _obey(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    sys.path.append(os.getcwd())  # the user's own functions; last, so as to shadow nothing
    from darkroom.components.base.errors import INTERRUPTED, DarkroomError, explain
    from darkroom.serving.predictor import PredictionError

    try:
        code: int = options.command(options)
        sys.stdout.flush()  # a reader that has left shows here, not at the interpreter's end
        return code
    except (DarkroomError, PredictionError) as error:
        print(f"darkroom: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        print(f"darkroom: {explain(error)}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    from darkroom.serving.flags import GRPC_PORT, REST_PORT

    parser = argparse.ArgumentParser(
        prog="darkroom", description="From labelled images to a gated, versioned, served model."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shipped = sorted(path.stem for path in Path(__file__).parent.glob("configs/*.yaml"))
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--config", default=_DEFAULT_CONFIG, metavar="FILE",
        help=f"YAML file, or the name of a shipped one: {', '.join(shipped)} "
        f"(default: {_DEFAULT_CONFIG})",
    )  # fmt: skip
    shared.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
        help="override a key, as in training.epochs=3; can be repeated",
    )  # fmt: skip

    run = commands.add_parser("run", parents=[shared], help="run the whole pipeline")
    run.add_argument(
        "--require-blessed", action="store_true",
        help=f"exit with {_NOT_BLESSED} where the run worked and the model was not blessed",
    )  # fmt: skip
    run.set_defaults(command=_run, scan=False)
    worker = commands.add_parser(
        "worker", parents=[shared], help="help another machine's run to train, or to search",
        description="Helps the run of the same configuration on another machine, which sees the "
        "same folder: to train, where TF_CONFIG says that this is one of the machines; to search, "
        "where KERASTUNER_TUNER_ID does. It waits for that to begin, and ends with it.",
    )  # fmt: skip
    worker.set_defaults(command=_worker)
    scan = commands.add_parser(
        "lr-scan", parents=[shared], help="train shortly at many learning rates, and suggest one"
    )
    scan.set_defaults(command=_run, scan=True, require_blessed=False)
    tensorboard = commands.add_parser(
        "tensorboard", parents=[shared], help="the curves of all trainings and trials, side by side"
    )
    tensorboard.add_argument("--port", type=int, default=6006, help="of the page (6006)")
    tensorboard.set_defaults(command=_tensorboard)
    ingest = commands.add_parser(
        "ingest", help="make TFRecords of image files",
        description="Makes TFRecords of image files, in a train, an eval and a test split. A "
        "second time it adds what is new; an image never changes its split.",
    )  # fmt: skip
    ingest.add_argument(
        "source", metavar="SRC", type=Path,
        help="folder with a folder for each class (or for each split, and in it for each class), "
        "or a CSV manifest with the columns path, label and, optionally, split",
    )  # fmt: skip
    ingest.add_argument("target", metavar="DST", type=Path, help="folder for the TFRecords")
    ingest.add_argument(
        "--method", choices=("stratified", "random"),
        help="stratified keeps the shares in every class (the default)",
    )  # fmt: skip
    usual = "(default: 0.2 below 1,000 images, 0.1 below 10,000, else 0.05)"
    ingest.add_argument("--eval-share", type=_share, metavar="SHARE", help=usual)
    ingest.add_argument("--test-share", type=_share, metavar="SHARE", help=usual)
    ingest.add_argument("--seed", type=int, help="which images are drawn for which split (0)")
    ingest.add_argument(
        "--multi-label", action="store_const", const=True,
        help="an image has any number of labels: a manifest's label is none, or several, as in a|b",
    )  # fmt: skip
    ingest.set_defaults(command=_ingest)
    schema = commands.add_parser(
        "schema", parents=[shared], help="print the schema of the last run's data, to edit it"
    )
    schema.set_defaults(command=_schema)
    status = commands.add_parser(
        "status", parents=[shared], help="what the last run did, and what is pushed"
    )
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(command=_status)
    report = commands.add_parser(
        "report", parents=[shared], help="the report of a run: where it is, or its text"
    )
    report.add_argument(
        "run", nargs="?", metavar="RUN",
        help="a run's name, or its beginning, or how many runs back it is, 0 for the newest "
        "(default: the newest that has a report)",
    )  # fmt: skip
    forms = report.add_mutually_exclusive_group()
    forms.add_argument("--open", action="store_true", help="open the page in a browser")
    forms.add_argument("--markdown", action="store_true", help="print it, for a pull request")
    forms.add_argument("--json", action="store_true", help="for programs")
    report.set_defaults(command=_report)
    compare = commands.add_parser(
        "compare", parents=[shared], help="two runs side by side: what came of them, what differs"
    )
    compare.add_argument(
        "runs", nargs=2, metavar="RUN",
        help="as report takes it; or the folder or report.json of any pipeline's report",
    )  # fmt: skip
    forms = compare.add_mutually_exclusive_group()
    forms.add_argument("--markdown", action="store_true", help="for a pull request")
    forms.add_argument("--json", action="store_true", help="for programs")
    compare.set_defaults(command=_compare)
    lineage = commands.add_parser(
        "lineage", parents=[shared], help="what made a model: run, data, settings, code, versions"
    )
    lineage.add_argument(
        "model", nargs="?", metavar="MODEL",
        help="number or folder of a pushed version, or id of a model in ML Metadata (default: the "
        "newest pushed version)",
    )  # fmt: skip
    lineage.add_argument("--json", action="store_true", help="for programs")
    lineage.set_defaults(command=_lineage)
    versions = commands.add_parser(
        "versions", parents=[shared], help="the pushed versions, and which of them are served"
    )
    versions.add_argument("--json", action="store_true", help="for programs")
    versions.set_defaults(command=_versions)
    promote = commands.add_parser(
        "promote", parents=[shared], help="make a version stable, or the canary"
    )
    promote.add_argument(
        "version", nargs="?", type=int, metavar="VERSION",
        help="its number (default: the canary, else the newest)",
    )  # fmt: skip
    promote.add_argument(
        "--canary", action="store_true", help="serve it as canary, beside the stable version"
    )
    promote.set_defaults(command=_promote)
    rollback = commands.add_parser(
        "rollback", parents=[shared], help="make the version stable that was so before"
    )
    rollback.set_defaults(command=_rollback)
    predict = commands.add_parser(
        "predict", parents=[shared], help="classify images with the stable version"
    )
    predict.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG, GIF or BMP file")
    where = predict.add_mutually_exclusive_group()
    where.add_argument(
        "--url", metavar="URL", help="ask the server there, such as http://localhost:8501"
    )
    where.add_argument(
        "--grpc", metavar="HOST:PORT", help="ask the server there, such as localhost:8500"
    )
    predict.add_argument(
        "--labels", "--label", default="", metavar="LABEL", dest="label",
        help="of the version to ask: stable or canary",
    )  # fmt: skip
    predict.add_argument(
        "--model-name", metavar="NAME", help="of the model on the server (default: the config's)"
    )
    predict.add_argument(
        "--api-key", default=os.environ.get("DARKROOM_API_KEY", ""), metavar="KEY",
        help="that the server wants (default: $DARKROOM_API_KEY)",
    )  # fmt: skip
    predict.add_argument(
        "--ca", metavar="FILE", help="certificate of the authority that signed the server's"
    )
    predict.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="for a request (30)"
    )
    predict.add_argument("--top", type=int, default=3, metavar="N", help="classes shown (3)")
    predict.add_argument("--json", action="store_true", help="for programs")
    predict.set_defaults(command=_predict)
    serve = commands.add_parser(
        "serve", parents=[shared], help="answer with the pushed model over gRPC, REST and a page"
    )
    serve.add_argument("--host", default="localhost", help="address; 0.0.0.0: all (localhost)")
    serve.add_argument(
        "--port", type=int, default=GRPC_PORT, help=f"of gRPC; 0: none ({GRPC_PORT})"
    )
    serve.add_argument(
        "--rest-port", type=int, default=REST_PORT, help=f"of REST and the page ({REST_PORT})"
    )
    serve.add_argument(
        "flags", nargs="*", metavar="FLAG",
        help="after --: any flag of python -m darkroom.serving.model_server",
    )  # fmt: skip
    serve.set_defaults(command=_serve)
    deploy = commands.add_parser(
        "deploy", parents=[shared], help="write the files that run TensorFlow Serving elsewhere",
        description="Writes the files that run TensorFlow Serving on the pushed versions: a "
        "compose.yaml for Docker, manifests for Kubernetes, or an InferenceService for KServe. "
        "Or those of a run on several machines of a cluster: a TFJob for its training, or Jobs "
        "for its search.",
    )  # fmt: skip
    deploy.add_argument(
        "where", choices=("docker", "kubernetes", "kserve", "training", "search"),
        help="what runs it, or what is to run",
    )  # fmt: skip
    cluster = deploy.add_argument_group("training and search")
    cluster.add_argument(
        "--image", default="", metavar="IMAGE", help="with darkroom in it (kubeflow.image)"
    )
    cluster.add_argument(
        "--claim", default="", metavar="NAME", help="PersistentVolumeClaim that all pods share"
    )
    cluster.add_argument(
        "--workers", type=int, default=1, metavar="N", help="machines beside the chief (1)"
    )
    cluster.add_argument(
        "--mount", default="/darkroom", metavar="PATH",
        help="where the volume is in the pods, and what relative paths begin with (/darkroom)",
    )  # fmt: skip
    cluster.add_argument("--cpu", default="2", metavar="N", help="of each pod (2)")
    cluster.add_argument("--memory", default="4Gi", metavar="SIZE", help="of each pod (4Gi)")
    cluster.add_argument("--gpus", type=int, default=0, metavar="N", help="of each pod (0)")
    deploy.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for the file (default: deploy/NAME)"
    )
    deploy.add_argument("--force", action="store_true", help="replace a file that is another")
    deploy.set_defaults(command=_deploy)
    airflow = commands.add_parser(
        "airflow", parents=[shared], help="write the file that makes the pipeline a DAG of Airflow",
        description="Prints a file for Airflow's folder of DAGs, or writes it: a task per node, "
        "on the schedule that the configuration's section airflow sets.",
    )  # fmt: skip
    airflow.add_argument("-o", "--out", type=Path, metavar="FILE", help="write it there")
    airflow.add_argument("--force", action="store_true", help="replace a file that is another")
    airflow.set_defaults(command=_airflow)
    inspect = commands.add_parser(
        "inspect", parents=[shared], help="signatures, parameters, classes and training of a model"
    )
    inspect.add_argument(
        "model", nargs="?", type=Path, metavar="MODEL",
        help="folder of a SavedModel (default: the stable version)",
    )  # fmt: skip
    inspect.add_argument("--json", action="store_true", help="for programs")
    inspect.set_defaults(command=_inspect)
    compile_ = commands.add_parser(
        "compile", parents=[shared], help="write the specification that Kubeflow Pipelines runs",
        description="Writes the pipeline as Kubeflow Pipelines (from version 2.5) and Vertex AI "
        "run it. python -m darkroom.kubeflow.run_local runs it here.",
    )  # fmt: skip
    compile_.add_argument(
        "--target", choices=("kubeflow",), default="kubeflow", help="what is to run it (kubeflow)"
    )
    compile_.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="for the YAML (default: NAME-kubeflow.yaml)"
    )
    compile_.set_defaults(command=_compile)
    submit = commands.add_parser(
        "submit", parents=[shared], help="run it on Kubeflow Pipelines, once or again and again"
    )
    submit.add_argument("--host", required=True, metavar="URL", help="of Kubeflow Pipelines")
    submit.add_argument(
        "--spec", type=Path, metavar="FILE",
        help="that darkroom compile wrote (default: compile the configuration)",
    )  # fmt: skip
    submit.add_argument("--namespace", help="of a multi-user installation")
    submit.add_argument("--run-name", metavar="NAME", help="(default: the pipeline's)")
    submit.add_argument(
        "--recurring", metavar="CRON",
        help="run again and again: seconds, minutes, hours, day, month, weekday, as in 0 0 3 * * *",
    )  # fmt: skip
    submit.set_defaults(command=_submit)
    config = commands.add_parser(
        "config", parents=[shared], help="print the whole configuration, defaults included"
    )
    config.set_defaults(command=_config)
    return parser


def _load(options: argparse.Namespace) -> "Config":
    from darkroom.pipeline.config import load

    return load(options.config, options.overrides)


def _config_argument(options: argparse.Namespace) -> str:
    words = [] if options.config == _DEFAULT_CONFIG else ["--config", options.config]
    for override in options.overrides:
        if override.partition("=")[0] in ("root", "name"):
            words += ["--set", override]
    return "".join(f" {shlex.quote(word)}" for word in words)


def _run(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.pipeline import display
    from darkroom.pipeline.running import runner

    runner.raise_on_signals()
    log, terminal = runner.log_to_file(config)
    shown = display.Display(terminal)

    def run() -> int:
        with shown:
            status = runner.run(config, shown, options.scan)
        display.summary(shown.console, status, _config_argument(options))
        # The summary has said why.
        return _NOT_BLESSED if options.require_blessed and status.blessed is not True else 0

    runner.leave(runner.attempt(run, shown, log))


def _worker(options: argparse.Namespace) -> int:
    config = _load(options)
    import signal

    from darkroom.pipeline import worker as helper

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else process 1 ignores it
    helper.help_chief(config)
    return 0


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to below 1, found {text}")
    return value


def _ingest(options: argparse.Namespace) -> int:
    from rich.console import Console

    from darkroom.pipeline import display
    from darkroom.pipeline.ingest import records

    chosen = records.Options(
        options.method,
        options.eval_share,
        options.test_share,
        options.seed,
        options.multi_label,
    )
    with display.Bar(Console(stderr=True)) as bar:
        summary = records.ingest(options.source, options.target, chosen, bar.update)
    display.ingested(Console(highlight=False, soft_wrap=True), summary, options.target)
    return 0


def _schema(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.components.base.errors import DarkroomError
    from darkroom.pipeline.history import status

    path = status.latest(config).schema
    if path is None:
        raise DarkroomError("The last run didn't get to a schema: darkroom status tells why.")
    print(Path(path).read_text(encoding="utf-8"), end="")
    return 0


# The command line stands above all packages: it alone reaches up to kubeflow.
def _compile(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.kubeflow import compile as compiler

    path = options.out or Path(f"{config.name}-kubeflow.yaml")
    compiler.write(compiler.compiled(config), path)
    print(f"{path}: {config.name} for Kubeflow Pipelines")
    return 0


def _submit(options: argparse.Namespace) -> int:
    import tempfile

    from darkroom.components.base.errors import DarkroomError

    if options.spec is not None and options.config == _DEFAULT_CONFIG:
        raise DarkroomError(
            "--spec: name the configuration beside it, with --config: a run's experiment and "
            "service account are in its section kubeflow."
        )
    config = _load(options)
    from darkroom.kubeflow import compile as compiler
    from darkroom.kubeflow import submit

    submit.reach(options.host)  # before seconds of compiling
    with tempfile.TemporaryDirectory() as folder:
        path = options.spec
        if path is None:
            path = Path(folder) / f"{config.name}.yaml"
            compiler.write(compiler.compiled(config), path)
        made = submit.submit(
            path,
            options.host,
            experiment=config.kubeflow.experiment,
            namespace=options.namespace,
            name=options.run_name,
            cron=options.recurring,
            service_account=config.kubeflow.service_account,
        )
    print(f"{made.kind} {made.id}\n{made.url}")
    return 0


def _status(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.pipeline.history import status
    from darkroom.pipeline.running import lock

    alive = lock.alive(config)
    found = status.latest(config, alive)
    if options.json:
        print(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
        return 0
    from rich.console import Console

    from darkroom.pipeline import display

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{found.pipeline}, run {found.run}{', going on' if alive else ''}")
    for node in found.nodes:
        display.print_node(console, node)
    display.summary(console, found, _config_argument(options))
    return 0


def _report(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.components.base import results
    from darkroom.components.base.errors import DarkroomError
    from darkroom.pipeline.history import reports

    folder = reports.find(config, options.run)
    if options.markdown or options.json:
        name = results.REPORT_TEXT if options.markdown else results.REPORT_FACTS
        print((folder / name).read_text(encoding="utf-8"), end="" if options.markdown else "\n")
        return 0
    for name in (results.REPORT_PAGE, results.REPORT_TEXT, results.REPORT_FACTS):
        print(folder / name)
    if options.open:
        import webbrowser

        if not webbrowser.open((folder / results.REPORT_PAGE).as_uri()):
            raise DarkroomError("There is no browser to open it with: open the first of these.")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from darkroom.pipeline.history import comparison, reports

    one, other = (reports.load_named(run, lambda: _load(options)) for run in options.runs)
    found = comparison.compare(one, other)
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif options.markdown:
        print(comparison.markdown(found), end="")
    else:
        from rich.console import Console

        comparison.show(Console(highlight=False), found)
    return 0


def _lineage(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.pipeline.history import provenance

    found = provenance.trace(config, options.model)
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    from rich.console import Console

    Console(highlight=False).print(provenance.tree(found))
    return 0


def _tensorboard(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.components.base import remote
    from darkroom.components.base.errors import DarkroomError

    remote.use(config.staging)
    folder = remote.place(config.pipeline_root)
    if not any((folder / node).exists() for node in ("Tuner", "Trainer")):
        raise DarkroomError(f"{config.name} has trained nothing yet: {folder} has no curves.")
    sys.stdout.flush()
    module = [sys.executable, "-m", "tensorboard.main"]
    os.execv(sys.executable, [*module, "--logdir", str(folder), "--port", str(options.port)])


def _versions(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.serving import rollout

    current, found = rollout.read(config.push_path), rollout.listed(config.push_path)
    if options.json:
        served = {
            "stable": current and current.stable,
            "canary": current and current.canary,
            "versions": [
                {**v._asdict(), "folder": str(v.folder), "note": vars(v.note) if v.note else {}}
                for v in found
            ],
        }
        print(json.dumps(served, indent=2, ensure_ascii=False))
        return 0
    from rich.console import Console

    from darkroom.pipeline import display

    display.versions(Console(highlight=False, soft_wrap=True), found)
    sys.stdout.flush()
    rollout.served_version(config.push_path)  # says so where it isn't there
    print()
    print(current or "No version has a label. Give the newest one with darkroom promote.")
    return 0


def _promote(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.serving import rollout

    print(rollout.promote(config.push_path, options.version, options.canary))
    return 0


def _rollback(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.serving import rollout

    print(rollout.roll_back(config.push_path))
    return 0


def _predict(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.serving import predictor

    images = predictor.read_images(options.images)
    classify = _classifier(options, config)
    answers, failed = [], False
    for name, image in zip(options.images, images, strict=True):
        try:
            answers.append((name, classify(name, image)))
        except predictor.ImageError as error:
            print(f"darkroom: {error}", file=sys.stderr)
            failed = True
    if options.json:
        rows = [{"image": name, **vars(prediction)} for name, prediction in answers]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        for name, prediction in answers:
            best = list(zip(prediction.classes, prediction.scores, strict=True))[: options.top]
            words = "  ".join(f"{label} {score:.4f}" for label, score in best)
            if config.data.multi_label:
                words = f"{prediction.label or 'no label'} ({words})"
            print(f"{Path(name).name}: {words}")
    return 1 if failed else 0


def _classifier(
    options: argparse.Namespace, config: "Config"
) -> "Callable[[str, bytes], Prediction]":
    """Asks a server where the user names one, else the stable version in this process."""
    from darkroom.serving import predictor, rollout

    if not options.url and not options.grpc:
        if options.label:
            raise predictor.PredictionError(
                "--labels is for a server: name it with --url or --grpc."
            )
        return predictor.Predictor(rollout.served_version(config.push_path)).predict
    from darkroom.serving.client import GrpcClient, RestClient

    make = RestClient if options.url else GrpcClient
    client = make(
        options.url or options.grpc,
        options.model_name or config.name,
        api_key=options.api_key,
        ca_file=options.ca,
        label=options.label,
        timeout=options.timeout,
        multi_label=config.data.multi_label,
    )

    def classify(name: str, image: bytes) -> "Prediction":
        try:
            return client.predict([image])[0]
        except predictor.ImageError as error:
            raise predictor.ImageError(f"{name}: {error}") from error

    return classify


def _serve(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.serving import pushed_files, rollout

    # Says so where there is nothing to serve.
    version = rollout.served_version(config.push_path)
    beside = config.push_path.parent
    files = [
        f"--{flag}={beside / name}"
        for flag, name in pushed_files.FILE_FLAGS.items()
        if (beside / name).is_file()
    ]
    if not rollout.config_path(config.push_path).is_file():  # pushed by an earlier darkroom
        files += [f"--model_name={config.name}", f"--model_base_path={config.push_path}"]
    print(
        f"Serving {config.name} version {version.name}: http://{options.host}:{options.rest_port}/ "
        f"(page and REST), {options.host}:{options.port} (gRPC). Stop with Ctrl-C.",
        flush=True,
    )
    arguments = [
        f"--host={options.host}",
        f"--port={options.port}",
        f"--rest_api_port={options.rest_port}",
        *pushed_files.SERVER_FLAGS,
        f"--canary_share={config.serving.canary_share}",
        *files,
        *options.flags,
    ]
    module = [sys.executable, "-m", "darkroom.serving.model_server"]
    os.execv(sys.executable, [*module, *arguments])


def _deploy(options: argparse.Namespace) -> int:
    if options.where == "training":
        options.overrides.append("training.strategy=multi_worker")
    config = _load(options)
    from darkroom.components.runs import environment
    from darkroom.serving.deployment import manifests

    model = manifests.Model(
        name=config.name,
        folder=str(config.push_path.parent),
        tensorflow=environment.versions().get("tensorflow"),
        load_seconds=config.serving.validation.load_seconds,
        memory_mib=config.serving.validation.max_memory_mib,
    )
    settings = [f"--set={override}" for override in options.overrides]
    given = ["--config", options.config, *settings]
    words = ["darkroom", "deploy", options.where, *given]
    if options.where in ("training", "search"):
        import dataclasses

        from darkroom.pipeline import kubernetes

        names = [field.name for field in dataclasses.fields(kubernetes.Pods)]
        pods = kubernetes.Pods(**{name: getattr(options, name) for name in names})
        pods = dataclasses.replace(pods, image=pods.image or config.kubeflow.image or "")
        name, command = f"{options.where}.yaml", "kubectl apply --filename {}"
        make = kubernetes.training if options.where == "training" else kubernetes.search
        text = manifests.dump(make(config, pods, given))
        words += [word for key, value in vars(pods).items() for word in (f"--{key}", str(value))]
    elif options.where == "docker":
        name, command = "compose.yaml", "docker compose --file {} up --detach"
        text = manifests.docker(model, f"{os.getuid()}:{os.getgid()}")
    else:
        name, command = f"{options.where}.yaml", "kubectl apply --filename {}"
        text = (manifests.kserve if options.where == "kserve" else manifests.kubernetes)(model)
    text = manifests.headed(text, shlex.join(words), command.format(name))
    path = (options.out or Path("deploy") / config.name) / name
    _write(path, text, options.force)
    print(f"written      {path}\nnext         {command.format(shlex.quote(str(path)))}")
    return 0


def _write(path: Path, text: str, force: bool) -> None:
    """Writes a file for the user, who may have changed what was written before."""
    from darkroom.components.base.errors import DarkroomError
    from darkroom.serving import files

    if path.exists() and path.read_bytes() != text.encode() and not force:
        raise DarkroomError(
            f"{path} is there already, and not as it would be written now. --force replaces it; "
            "--out writes elsewhere."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, text)


def _airflow(options: argparse.Namespace) -> int:
    config = _load(options)
    from darkroom.pipeline.airflow import dag_file, graph
    from darkroom.pipeline.config import find

    path, folder = find(options.config).absolute(), Path.cwd()
    # Airflow would be the first to see what is wrong with it; and finds it made.
    words = [word for override in options.overrides for word in ("--set", override)]
    python = config.airflow.python or sys.executable
    graph.shape(config, ["--config", str(path), *words], folder, python)
    text = dag_file.text(config.name, path, options.overrides, folder)
    if options.out is None:
        print(text, end="")
        return 0
    _write(options.out, text, options.force)
    print(f"written      {options.out}")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from darkroom.serving import description, rollout

    folder = options.model or rollout.served_version(_load(options).push_path)
    found = description.describe(folder)
    if options.json:
        signatures = [
            {**s._asdict(), "inputs": [t._asdict() for t in s.inputs],
             "outputs": [t._asdict() for t in s.outputs]}
            for s in found.signatures
        ]  # fmt: skip
        shown = {**found._asdict(), "signatures": signatures}
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return 0
    from rich.console import Console

    from darkroom.pipeline import display

    display.description(Console(highlight=False, soft_wrap=True), found)
    return 0


def _config(options: argparse.Namespace) -> int:
    import yaml

    print(yaml.safe_dump(_load(options).model_dump(), sort_keys=False, allow_unicode=True), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
