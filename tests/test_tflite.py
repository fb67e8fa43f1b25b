import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from flatbuffers import flexbuffers
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow.lite.tools import flatbuffer_utils
from tensorflow.lite.tools.flatbuffer_utils import schema_fb

from darkroom.serving import signatures
from darkroom.serving.errors import Code, ServingError
from darkroom.serving.server import tflite
from darkroom.serving.server.tflite import LiteModel
from tests import serving_models


@pytest.fixture(scope="module", params=[True, False], ids=["signature", "no signature"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = serving_models.lite(tmp_path_factory.mktemp("lite"), request.param)
    return folder / tflite.FILE_NAME


@pytest.fixture
def model(path: Path) -> LiteModel:
    return LiteModel(str(path), 2)


def half(model: LiteModel, array: Any) -> np.ndarray:
    signature = model.signatures[signatures.SERVING]
    [feed], [fetch] = signature.inputs.values(), signature.outputs.values()
    [found] = model.function((feed.name,), (fetch.name,))([np.asarray(array, np.float32)])
    return found


def test_a_signature_says_what_goes_in_and_out(model: LiteModel) -> None:
    assert set(model.signatures) == {signatures.SERVING}
    signature = model.signatures[signatures.SERVING]
    assert signature.method_name == "tensorflow/serving/predict"
    assert [name.rpartition("_")[2] for name in signature.inputs] == ["x"]
    [info] = signature.inputs.values()
    assert info.dtype == tf.float32.as_datatype_enum
    assert [dim.size for dim in info.tensor_shape.dim] == [-1, -1]
    assert [output.dtype for output in signature.outputs.values()] == [info.dtype]


def test_batches_of_any_size(model: LiteModel) -> None:
    for shape in ((1, 1), (5, 1), (2, 3), (1, 1), (300, 4)):
        array = np.arange(np.prod(shape)).reshape(shape)
        np.testing.assert_array_equal(half(model, array), array / 2 + 2)


def test_an_answer_stays_when_the_next_is_computed(model: LiteModel) -> None:
    first = half(model, [[1]])
    half(model, [[7]])
    assert first.tolist() == [[2.5]]


@pytest.mark.parametrize("interpreters", [1, 3])
def test_threads_use_a_model_together(path: Path, interpreters: int) -> None:
    model = LiteModel(str(path), interpreters)
    found = {}

    def work(number: int) -> None:
        rows = [[number]] * (number % 3 + 1)
        found[number] = {tuple(half(model, rows).ravel()) for _ in range(30)}

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: {(n / 2 + 2,) * (n % 3 + 1)} for n in range(8)}


def test_a_wrong_tensor_is_the_client_s_mistake(model: LiteModel) -> None:
    [feed] = model.signatures[signatures.SERVING].inputs.values()
    [fetch] = model.signatures[signatures.SERVING].outputs.values()
    function = model.function((feed.name,), (fetch.name,))
    for array in (np.zeros(1, np.float32), np.zeros((1, 1)), np.zeros((1, 1, 1), np.float32)):
        with pytest.raises(ServingError) as raised:
            function([array])
        assert raised.value.code is Code.INVALID_ARGUMENT
        assert half(model, [[1]]).tolist() == [[2.5]]


def ask(model: LiteModel, key: str, array: Any) -> list[Any]:
    signature = model.signatures[key]
    [feed], [fetch] = signature.inputs.values(), signature.outputs.values()
    [found] = model.function((feed.name,), (fetch.name,))([array])
    return found.tolist()


def test_each_signature_is_a_graph(tmp_path: Path) -> None:
    model = LiteModel(str(serving_models.lite_of_two(tmp_path) / tflite.FILE_NAME), 1)
    both = {"serving_default", "next"}
    assert set(model.signatures) == both
    names = [info.name for own in model.signatures.values() for info in own.inputs.values()]
    assert len(set(names)) == 2
    for values in ([5.0], [1.0, 2.0], [5.0]):
        array = np.array(values, np.float32)
        assert ask(model, "serving_default", array) == (array * 2).tolist()
        assert ask(model, "next", array) == (array + 1).tolist()
    for array in (np.zeros((1, 1), np.float32), np.zeros(1), np.zeros((), np.float32)):
        for key in ("next", "serving_default"):  # the last refusal is of another graph
            with pytest.raises(ServingError) as raised:
                ask(model, key, array)
            assert raised.value.code is Code.INVALID_ARGUMENT
    assert ask(model, "next", np.ones(1, np.float32)) == [2.0]


class _Raw(bytes):
    """What isn't UTF-8, for a builder of strings."""

    def encode(self, _: str) -> bytes:
        return bytes(self)


def with_metadata(file: Path, *keys: str, output: str = "", size: int | None = None) -> None:
    """Writes into a file, beside its own signatures, some as signature_def_util does."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(file.read_bytes()))
    graph = model.subgraphs[0]
    signature = SignatureDef(method_name="tensorflow/serving/regress")
    signature.inputs["inputs"].name = graph.tensors[graph.inputs[0]].name.decode() + ":0"
    signature.inputs["inputs"].tensor_shape.dim.add().size = -1
    signature.outputs["outputs"].name = output or graph.tensors[graph.outputs[0]].name.decode()
    builder = flexbuffers.Builder()
    with builder.Map():
        for key in keys:
            builder.Key(key)
            builder.String(_Raw(signature.SerializeToString()))
    buffer, entry = schema_fb.BufferT(), schema_fb.MetadataT()
    buffer.data = list(builder.Finish()[:size])
    model.buffers.append(buffer)
    entry.name, entry.buffer = "signature_defs_metadata", len(model.buffers) - 1
    model.metadata = [*(model.metadata or ()), entry]
    file.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def test_signatures_in_metadata(tmp_path: Path) -> None:
    file = serving_models.lite(tmp_path, signature=False) / tflite.FILE_NAME
    with_metadata(file, "serving_default", "regress")
    model = LiteModel(str(file), 1)
    assert set(model.signatures) == {"serving_default", "regress"}
    for key, signature in model.signatures.items():
        assert signature.method_name == "tensorflow/serving/regress"
        assert (list(signature.inputs), list(signature.outputs)) == (["inputs"], ["outputs"])
        assert ask(model, key, np.ones((1, 1), np.float32)) == [[2.5]]


def test_metadata_that_does_not_fit_its_graph(tmp_path: Path) -> None:
    file = serving_models.lite(tmp_path, signature=True) / tflite.FILE_NAME
    with_metadata(file, "regress", output="another")
    with pytest.raises(ServingError, match="its metadata's signature regress lacks the tensor "):
        LiteModel(str(file), 1)
    file = serving_models.lite(tmp_path / "damaged", signature=True) / tflite.FILE_NAME
    with_metadata(file, "regress", size=9)
    with pytest.raises(ServingError, match="its signature_defs_metadata are damaged"):
        LiteModel(str(file), 1)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    serving_models.lite(tmp_path, signature=True)
    file = tmp_path / tflite.FILE_NAME
    whole = file.read_bytes()
    LiteModel(str(file), 1).close()
    for size in range(1, len(whole), 97):
        file.write_bytes(whole[:size])
        with pytest.raises(ServingError, match="can't be loaded: the file is damaged or cut off"):
            LiteModel(str(file), 1)


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_files_that_are_no_models(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / tflite.FILE_NAME
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ServingError, match=f"{file} can't be loaded: ") as raised:
        LiteModel(str(file), 1)
    assert raised.value.code is Code.UNKNOWN
