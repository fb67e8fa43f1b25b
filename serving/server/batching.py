"""Requests of concurrent clients that run together.

A request is put into the queue of its kind, and a thread takes what has come together. While all
are busy the next batch fills: it is large where there is load. (TensorFlow's own batching op needs
a thread for each request that waits.)
"""

import asyncio
import collections
import dataclasses
import itertools
import math
import weakref
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from darkroom.serving.errors import Code, ServingError
from darkroom.serving.server.saved_model import Function, serving_error
from darkroom.serving.server.server_config import Batching

# Images that run together have at most so many pixels, 0.4 GB while they are decoded: clients of a
# few megapixels each gain little by more, and it comes on top for each thread. A single larger
# image runs alone.
MAX_BATCH_PIXELS = 25_000_000

# Errors that a client's tensor, rather than the machine, may be guilty of.
_FAILURES = (tf.errors.OpError, ServingError, ValueError, TypeError)


class Call(NamedTuple):
    """What a request asks of a model."""

    function: Function  # calls of the same one may run together
    inputs: list[np.ndarray]  # [batch, ...] each, in the order of the function's feeds
    pixels: int = 0  # of all encoded images in it
    alone: bool = False  # what goes in or comes out isn't one for each example
    names: Sequence[str] = ()  # of the outputs


class _Task(NamedTuple):
    call: Call
    size: int  # examples; 0 where it can't be put together with others
    bytes: int
    future: asyncio.Future[list[np.ndarray]]


_Answer = list[np.ndarray] | BaseException


@dataclasses.dataclass
class _Queue:
    due: float  # the loop's time at which what is there runs, full or not
    tasks: collections.deque[_Task] = dataclasses.field(default_factory=collections.deque)
    examples: int = 0


