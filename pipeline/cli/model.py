"""The pushed versions of a model: which are served, what they answer, what is in them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from darkroom.pipeline import answers, command_line
from darkroom.pipeline.command_line import ConfigOptions, as_json, configured
from darkroom.serving.flags import GRPC_PORT, REST_PORT

_FIRST_SECONDS = 1.0  # for a server that may not be there, before a person is told


@click.command("versions")
@configured
@as_json
def list_versions(options: ConfigOptions, as_json: bool) -> None:
    """The pushed versions, and which of them are served."""
    config = options.load()
    from darkroom.serving import rollout

    current, versions = rollout.read(config.push_path), rollout.listed(config.push_path)
    if as_json:
        listed = [
            {**v._asdict(), "folder": str(v.folder), "note": vars(v.note) if v.note else {}}
            for v in versions
        ]
        labels = {"stable": current and current.stable, "canary": current and current.canary}
        command_line.print_json({**labels, "versions": listed})
        return
    from darkroom.pipeline import summaries

    summaries.of_versions(command_line.console(), versions)
    sys.stdout.flush()
    rollout.served_version(config.push_path)  # says so where it isn't there
    print()
    print(current or "No version has a label. Give the newest one with darkroom promote.")


@click.command("promote")
@configured
@click.argument("version", required=False, type=int)
@click.option("--canary", is_flag=True, help="serve it as canary, beside the stable version")
def promote(options: ConfigOptions, version: int | None, canary: bool) -> None:
    """Make a version stable, or the canary.

    VERSION: its number (default: the canary, else the newest).
    """
    config = options.load()
    from darkroom.serving import rollout

    print(rollout.promote(config.push_path, version, canary))


@click.command("rollback")
@configured
def roll_back(options: ConfigOptions) -> None:
    """Make the version stable that was so before."""
    config = options.load()
    from darkroom.serving import rollout

    print(rollout.roll_back(config.push_path))


@click.command("predict")
@configured
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path())
@click.option("--url", metavar="URL", help="ask the server there, such as http://localhost:8501")
@click.option("--grpc", metavar="HOST:PORT", help="ask the server there, such as localhost:8500")
@click.option(
    "--labels", "--label", "label", default="", metavar="LABEL",
    help="of the version to ask: stable or canary",
)  # fmt: skip
@click.option(
    "--model-name", metavar="NAME", help="of the model on the server (default: the config's)"
)
@click.option(
    "--api-key", default="", envvar="DARKROOM_API_KEY", metavar="KEY",
    help="that the server wants (default: $DARKROOM_API_KEY)",
)  # fmt: skip
@click.option(
    "--ca", metavar="FILE", type=click.Path(),
    help="certificate of the authority that signed the server's",
)  # fmt: skip
@click.option("--timeout", type=float, default=30.0, metavar="SECONDS", help="for a request (30)")
@click.option("--top", type=int, default=3, metavar="N", help="classes shown as text (3)")
@click.option(
    "--format", "form", type=click.Choice(answers.FORMATS), default="text",
    help="jsonl: a line of JSON for each image; csv: a column for each class (text)",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="the same as --format json")
def predict(
    options: ConfigOptions,
    images: tuple[str, ...],
    url: str | None,
    grpc: str | None,
    label: str,
    model_name: str | None,
    api_key: str,
    ca: str | None,
    timeout: float,
    top: int,
    form: str,
    as_json: bool,
) -> int:
    """Classify images with the stable version.

    IMAGE: file of any format that ingest takes, a folder for all that are below it, or a pattern
    such as 'photos/*.jpg'.
    """
    command_line.exclude_each_other(url=url, grpc=grpc)
    config = options.load()
    from darkroom.serving import image_files, predictor, rollout

    found = image_files.find(images)
    if found.left_out:
        command_line.aside(f"{found.left_out:,} files that aren't named as images are left out.")
    if address := url or grpc:
        from darkroom.serving.client import GrpcClient, RestClient

        client = (RestClient if url else GrpcClient)(
            address,
            model_name or config.name,
            api_key=api_key,
            ca_file=ca,
            label=label,
            timeout=timeout,
            first_timeout=min(timeout, _FIRST_SECONDS),
            multi_label=config.data.multi_label,
        )
    elif label:
        raise predictor.PredictionError("--labels is for a server: name it with --url or --grpc.")
    else:
        local = predictor.Predictor(rollout.served_version(config.push_path))
    failed = 0

    def answered() -> Iterator[answers.Answer]:
        nonlocal failed
        for path in found.paths:
            try:
                image = image_files.read(path)
                own = client.predict([image])[0] if address else local.predict(path, image)
            except predictor.ImageError as error:
                failed += 1
                # A client doesn't know the image's name.
                words = str(error) if str(error).startswith(path) else f"{path}: {error}"
                command_line.aside(f"darkroom: {words}")
            else:
                yield answers.Answer(path, own)

    answers.show(answered(), "json" if as_json else form, top, config.data.multi_label)
    if failed and len(found.paths) > 1:
        command_line.aside(f"{failed:,} of {len(found.paths):,} images got no answer.")
    return int(failed > 0)


@click.command("serve")
@configured
@click.option(
    "--host", default="localhost", metavar="HOST", help="address; 0.0.0.0: all (localhost)"
)
@click.option("--port", default=GRPC_PORT, metavar="PORT", help=f"of gRPC; 0: none ({GRPC_PORT})")
@click.option(
    "--rest-port", "rest", default=REST_PORT, metavar="REST_PORT",
    help=f"of REST and the page ({REST_PORT})",
)  # fmt: skip
@click.argument("flags", nargs=-1, metavar="[-- FLAG...]", type=click.UNPROCESSED)
def serve(options: ConfigOptions, host: str, port: int, rest: int, flags: tuple[str, ...]) -> None:
    """Answer with the pushed model over gRPC, REST and a page.

    FLAG, after --: any flag of python -m darkroom.serving.model_server.
    """
    config = options.load()
    from darkroom.serving import flags as server_flags
    from darkroom.serving import interrupts, pushed_files, rollout
    from darkroom.serving.protocols import ports

    rollout.readdress(config.push_path)
    version = rollout.served_version(config.push_path)  # says so where there is none
    paths = {f: config.push_path.parent / name for f, name in pushed_files.FILE_FLAGS.items()}
    files = [f"--{flag}={path}" for flag, path in paths.items() if path.is_file()]
    if not rollout.config_path(config.push_path).is_file():  # pushed by an earlier darkroom
        files += [f"--model_name={config.name}", f"--model_base_path={config.push_path}"]
    own = [f"--host={host}", f"--port={port}", f"--rest_api_port={rest}"]
    own += [*pushed_files.SERVER_FLAGS, f"--canary_share={config.serving.canary_share}", *files]
    told = server_flags.parse([*own, *flags])  # which ends this, if they are wrong
    ports.require(told)
    rest, port = told.rest_api_port, told.port
    places = [f"http://{told.host}:{rest}/ (page and REST)"] * bool(rest)
    places += [f"{told.host}:{port} (gRPC)"] * bool(port)
    print(
        f"{config.name} version {version.name} answers at {' and '.join(places)} as soon as it is "
        "ready. Stop with Ctrl-C.",
        flush=True,
    )
    interrupts.become("darkroom.serving.model_server", [*own, *flags])


@click.command("inspect")
@configured
@click.argument("model", required=False, type=click.Path(path_type=Path))
@as_json
def inspect(options: ConfigOptions, model: Path | None, as_json: bool) -> None:
    """Signatures, parameters, classes and training of a model.

    MODEL: folder of a SavedModel (default: the stable version).
    """
    from darkroom.serving import description, rollout

    folder = model or rollout.served_version(options.load().push_path)
    described = description.describe(folder)
    if as_json:
        signatures = [
            {**s._asdict(), "inputs": [t._asdict() for t in s.inputs],
             "outputs": [t._asdict() for t in s.outputs]}
            for s in described.signatures
        ]  # fmt: skip
        command_line.print_json({**described._asdict(), "signatures": signatures})
        return
    from darkroom.pipeline import summaries

    summaries.of_model(command_line.console(), described)
