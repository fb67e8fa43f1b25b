r"""TensorFlow Serving's model server, where its binary isn't.

    python -m darkroom.serving.model_server --rest_api_port=8501 --model_name=digits \
        --model_base_path=/models/digits

A client, a flag, a configuration file and a dashboard of TensorFlow Serving's work unchanged.
"""

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from darkroom.serving import interrupts

if __name__ == "__main__":
    interrupts.heed_at_once()  # while the rest is imported, too

from darkroom.serving import imports, logs, telemetry
from darkroom.serving.errors import ServingError, invalid
from darkroom.serving.flags import METRICS_PATH, Flags, parse
from darkroom.serving.interrupts import INTERRUPTED
from darkroom.serving.protocols import ports
from darkroom.serving.protocols.access import Administrators, Keys, tls_context
from darkroom.serving.server import server_config
from darkroom.serving.server.server_config import ModelServerConfig

if TYPE_CHECKING:
    from darkroom.serving.codecs.json_codec import JsonCodec
    from darkroom.serving.protocols.grpc_server import GrpcServer
    from darkroom.serving.protocols.http_server import HttpServer
    from darkroom.serving.server.manager import Manager
    from darkroom.serving.server.prediction_service import PredictionService

    _Servers = list[GrpcServer | HttpServer]

_log = logging.getLogger("serving")

_HEALTH_SECONDS = 0.2  # between two looks at whether all models are there
# Objects that come to be between two looks for those that refer to each other. Python's own, 700,
# is some twenty requests: a twentieth of the time that the event loop has.
_COLLECT_AFTER = 50_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until it is told to stop; returns the exit code."""
    flags = parse(arguments)
    try:
        # All that can be wrong with files and ports, before TensorFlow is imported.
        files = _Files(flags)
        ports.require(flags)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        logs.begin(sys.stderr, one_line=True)
        if flags.without_effect:
            _log.warning("Without effect here: --%s.", ", --".join(flags.without_effect))
        telemetry.begin("darkroom-model-server")
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        run: Callable[[Coroutine[object, object, int]], int] = asyncio.run
        with contextlib.suppress(ImportError):  # it takes a sixth less of a core; not on Windows
            import uvloop

            run = uvloop.run
        return run(_serve(flags, files))
    except ServingError as error:
        print(f"model_server: {error.message}", file=sys.stderr)
    return 1


class _Files:
    def __init__(self, flags: Flags):
        read = server_config.read
        self.models = _models(flags)
        self.monitoring = read(flags.monitoring_config_file, server_config.MonitoringConfig)
        self.batching = server_config.batching(flags)
        self.op_libraries = [path for path in flags.op_libraries.split(",") if path]
        for path in self.op_libraries:
            if not os.path.exists(path):
                raise invalid(f"--op_libraries: there is no {path}")
        path = flags.ssl_config_file
        self.tls = read(path, server_config.SSLConfig) if path else None
        self.http_tls = tls_context(self.tls) if self.tls is not None else None
        self.keys = Keys(flags.api_key_file)
        admin_keys = Keys(flags.admin_api_key_file, "--admin_api_key_file")
        self.admins = Administrators(self.keys, admin_keys, flags.host)


def _models(flags: Flags) -> ModelServerConfig:
    config = server_config.read(flags.model_config_file, ModelServerConfig)
    if not flags.model_config_file:
        path = flags.model_base_path
        path = path if "://" in path else os.path.abspath(path)
        config.model_config_list.config.add(name=flags.model_name, base_path=path)
    server_config.check(config)
    return config


async def _serve(flags: Flags, files: _Files) -> int:
    """Serves until a signal comes; returns the exit code."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    code = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal code
        if number == signal.SIGINT:
            interrupts.end_import(frame)
            code = INTERRUPTED
        loop.call_soon_threadsafe(stopping.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)  # the loop's own add_signal_handler is not on Windows
    with imports.without_collections():
        from darkroom.serving.codecs.json_codec import JsonCodec

        codec = JsonCodec()  # before all that doesn't go with a fork
        telemetry.send()
        service = _service(flags, files)
    try:
        await _answer(flags, files, service, codec, stopping)
    finally:
        await service.close()
        telemetry.end()
    _log.info("Stopped.")
    return code


