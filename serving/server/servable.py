"""A version of a model: its folder, its state, and what it can do once it is loaded."""

import asyncio
import dataclasses
import enum
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from darkroom.serving.errors import ServingError

_LARGEST = 2**63 - 1  # int64 on the wire

# Arrays in the order of the feeds to arrays in the order of the fetches.
Function = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


class Model(Protocol):
    """What a loaded version can do."""

    signatures: Mapping[str, SignatureDef]

    def function(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Function:
        """What computes the tensors named ``fetches`` from those named ``feeds``."""

    def close(self) -> None:
        """Gives the memory back; nothing may run any more."""


class State(enum.IntEnum):
    """The state of a version, by TensorFlow Serving's numbers."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(eq=False)
class Servable:
    """A version of a model."""

    name: str
    version: int
    path: str
    state: State = State.START
    error: ServingError | None = None  # why the last try to load it failed
    model: Model | None = None  # while AVAILABLE or UNLOADING
    users: int = 0  # requests under way
    tried: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)  # to load it, once

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


def version_folders(base_path: str) -> dict[int, str]:
    """The folders of a model's versions by number; what has another name is ignored.

    The path may be of any file system that TensorFlow knows; raises OSError where it can't be
    listed.
    """
    try:
        names = tf.io.gfile.listdir(base_path)
    except tf.errors.OpError as error:
        raise OSError(f"{base_path}: {error.message}") from error
    except UnicodeDecodeError as error:
        raise OSError(f"{base_path}: a name in it is not UTF-8") from error
    bare = (name.rstrip("/") for name in names)
    return {
        int(name): f"{base_path.rstrip('/')}/{name}"
        for name in bare
        if re.fullmatch("[0-9]+", name) and int(name) <= _LARGEST
    }
