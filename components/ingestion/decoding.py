"""From an image file to pixels, in TensorFlow: the one decoder of inspection and preprocessing."""

import tensorflow as tf

from darkroom.components.base.sections import Preprocessing
from darkroom.serving.codecs.image_header import EXIF_AT, PNG_BIT_DEPTH_AT

_BACKGROUND = Preprocessing().background
_EXIF_SEARCHED = 4096  # bytes; the orientation is among a camera's first entries
_ORIENTATION_TAG = 0x0112  # EXIF's number for it
# Bytes of a JPEG, from which on it is worth to look how much of it is needed: about a megapixel.
_LARGE = 2**17
_MOST_RATIO = 8  # in which its decoder shrinks
_HEAD = 32  # bytes that tell which decoder is needed
# What these bytes are like where an image may be a JPEG with an EXIF block, or a PNG of 16 bits.
_MAY_BE_SPECIAL = "|".join(
    [rf"\CPNG\C{{{PNG_BIT_DEPTH_AT - 4}}}\x10\C*", *(rf"\C{{{at}}}Exif\C*" for at in EXIF_AT)]
)

# What few images need stays a call in the graph. Inlined, each of its operations would cost every
# image the time to pass over it: for small images more than decoding does.
rare = tf.function(autograph=False, experimental_attributes={"_noinline": True})


def decode(
    encoded: tf.Tensor, background: str = _BACKGROUND, least_side: int | None = None
) -> tf.Tensor:
    """Decodes one PNG, JPEG, GIF (its first frame) or BMP, a string [].

    Gives float32 [height, width, 1 or 3] in [0, 255]: 16-bit images keep their precision, what is
    transparent shows the ``background`` (#rrggbb), a JPEG is turned upright as its EXIF orientation
    says. A large JPEG comes at a half, a quarter or an eighth of its size, as long as that has
    ``least_side`` pixels in height and width.
    """
    return composite(decode_layers(encoded, least_side), background)


def composite(image: tf.Tensor, background: str = _BACKGROUND) -> tf.Tensor:
    """What a viewer sees of an image of ``decode_layers`` in front of a colour, #rrggbb."""
    transparent = tf.equal(tf.shape(image)[2] % 2, 0)
    return tf.cond(transparent, lambda: _composite(image, background), lambda: image)


def decode_layers(encoded: tf.Tensor, least_side: int | None = None) -> tf.Tensor:
    """The same with 1 to 4 channels: what is transparent in places keeps its alpha, the last."""
    # One operation finds the few that the exact, longer look is worth.
    may_be_special = tf.strings.regex_full_match(
        tf.strings.substr(encoded, 0, _HEAD), _MAY_BE_SPECIAL
    )
    if least_side:
        may_be_special |= tf.strings.length(encoded) >= _LARGE
    image = tf.cond(
        may_be_special, lambda: _special(encoded, least_side), lambda: _decode_image(encoded)
    )
    with_alpha = tf.equal(tf.shape(image)[2] % 2, 0)
    return tf.cond(with_alpha, lambda: _without_idle_alpha(image, encoded), lambda: image)


def upright_size(encoded: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Height and width, int32 [2], of the file that an image of ``decode_layers`` is of."""
    return tf.cond(
        _is_large_jpeg(encoded), lambda: _upright_size(encoded), lambda: tf.shape(image)[:2]
    )


def _decode_image(encoded: tf.Tensor) -> tf.Tensor:
    # With the file's own channels: the decoders of GIF and BMP can't convert.
    return tf.cast(tf.io.decode_image(encoded, expand_animations=False), tf.float32)


def _is_large_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, 2), b"\xff\xd8")
    return is_jpeg & (tf.strings.length(encoded) >= _LARGE)


@rare
def _special(encoded: tf.Tensor, least_side: int | None) -> tf.Tensor:
    """A PNG of 16 bits, a JPEG that may be turned, a large one; or what looked like one."""
    head = _head(encoded)
    is_png = tf.equal(tf.strings.substr(head, 1, 3), "PNG")
    image = tf.cond(
        is_png & tf.equal(tf.strings.substr(head, PNG_BIT_DEPTH_AT, 1), "\x10"),
        lambda: tf.cast(tf.io.decode_png(encoded, dtype=tf.uint16), tf.float32) / 257.0,
        lambda: tf.cond(
            _is_large_jpeg(encoded) if least_side else tf.constant(False),
            lambda: _part_of_jpeg(encoded, least_side or 0),
            lambda: _decode_image(encoded),
        ),
    )
    return tf.cond(_has_exif(head), lambda: _upright(image, encoded), lambda: image)


def _part_of_jpeg(encoded: tf.Tensor, least_side: int) -> tf.Tensor:
    """A JPEG at a part of its size: its decoder leaves out what isn't needed for that."""
    short_side = tf.reduce_min(tf.image.extract_jpeg_shape(encoded)[:2])

    def part(ratio: int) -> tf.Tensor:  # TensorFlow Transform takes tf.cond, but no switch_case
        if ratio == 1:
            return tf.io.decode_jpeg(encoded)
        fits = short_side >= least_side * ratio
        return tf.cond(
            fits, lambda: tf.io.decode_jpeg(encoded, ratio=ratio), lambda: part(ratio // 2)
        )

    return tf.cast(part(_MOST_RATIO), tf.float32)


def _head(encoded: tf.Tensor) -> tf.Tensor:
    return tf.strings.join([tf.strings.substr(encoded, 0, _HEAD), " " * _HEAD])  # never too short


@rare
def _upright_size(encoded: tf.Tensor) -> tf.Tensor:
    size = tf.image.extract_jpeg_shape(encoded)[:2]
    is_turned = tf.cond(
        _has_exif(_head(encoded)), lambda: _orientation(encoded) >= 5, lambda: False
    )
    return tf.where(is_turned, size[::-1], size)


@rare
def _without_idle_alpha(image: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    """Without an alpha that hides nothing; in a BMP the fourth octet isn't one, but unused."""
    is_bmp = tf.equal(tf.strings.substr(encoded, 0, 2), "BM")
    is_idle = is_bmp | tf.reduce_all(image[..., -1] == 255.0)
    return tf.cond(is_idle, lambda: image[..., :-1], lambda: image)


@rare
def _composite(image: tf.Tensor, background: str) -> tf.Tensor:
    """What shows of colours, or grey, with an alpha [height, width, 2 or 4]: RGB."""
    behind = tf.constant([*bytes.fromhex(background[1:])], tf.float32)
    alpha = image[..., -1:] / 255.0
    return image[..., :-1] * alpha + behind * (1.0 - alpha)


def _has_exif(head: tf.Tensor) -> tf.Tensor:
    first, second = (tf.equal(tf.strings.substr(head, at, 4), "Exif") for at in EXIF_AT)
    return tf.equal(tf.strings.substr(head, 0, 2), b"\xff\xd8") & (first | second)


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
