"""Reads weights that PyTorch before 1.6 saved, without PyTorch, and without running anything."""

import hashlib
import io
import pickle
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darkroom.components.base.errors import DarkroomError

_TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
_HEADS = 3  # pickles before the weights': a magic number, the protocol's version, the machine


class _Stored(NamedTuple):
    key: str
    type: str  # NumPy's


class _Tensor(NamedTuple):
    stored: _Stored
    offset: int  # of the first number in what is stored
    shape: tuple[int, ...]
    steps: tuple[int, ...]  # in what is stored, from one number to the next of each axis


def read(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """The arrays of the file by name; raises a DarkroomError where the file has another hash."""
    content = path.read_bytes()
    received = hashlib.sha256(content).hexdigest()
    if received != sha256:
        raise DarkroomError(
            f"model.weights: {path} is not the file that was published: expected SHA-256 {sha256}, "
            f"received {received}. Install its package anew."
        )
    arrays = {}
    file = io.BytesIO(content)
    *_, tensors, keys = (_Unpickler(file).load() for _ in range(_HEADS + 2))
    types = {tensor.stored.key: np.dtype(tensor.stored.type) for tensor in tensors.values()}
    for key in keys:
        [count] = np.frombuffer(file.read(8), "<i8")
        arrays[key] = np.frombuffer(file.read(count * types[key].itemsize), types[key])
    return {name: _view(arrays[t.stored.key][t.offset :], t) for name, t in tensors.items()}


def _view(stored: np.ndarray, tensor: _Tensor) -> np.ndarray:
    strides = [step * stored.itemsize for step in tensor.steps]
    return np.lib.stride_tricks.as_strided(stored, tensor.shape, strides, writeable=False)


class _Unpickler(pickle.Unpickler):
    """Makes tensors and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        if module == "torch" and name in _TYPES:
            return name
        makers = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": _tensor,
        }
        maker = makers.get(f"{module}.{name}")
        if maker is None:
            raise DarkroomError(
                f"model.weights: there are other things than weights: {module}.{name}."
            )
        return maker

    def persistent_load(self, pid: Sequence[str]) -> _Stored:
        _, kind, key, *_ = pid
        return _Stored(key, _TYPES[kind])


def _tensor(
    stored: _Stored, offset: int, shape: tuple[int, ...], steps: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(stored, offset, shape, steps)
