"""The architectures of ``keras.applications`` by name; light to import.

What each takes is from its page in Keras's documentation: the smallest image, and the range of the
pixels that its ``preprocess_input`` makes.
"""

from typing import NamedTuple


class Architecture(NamedTuple):
    """What has to be known before it is built."""

    pixels: str  # signed: [-1, 1]; bytes: [0, 255], scaled inside; imagenet: by mean and deviation;
    # bgr: [0, 255] without the mean, blue first
    smallest: int  # height and width, pixels


ARCHITECTURES = {
    **dict.fromkeys(
        ("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge"),
        Architecture("bytes", 32),
    ),
    **dict.fromkeys(("DenseNet121", "DenseNet169", "DenseNet201"), Architecture("imagenet", 32)),
    **dict.fromkeys((f"EfficientNetB{number}" for number in range(8)), Architecture("bytes", 32)),
    **dict.fromkeys(
        (f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
        Architecture("bytes", 32),
    ),
    "InceptionResNetV2": Architecture("signed", 75),
    "InceptionV3": Architecture("signed", 75),
    **dict.fromkeys(("MobileNet", "MobileNetV2"), Architecture("signed", 32)),
    **dict.fromkeys(("MobileNetV3Large", "MobileNetV3Small"), Architecture("bytes", 32)),
    **dict.fromkeys(("NASNetLarge", "NASNetMobile"), Architecture("signed", 32)),
    **dict.fromkeys(("ResNet50", "ResNet101", "ResNet152"), Architecture("bgr", 32)),
    **dict.fromkeys(("ResNet50V2", "ResNet101V2", "ResNet152V2"), Architecture("signed", 32)),
    **dict.fromkeys(("VGG16", "VGG19"), Architecture("bgr", 32)),
    "Xception": Architecture("signed", 71),
}