class Batcher:
    """Runs calls, several at once where that is possible; belongs to one event loop."""

    def __init__(self, parameters: Batching, max_pixels: int):
        """Starts the threads. A batch has ``max_pixels`` at most, a single call maybe more."""
        self._parameters, self._max_pixels = parameters, max_pixels
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(parameters.num_batch_threads, "batch")
        self._free = parameters.num_batch_threads
        self._queues: dict[Hashable, _Queue] = {}  # in the order in which they came to be
        self._examples = self._bytes = 0  # that wait
        self._awake = False  # _start is about to be called
        self._timer: asyncio.TimerHandle | None = None  # calls it when the next queue is due
        self._unbatchable: weakref.WeakSet[Function] = weakref.WeakSet()

    async def run(self, call: Call) -> list[np.ndarray]:
        """Runs a call, maybe with others, and returns its outputs, [batch, ...] each.

        Raises ServingError where this call fails, or too much waits already.
        """
        size = self._size(call)
        limits, largest = self._parameters, self._parameters.max_batch_size
        # The call's own size doesn't count.
        is_full = self._examples >= limits.max_enqueued_batches * largest
        if is_full or self._bytes >= limits.max_enqueued_bytes:
            message = "The batch scheduling queue to which this task was submitted is full"
            raise ServingError(Code.UNAVAILABLE, message)
        if size <= largest:
            return await self._put(call, size)
        parts = [
            call._replace(inputs=[array[at : at + largest] for array in call.inputs])
            for at in range(0, size, largest)
        ]
        sizes = [len(part.inputs[0]) for part in parts]
        answers = await asyncio.gather(*map(self._put, parts, sizes))
        if all(_is_batch(answer, n) for answer, n in zip(answers, sizes, strict=True)):
            return [np.concatenate(arrays) for arrays in zip(*answers, strict=True)]
        self._unbatchable.add(call.function)
        return await self._put(call, 0)

    def close(self) -> None:  # when the batches are done
        self._threads.shutdown()

    def _size(self, call: Call) -> int:
        """Examples of a call; 0 where it can't run with others."""
        if self._parameters.max_batch_size == 1 or call.alone or call.function in self._unbatchable:
            return 0
        sizes = {array.shape[0] if array.ndim else 0 for array in call.inputs}
        return sizes.pop() if len(sizes) == 1 else 0

    def _put(self, call: Call, size: int) -> asyncio.Future[list[np.ndarray]]:
        future: asyncio.Future[list[np.ndarray]] = self._loop.create_future()
        padded = self._parameters.pad_variable_length_inputs
        # What must be equal for arrays to be put together.
        shapes = tuple(
            (array.dtype, *((array.ndim,) if padded else array.shape[1:])) for array in call.inputs
        )
        key: Hashable = (call.function, shapes) if size else future
        queue = self._queues.get(key)
        if queue is None:
            wait = self._parameters.batch_timeout_micros / 1e6 if size else 0.0
            queue = self._queues[key] = _Queue(self._loop.time() + wait)
        content = sum(map(_byte_count, call.inputs))
        queue.tasks.append(_Task(call, size, content, future))
        queue.examples += size
        self._examples += max(size, 1)
        self._bytes += content
        self._wake()
        return future

    def _wake(self) -> None:
        if self._free and self._queues and not self._awake:
            # After what else came in at the same time, which then runs with it.
            self._awake = True
            self._loop.call_soon(self._start)

    def _start(self) -> None:
        self._awake = False
        if self._timer is not None:
            self._timer.cancel()
        now = self._loop.time()
        due = math.inf
        for key, queue in list(self._queues.items()):
            if not self._free:
                return
            full = queue.examples >= self._parameters.max_batch_size
            if not full and queue.due > now:
                due = min(due, queue.due)
                continue
            if batch := self._take(queue):
                self._free -= 1
                self._threads.submit(self._work, batch)
            del self._queues[key]
            if queue.tasks:  # after the others, so that one kind can't keep the threads to itself
                self._queues[key] = queue
                due = now
        if due < math.inf:
            self._timer = self._loop.call_at(due, self._wake)

    def _take(self, queue: _Queue) -> list[_Task]:
        batch: list[_Task] = []
        examples = pixels = 0
        while queue.tasks:
            task = queue.tasks[0]
            if not task.future.done():  # the client may have given up
                examples += task.size
                pixels += task.call.pixels
                too_many = examples > self._parameters.max_batch_size or pixels > self._max_pixels
                if batch and too_many:
                    break
                batch.append(task)
            queue.tasks.popleft()
            queue.examples -= task.size
            self._examples -= max(task.size, 1)
            self._bytes -= task.bytes
        return batch

    def _work(self, batch: list[_Task]) -> None:
        try:
            answers = self._answers(batch)
        except BaseException as error:  # nobody else would hear of it
            answers = [error] * len(batch)
        self._loop.call_soon_threadsafe(self._finish, batch, answers)

    def _finish(self, batch: list[_Task], answers: list[_Answer]) -> None:
        self._free += 1
        for task, answer in zip(batch, answers, strict=True):
            if task.future.done():
                continue
            if isinstance(answer, BaseException):
                task.future.set_exception(answer)
            else:
                task.future.set_result(answer)
        self._wake()

    def _answers(self, batch: list[_Task]) -> list[_Answer]:
        function = batch[0].call.function
        try:
            padded = self._parameters.allowed_batch_sizes and batch[0].size
            if len(batch) == 1 and not padded:
                return [function(batch[0].call.inputs)]
            return self._together(function, batch)
        except _Unbatchable:
            self._unbatchable.add(function)
        except _FAILURES as error:
            if len(batch) == 1:
                return [serving_error(error)]
            # A bad image fails a batch early, at its decoding; six levels find the one among 64.
            middle = len(batch) // 2
            return self._answers(batch[:middle]) + self._answers(batch[middle:])
        answers: list[_Answer] = []
        for task in batch:
            try:
                answers.append(function(task.call.inputs))
            except _FAILURES as error:
                answers.append(serving_error(error))
        return answers

    def _together(self, function: Function, batch: list[_Task]) -> list[_Answer]:
        sizes = [task.size for task in batch]
        total = sum(sizes)
        allowed = self._parameters.allowed_batch_sizes
        padding = next((size for size in allowed if size >= total), total) - total
        inputs = []
        for arrays in zip(*(task.call.inputs for task in batch), strict=True):
            if self._parameters.pad_variable_length_inputs:
                arrays = _padded(arrays)
            first = arrays[0][:1]
            inputs.append(np.concatenate([*arrays, *[first] * padding]))
        outputs = function(inputs)
        if not _is_batch(outputs, total + padding):
            raise _Unbatchable
        return [
            [output[end - size : end] for output in outputs]
            for size, end in zip(sizes, itertools.accumulate(sizes), strict=True)
        ]


def _is_batch(outputs: Sequence[np.ndarray], size: int) -> bool:
    return all(output.shape[:1] == (size,) for output in outputs)


class _Unbatchable(Exception):
    """The outputs of a model aren't one for each example."""


def _padded(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Arrays grown with zeros, or empty strings, to the largest of each dimension but the first."""
    if arrays[0].ndim == 1:
        return list(arrays)
    shape = np.max([array.shape[1:] for array in arrays], axis=0)
    fill = b"" if arrays[0].dtype == object else 0
    widths = [[(0, 0), *((0, int(n)) for n in shape - array.shape[1:])] for array in arrays]
    return [np.pad(a, w, constant_values=fill) for a, w in zip(arrays, widths, strict=True)]


def _byte_count(array: np.ndarray) -> int:
    return sum(map(len, array.ravel().tolist())) if array.dtype == object else array.nbytes
