"""Predict, Classify, Regress and MultiInference: from a request to a ``Call``, and back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest, ClassificationResult
from tensorflow_serving.apis.inference_pb2 import InferenceResult, InferenceTask
from tensorflow_serving.apis.input_pb2 import Input
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.regression_pb2 import RegressionRequest, RegressionResult

from darkroom.serving import signatures
from darkroom.serving.codecs import image_header, tensors
from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.server.batching import Call
from darkroom.serving.server.manager import Servable
from darkroom.serving.server.saved_model import Function, Model

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_INPUTS, _CLASSES, _SCORES, _OUTPUTS = "inputs", "classes", "scores", "outputs"
# What TensorFlow Serving calls a method, and the outputs that its signature may have.
_METHODS = {CLASSIFY: ("classification", (_CLASSES, _SCORES)), REGRESS: ("regression", (_OUTPUTS,))}

Arrays = Mapping[str, np.ndarray]  # by their names in the signature, or by tensor names


class Limits(NamedTuple):
    """What is refused of a request before it is decoded."""

    max_bytes: int  # of its tensors
    max_pixels: int  # of an encoded image in it
    check_method_names: bool = False  # whether Classify and Regress need signatures of that kind

    def count_pixels(self, arrays: Iterable[np.ndarray]) -> int:
        """Pixels of all encoded images, by their headers; raises ServingError at too large ones."""
        total = 0
        for array in arrays:
            if array.dtype != object:
                continue
            for value in _values(array):
                pixels = image_header.pixels(value) + image_header.pixels_within(value)
                if pixels > self.max_pixels:
                    most = f"at most {self.max_pixels} are decoded"
                    raise invalid(f"an image claims {pixels} pixels; {most}")
                total += pixels
        return total


def string_bytes(arrays: Iterable[np.ndarray]) -> int:
    """Bytes of all strings, in which there may be images."""
    return sum(len(v) for array in arrays if array.dtype == object for v in _values(array))


# Predict.


def predict_call(
    model: Model, signature: SignatureDef, inputs: Arrays, limits: Limits, wanted: Sequence[str]
) -> Call:
    """The call of a Predict request for the ``wanted`` outputs, or all; raises ServingError."""
    sent, expected = set(inputs), set(signature.inputs)
    # Defaults of inputs are TensorFlow 2.13's.
    defaults = set(getattr(signature, "defaults", ()))
    if sent - expected or expected - sent - defaults:
        raise invalid(_wrong_inputs(sent, expected))
    for at, name in enumerate(wanted):
        if name not in signature.outputs:
            outputs = ",".join(sorted(signature.outputs))
            expected_set = f"Arrays expected to be in the set {{{outputs}}}."
            raise invalid(f"output tensor alias not found in signature: {name} {expected_set}")
        if name in wanted[:at]:
            raise invalid(f"duplicate output tensor alias: {name}")
    names = sorted(wanted or signature.outputs)
    arrays = dict(inputs)
    for name in expected - sent:
        arrays[name] = tf.make_ndarray(signature.defaults[name])
    order = sorted(arrays)
    function = model.function(
        tuple(signature.inputs[name].name for name in order),
        tuple(signature.outputs[name].name for name in names),
    )
    values = [arrays[name] for name in order]
    infos = [signature.inputs[name] for name in order]
    infos += [signature.outputs[name] for name in names]
    if _takes_pictures(signature) and not all(map(image_header.is_plain, _values(values[0]))):
        # Alone, as nobody has counted the pixels yet.
        return Call(_after_reading(function, limits.max_pixels), values, alone=True, names=names)
    alone = any(map(_is_fixed, infos))
    return Call(function, values, limits.count_pixels(values), alone, names)


def _takes_pictures(signature: SignatureDef) -> bool:
    """Whether it is of darkroom's contract: from image files to classes and scores, or numbers."""
    outputs = signature.outputs
    ours = ((signatures.CLASSES, signatures.SCORES), (signatures.NAMES, signatures.NUMBERS))
    is_ours = any(all(name in outputs for name in pair) for pair in ours)
    return is_ours and list(signature.inputs) == [signatures.IMAGE_BYTES]


def _after_reading(function: Function, max_pixels: int) -> Function:
    """A function of image files of any kind that ``darkroom ingest`` takes."""

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        from darkroom.serving.codecs import pictures  # Pillow; most servers never need it

        [images] = arrays
        try:
            read = [pictures.for_the_graph(image, max_pixels) for image in _values(images)]
        except pictures.ImageError as error:
            raise invalid(f"an image can't be decoded: {error}") from error
        return function([np.array(read, object).reshape(images.shape)])

    return run


