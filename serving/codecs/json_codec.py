"""JSON of requests and answers: many values are read and written by a process of their own.

A parser holds Python's lock until it is done, for seconds of tens of millions of values, and
nobody else's request would be answered meanwhile.
"""

import asyncio
import contextlib
import functools
import gc
import logging
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import NamedTuple, TypeVar

import numpy as np
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.input_pb2 import Input

from darkroom.serving import imports, signatures
from darkroom.serving.codecs import json_tensor
from darkroom.serving.codecs.json_tensor import Format
from darkroom.serving.errors import Code, ServingError, invalid

# Values, and bytes, that are read or written at once, in some milliseconds.
_FEW, _SMALL = 30_000, 2**20
# Lists and objects of one request: 64 bytes each, at least.
_MOST_CONTAINERS = 4_000_000
# Strings of one request, each of which is an object of Python's in this process.
_MOST_STRINGS = 100_000

_MOST_SECONDS = 300  # of a document, which takes seconds

_log = logging.getLogger(__name__)


class Inputs(NamedTuple):
    """What a predict request asks."""

    signature: str
    arrays: dict[str, np.ndarray]
    format: Format


class Examples(NamedTuple):
    """What a classify or regress request asks."""

    signature: str  # or empty
    examples: Input


T = TypeVar("T")


class JsonCodec:
    """Reads and writes, what is large by a process that is forked when this is made.

    Make it before TensorFlow runs anything, and before there are other threads.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()  # a thread keeps it though its client has gone
        self._connection: Connection | None = None
        if "fork" not in multiprocessing.get_all_start_methods():
            return
        context = multiprocessing.get_context("fork")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._connection), daemon=True)
        # What the parent left to be collected may wait for threads that the child hasn't.
        with imports.without_collections(), warnings.catch_warnings():
            # Python warns of threads; those of TensorFlow's import know of forks.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()

    async def inputs(self, body: bytes, signature_defs: Mapping[str, SignatureDef]) -> Inputs:
        """Reads a predict request; raises ServingError."""
        return await self._read(body, functools.partial(_inputs, body, signature_defs))

    async def examples(self, body: bytes) -> Examples:
        """Reads a classify or regress request; raises ServingError."""
        return await self._read(body, functools.partial(_examples, body))

    async def outputs(self, arrays: Mapping[str, np.ndarray], form: Format) -> bytes:
        """Writes the answer of a predict request; raises ServingError."""
        if sum(array.size for array in arrays.values()) <= _FEW:
            return json_tensor.outputs(arrays, form)
        write = functools.partial(json_tensor.outputs, dict(arrays), form)
        return await asyncio.to_thread(self._ask, write)

    async def _read(self, body: bytes, read: Callable[[], T]) -> T:
        if len(body) <= _SMALL:
            containers, values = body.count(b"[") + body.count(b"{"), body.count(b",")
        else:
            containers, values = await asyncio.to_thread(_counts, body)
        if containers > _MOST_CONTAINERS:
            raise invalid(f"A request may have {_MOST_CONTAINERS:,} lists and objects.")
        if containers + values > _FEW:
            return await asyncio.to_thread(self._ask, read)
        if len(body) > _SMALL:
            return await asyncio.to_thread(read)
        return read()

    def _ask(self, work: Callable[[], T]) -> T:
        if self._connection is None:
            return work()
        try:
            with self._turn:
                self._connection.send(work)
                if not self._connection.poll(_MOST_SECONDS):
                    self._process.kill()  # and the next line says that it has ended
                answer: T | ServingError = self._connection.recv()
        except (OSError, EOFError):
            # Of this request it may have died, as where memory has run out.
            _log.error("The process for large JSON has ended: it is refused from now on.")
            self._connection.close()
            raise ServingError(Code.UNAVAILABLE, "Large JSON is refused now.") from None
        if isinstance(answer, ServingError):
            raise answer
        return answer


def _counts(body: bytes) -> tuple[int, int]:
    """How many lists and objects begin in a body, and how many commas it has."""
    bytes_of = np.frombuffer(body, np.uint8)
    lists, objects, commas = (int(np.count_nonzero(bytes_of == ord(c))) for c in "[{,")
    return lists + objects, commas


def _inputs(body: bytes, signature_defs: Mapping[str, SignatureDef]) -> Inputs:
    document = json_tensor.parse(body)
    name = json_tensor.signature_name(document) or signatures.SERVING
    if name not in signature_defs:
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    arrays, form = json_tensor.inputs(document, signature_defs[name].inputs)
    if sum(array.size for array in arrays.values() if array.dtype == object) > _MOST_STRINGS:
        raise invalid(f"A request may have {_MOST_STRINGS:,} strings.")
    return Inputs(name, arrays, form)


def _examples(body: bytes) -> Examples:
    document = json_tensor.parse(body)
    return Examples(json_tensor.signature_name(document), json_tensor.examples(document))


def _work(requests: Connection, parents: Connection) -> None:
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parents.close()  # so that its end shows here
    with contextlib.suppress(EOFError, OSError):
        while True:
            requests.send(_done(requests.recv()))
    os._exit(0)


def _done(work: Callable[[], T]) -> T | ServingError:
    try:
        return work()
    except ServingError as error:
        return error
    except Exception as error:
        return ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
