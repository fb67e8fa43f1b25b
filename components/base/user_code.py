"""Functions and classes that a user names in the configuration by dotted path."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from darkroom.components.base.errors import DarkroomError, UserCodeError, closest

_NAMED = 8  # functions and classes in a message


def resolve(dotted_path: str, key: str) -> Callable[..., Any]:
    """Imports ``package.module.name``, which the configuration names at ``key``.

    Raises a DarkroomError where there is no such name, a UserCodeError where its module raises.
    """
    module_name, _, name = dotted_path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in dotted_path.split(".")):
        raise DarkroomError(
            f"{key}: expected a dotted path such as my_package.my_module.name, "
            f"found {dotted_path!r}."
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise DarkroomError(
                f"{key}: {dotted_path!r} names the module {error.name!r}, which can't be found. "
                "Install its package, or run darkroom from the folder that holds it."
                f"{_moved(error)}"
            ) from error
        failed = f"failed.{_moved(error)} Its traceback" if _moved(error) else "failed"
        raise UserCodeError(module_name, error, failed) from error
    except Exception as error:
        raise UserCodeError(module_name, error) from error
    if not callable(getattr(module, name, None)):
        members = inspect.getmembers(module, callable)
        own = [n for n, member in members if getattr(member, "__module__", "") == module_name]
        names = [name for name in own if not name.startswith("_")]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise DarkroomError(
            f"{key}: the module {module_name!r} has no function or class {name!r}; "
            f"it has {', '.join(names[:_NAMED]) or 'none'}{more}.{closest(name, own)}"
        )
    return getattr(module, name)  # type: ignore[no-any-return]  # checked to be callable


def _moved(error: ModuleNotFoundError) -> str:
    """A remedy where darkroom's own module is missing at the top, where it was once; or empty."""
    top = (error.name or "").partition(".")[0]
    if top not in ("pipeline", "components", "serving", "kubeflow"):
        return ""
    return f" darkroom's own modules are below darkroom: darkroom.{error.name}."


def call(function: Callable[..., Any], who: str, *args: Any, failed: str = "failed") -> Any:
    """Calls a user's function, named ``who`` in errors; raises a UserCodeError where it raises."""
    try:
        return function(*args)
    except Exception as error:
        raise UserCodeError(who, error, failed) from error
