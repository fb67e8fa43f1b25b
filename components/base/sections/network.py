"""The network, and how its training images are changed."""

import os
from typing import Annotated, Literal

from pydantic import Field, field_validator

from darkroom.components.base.remote import is_remote
from darkroom.components.base.sections.section import Section

Initializer = Literal[
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal",
    "random_uniform", "random_normal", "truncated_normal", "variance_scaling", "orthogonal",
    "zeros", "ones", "dirac",
]  # fmt: skip


class Model(Section):
    name: str = "cnn"
    """cnn, dense, residual, EfficientNetLite0 to 2, or an architecture of keras.applications."""
    build_fn: str | None = None
    """Your own `build_model(hp, config, num_classes)` by dotted path, used instead of `name`."""
    backbone_fn: str | None = None
    """Your own `build_backbone(config)` by dotted path, instead of `name`: from images to features
    [batch, rows, columns, channels], with weights of its own if it has any."""
    head: Literal["softmax", "binary", "multi-label", "regression"] = "softmax"
    """softmax: one output for each class; binary: one sigmoid output for two classes; multi-label:
    a sigmoid for each class, as follows from `data.multi_label`; regression: an output for each
    number, as follows from `data.target`."""
    input_layer: str | None = None
    """Your own Keras layer, by dotted path, with which the network of `name` begins."""
    filters: list[int | list[int]] = Field([32, 64], min_length=1)
    """cnn: filters of each block, a list for several convolutions; residual: of each stage."""
    kernel_size: int = Field(3, ge=1)
    """cnn: height and width of the convolutions' kernels."""
    first_kernel_size: int | None = Field(None, ge=1)
    """cnn: the same for the very first convolution; empty: as `kernel_size`."""
    padding: Literal["same", "valid"] = "same"
    """cnn: same keeps height and width in a convolution; valid loses what the kernel overlaps."""
    normalize: Literal["before", "after", "each"] = "before"
    """cnn: batch normalisation of a block's last convolution before or after its activation; each:
    of every convolution, before its activation and after the pooling, which is cheaper."""
    pooled_blocks: int | None = Field(None, ge=0)
    """cnn: how many blocks end in pooling, which halves height and width; empty: all of them."""
    blocks: int = Field(2, ge=1)
    """residual: blocks in each stage; every stage but the first halves height and width."""
    image_size: list[Annotated[int, Field(ge=1)]] | None = Field(None, min_length=2, max_length=2)
    """Height and width at which the network sees the images, which are kept larger for
    `augmentation.crop`; empty: as they are kept."""
    stem: Literal["none", "whitened"] = "none"
    """cnn: whitened begins with fixed filters, made of the first training images, that leave
    neighbouring pixels uncorrelated: deep networks learn quicker (Jordan 2024)."""
    pooling: Literal["auto", "average", "max", "flatten"] = "auto"
    """What the classifier sees of all places: their mean, their maximum, or each; auto: each of a
    cnn's, else the mean."""
    units: list[Annotated[int, Field(ge=0)]] = [128]
    """Units of each dense layer before the classifier; 0 leaves a layer out."""
    activation: Literal["relu", "tanh", "sigmoid", "gelu"] = "relu"
    """Activation of the convolutions and dense layers."""
    dropout: float = Field(0.25, ge=0, lt=1)
    """Share of values dropped after the convolutions and after each dense layer."""
    initializer: Initializer = "glorot_uniform"
    """Initial weights of the convolutions and dense layers, by Keras's names; dirac: convolutions
    pass on what they get, in as many of their filters as it has channels."""
    max_norm: float | None = Field(None, gt=0)
    """Longest vector of weights that one unit or filter may have; empty: any."""
    logit_scale: float = Field(1.0, gt=0)
    """What the last layer's outputs are multiplied with; below 1 it learns slower than the rest."""
    weights: str | None = None
    """Start from: imagenet, a .weights.h5 or .keras file, or the folder of a pushed version."""

    @field_validator("weights")
    @classmethod
    def _found_from_everywhere(cls, source: str | None) -> str | None:
        if source in (None, "imagenet") or is_remote(source):
            return source
        return os.path.abspath(os.path.expanduser(source))


class Augmentation(Section):
    crop: float = Field(0.0, ge=0, le=1)
    """Cut out a part of at least this share of the area, and resize it; 0: no cropping."""
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    """Mirror images at random."""
    rotation: float = Field(0.0, ge=0, le=0.5)
    """Turn by up to this share of a full turn, either way: 0.1 is 36 degrees."""
    zoom: float | list[float] = 0.0
    """Up to this share smaller or larger; or the two ends: [0, 0.3] only makes smaller."""
    shear: float = Field(0.0, ge=0, le=1)
    """Slant by up to this share."""
    translation: float = Field(0.0, ge=0, le=1)
    """Move by up to this share of height and width, either way."""
    fill: Literal["reflect", "nearest", "constant", "wrap"] = "reflect"
    """What comes in from outside where an image was turned, zoomed, slanted or moved."""
    brightness: float = Field(0.0, ge=0, le=1)
    """Lighter or darker by up to this share of an image's own range."""
    contrast: float = Field(0.0, ge=0, lt=1)
    """Stronger or weaker by up to this share."""
    cutout: float = Field(0.0, ge=0, lt=1)
    """Paint over a square of this share of the sides."""
    policy: Literal["none", "trivial"] = "none"
    """trivial: change each image in one way more, drawn like its strength from a fixed list of 13
    (Müller and Hutter 2021)."""
    mixup: float = Field(0.0, ge=0)
    """Blend two images and their labels; the higher, the more evenly (Beta's alpha: try 0.2)."""
    cutmix: float = Field(0.0, ge=0)
    """Paste a part of another image and of its label; 1: parts of every size alike. With `mixup`
    an image gets one or the other."""
    copies: int = Field(1, ge=1)
    """Changed copies of each image, where a frozen backbone's outputs for them are kept."""

    @property
    def changes_images(self) -> bool:
        return self != Augmentation(fill=self.fill, copies=self.copies)

    @field_validator("zoom")
    @classmethod
    def _two_ends(cls, zoom: float | list[float]) -> float | list[float]:
        ends = zoom if isinstance(zoom, list) else [-zoom, zoom]
        if len(ends) != 2 or not -1 < ends[0] <= ends[1] < 1:
            raise ValueError(f"expected a share below 1, or two ends in order, found {zoom}")
        return zoom
