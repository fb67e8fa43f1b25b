"""Loading a version, and warming it up with the requests that came with it."""

import os
import time
from collections.abc import Sequence

import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from darkroom.serving import signatures
from darkroom.serving.errors import Code, ServingError
from darkroom.serving.flags import Flags
from darkroom.serving.server import inference, saved_model, server_config, tflite
from darkroom.serving.server.inference import Limits
from darkroom.serving.server.manager import Servable
from darkroom.serving.server.prometheus import Metrics
from darkroom.serving.server.saved_model import Model

_MOST_WARMUP_REQUESTS = 1000  # as TensorFlow Serving's


def session_config(flags: Flags) -> ConfigProto:
    """How TensorFlow's sessions use the machine; raises ServingError where a file isn't one."""
    if flags.tensorflow_session_config_file:
        return server_config.read(flags.tensorflow_session_config_file, ConfigProto)
    threads = flags.tensorflow_session_parallelism
    return saved_model.session_config(
        flags.tensorflow_intra_op_parallelism or threads,
        flags.tensorflow_inter_op_parallelism or threads,
        flags.per_process_gpu_memory_fraction,
    )


def load_op_libraries(paths: Sequence[str]) -> None:
    """Loads the ops of libraries, or of all in a folder; raises ServingError where it can't."""
    for path in paths:
        try:
            tf.load_library(path)
        except (tf.errors.OpError, OSError, RuntimeError) as error:
            reason = str(error).removeprefix(f"{path}: ")
            message = f"--op_libraries: {path} can't be loaded: {reason}"
            raise ServingError(Code.FAILED_PRECONDITION, message) from error


def load(
    servable: Servable, flags: Flags, session: ConfigProto, limits: Limits, metrics: Metrics
) -> Model:
    """Loads a version and warms it up; raises ServingError where either fails."""
    lite = os.path.join(servable.path, tflite.FILE_NAME)
    model: Model
    if flags.prefer_tflite_model and tf.io.gfile.exists(lite):
        model = tflite.LiteModel(lite, os.cpu_count() or 1)
    else:
        model = saved_model.SavedModel(servable.path, flags.saved_model_tags.split(","), session)
    if flags.enable_model_warmup:
        start, status = time.perf_counter(), Code.OK
        try:
            for _ in range(max(1, flags.num_request_iterations_for_warmup)):
                _warm_up(servable, model, limits)
        except ServingError as error:
            status = error.code
            model.close()
            raise
        finally:
            metrics.warmup.add(servable.path, status.name, seconds=time.perf_counter() - start)
    return model


def _warm_up(servable: Servable, model: Model, limits: Limits) -> None:
    path = os.path.join(servable.path, signatures.WARMUP_PATH)
    if not tf.io.gfile.exists(path):
        return
    try:
        records = tf.data.TFRecordDataset(path).take(_MOST_WARMUP_REQUESTS)
        for record in records.as_numpy_iterator():
            _replay(model, PredictionLog.FromString(record), limits)
    except Exception as error:  # OpError, DecodeError, ServingError, and what functions raise
        reason = saved_model.serving_error(error)
        message = f"a warm-up request of {path} failed: {reason.message}"
        raise ServingError(reason.code, message) from error


def _replay(model: Model, log: PredictionLog, limits: Limits) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        name = request.model_spec.signature_name or signatures.SERVING
        signature = inference.signature_of(model, name)
        inputs = inference.arrays_of(request, signature, limits)
        call = inference.predict_call(model, signature, inputs, limits, request.output_filter)
    elif kind in ("classify_log", "regress_log", "multi_inference_log"):
        request = getattr(log, kind).request
        many = kind == "multi_inference_log"
        tasks = request.tasks if many else [inference.task_of(request)]
        call = inference.examples_call(model, tasks, request.input, limits)
    else:
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
    call.function(call.inputs)
