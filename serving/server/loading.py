"""Loading a version, and warming it up with the requests that came with it."""

import os
import time

import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from darkroom.serving import signatures
from darkroom.serving.errors import Code, ServingError
from darkroom.serving.flags import Flags
from darkroom.serving.server import inference, saved_model, tflite
from darkroom.serving.server.inference import Limits
from darkroom.serving.server.prometheus import Metrics
from darkroom.serving.server.servable import Model, Servable

_MOST_WARMUP_REQUESTS = 1000  # as TensorFlow Serving's


class Loader:
    """Loads versions for a ``Manager``, in its threads."""

    def __init__(self, flags: Flags, limits: Limits, metrics: Metrics):
        self._flags, self._limits, self._metrics = flags, limits, metrics
        session = flags.tensorflow_session_parallelism
        self._session_config = saved_model.session_config(
            flags.tensorflow_intra_op_parallelism or session,
            flags.tensorflow_inter_op_parallelism or session,
            flags.per_process_gpu_memory_fraction,
        )

    def __call__(self, servable: Servable) -> Model:
        """Loads a version and warms it up; raises ServingError where either fails."""
        lite = os.path.join(servable.path, tflite.FILE_NAME)
        model: Model
        if self._flags.prefer_tflite_model and tf.io.gfile.exists(lite):
            model = tflite.LiteModel(lite, os.cpu_count() or 1)
        else:
            tags = self._flags.saved_model_tags.split(",")
            model = saved_model.SavedModel(servable.path, tags, self._session_config)
        if self._flags.enable_model_warmup:
            start = time.perf_counter()
            status = Code.OK
            try:
                self._warm_up(servable, model)
            except ServingError as error:
                status = error.code
                model.close()
                raise
            finally:
                self._metrics.warmup.add(
                    servable.path, status.name, seconds=time.perf_counter() - start
                )
        return model

    def _warm_up(self, servable: Servable, model: Model) -> None:
        path = os.path.join(servable.path, signatures.WARMUP_PATH)
        if not tf.io.gfile.exists(path):
            return
        try:
            records = tf.data.TFRecordDataset(path).take(_MOST_WARMUP_REQUESTS)
            for record in records.as_numpy_iterator():
                _replay(model, PredictionLog.FromString(record), self._limits)
        except Exception as error:  # OpError, DecodeError, ServingError, and what functions raise
            reason = saved_model.serving_error(error)
            raise ServingError(
                reason.code, f"a warm-up request of {path} failed: {reason.message}"
            ) from error


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
