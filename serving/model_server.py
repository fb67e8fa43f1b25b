r"""TensorFlow Serving's model server, where its binary isn't.

    python -m darkroom.serving.model_server --rest_api_port=8501 --model_name=digits \
        --model_base_path=/models/digits

A client, a flag, a configuration file and a dashboard of TensorFlow Serving's work unchanged.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from darkroom.serving.errors import ServingError
from darkroom.serving.server import flags, server_config
from darkroom.serving.server.access import Keys, tls_context
from darkroom.serving.server.server_config import ModelServerConfig

if TYPE_CHECKING:
    from darkroom.serving.rest.http_server import HttpServer
    from darkroom.serving.server.grpc_server import GrpcServer
    from darkroom.serving.server.manager import Manager
    from darkroom.serving.server.prediction_service import PredictionService

_log = logging.getLogger("serving")

_HEALTH_SECONDS = 0.2  # between two looks at whether all models are there
# Objects that come to be between two looks for those that refer to each other. Python's own, 700,
# is some twenty requests: a twentieth of the time that the event loop has.
_COLLECT_AFTER = 50_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until it is told to stop; returns the exit code."""
    options = flags.parse(arguments)
    try:
        # All that can be wrong with the files, before TensorFlow is imported.
        files = _Files(options)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        logging.basicConfig(
            stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        _run(_serve(options, files))
    except ServingError as error:
        print(f"model_server: {error.message}", file=sys.stderr)
        return 1
    return 0


def _run(serving: Coroutine[Any, Any, None]) -> None:
    """Runs the event loop: uvloop's, which takes a sixth less of a core, but on Windows."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


class _Files:
    """What the configuration files say."""

    def __init__(self, options: argparse.Namespace):
        self.models = _models(options)
        self.monitoring = server_config.MonitoringConfig()
        if options.monitoring_config_file:
            self.monitoring = server_config.read(
                options.monitoring_config_file, server_config.MonitoringConfig
            )
        self.batching = server_config.batching(
            options.enable_batching, options.batching_parameters_file, options.max_enqueued_bytes
        )
        self.tls = None
        if options.ssl_config_file:
            self.tls = server_config.read(options.ssl_config_file, server_config.SSLConfig)
            tls_context(self.tls)
        self.keys = Keys(options.api_key_file)


def _models(options: argparse.Namespace) -> ModelServerConfig:
    if not options.model_config_file:
        base_path = options.model_base_path
        if "://" not in base_path:
            base_path = os.path.abspath(base_path)
        config = server_config.single_model(options.model_name, base_path)
    else:
        config = server_config.read(options.model_config_file, ModelServerConfig)
    server_config.check(config)
    return config


async def _serve(options: argparse.Namespace, files: _Files) -> None:
    stopping = _told_to_stop()
    service = _service(options, files)
    try:
        await _answer(options, files, service, stopping)
    finally:
        await service.close()
    _log.info("Stopped.")


async def _answer(
    options: argparse.Namespace,
    files: _Files,
    service: "PredictionService",
    stopping: asyncio.Event,
) -> None:
    # Ports are taken first, so that a port of another server is told at once; they answer when
    # the first try to load is over, as TensorFlow Serving's.
    servers = _listen(options, files, service)
    # What is imported stays. A full collection that looked at all of TensorFlow's objects would
    # hold up all requests for 0.2 s, once in some thousands of them. Models come later and go.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    loading = asyncio.create_task(service.manager.start(files.models))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait([loading, stopped], return_when=asyncio.FIRST_COMPLETED)
    if loading.done():
        loading.result()
    tasks = [loading]
    if not stopping.is_set():
        for server in servers:
            await server.start()
        if options.port:
            _log.info("Running gRPC ModelServer at %s:%d ...", options.host, options.port)
        if options.rest_api_port:
            _log.info("Exporting HTTP/REST API at:%s:%d ...", options.host, options.rest_api_port)
        tasks.append(asyncio.create_task(_tell_health(service.manager, servers)))
        if options.model_config_file and options.model_config_file_poll_wait_seconds > 0:
            tasks.append(asyncio.create_task(_watch_config(options, service.manager)))
        await stopped
        _log.info("Stopping; requests under way are finished.")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*(server.stop(options.shutdown_grace_seconds) for server in servers))


def _told_to_stop() -> asyncio.Event:
    """What SIGTERM and Ctrl-C set."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # The loop's own add_signal_handler is not on Windows.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopping.set))
    return stopping


def _service(options: argparse.Namespace, files: _Files) -> "PredictionService":
    from darkroom.serving.server.batching import Batcher
    from darkroom.serving.server.inference import Limits
    from darkroom.serving.server.loading import Loader
    from darkroom.serving.server.manager import Manager
    from darkroom.serving.server.prediction_service import PredictionService
    from darkroom.serving.server.prometheus import Metrics
    from darkroom.serving.server.request_log import RequestLog

    metrics = Metrics()
    limits = Limits(options.max_request_bytes, options.max_image_pixels)
    manager = Manager(
        Loader(options, limits, metrics),
        poll_seconds=options.file_system_poll_wait_seconds,
        retries=options.max_num_load_retries,
        retry_seconds=options.load_retry_interval_micros / 1e6,
        labels_ahead=options.allow_version_labels_for_unavailable_models,
        canary_share=options.canary_share,
    )
    batcher = Batcher(files.batching, options.max_image_pixels)
    log = RequestLog(metrics, options.request_log_file_bytes, options.request_log_files)
    return PredictionService(manager, batcher, limits, metrics, log)


def _listen(
    options: argparse.Namespace, files: _Files, service: "PredictionService"
) -> "list[GrpcServer | HttpServer]":
    from darkroom.serving.rest.api import RestApp
    from darkroom.serving.rest.http_server import HttpServer
    from darkroom.serving.server.grpc_server import GrpcServer

    servers: list[GrpcServer | HttpServer] = []
    if options.port or options.grpc_socket_path:
        grpc_server = GrpcServer(
            service, files.keys, options.max_request_bytes, options.grpc_channel_arguments
        )
        if options.port:
            grpc_server.listen(f"{options.host}:{options.port}", files.tls)
        if options.grpc_socket_path:
            grpc_server.listen(f"unix:{options.grpc_socket_path}", files.tls)
        servers.append(grpc_server)
    if options.rest_api_port:
        prometheus = files.monitoring.prometheus_config
        app = RestApp(
            service,
            files.keys,
            max_bytes=options.max_request_bytes,
            timeout_seconds=options.rest_api_timeout_in_ms / 1000,
            metrics_path=(prometheus.path or flags.METRICS_PATH) if prometheus.enable else "",
            cors=options.rest_api_enable_cors_support,
        )
        http_server = HttpServer(app, tls_context(files.tls) if files.tls else None)
        http_server.listen(options.host, options.rest_api_port)
        servers.append(http_server)
    return servers


async def _tell_health(manager: "Manager", servers: "list[GrpcServer | HttpServer]") -> None:
    """Keeps gRPC's health service and the log up to date."""
    told = None
    while True:
        ready = manager.ready()
        if ready is not told:
            told = ready
            _log.info("Ready." if ready else "Not ready: a model has no version that answers.")
            for server in servers:
                await server.set_ready(ready)
        await asyncio.sleep(_HEALTH_SECONDS)


async def _watch_config(options: argparse.Namespace, manager: "Manager") -> None:
    """Takes what changes in the model config file; a bad file changes nothing."""
    taken = None
    while True:
        with contextlib.suppress(OSError):
            content = await asyncio.to_thread(_content, options.model_config_file)
            if taken is not None and content != taken:
                try:
                    await manager.reload(_models(options))
                    _log.info("Took the new model config file.")
                except ServingError as error:
                    _log.error("The new model config file is not taken: %s", error.message)
            taken = content
        await asyncio.sleep(options.model_config_file_poll_wait_seconds)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # All that is the server's is closed. What gRPC has left, as of a port that it could not get,
    # now and then keeps an interpreter from ending.
    os._exit(code)
