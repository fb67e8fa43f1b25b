"""Every feature key of the pipeline, once; a user's own are configuration."""

from collections.abc import Iterable

from darkroom.serving import signatures

# The ecosystem's own keys (tf.Example of TensorFlow's image data sets).
IMAGE_KEY = "image/encoded"
LABEL_KEY = "image/class/text"
FILENAME_KEY = "image/filename"
TARGET_PREFIX = "image/target/"  # instead of a label: of each number, before its name
# Of the TFRecords that darkroom ingest writes: the file's pixels, as its index has their hash.
FILE_HASH_KEY = "image/file_hash"
GROUP_KEY = "image/group"

# What ImportExampleGen saw in the image (components/ingestion/inspection.py says in which units).
FORMAT_KEY = "image/format"
HEIGHT_KEY = "image/height"
WIDTH_KEY = "image/width"
CHANNELS_KEY = "image/channels"
BIT_DEPTH_KEY = "image/bit_depth"
ASPECT_RATIO_KEY = "image/aspect_ratio"  # width / height
BRIGHTNESS_KEY = "image/brightness"
CONTRAST_KEY = "image/contrast"
ENCODED_SIZE_KEY = "image/encoded_size"  # bytes
CONTENT_KEY = "image/content_hash"
INTEGERS = (HEIGHT_KEY, WIDTH_KEY, CHANNELS_KEY, BIT_DEPTH_KEY, ENCODED_SIZE_KEY)
FLOATS = (ASPECT_RATIO_KEY, BRIGHTNESS_KEY, CONTRAST_KEY)
INSPECTED = (FORMAT_KEY, *INTEGERS, *FLOATS)
# Features of which no two images need have the same value.
CONTINUOUS = (*FLOATS, ENCODED_SIZE_KEY, HEIGHT_KEY, WIDTH_KEY)
# All that examples have but `data.keep_features`.
OWN = (IMAGE_KEY, LABEL_KEY, FILENAME_KEY, CONTENT_KEY, *INSPECTED)

# A record in quarantine: why, from where, and what it was.
REASON_KEY = "quarantine/reason"
SOURCE_KEY = "quarantine/source"  # file
POSITION_KEY = "quarantine/position"  # number of the record in the file, from 0
RECORD_KEY = "quarantine/record"

# What the transform graph gives: image float32 [height, width, channels], label int64 [], or of
# multi-label data the numbers of an example's labels, sparse int64 [any].
IMAGE = "image"
LABEL = "label"
# Of numbers the label is float32 [outputs], in standard deviations from the train split's mean.
MEAN, DEVIATION = "label_mean", "label_deviation"
LABEL_VOCABULARY = "labels"  # file name of the label vocabulary in the transform graph


# How near to a level of grey floats must be to have been 8 bits once: float32 keeps 7 digits.
LEVEL_TOLERANCE = 1e-3


def target_keys(keys: Iterable[str]) -> list[str]:
    """The keys among these of what is learnt: of numbers, in the order of outputs, or the label."""
    return sorted(key for key in keys if key.startswith(TARGET_PREFIX)) or [LABEL_KEY]


def target_names(keys: Iterable[str]) -> list[str]:
    """The names of the numbers that are learnt, in the order of outputs; none of classes."""
    return [key.removeprefix(TARGET_PREFIX) for key in target_keys(keys) if key != LABEL_KEY]


def split_labels(text: str) -> list[str]:
    """The labels of a multi-label text such as ``a|b``, sorted, each once; none of an empty one."""
    return sorted({label.strip() for label in text.split(signatures.LABEL_SEPARATOR)} - {""})
