"""A TensorFlow Lite model that answers as a SavedModel does."""

import functools
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from flatbuffers import flexbuffers
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow.lite.tools import flatbuffer_utils
from tensorflow.lite.tools.flatbuffer_utils import schema_fb

from darkroom.serving import signatures
from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.server.saved_model import Function

FILE_NAME = "model.tflite"
_METADATA = b"signature_defs_metadata"


class LiteModel:
    """A loaded version, with an interpreter for each request that runs at a time."""

    def __init__(self, path: str, interpreters: int):
        """Loads ``model.tflite`` for ``interpreters`` requests at once; raises ServingError."""
        try:
            with tf.io.gfile.GFile(path, "rb") as file:
                self._content = file.read()
            try:  # The interpreter trusts a file that points beyond its end, and crashes.
                model = flatbuffer_utils.convert_bytearray_to_object(bytearray(self._content))
            except Exception as error:  # struct's, NumPy's and Python's own, wherever it points
                raise ValueError("the file is damaged or cut off") from error
            first = self._interpreter()
            found, self._graphs = _signatures(first, model)
            self.signatures: Mapping[str, SignatureDef] = found
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
        key = next((k for k, graph in self._graphs.items() if set(feeds) == set(graph.inputs)), "")

        def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
            interpreter = self._take()
            try:
                if not key:
                    return _run(interpreter, dict(zip(feeds, arrays, strict=True)), fetches)
                graph = self._graphs[key]
                named = {graph.inputs[n]: array for n, array in zip(feeds, arrays, strict=True)}
                outputs = _run_other(interpreter, key, named)
                return [outputs[graph.outputs[name]] for name in fetches]
            except (ValueError, RuntimeError) as error:
                # Its frames hold the signature's runner, with which the interpreter refuses to run.
                raise invalid(str(error)) from error.with_traceback(None)
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


class _Graph(NamedTuple):
    """Of a signature that isn't of a file's first graph: its aliases, by the names of tensors."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def _run(
    interpreter: tf.lite.Interpreter, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]
) -> list[np.ndarray]:
    """Runs a file's first graph."""
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


def _run_other(
    interpreter: tf.lite.Interpreter, key: str, arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Runs the graph of a signature, from and to arrays by aliases; raises ValueError."""
    runner = interpreter.get_signature_runner(key)
    for alias, detail in runner.get_input_details().items():
        expected, shape = detail["shape_signature"].tolist(), arrays[alias].shape
        fits = len(expected) == len(shape) and all(
            size in (-1, own) for size, own in zip(expected, shape, strict=True)
        )
        if expected and not fits:  # the interpreter would take any
            raise ValueError(f"{alias} is of shape {list(shape)}, expected {expected}")
    outputs: dict[str, np.ndarray] = runner(**arrays)
    return outputs


def _signatures(
    interpreter: tf.lite.Interpreter, model: schema_fb.ModelT
) -> tuple[dict[str, SignatureDef], dict[str, _Graph]]:
    """The model's signatures, and the graphs of those that aren't of the first one.

    Those in its metadata, as TensorFlow Serving reads them, come before its own. A model without
    any has one of all inputs and outputs.
    """
    inputs = {detail["name"]: detail for detail in interpreter.get_input_details()}
    outputs = {detail["name"]: detail for detail in interpreter.get_output_details()}
    found, graphs = {}, {}
    for own in model.signatureDefs or ():
        key = own.signatureKey.decode()
        runner = interpreter.get_signature_runner(key)
        details = runner.get_input_details(), runner.get_output_details()
        signature = _signature(*details)
        if own.subgraphIndex:
            aliases = []
            infos_of_both = (signature.inputs, signature.outputs)
            for infos, names in zip(infos_of_both, details, strict=True):
                for info in infos.values():
                    info.name = f"{key}/{info.name}"  # other graphs may have the same names
                aliases.append({infos[_alias(name)].name: name for name in names})
            graphs[key] = _Graph(*aliases)
        found[key] = signature
    for key, signature in _in_metadata(model).items():
        by_tensor = {
            _alias(info.name): alias
            for infos in (signature.inputs, signature.outputs)
            for alias, info in infos.items()
        }
        if missing := {_alias(name) for name in (*inputs, *outputs)} - set(by_tensor):
            raise ValueError(f"its metadata's signature {key} lacks the tensor {min(missing)}")
        found[key] = _signature(
            {by_tensor[_alias(name)]: detail for name, detail in inputs.items()},
            {by_tensor[_alias(name)]: detail for name, detail in outputs.items()},
        )
        found[key].method_name = signature.method_name
        graphs.pop(key, None)
    return found or {signatures.SERVING: _signature(inputs, outputs)}, graphs


def _in_metadata(model: schema_fb.ModelT) -> dict[str, SignatureDef]:
    """The signatures that TensorFlow Lite's signature_def_util writes."""
    for entry in model.metadata or ():
        if entry.name != _METADATA:
            continue
        try:
            found = flexbuffers.GetRoot(bytearray(model.buffers[entry.buffer].data)).AsMap
            pairs = zip(found.Keys, found.Values, strict=True)
            return {k.AsKey: SignatureDef.FromString(bytes(v.AsStringBytes)) for k, v in pairs}
        except Exception as error:  # struct's, protobuf's and Python's own, wherever it points
            raise ValueError(f"its {_METADATA.decode()} are damaged") from error
    return {}


def _alias(name: str) -> str:
    """TensorFlow Lite names its tensors without TensorFlow's output number."""
    return name.removesuffix(":0")


def _signature(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> SignatureDef:
    signature = SignatureDef(method_name="tensorflow/serving/predict")
    for details, infos in ((inputs, signature.inputs), (outputs, signature.outputs)):
        for alias, detail in details.items():
            info = infos[_alias(alias)]
            info.name = detail["name"]
            info.dtype = tf.as_dtype(detail["dtype"]).as_datatype_enum
            for size in detail.get("shape_signature", detail["shape"]):
                info.tensor_shape.dim.add().size = int(size)
    return signature
