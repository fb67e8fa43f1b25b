"""Settings of nodes, of a configuration and with overrides, for tests of what runs in them."""

from typing import TypeVar

from darkroom.components.base.settings import Settings
from darkroom.pipeline.config import Config, load

S = TypeVar("S", bound=Settings)


def configured(kind: type[S], *overrides: str, config: str | Config = "digits") -> S:
    """What a node gets of a configuration, without a fingerprint of its code."""
    tree = load(config, list(overrides)) if isinstance(config, str) else config
    sections = (tree, tree.data, tree.network, tree.judged, tree.serving)
    values: dict[str, object] = {"source": ""} if "source" in kind.model_fields else {}
    for name in kind.model_fields:
        for section in sections:
            if name in type(section).model_fields and name not in values:
                values[name] = getattr(section, name)
    if "evaluation" in kind.model_fields:
        values["evaluation"] = tree.judged
    if "batch_size" in kind.model_fields:
        values["batch_size"] = tree.training.batch_size
    if "model" in values:
        values |= {"model": tree.network, "weights": None}
    if "class_names" in kind.model_fields:
        values["class_names"] = tree.class_names()
    return kind(**values)
