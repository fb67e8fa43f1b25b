"""From an image file to pixels, in TensorFlow: the one decoder of inspection and preprocessing."""

import tensorflow as tf

from darkroom.serving.codecs.image_header import EXIF_AT, PNG_BIT_DEPTH_AT

_EXIF_SEARCHED = 4096  # bytes; the orientation is among a camera's first entries
_ORIENTATION_TAG = 0x0112  # EXIF's number for it
_HEAD = 32  # bytes that tell which decoder is needed

# What few images need stays a call in the graph. Inlined, each of its operations would cost every
# image the time to pass over it: for small images more than decoding does.
rare = tf.function(autograph=False, experimental_attributes={"_noinline": True})


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes one PNG, JPEG, GIF (its first frame) or BMP, a string [].

    Gives float32 [height, width, 1 or 3] in [0, 255]: 16-bit images keep their precision, alpha is
    dropped, a JPEG is turned upright as its EXIF orientation says.
    """
    head = tf.strings.join([tf.strings.substr(encoded, 0, _HEAD), " " * _HEAD])  # never too short
    image = tf.cond(
        tf.equal(tf.strings.substr(head, 1, 3), "PNG")
        & tf.equal(tf.strings.substr(head, PNG_BIT_DEPTH_AT, 1), "\x10"),
        lambda: _deep_png(encoded),
        # With the file's own channels: the decoders of GIF and BMP can't convert.
        lambda: tf.cast(tf.io.decode_image(encoded, expand_animations=False), tf.float32),
    )
    image = image[..., : 1 + 2 * tf.cast(tf.shape(image)[2] >= 3, tf.int32)]
    return tf.cond(_has_exif(head), lambda: _upright(image, encoded), lambda: image)


def _has_exif(head: tf.Tensor) -> tf.Tensor:
    first, second = (tf.equal(tf.strings.substr(head, at, 4), "Exif") for at in EXIF_AT)
    return tf.equal(tf.strings.substr(head, 0, 2), b"\xff\xd8") & (first | second)


@rare
def _deep_png(encoded: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.io.decode_png(encoded, dtype=tf.uint16), tf.float32) / 257.0


@rare
def _upright(image: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    orientation = _orientation(encoded)
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    mirrored = tf.reduce_any(orientation == tf.constant([2, 3, 6, 7]))
    image = tf.cond(mirrored, lambda: image[:, ::-1], lambda: image)
    flipped = tf.reduce_any(orientation == tf.constant([3, 4, 7, 8]))
    return tf.cond(flipped, lambda: image[::-1], lambda: image)


def _orientation(encoded: tf.Tensor) -> tf.Tensor:
    """EXIF's orientation, int32 [] in 1…8; 1 where the block has none or can't be read."""
    first, second = EXIF_AT
    is_first = tf.equal(tf.strings.substr(encoded, first, 4), "Exif")
    start = tf.where(is_first, first, second) + 6  # after "Exif\0\0" comes a TIFF header
    tiff = tf.io.decode_raw(tf.strings.substr(encoded, start, _EXIF_SEARCHED), tf.uint8)
    # Zeros behind the end, so that no offset of a damaged block points outside.
    tiff = tf.pad(tf.cast(tiff, tf.int32), [[0, _EXIF_SEARCHED - tf.shape(tiff)[0]]])
    tiff = tf.ensure_shape(tiff, [_EXIF_SEARCHED])
    little = tiff[0] == ord("I")

    def number(octets: tf.Tensor) -> tf.Tensor:
        """Pairs of octets [..., 2] as numbers [...], in the block's byte order."""
        return tf.reduce_sum(octets * tf.where(little, [1, 256], [256, 1]), axis=-1)

    # The directory's place has 32 bits; it follows closely, so that the lower 16 tell it.
    directory = tf.where(little, number(tiff[4:6]), number(tiff[6:8]))
    directory = tf.minimum(directory, _EXIF_SEARCHED - 2)
    count = number(tf.ensure_shape(tiff[directory : directory + 2], [2]))
    count = tf.minimum(count, (_EXIF_SEARCHED - directory - 2) // 12)
    entries = tf.reshape(tiff[directory + 2 : directory + 2 + 12 * count], [-1, 12])
    found = tf.boolean_mask(number(entries[:, 8:10]), number(entries[:, 0:2]) == _ORIENTATION_TAG)
    value = tf.reduce_max(tf.concat([[1], found[:1]], axis=0))
    return tf.where(value <= 8, value, 1)
