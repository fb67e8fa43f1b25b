import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from darkroom.serving import signatures
from darkroom.serving.errors import Code, ServingError
from darkroom.serving.server import tflite
from darkroom.serving.server.tflite import LiteModel
from tests import serving_models


class _Two(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def double(self, x: tf.Tensor) -> dict:
        return {"y": 2.0 * x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def next(self, x: tf.Tensor) -> dict:
        return {"y": x + 1.0}


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


def test_only_the_first_graph_of_a_file_is_offered(tmp_path: Path) -> None:
    module = _Two()
    both = {"serving_default": module.double, "next": module.next}
    tf.saved_model.save(module, str(tmp_path), both)
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path)).convert()
    (tmp_path / tflite.FILE_NAME).write_bytes(content)
    model = LiteModel(str(tmp_path / tflite.FILE_NAME), 1)
    [signature] = model.signatures.values()
    [feed], [fetch] = signature.inputs.values(), signature.outputs.values()
    [found] = model.function((feed.name,), (fetch.name,))([np.array([5], np.float32)])
    assert found in ([10], [6])


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
