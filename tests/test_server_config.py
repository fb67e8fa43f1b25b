from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from darkroom.serving.errors import Code, ServingError
from darkroom.serving.server import server_config

MODELS = """# as TensorFlow Serving's users write it
model_config_list: {
  config: {
    name: "digits",
    base_path: "/models/digits",
    model_platform: 'tensorflow'
    model_version_policy: { specific: { versions: 1, versions: 2 } }
    version_labels: { key: "stable" value: 1 }
    version_labels: { key: "canary" value: 2 }
    logging_config {
      log_collector_config { type: "file" filename_prefix: "/logs/digits" }
      sampling_config { sampling_rate: 0.5 }
    }
  }
  config { name: "pets" base_path: "gs://models/pets" }
}
"""
BATCHING = """max_batch_size { value: 128 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 1000000 }
num_batch_threads { value: 8 }
thread_pool_name { value: "pool" }
allowed_batch_sizes: 64
allowed_batch_sizes: 128
pad_variable_length_inputs: true
"""


def read(folder: Path, text: str | bytes, kind: Any = ModelServerConfig) -> Any:
    file = folder / "config"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return server_config.read(str(file), kind)


def checked(text: str) -> ServingError:
    with pytest.raises(ServingError) as raised:
        server_config.check(text_format.Parse(text, ModelServerConfig()))
    return raised.value


def test_a_model_server_config(tmp_path: Path) -> None:
    found = read(tmp_path, MODELS)
    server_config.check(found)
    digits, pets = found.model_config_list.config
    assert dict(digits.version_labels) == {"stable": 1, "canary": 2}
    assert list(digits.model_version_policy.specific.versions) == [1, 2]
    assert digits.logging_config.sampling_config.sampling_rate == 0.5
    assert digits.logging_config.log_collector_config.filename_prefix == "/logs/digits"
    assert pets.base_path == "gs://models/pets"


def test_batching_parameters(tmp_path: Path) -> None:
    found = read(tmp_path, BATCHING, server_config.BatchingParameters)
    assert found.max_batch_size.value == 128
    assert found.HasField("batch_timeout_micros")
    assert found.batch_timeout_micros.value == 0
    assert found.max_enqueued_batches.value == 1_000_000
    assert found.num_batch_threads.value == 8
    assert found.thread_pool_name.value == "pool"
    assert list(found.allowed_batch_sizes) == [64, 128]
    assert found.pad_variable_length_inputs
    nothing = read(tmp_path, "", server_config.BatchingParameters)
    assert not nothing.HasField("max_batch_size")


def test_a_monitoring_config(tmp_path: Path) -> None:
    text = 'prometheus_config { enable: true, path: "/metrics" }'
    found = read(tmp_path, text, server_config.MonitoringConfig).prometheus_config
    assert (found.enable, found.path) == (True, "/metrics")


def test_an_ssl_config(tmp_path: Path) -> None:
    text = (
        'server_key: "-----BEGIN\\nkey\\n" "-----END"\nserver_cert: "cert"\ncustom_ca: "ca"\n'
        "client_verify: true"
    )
    found = read(tmp_path, text, server_config.SSLConfig)
    assert found.server_key == "-----BEGIN\nkey\n-----END"
    assert (found.server_cert, found.custom_ca, found.client_verify) == ("cert", "ca", True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model_config_list { config { nam: 'a' } }", '1:30 : .*"nam"'),
        ("model_config_list {", "1:"),
        ("model_config_list { config { name: 5 } }", "1:36"),
        ("model_config_list {}\ncustom_model_config {}", "2:"),
        ("{}", "1:1"),
        (b"name: '\xff'", "codec can't decode"),
    ],
)
def test_a_file_that_is_none_says_where(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ServingError, match=f"(?s)Invalid protobuf file: .*{reason}") as raised:
        read(tmp_path, text)
    assert raised.value.code is Code.INVALID_ARGUMENT
    assert (
        "Error parsing text-format tensorflow.serving.ModelServerConfig: " in raised.value.message
    )


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ServingError, match=f"{path}: can't be read: {reason}"):
            server_config.read(str(path), ModelServerConfig)


@given(st.text() | st.text("mode_lcnfigst{}: '\"\n#0123456789[]/"))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any_text"
    file.write_text(text, encoding="utf-8", errors="replace")
    kinds = (ModelServerConfig, server_config.BatchingParameters, server_config.SSLConfig)
    for kind in kinds:
        try:
            found = server_config.read(str(file), kind)
        except ServingError:
            continue
        assert isinstance(found, kind)


def test_no_models_are_a_configuration_too() -> None:
    server_config.check(ModelServerConfig())


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("config { base_path: '/a' }", "ModelConfig has no name specified; its base path: /a"),
        (
            "config { name: 'a' base_path: '/a' } config { name: 'a' base_path: '/b' }",
            "Illegal to list model a multiple times in config list",
        ),
        ("config { name: 'a' base_path: 'b/c' }", "to have an absolute path or URI; got base_path"),
        ("config { name: 'a' }", "Expected model a to have an absolute path"),
        (
            "config { name: 'a' base_path: '/a' model_platform: 'torch' }",
            "Model a has model_platform 'torch'; expected 'tensorflow'",
        ),
        *(
            (
                "config { name: 'a' base_path: '/a' logging_config { sampling_config { "
                f"sampling_rate: {rate} }} }} }}",
                f"Model a has sampling_rate {rate}; expected 0 to 1",
            )
            for rate in ("1.5", "-0.5", "nan")
        ),
    ],
)
def test_models_that_can_not_be_served(models: str, message: str) -> None:
    error = checked(f"model_config_list {{ {models} }}")
    assert message in error.message
    assert error.code is Code.INVALID_ARGUMENT


def test_custom_models_are_not_implemented() -> None:
    assert checked("custom_model_config {}").code is Code.UNIMPLEMENTED
