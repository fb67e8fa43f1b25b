"""Functions that a user names in the configuration by dotted path."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from components.errors import DarkroomError, UserCodeError


def resolve(dotted_path: str, key: str) -> Callable[..., Any]:
    """Imports ``package.module.function``.

    Args:
      dotted_path: where the function is.
      key: the configuration key that names it, for the message.

    Raises:
      DarkroomError: malformed path, missing module, or missing attribute.
      UserCodeError: the module itself raised while it was imported.
    """
    module_name, _, name = dotted_path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in dotted_path.split(".")):
        raise DarkroomError(
            f"{key}: expected a dotted path such as my_package.models.build_model, "
            f"found {dotted_path!r}."
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise DarkroomError(
                f"{key}: {dotted_path!r} names the module {error.name!r}, which can't be found. "
                "Install its package, or run darkroom from the folder that holds it."
            ) from error
        raise UserCodeError(module_name, error) from error
    except Exception as error:
        raise UserCodeError(module_name, error) from error
    if not callable(getattr(module, name, None)):
        functions = [n for n, _ in inspect.getmembers(module, inspect.isfunction)]
        raise DarkroomError(
            f"{key}: the module {module_name!r} has no function {name!r}; "
            f"it has {', '.join(functions) or 'none'}."
        )
    return getattr(module, name)  # type: ignore[no-any-return]  # checked to be callable


def call(function: Callable[..., Any], dotted_path: str, *args: Any) -> Any:
    """Calls a user's function; what it raises comes back with the user's traceback alone."""
    try:
        return function(*args)
    except Exception as error:
        raise UserCodeError(dotted_path, error) from error
