import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import input_pb2
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from darkroom.serving import flags, signatures
from darkroom.serving.errors import Code, ServingError
from darkroom.serving.server import loading
from darkroom.serving.server.inference import CLASSIFY, REGRESS, Limits
from darkroom.serving.server.manager import Servable
from darkroom.serving.server.prometheus import Metrics
from darkroom.serving.server.saved_model import SavedModel
from darkroom.serving.server.tflite import LiteModel
from tests import serving_models


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return serving_models.half_plus_two(tmp_path_factory.mktemp("models") / "1", warmup=True)


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = serving_models.lite(tmp_path_factory.mktemp("lite") / "1", signature=True)
    shutil.copytree(folder / "source", folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def load(folder: Path, metrics: Metrics, *arguments: str, max_bytes: int = 2**20) -> Any:
    options = flags.parse(["--model_base_path=/m", *arguments])
    servable = Servable("half", 1, str(folder))
    session = loading.session_config(options)
    return loading.load(servable, options, session, Limits(max_bytes, 1000), metrics)


def copied(half: Path, tmp_path: Path, records: Sequence[bytes]) -> Path:
    """The model with other warm-up requests."""
    folder = tmp_path / "1"
    shutil.copytree(half, folder)
    with tf.io.TFRecordWriter(str(folder / signatures.WARMUP_PATH)) as writer:
        for record in records:
            writer.write(record)
    return folder


def test_the_session_s_own_file(tmp_path: Path) -> None:
    file = tmp_path / "session.config"
    file.write_text("intra_op_parallelism_threads: 3 allow_soft_placement: true")
    options = flags.parse(["--model_base_path=/m", f"--tensorflow_session_config_file={file}"])
    made = loading.session_config(options)
    assert (made.intra_op_parallelism_threads, made.allow_soft_placement) == (3, True)
    file.write_text("threads: 3")
    with pytest.raises(ServingError, match="Error parsing text-format tensorflow"):
        loading.session_config(options)


def predict(array: Any, signature: str = "", name: str = "x") -> PredictionLog:
    log = PredictionLog()
    log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(array, tf.float32))
    log.predict_log.request.model_spec.signature_name = signature
    return log


def examples() -> input_pb2.Input:
    given = input_pb2.Input()
    example = given.example_list.examples.add()
    example.features.feature["x"].float_list.value.append(1)
    return given


def warmups(metrics: Metrics) -> dict[str, int]:
    """How often a warm-up ended so."""
    return {
        line.split('status="')[1].split('"')[0]: int(line.rsplit(" ", 1)[1])
        for line in metrics.warmup.lines()
        if "_count{" in line
    }


def test_warm_up_requests_are_replayed(half: Path, metrics: Metrics) -> None:
    model = load(half, metrics)
    # What serves such a request is made already.
    assert model.function.cache_info().misses == 1
    assert warmups(metrics) == {"OK": 1}
    model.close()


def test_warm_up_requests_of_every_kind(half: Path, metrics: Metrics, tmp_path: Path) -> None:
    classify, regress, several = PredictionLog(), PredictionLog(), PredictionLog()
    classify.classify_log.request.model_spec.signature_name = "classify_x_to_y"
    classify.classify_log.request.input.CopyFrom(examples())
    regress.regress_log.request.model_spec.signature_name = "regress_x2_to_y3"
    regress.regress_log.request.input.CopyFrom(examples())
    request = several.multi_inference_log.request
    for method, signature in ((CLASSIFY, "classify_x_to_y"), (REGRESS, "regress_x_to_y")):
        task = request.tasks.add(method_name=method)
        task.model_spec.signature_name = signature
    request.input.CopyFrom(examples())
    logs = [predict([[1]]), predict([[1]] * 3, "serving_default"), classify, regress, several]
    model = load(copied(half, tmp_path, [log.SerializeToString() for log in logs]), metrics)
    assert model.function.cache_info().misses + model.function.cache_info().hits == len(logs)
    model.close()