def _values(array: np.ndarray) -> list[bytes]:
    values: list[bytes] = array.ravel().tolist()
    return values


def _is_fixed(info: TensorInfo) -> bool:
    """Whether a tensor is known to have the same first dimension for any number of examples."""
    shape = info.tensor_shape
    is_known = info.HasField("tensor_shape") and not shape.unknown_rank
    return is_known and (not shape.dim or shape.dim[0].size >= 0)


def arrays_of(request: PredictRequest, signature: SignatureDef, limits: Limits) -> Arrays:
    """The inputs of a request on the wire; raises ServingError where they don't fit."""
    arrays = {}
    for name, proto in request.inputs.items():
        info = signature.inputs.get(name)
        if info is not None and info.dtype != proto.dtype:
            types = map(tensors.dtype_name, (info.dtype, proto.dtype))
            raise invalid(f'input "{name}" must be of type {", received ".join(types)}')
        arrays[name] = tensors.to_array(name, proto, limits.max_bytes)
    return arrays


def predict_response(servable: Servable, signature: str, outputs: Arrays) -> PredictResponse:
    """The response on the wire."""
    response = PredictResponse()
    write_spec(response.model_spec, servable, signature)
    for name, array in outputs.items():
        tensors.fill(response.outputs[name], array)
    return response


def predict_request(servable: Servable, signature: str, inputs: Arrays) -> PredictRequest:
    """What a client would have sent over gRPC, for the request log."""
    sent = predict_response(servable, signature, inputs)
    return PredictRequest(model_spec=sent.model_spec, inputs=sent.outputs)


def _wrong_inputs(sent: set[str], expected: set[str]) -> str:
    sets = sent, expected, sent - expected, expected - sent
    have, want, extra, missing = ("{" + ",".join(sorted(names)) + "}" for names in sets)
    return (
        f"input size does not match signature: {len(sent)}!={len(expected)} len({have}) != "
        f"len({want}). Sent extra: {extra}. Missing but required: {missing}."
    )


# Classify, Regress, MultiInference: one or more tasks over the same tf.Examples.


def examples_call(
    model: Model, tasks: Sequence[InferenceTask], examples: Input, limits: Limits
) -> Call:
    """The call of some tasks, with outputs named as tensors; raises ServingError."""
    fed, fetched = set(), set()
    for task in tasks:
        signature = signature_of(model, task.model_spec.signature_name)
        feed, fetches = _feed_and_fetches(signature, task.method_name, limits.check_method_names)
        fed.add(feed)
        fetched.update(fetches)
    if len(fed) > 1:
        raise invalid("Input tensor must be the same for all Signatures.")
    names = sorted(fetched)
    array = _serialized(examples)
    function = model.function(tuple(fed), tuple(names))
    return Call(function, [array], limits.count_pixels([array]), names=names)


def task_of(request: ClassificationRequest | RegressionRequest) -> InferenceTask:
    """The one task of a request that isn't MultiInference."""
    method = CLASSIFY if isinstance(request, ClassificationRequest) else REGRESS
    return InferenceTask(model_spec=request.model_spec, method_name=method)


def check_tasks(tasks: Sequence[InferenceTask]) -> None:
    """Raises ServingError where tasks can't be done together."""
    if not tasks:
        raise invalid("Inference request must have at least one task.")
    seen = set()
    for task in tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            message = "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            raise invalid(message)
        name = task.model_spec.signature_name or signatures.SERVING
        if name in seen:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        if task.method_name not in _METHODS:
            message = f"Unsupported signature method_name: {task.method_name}"
            raise ServingError(Code.UNIMPLEMENTED, message)


def signature_of(model: Model, name: str) -> SignatureDef:
    """The signature of that name, or the default one; raises ServingError without it."""
    name = name or signatures.SERVING
    if name not in model.signatures:
        raise invalid(f"No signature was found with the name: {name}")
    return model.signatures[name]


