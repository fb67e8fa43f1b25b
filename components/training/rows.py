"""How examples are kept: in memory as far as a budget goes, in as few bytes as lose nothing."""

import os
import shutil
import tempfile
from typing import BinaryIO

import numpy as np
import tensorflow as tf
from numpy.typing import DTypeLike

from darkroom.components.base import features
from darkroom.components.base.errors import DarkroomError


def free_bytes() -> int:
    """What is free on the disk of temporary files."""
    return shutil.disk_usage(tempfile.gettempdir()).free


class Rows:
    """Arrays of one shape and type: in memory as far as the budget goes, the rest in a file."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, budget: int):
        """Keeps up to ``budget`` bytes in memory."""
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.row_bytes = max(1, int(np.prod(shape)) * self.dtype.itemsize)
        # Only the pages that are written to take memory.
        self._memory = np.empty((budget // self.row_bytes, *shape), dtype)
        # Without a name: gone when the process is, however it ends.
        self._file: BinaryIO | None = None
        self._begin = 0  # of the rows in the file
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def facts(self) -> dict[str, object]:
        """What ``of_file`` needs beside the file."""
        return {"shape": self.shape, "dtype": self.dtype.str}

    @property
    def held_bytes(self) -> int:
        return min(self._count, len(self._memory)) * self.row_bytes

    def append(self, rows: np.ndarray) -> None:
        """Adds rows [count, *shape]."""
        rows = np.ascontiguousarray(rows, self.dtype)
        fitting = rows[: max(0, len(self._memory) - self._count)]
        self._memory[self._count : self._count + len(fitting)] = fitting
        if len(fitting) < len(rows):
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="examples-")  # noqa: SIM115
            self._file.write(rows[len(fitting) :].tobytes())
            self._file.flush()
        self._count += len(rows)

    def save(self, path: str) -> None:
        """Writes all rows to a file, one after the other."""
        with open(path, "wb") as file:
            self._memory[: self._count].tofile(file)
            if self._file is not None:
                self._file.seek(0)
                shutil.copyfileobj(self._file, file)

    @classmethod
    def of_file(
        cls, path: str, shape: tuple[int, ...], dtype: DTypeLike, count: int, budget: int
    ) -> "Rows":
        """``count`` rows that ``save`` wrote; processes share the memory of what they read."""
        rows = cls(shape, dtype, 0)
        rows._count = count
        mapped = min(count, budget // rows.row_bytes)
        if mapped:
            rows._memory = np.asarray(np.memmap(path, dtype, "r", shape=(mapped, *shape)))
        if mapped < count:
            rows._file = open(path, "rb")  # noqa: SIM115  # as long as the rows
            rows._begin = mapped * rows.row_bytes
        return rows

    def take(self, indices: np.ndarray) -> np.ndarray:
        """The rows at ``indices``, int [count], as [count, *shape]."""
        if self._file is None:
            return np.take(self._memory, indices, axis=0)
        rows = np.empty((len(indices), *self.shape), self.dtype)
        for place, index in enumerate(indices):
            behind = int(index) - len(self._memory)
            if behind < 0:
                rows[place] = self._memory[index]
            else:
                # The pages of an mmap would count as memory of this process.
                position = self._begin + behind * self.row_bytes
                os.preadv(self._file.fileno(), [rows[place : place + 1].data], position)
        return rows


class Coding:
    """How images are kept: as uint8 where that loses nothing, else as float16 of 11 bits."""

    def __init__(self, *ends: np.ndarray):
        """Keeps uint8 between ``ends``, black and white, [channels] each; without them float16."""
        self.ends, self.dtype = ends, np.uint8 if ends else np.float16

    @property
    def facts(self) -> dict[str, object]:
        """What describes it, for a file."""
        return {"ends": self.ends}

    def parallel_calls(self, batch_size: int) -> None:
        """How many batches to decode at the same time: there is nothing to gain."""

    def encode(self, images: np.ndarray) -> np.ndarray | None:
        """From float32 [count, height, width, channels] to ``dtype``; None if that loses something.

        Raises a DarkroomError where numbers are too large for float16.
        """
        if not self.ends:
            if not abs(images).max() <= np.finfo(np.float16).max:  # so too where it is no number
                raise DarkroomError(
                    "preprocessing.image_fn: expected numbers within ±65,504, "
                    f"received {images.min()} to {images.max()}. Scale them in the function."
                )
            return images.astype(np.float16)
        black, white = self.ends
        levels = (images - black) * (255.0 / (white - black))
        whole = np.rint(levels)
        fits = whole.min() >= 0 and whole.max() <= 255
        exact = (
            fits and abs(levels - whole).max() <= features.LEVEL_TOLERANCE
        )  # not so if no numbers
        return whole.astype(np.uint8) if exact else None

    def decode(self, kept: tf.Tensor) -> tf.Tensor:
        """From ``dtype`` [..., channels] to float32."""
        images = tf.cast(kept, tf.float32)
        if not self.ends:
            return images
        black, white = self.ends
        return images * ((white - black) / 255.0) + black
