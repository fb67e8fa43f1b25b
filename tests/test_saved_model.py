import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from darkroom.serving.errors import Code, ServingError
from darkroom.serving.server import saved_model
from darkroom.serving.server.saved_model import SavedModel
from tests import serving_models


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "every": serving_models.every(folder / "every"),
        "half": serving_models.half_plus_two(folder / "half"),
    }


@pytest.fixture(scope="module")
def every(folders: dict[str, Path]) -> Iterator[SavedModel]:
    model = SavedModel(str(folders["every"]), ["serve"])
    yield model
    model.close()


def call(model: SavedModel, name: str, **inputs: Any) -> dict[str, np.ndarray]:
    signature = model.signatures[name]
    outputs = sorted(signature.outputs)
    function = model.function(
        tuple(signature.inputs[key].name for key in inputs),
        tuple(signature.outputs[key].name for key in outputs),
    )
    return dict(zip(outputs, function(list(inputs.values())), strict=True))


def test_a_model_of_tensorflow_1(folders: dict[str, Path]) -> None:
    model = SavedModel(str(folders["half"]), ["serve"])
    assert set(model.signatures) == {
        "serving_default",
        "regress_x_to_y",
        "regress_x2_to_y3",
        "classify_x_to_y",
        "classify_both",
        "classify_names",
        "predict_scores",
        "regress_flat",
        "regress_wide",
        "regress_x_direct",
    }
    found = call(model, "serving_default", x=np.array([[1], [3]], np.float32))
    assert found["y"].tolist() == [[2.5], [3.5]]
    model.close()


def test_a_model_of_tensorflow_2_with_a_table(every: SavedModel) -> None:
    found = call(every, "two", a=np.array([1, 2], np.float32), b=np.array([2, 7]))
    assert found["sum"].tolist() == [3, 9]
    assert found["name"].tolist() == [b"c", b"?"]


@pytest.mark.parametrize("dtype", serving_models.DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 1, 3)])
def test_every_type_and_shape(every: SavedModel, dtype: tf.DType, shape: tuple[int, ...]) -> None:
    given = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype.as_numpy_dtype)
    if dtype == tf.string:
        given = np.full(shape, b"a\0\xff", object)
    [found] = call(every, f"echo_{dtype.name}", x=given).values()
    assert found.shape == shape
    assert found.dtype == given.dtype
    assert found.tolist() == given.tolist()


def test_tensorflow_has_the_private_method_that_functions_are_made_by() -> None:
    assert hasattr(tf.compat.v1.Session, "_make_callable_from_options"), (
        "TensorFlow's Session has lost _make_callable_from_options: server/saved_model.py needs "
        "another way to run a graph as fast."
    )


def test_a_function_is_made_once(every: SavedModel) -> None:
    signature = every.signatures["total"]
    names = (signature.inputs["x"].name,), (signature.outputs["total"].name,)
    assert every.function(*names) is every.function(*names)


def test_an_input_may_be_an_output_and_an_output_may_be_asked_twice(
    folders: dict[str, Path],
) -> None:
    model = SavedModel(str(folders["half"]), ["serve"])
    x, y = np.array([[1]], np.float32), np.array([[2.5]], np.float32)
    assert model.function(("x:0",), ("x:0", "y:0"))([x]) == [x, y]
    assert model.function(("x:0",), ("y:0", "y:0"))([x]) == [y, y]
    model.close()


def test_what_is_wrong_with_a_tensor_is_tensorflow_s_own_error(every: SavedModel) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="no negative numbers"):
        call(every, "checked", x=np.array([1, -1], np.float32))
    assert call(every, "checked", x=np.array([4], np.float32))["root"].tolist() == [2]


def test_tensors_that_there_are_not(every: SavedModel) -> None:
    function = every.function(("none:0",), ("nothing:0",))
    with pytest.raises(ServingError) as raised:
        function([np.zeros(1)])
    assert raised.value.code is Code.FAILED_PRECONDITION


def test_threads_use_a_model_together(every: SavedModel) -> None:
    found = {}

    def work(number: int) -> None:
        found[number] = [
            call(every, "serving_default", x=np.full((1, 1), number, np.float32))["y"].item()
            for _ in range(20)
        ]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [number / 2 + 2] * 20 for number in range(8)}


def test_a_closed_model_answers_no_more(folders: dict[str, Path]) -> None:
    model = SavedModel(str(folders["half"]), ["serve"])
    model.close()
    with pytest.raises((RuntimeError, tf.errors.OpError, ServingError)):
        call(model, "serving_default", x=np.zeros((1, 1), np.float32))


def test_loading_says_nothing_in_the_log(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    level = logging.getLogger("tensorflow").level
    SavedModel(str(folders["half"]), ["serve"]).close()
    assert logging.getLogger("tensorflow").level == level
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def refused(folder: Path, tags: str = "serve") -> str:
    with pytest.raises(ServingError) as raised:
        SavedModel(str(folder), [tags])
    assert raised.value.code is Code.UNKNOWN
    assert raised.value.message.startswith(f"{folder} can't be loaded: ")
    return raised.value.message


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    assert "saved_model.pb" in refused(tmp_path)
    refused(tmp_path / "none")


def test_tags_that_a_model_does_not_have(folders: dict[str, Path]) -> None:
    assert "tpu" in refused(folders["half"], "tpu")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_a_cut_off_graph(folders: dict[str, Path], tmp_path: Path, share: float) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["every"], folder)
    content = (folder / "saved_model.pb").read_bytes()
    (folder / "saved_model.pb").write_bytes(content[: int(len(content) * share)])
    refused(folder)


def test_a_graph_of_other_bytes(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"no model at all" * 100)
    refused(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "cut off"])
def test_weights_that_are_not_there(folders: dict[str, Path], tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["half"], folder)
    for file in (folder / "variables").iterdir():
        if damage == "missing":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:3])
    refused(folder)


def test_how_a_session_uses_the_machine() -> None:
    config = saved_model.session_config(3, 2, 0.5)
    assert config.intra_op_parallelism_threads == 3
    assert config.inter_op_parallelism_threads == 2
    assert config.gpu_options.per_process_gpu_memory_fraction == 0.5


@pytest.mark.parametrize(("cores", "threads"), [(None, 1), (1, 1), (2, 1), (8, 7)])
def test_a_session_leaves_a_core_to_the_requests(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, threads: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    config = saved_model.session_config(0, 0, 0)
    assert config.intra_op_parallelism_threads == threads
    assert config.inter_op_parallelism_threads == threads
