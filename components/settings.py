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
        section, _, name = key.partition(".")
        if name in tree.get(section, {}):
            tree = {**tree, section: {**tree[section], name: value}}
    namespace: SimpleNamespace = json.loads(
        json.dumps(tree), object_hook=lambda branch: SimpleNamespace(**branch)
    )
    return namespace
