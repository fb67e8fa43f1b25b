"""How configuration reaches a node: as plain data in TFX's ``custom_config``.

A node gets only the sections that it uses, because they are part of TFX's cache key: anything
more would rerun the node without need.
"""

import json
from types import SimpleNamespace
from typing import Any


def pack(tree: dict[str, Any], *sections: str) -> dict[str, Any]:
    """The ``custom_config`` of a node.

    Args:
      tree: the whole configuration as plain dicts.
      sections: names of the top-level sections that the node reads.
    """
    return {name: tree[name] for name in sections}


def unpack(custom_config: dict[str, Any], values: dict[str, Any] | None = None) -> SimpleNamespace:
    """The packed sections with attribute access, as in ``config.training.epochs``.

    Args:
      custom_config: made by ``pack``.
      values: hyperparameters by dotted key, such as ``{"training.learning_rate": 0.01}``; those
        that are no key of the configuration (a user's own) are left to ``build_model``.
    """
    tree = custom_config
    for key, value in (values or {}).items():
        if "." in key:  # no name of a user's own replaces a whole section
            tree = changed(tree, key.split("."), value)
    namespace: SimpleNamespace = json.loads(
        json.dumps(tree), object_hook=lambda branch: SimpleNamespace(**branch)
    )
    return namespace


def changed(branch: Any, path: list[str], value: Any) -> Any:
    """A copy of dicts and lists with another value at a path; as they are if there is no such path.

    Args:
      branch: dicts and lists.
      path: keys of dicts, and numbers of lists' entries, from 0, as in ``["units", "0"]``.
      value: to put there.
    """
    if not path:
        return value
    name, *rest = path
    if isinstance(branch, dict) and name in branch:
        return {**branch, name: changed(branch[name], rest, value)}
    if isinstance(branch, list) and name in map(str, range(len(branch))):
        place = int(name)
        return [*branch[:place], changed(branch[place], rest, value), *branch[place + 1 :]]
    return branch


def look_up(tree: Any, key: str) -> Any:
    """The value at a dotted key of attributes and lists, such as ``model.units.0``."""
    for name in key.split("."):
        tree = tree[int(name)] if isinstance(tree, list) else getattr(tree, name)
    return tree


def with_values(section: SimpleNamespace, **values: Any) -> SimpleNamespace:
    """A copy of a section, or of all of them, with other values."""
    return SimpleNamespace(**{**vars(section), **values})
