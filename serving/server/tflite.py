"""A TensorFlow Lite model that answers as a SavedModel does."""

import functools
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow.lite.tools import flatbuffer_utils

from darkroom.serving import signatures
from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.server.saved_model import Function

FILE_NAME = "model.tflite"


class LiteModel:
    """A loaded version, with an interpreter for each request that runs at a time."""

    def __init__(self, path: str, interpreters: int):
        """Loads ``model.tflite`` for ``interpreters`` requests at once; raises ServingError."""
        try:
            with tf.io.gfile.GFile(path, "rb") as file:
                self._content = file.read()
            try:  # The interpreter trusts a file that points beyond its end, and crashes.
                flatbuffer_utils.convert_bytearray_to_object(bytearray(self._content))
            except Exception as error:  # struct's, NumPy's and Python's own, wherever it points
                raise ValueError("the file is damaged or cut off") from error
            first = self._interpreter()
            self.signatures: Mapping[str, SignatureDef] = _signatures(first)
        except (ValueError, RuntimeError, tf.errors.OpError) as error:
            raise ServingError(Code.UNKNOWN, f"{path} can't be loaded: {error}") from error
        self._missing = interpreters - 1
        self._lock = threading.Lock()
        self._idle: queue.SimpleQueue[tf.lite.Interpreter] = queue.SimpleQueue()
        self._idle.put(first)
        self.function = functools.lru_cache(maxsize=None)(self._function)

    def _interpreter(self) -> tf.lite.Interpreter:
        interpreter = tf.lite.Interpreter(model_content=self._content, num_threads=1)
        interpreter.allocate_tensors()
        return interpreter

    def _function(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Function:
        def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
            interpreter = self._take()
            try:
                return _run(interpreter, dict(zip(feeds, arrays, strict=True)), fetches)
            except (ValueError, RuntimeError) as error:
                raise invalid(str(error)) from error
            finally:
                self._idle.put(interpreter)

        return run

    def _take(self) -> tf.lite.Interpreter:
        with self._lock:
            if self._idle.empty() and self._missing:
                self._missing -= 1
                return self._interpreter()
        return self._idle.get()

    def close(self) -> None:
        self.function.cache_clear()
        self._idle = queue.SimpleQueue()


def _run(
    interpreter: tf.lite.Interpreter, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]
) -> list[np.ndarray]:
    details = {detail["name"]: detail for detail in interpreter.get_input_details()}
    for name, array in feeds.items():
        detail = details[name]
        if list(detail["shape"]) != list(array.shape):
            # Older files don't say which sizes are free.
            strict = -1 in detail["shape_signature"]
            interpreter.resize_tensor_input(detail["index"], array.shape, strict)
    interpreter.allocate_tensors()
    for name, array in feeds.items():
        interpreter.set_tensor(details[name]["index"], array)
    interpreter.invoke()
    indices = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
    return [interpreter.get_tensor(indices[name]) for name in fetches]


def _signatures(interpreter: tf.lite.Interpreter) -> dict[str, SignatureDef]:
    """The model's own signatures; in older models, one of all inputs and outputs.

    Of several only those that share the first one's inputs and outputs: the others are graphs of
    their own, which an interpreter runs in another way.
    """
    inputs = {detail["name"]: detail for detail in interpreter.get_input_details()}
    outputs = {detail["name"]: detail for detail in interpreter.get_output_details()}
    runners = {
        key: interpreter.get_signature_runner(key) for key in interpreter.get_signature_list()
    }
    own = {
        key: _signature(runner.get_input_details(), runner.get_output_details())
        for key, runner in runners.items()
    }
    if not own:
        return {signatures.SERVING: _signature(inputs, outputs)}
    return {k: s for k, s in own.items() if {i.name for i in s.inputs.values()} <= set(inputs)}


def _signature(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> SignatureDef:
    signature = SignatureDef(method_name="tensorflow/serving/predict")
    for details, infos in ((inputs, signature.inputs), (outputs, signature.outputs)):
        for alias, detail in details.items():
            # TensorFlow Lite names its tensors without TensorFlow's output number.
            info = infos[alias.removesuffix(":0")]
            info.name = detail["name"]
            info.dtype = tf.as_dtype(detail["dtype"]).as_datatype_enum
            for size in detail.get("shape_signature", detail["shape"]):
                info.tensor_shape.dim.add().size = int(size)
    return signature