async def _answer(
    flags: Flags,
    files: _Files,
    service: "PredictionService",
    codec: "JsonCodec",
    stopping: asyncio.Event,
) -> None:
    # Ports are taken first, so that a port of another server is told at once; they answer when
    # the first try to load is over, as TensorFlow Serving's. A full collection that looked at all
    # of TensorFlow's objects would hold up all requests for 0.2 s, once in some thousands of them.
    with imports.without_collections():
        servers = _listen(flags, files, service, codec)
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
        if flags.port:
            _log.info("Running gRPC ModelServer at %s:%d ...", flags.host, flags.port)
        if flags.rest_api_port:
            _log.info("Exporting HTTP/REST API at:%s:%d ...", flags.host, flags.rest_api_port)
        tasks.append(asyncio.create_task(_tell_health(service.manager, servers)))
        if flags.model_config_file and flags.model_config_file_poll_wait_seconds > 0:
            tasks.append(asyncio.create_task(_watch_config(flags, service.manager)))
        await stopped
        _log.info("Stopping; requests under way are finished.")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*(server.stop(flags.shutdown_grace_seconds) for server in servers))


def _service(flags: Flags, files: _Files) -> "PredictionService":
    from darkroom.serving.server import batching, inference, loading, prediction_service, prometheus
    from darkroom.serving.server.manager import Manager
    from darkroom.serving.server.request_log import RequestLog

    loading.load_op_libraries(files.op_libraries)
    metrics = prometheus.Metrics()
    limits = inference.Limits(
        flags.max_request_bytes, flags.max_image_pixels, flags.enable_signature_method_name_check
    )
    session = loading.session_config(flags)
    load = functools.partial(
        loading.load, flags=flags, session=session, limits=limits, metrics=metrics
    )
    manager = Manager(load, flags)
    pixels = min(flags.max_image_pixels, batching.MAX_BATCH_PIXELS)
    batcher = batching.Batcher(files.batching, pixels)
    log = RequestLog(
        metrics, flags.request_log_file_bytes, flags.request_log_files, flags.request_log_folder
    )
    return prediction_service.PredictionService(manager, batcher, limits, metrics, log)


def _listen(
    flags: Flags, files: _Files, service: "PredictionService", codec: "JsonCodec"
) -> "_Servers":
    from darkroom.serving.protocols.grpc_server import GrpcServer
    from darkroom.serving.protocols.http_server import HttpServer
    from darkroom.serving.protocols.rest_api import RestApp

    servers: _Servers = []
    if flags.port or flags.grpc_socket_path:
        servers.append(GrpcServer(service, files.keys, files.admins, flags, files.tls))
    if flags.rest_api_port:
        prometheus = files.monitoring.prometheus_config
        metrics_path = (prometheus.path or METRICS_PATH) if prometheus.enable else ""
        app = RestApp(service, codec, files.keys, flags, metrics_path)
        servers.append(HttpServer(app, flags.host, flags.rest_api_port, files.http_tls))
    return servers


async def _tell_health(manager: "Manager", servers: "_Servers") -> None:
    announced = None
    while True:
        if (ready := manager.ready()) is not announced:
            announced = ready
            _log.info("Ready." if ready else "Not ready: a model has no version that answers.")
            for server in servers:
                await server.set_ready(ready)
        await asyncio.sleep(_HEALTH_SECONDS)


async def _watch_config(flags: Flags, manager: "Manager") -> None:
    """Takes what changes in the model config file; a bad file changes nothing."""
    taken = None
    while True:
        with contextlib.suppress(OSError):
            content = await asyncio.to_thread(Path(flags.model_config_file).read_bytes)
            if taken is not None and content != taken:
                try:
                    await manager.reload(_models(flags))
                    _log.info("Took the new model config file.")
                except ServingError as error:
                    _log.error("The new model config file is not taken: %s", error.message)
            taken = content
        await asyncio.sleep(flags.model_config_file_poll_wait_seconds)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # What gRPC has left, as of a port that it could not get, may keep an interpreter from ending.
    os._exit(code)