def classification(signature: SignatureDef, outputs: Arrays, count: int) -> ClassificationResult:
    """The result of ``count`` examples, from classes string and scores float32 [count, classes].

    ``outputs`` are by the names of tensors. Raises ServingError where they have other shapes.
    """
    classes, scores = (
        outputs[signature.outputs[name].name] if name in signature.outputs else None
        for name in (_CLASSES, _SCORES)
    )
    for name, array, dtype in ((_CLASSES, classes, np.object_), (_SCORES, scores, np.float32)):
        if array is None:
            continue
        if array.ndim != 2:
            message = f"Expected Tensor shape: [batch_size num_classes] but got {list(array.shape)}"
            raise invalid(message)
        if array.dtype != dtype:
            kind = "DT_STRING" if dtype is np.object_ else "DT_FLOAT"
            raise invalid(f"Expected {name} Tensor of {kind}. Got: {array.dtype}")
        if len(array) != count:
            raise invalid(f"Expected {name} output batch size of {count}. Got: {len(array)}")
    if classes is not None and scores is not None and classes.shape != scores.shape:
        sizes = f"{classes.shape[1]} vs. {scores.shape[1]}"
        raise invalid(f"Tensors class and score should match in dim_size(1). Got {sizes}")
    [shape] = {array.shape for array in (classes, scores) if array is not None}
    classes = np.full(shape, "", object) if classes is None else classes
    scores = np.zeros(shape) if scores is None else scores
    result = ClassificationResult()
    for labels, values in zip(classes.tolist(), scores.tolist(), strict=True):
        one = result.classifications.add()
        for label, value in zip(labels, values, strict=True):
            one.classes.add(label=label, score=value)
    return result


def regression(signature: SignatureDef, outputs: Arrays, count: int) -> RegressionResult:
    """The result from values float32 [count] or [count, 1]; else as ``classification``."""
    values = outputs[signature.outputs[_OUTPUTS].name]
    if values.ndim != 1 and values.shape[1:] != (1,):
        shapes = f"either [batch_size] or [batch_size, 1] but got {list(values.shape)}"
        raise invalid(f"Expected output Tensor shape to be {shapes}")
    if len(values) != count:
        sizes = f"{count} vs. {len(values)}"
        raise invalid(f"Input batch size did not match output batch size: {sizes}")
    if values.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {values.dtype}")
    return RegressionResult(regressions=[{"value": value} for value in values.ravel().tolist()])


def result(
    servable: Servable, model: Model, task: InferenceTask, outputs: Arrays, count: int
) -> InferenceResult:
    """A task's result; arguments and errors as of ``classification``."""
    answer, name = InferenceResult(), task.model_spec.signature_name
    write_spec(answer.model_spec, servable, name)
    options = signature_of(model, name), outputs, count
    if task.method_name == CLASSIFY:
        answer.classification_result.CopyFrom(classification(*options))
    else:
        answer.regression_result.CopyFrom(regression(*options))
    return answer


def write_spec(spec: ModelSpec, servable: Servable, signature_name: str) -> None:
    """The effective ModelSpec of a response."""
    spec.name = servable.name
    spec.version.value = servable.version
    spec.signature_name = signature_name or signatures.SERVING


def _feed_and_fetches(
    signature: SignatureDef, method: str, check_name: bool
) -> tuple[str, list[str]]:
    kind, outputs = _METHODS[method]
    _check_kind(signature, method)
    # TensorFlow 2 saves every function as one that predicts.
    if check_name and signature.method_name != method:
        names = f"{method}. Was: {signature.method_name}"
        raise invalid(f"Expected {kind} signature method_name to be {names}")
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if _INPUTS not in signature.inputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No {kind} inputs found in SignatureDef.")
    if not 1 <= len(signature.outputs) <= len(outputs):
        sizes = f"one or two output Tensors, found {len(signature.outputs)}"
        raise invalid(f"Expected {sizes if method == CLASSIFY else 'one output Tensor.'}")
    fetches = [signature.outputs[name].name for name in outputs if name in signature.outputs]
    if not fetches:
        message = "No regression outputs found in SignatureDef."
        if method == CLASSIFY:
            message = "Expected classification signature outputs to contain at least one of "
            message += (
                f'"{_CLASSES}" or "{_SCORES}". It has: {", ".join(sorted(signature.outputs))}'
            )
        raise ServingError(Code.FAILED_PRECONDITION, message)
    return signature.inputs[_INPUTS].name, fetches


def _check_kind(signature: SignatureDef, method: str) -> None:
    """Says what to ask instead of a regression of darkroom's, which TensorFlow Serving can't."""
    own = signatures.NAMES, signatures.NUMBERS, signatures.LOW, signatures.HIGH
    if not all(name in signature.outputs for name in own):
        return
    if method == CLASSIFY:
        raise invalid("Classify was asked of a regression, which has numbers, no classes: Regress")
    raise invalid(
        f"Regress takes one number alone: set signature_name to {signatures.REGRESS}, which models "
        "of one number have, or ask Predict for all of them"
    )


def _serialized(request: Input) -> np.ndarray:
    """The examples as a string tensor, [batch]; a common context is part of each."""
    in_context = request.example_list_with_context
    # Only one kind has examples. Serialised messages one after the other are the merged message.
    context = in_context.context.SerializeToString()
    examples = [*request.example_list.examples, *in_context.examples]
    if not examples:
        raise invalid("Input is empty.")
    array = np.empty(len(examples), dtype=object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array
