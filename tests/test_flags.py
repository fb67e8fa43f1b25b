from typing import Any

import pytest

from darkroom.serving import flags

# TensorFlow Serving's own, with its defaults.
DEFAULTS: dict[str, Any] = {
    "port": 8500,
    "rest_api_port": 8501,
    "rest_api_timeout_in_ms": 30_000,
    "rest_api_enable_cors_support": False,
    "grpc_socket_path": "",
    "grpc_channel_arguments": "",
    "model_name": "default",
    "model_base_path": "/m",
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": 0,
    "file_system_poll_wait_seconds": 1,
    "enable_batching": False,
    "batching_parameters_file": "",
    "monitoring_config_file": "",
    "allow_version_labels_for_unavailable_models": False,
    "max_num_load_retries": 5,
    "load_retry_interval_micros": 60_000_000,
    "enable_model_warmup": True,
    "ssl_config_file": "",
    "saved_model_tags": "serve",
    "prefer_tflite_model": False,
    "tensorflow_session_parallelism": 0,
    "tensorflow_intra_op_parallelism": 0,
    "tensorflow_inter_op_parallelism": 0,
    "per_process_gpu_memory_fraction": 0,
}
SWITCHES = [name for name, default in DEFAULTS.items() if isinstance(default, bool)]


def parsed(*arguments: str) -> Any:
    return flags.parse(["--model_base_path=/m", *arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as raised:
        flags.parse(arguments)
    assert raised.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("model_server: ")
    assert err.count("\n") == 1
    return err


def test_flags_have_the_defaults_of_tensorflow_serving() -> None:
    given = vars(parsed())
    assert {name: given[name] for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("name", DEFAULTS)
def test_flags_take_a_value_with_or_without_equals_sign(name: str) -> None:
    value = "true" if name in SWITCHES else "1"
    more = ["--enable_batching"] if name == "batching_parameters_file" else []
    one, two = parsed(*more, f"--{name}={value}"), parsed(*more, f"--{name}", value)
    assert str(vars(one)[name]) in ("1", "1.0", "True")
    assert one == two


@pytest.mark.parametrize("name", SWITCHES)
def test_switches(name: str) -> None:
    assert vars(parsed(f"--{name}"))[name] is True
    for yes in ("true", "True", "1"):
        assert vars(parsed(f"--{name}={yes}"))[name] is True
    for no in ("false", "FALSE", "0"):
        assert vars(parsed(f"--{name}={no}"))[name] is False


def test_a_switch_before_another_flag() -> None:
    given = parsed("--enable_batching", "--port=1")
    assert (given.enable_batching, given.port) == (True, 1)


def test_only_a_socket_may_be_listened_on() -> None:
    given = parsed("--port=0", "--grpc_socket_path=/s")
    assert (given.port, given.rest_api_port, given.grpc_socket_path) == (0, 8501, "/s")


def test_a_model_config_file_is_enough() -> None:
    assert flags.parse(["--model_config_file=/c"]).model_config_file == "/c"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no_such_flag=1"], "unrecognized arguments: --no_such_flag=1"),
        (["--model_base=/m"], "unrecognized arguments: --model_base=/m"),
        (["/m"], "unrecognized arguments: /m"),
        (["--port"], "argument --port: expected one argument"),
        (["--port=8501", "--rest_api_port=8501"], "--port and --rest_api_port are both 8501"),
        (
            ["--port=0", "--rest_api_port=0"],
            "nothing to listen on: give --port, --rest_api_port or --grpc_socket_path",
        ),
        (
            ["--batching_parameters_file=/b"],
            "--batching_parameters_file is set without --enable_batching",
        ),
        *(
            ([f"--{name}={value}"], f"argument --{name}: expected {expected}, received '{value}'")
            for name, value, expected in [
                ("port", "65536", "a port from 0 to 65535"),
                ("port", "-1", "a port from 0 to 65535"),
                ("rest_api_port", "http", "a port from 0 to 65535"),
                ("enable_batching", "maybe", "true or false"),
                ("canary_share", "1.5", "a number from 0 to 1"),
                ("canary_share", "nan", "a number from 0 to 1"),
                ("canary_share", "half", "a number from 0 to 1"),
                ("rest_api_timeout_in_ms", "0", "a whole number from 1"),
                ("max_request_bytes", "1e6", "a whole number from 1"),
                ("max_num_load_retries", "-1", "a whole number from 0"),
                ("file_system_poll_wait_seconds", "nan", "seconds from 0"),
                ("shutdown_grace_seconds", "-1", "seconds from 0"),
            ]
        ),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    said = refused(capsys, "--model_base_path=/m", *arguments)
    assert said == f"model_server: {message}. See --help for the flags there are.\n"


@pytest.mark.parametrize("arguments", [[], ["--model_base_path="], ["--model_name=digits"]])
def test_nothing_to_serve(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    said = refused(capsys, *arguments)
    assert "nothing to serve: give --model_base_path or --model_config_file" in said


def test_what_tensorflow_serving_has_besides_is_taken_and_told() -> None:
    given = parsed("--num_load_threads=4", "--skip_initialize_tpu", "--mixed_precision", "bf16")
    assert given.without_effect == ("num_load_threads", "skip_initialize_tpu", "mixed_precision")
    assert given.port == 8500
    assert parsed("--use_alts_credentials=false").without_effect == ("use_alts_credentials",)


def test_encryption_that_is_not_there_is_not_passed_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = refused(capsys, "--model_base_path=/m", "--use_alts_credentials")
    assert "there is no ALTS here; use --ssl_config_file" in said


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        flags.parse(["--version"])
    assert raised.value.code == 0
    assert capsys.readouterr().out.startswith("darkroom's model server ")


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        flags.parse(["--help"])
    assert raised.value.code == 0
    text = capsys.readouterr().out
    for name in vars(parsed()).keys() - {"without_effect"}:
        assert f"--{name}" in text
