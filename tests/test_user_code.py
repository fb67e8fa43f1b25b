import functools
from pathlib import Path

import pytest

from darkroom.components.base import user_code
from darkroom.components.base.errors import DarkroomError, UserCodeError, explain

SOURCE = """
import json
def build_model(hp, config, num_classes):
    return helper(num_classes)
def helper(number):
    return 1 / number
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A user's module, under a name that no other test has imported."""
    name = f"theirs_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    (tmp_path / f"{name}_broken.py").write_text("import no_such_library\n")
    (tmp_path / f"{name}_typo.py").write_text("undefined_name\n")
    (tmp_path / f"{name}_syntax.py").write_text("def build_model(:\n")
    (tmp_path / f"{name}_package").mkdir()
    (tmp_path / f"{name}_package" / "__init__.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_the_function_is_found(theirs: str) -> None:
    function = user_code.resolve(f"{theirs}.build_model", "model.build_fn")
    assert function.__name__ == "build_model"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("build_model", "expected a dotted path"),
        ("their models.build", "expected a dotted path"),
        ("no_such_package.build", "'no_such_package', which can't be found"),
        ("{}.missing", "no function or class 'missing'; it has build_model, helper"),
        ("{}.json", "no function or class 'json'"),
    ],
)
def test_a_wrong_path_says_which_part(theirs: str, path: str, message: str) -> None:
    with pytest.raises(DarkroomError, match=message) as caught:
        user_code.resolve(path.format(theirs), "model.build_fn")
    assert str(caught.value).startswith("model.build_fn: ")
    assert not isinstance(caught.value, UserCodeError)


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("_broken", "No module named 'no_such_library'"),
        ("_typo", "name 'undefined_name'"),
        ("_syntax", "SyntaxError: invalid syntax"),
        ("_package.models", "No module named 'no_such_library'"),
    ],
)
def test_an_error_inside_the_module_is_the_modules(theirs: str, ending: str, message: str) -> None:
    with pytest.raises(UserCodeError, match=message) as caught:
        user_code.resolve(f"{theirs}{ending}.build_model", "model.build_fn")
    assert f"{theirs}{ending.removesuffix('.models')}" in str(caught.value)
    assert "line 1" in str(caught.value)
    assert "importlib" not in str(caught.value)


def test_a_failing_function_shows_the_users_lines_alone(theirs: str) -> None:
    function = user_code.resolve(f"{theirs}.build_model", "model.build_fn")
    with pytest.raises(UserCodeError) as caught:
        user_code.call(function, f"{theirs}.build_model", None, None, 0)
    text = str(caught.value)
    assert text.count("File ") == 2
    assert "return 1 / number" in text
    assert "ZeroDivisionError" in text
    assert "user_code.py" not in text


def test_any_callable_can_fail(theirs: str) -> None:
    partial = functools.partial(int, "no number")
    with pytest.raises(UserCodeError, match="ValueError: invalid literal"):
        user_code.call(partial, "their.partial")


def test_the_cause_is_found_below_other_errors() -> None:
    wrapped = RuntimeError("wrapped by Beam")
    wrapped.__cause__ = DarkroomError("the cause")
    assert explain(wrapped) == "the cause"
    assert "disk is full" in explain(OSError(28, "No space left on device"))
    assert explain(KeyError("x")) == "KeyError: 'x'"
    assert explain(ValueError("a\nb")) == "ValueError: a"
    beam = RuntimeError(
        'Traceback (most recent call last):\n  File "x.py", line 1, in f\n'
        "tensorflow.errors.InvalidArgumentError: Matrix is singular. "
        "[while running 'Transform/Decode']\n\nsome more\n"
    )
    assert explain(beam) == "tensorflow.errors.InvalidArgumentError: Matrix is singular."


def test_our_own_modules_are_named_where_they_are_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_an_earlier_version.py").write_text("import components.models\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DarkroomError) as caught:
        user_code.resolve("of_an_earlier_version.build_model", "model.build_fn")
    assert "darkroom's own modules are below darkroom: darkroom.components" in str(caught.value)
