"""A SavedModel that answers: any, of TensorFlow 1 or 2, as TensorFlow Serving runs it."""

import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import CallableOptions, ConfigProto
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from darkroom.serving.errors import Code, ServingError

_FUNCTIONS = 64  # combinations of inputs and outputs that are kept ready; clients choose outputs

# Where in the graph TensorFlow's message comes from, which says nothing to a client.
_NODES = re.compile(r"\{\{\w+ [^}]*\}\} *")
_MISSING_OP = re.compile("Op type not registered '([^']+)'")


# Arrays in the order of the feeds to arrays in the order of the fetches.
Function = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


class Model(Protocol):
    """What a loaded version can do."""

    signatures: Mapping[str, SignatureDef]

    def function(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Function:
        """The function from arrays for ``feeds`` to those of ``fetches``, names of tensors."""

    def close(self) -> None:
        """Gives the memory back; nothing may run any more."""


class SavedModel:
    """A loaded version.

    The graph runs in a session, as TensorFlow Serving's C++ does, and not as the functions of
    ``tf.saved_model.load``: so models of TensorFlow 1 work too, loading takes half the time, a
    request costs less, and unloading gives all memory back.
    """

    def __init__(self, folder: str, tags: Sequence[str], config: ConfigProto | None = None):
        """Loads the folder's SavedModel; raises ServingError where that fails."""
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                meta_graph = tf.compat.v1.saved_model.loader.load(self._session, list(tags), folder)
        except (tf.errors.OpError, OSError, RuntimeError, ValueError, KeyError) as error:
            self._session.close()
            reason = str(error)
            if missing := _MISSING_OP.search(reason):
                reason = (
                    f"it needs the op {missing.group(1)}, which TensorFlow {tf.__version__} lacks. "
                    "Start the server with --op_libraries and the library that has it"
                )
            raise ServingError(Code.UNKNOWN, f"{folder} can't be loaded: {reason}") from error
        graph.finalize()
        self.signatures: Mapping[str, SignatureDef] = dict(meta_graph.signature_def)
        self.function = functools.lru_cache(_FUNCTIONS)(self._function)

    def _function(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Function:
        """Prepared by the thread that first runs it: it takes up to a second."""
        prepared = functools.cache(functools.partial(self._prepare, feeds, fetches))
        # A session gives bytes for a string without dimensions.
        return lambda arrays: [
            np.array(value, object) if isinstance(value, bytes) else value
            for value in prepared()(*arrays)
        ]

    def _prepare(
        self, feeds: tuple[str, ...], fetches: tuple[str, ...]
    ) -> Callable[..., list[np.ndarray]]:
        try:
            run: Callable[..., list[np.ndarray]]
            if set(feeds) & set(fetches):  # an input that is an output; only run() takes it
                run = self._session.make_callable(list(fetches), list(feeds))
            else:
                # The public make_callable goes through run() where something is fed: that takes
                # 50 µs more, and refuses shapes that run in TensorFlow Serving.
                options = CallableOptions(feed=feeds, fetch=fetches)
                run = self._session._make_callable_from_options(options)
        except (tf.errors.OpError, RuntimeError) as error:
            raise ServingError(Code.FAILED_PRECONDITION, str(error)) from error
        return run

    def close(self) -> None:
        self.function.cache_clear()
        self._session.close()


def session_config(intra_op: int, inter_op: int, gpu_memory_fraction: float) -> ConfigProto:
    """How a session uses the machine; 0 threads: all cores but one, a fraction of 0: automatic."""
    # Requests come and go on that one, else both get in each other's way.
    threads = max(1, (os.cpu_count() or 1) - 1)
    return ConfigProto(
        intra_op_parallelism_threads=intra_op or threads,
        inter_op_parallelism_threads=inter_op or threads,
        gpu_options={"per_process_gpu_memory_fraction": gpu_memory_fraction},
    )


def serving_error(error: BaseException) -> ServingError:
    """What a client hears of a failure: its code, and its message without the graph's nodes."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        message = error.message.removeprefix("Graph execution error:").strip()
        reason = _NODES.sub("", message.partition("\n")[0]) or type(error).__name__
        return ServingError(Code(error.error_code), reason)
    return ServingError(Code.INVALID_ARGUMENT, str(error))