def test_a_model_without_warm_up_requests(half: Path, metrics: Metrics, tmp_path: Path) -> None:
    folder = tmp_path / "1"
    shutil.copytree(half, folder)
    (folder / signatures.WARMUP_PATH).unlink()
    model = load(folder, metrics)
    assert model.function.cache_info().misses == 0
    model.close()


@pytest.mark.parametrize(
    ("log", "code", "message"),
    [
        (predict([[1]], name="z"), Code.INVALID_ARGUMENT, "Sent extra: {z}"),
        (predict([[1]], "none"), Code.INVALID_ARGUMENT, "No signature was found with the name: no"),
        (predict(np.zeros((2**10, 2**10))), Code.INVALID_ARGUMENT, "at most 1000 bytes"),
        (PredictionLog(), Code.UNIMPLEMENTED, "Unsupported log_type for warmup: None"),
    ],
)
def test_a_warm_up_request_that_fails_fails_the_version(
    half: Path, metrics: Metrics, tmp_path: Path, log: PredictionLog, code: Code, message: str
) -> None:
    if message.startswith("at most"):
        log.predict_log.request.inputs["x"].tensor_content = b""
    good = predict([[1]]).SerializeToString()
    folder = copied(half, tmp_path, [good, log.SerializeToString()])
    with pytest.raises(ServingError) as raised:
        load(folder, metrics, max_bytes=1000)
    assert raised.value.code is code
    path = folder / signatures.WARMUP_PATH
    start = f"a warm-up request of {path} failed: "
    assert raised.value.message.startswith(start)
    assert message in raised.value.message
    assert warmups(metrics) == {code.name: 1}


@pytest.mark.parametrize("damage", ["cut off", "no records", "no log"])
def test_a_warm_up_file_that_is_broken_fails_the_version(
    half: Path, metrics: Metrics, tmp_path: Path, damage: str
) -> None:
    folder = copied(half, tmp_path, [b"\xff\xff no PredictionLog"])
    path = folder / signatures.WARMUP_PATH
    if damage == "cut off":
        path.write_bytes((half / signatures.WARMUP_PATH).read_bytes()[:-2])
    elif damage == "no records":
        path.write_bytes(b"no records at all")
    with pytest.raises(ServingError, match=f"a warm-up request of {path} failed: "):
        load(folder, metrics)


def test_warm_up_can_be_switched_off(half: Path, metrics: Metrics, tmp_path: Path) -> None:
    folder = copied(half, tmp_path, [b"broken"])
    load(folder, metrics, "--enable_model_warmup=false").close()
    assert warmups(metrics) == {}


def test_a_version_that_can_not_be_loaded(metrics: Metrics, tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=f"{tmp_path} can't be loaded"):
        load(tmp_path, metrics)
    assert warmups(metrics) == {}


def test_tensorflow_lite_is_taken_where_it_is_preferred(lite: Path, metrics: Metrics) -> None:
    for arguments, kind in (
        ([], SavedModel),
        (["--prefer_tflite_model=false"], SavedModel),
        (["--prefer_tflite_model"], LiteModel),
    ):
        model = load(lite, metrics, *arguments)
        assert type(model) is kind
        model.close()


def test_where_there_is_none_the_saved_model_is_taken(half: Path, metrics: Metrics) -> None:
    model = load(half, metrics, "--prefer_tflite_model")
    assert type(model) is SavedModel
    model.close()


def test_tensorflow_lite_is_warmed_up_too(lite: Path, metrics: Metrics, tmp_path: Path) -> None:
    folder = tmp_path / "1"
    shutil.copytree(lite, folder)
    (folder / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(folder / signatures.WARMUP_PATH)) as writer:
        writer.write(predict([[1, 2]]).SerializeToString())
    model = load(folder, metrics, "--prefer_tflite_model")
    assert model.function.cache_info().misses == 1
    model.close()


def test_other_tags(half: Path, metrics: Metrics) -> None:
    with pytest.raises(ServingError, match="gpu"):
        load(half, metrics, "--saved_model_tags=serve,gpu")
