"""An image file of any kind, as ``darkroom ingest``, the predictor and the model server take it."""

import contextlib
import functools
import hashlib
import io
import threading
import warnings

import numpy as np
from PIL import ExifTags, Image, ImageOps, JpegImagePlugin, TiffImagePlugin, WebPImagePlugin

from darkroom.serving.codecs import image_header

# How formats begin that may have many frames.
ANIMATED = (b"GIF8", b"RIFF")
# What TensorFlow's decode_image reads, and with it the transform graph.
DECODABLE = ("JPEG", "PNG", "GIF", "BMP")
# Formats that Pillow reads by itself, without outside programs.
READABLE = (
    *DECODABLE,
    "PPM",
    # Pillow knows these only once their plugins are imported.
    TiffImagePlugin.TiffImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
)
# Phones' formats, of which Pillow learns by the libraries of an extra.
_HEIF = ("HEIF", "AVIF")
_JPEG = ("JPEG", "MPO")  # with several pictures in it, as some phones write
_JPEG_QUALITY = 95  # of one that was made smaller; what is lost is less than the shrinking took
# White, where it is of floats, or whole numbers of 32 bits, and the file doesn't say.
_WHITES = {"F": (1, 255, 65535), "I": (255, 65535)}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FILTERS = threading.Lock()  # of warnings, which are the whole process's


class ImageError(ValueError):
    """The image can't be used; the message is the reason, in a few words."""


class Picture:
    """A decoded image file; raises ImageError with the reason where it can't be used."""

    def __init__(
        self,
        encoded: bytes,
        max_side: int | None = None,
        max_pixels: int = image_header.MAX_PIXELS,
    ):
        """Has the same proportions, but at most ``max_side`` pixels in width and height.

        Of a file that claims more than ``max_pixels`` nothing is decoded.
        """
        self._encoded = encoded
        self._opened = open_image(encoded, readable(encoded), max_pixels)
        size = self._opened.size
        share = 1.0 if max_side is None else max_side / max(size)
        self.is_smaller = share < 1  # than the file says
        if image_header.is_damaged_png(encoded):
            raise ImageError("damaged")  # Pillow doesn't look at all checksums, the graph does
        try:
            if self.is_smaller:
                # A JPEG's decoder leaves out what there is no room for in twice the size.
                self._opened.draft(None, [max(1, int(2 * share * side)) for side in size])
            self._opened.load()
            image = _plain(self._opened)
            if self.is_smaller:
                small = [max(1, round(share * side)) for side in size]
                image = image.resize(small, Image.Resampling.LANCZOS, reducing_gap=2.0)
        except ImageError:
            raise
        except Exception as error:  # whatever a damaged file makes Pillow raise
            raise ImageError(_why_not_loaded(error)) from None
        turn = _TURNS.get(orientation(self._opened))
        self._is_turned = turn is not None
        self._image = image if turn is None else image.transpose(turn)

    def content(self) -> str:
        """A hash of the upright pixels: the same for the same picture in another file."""
        image = self._image
        digest = hashlib.blake2b(f"{image.mode} {image.size} ".encode(), digest_size=12)
        digest.update(image.tobytes())
        return digest.hexdigest()

    def for_the_graph(self) -> bytes:
        """The file itself where the transform graph reads it as it is meant, else another.

        A JPEG stays a JPEG with its own quantisation, or of high quality where it was made
        smaller; everything else becomes a PNG, lossless.
        """
        if self._is_read_alike():
            return self._encoded
        buffer = io.BytesIO()
        if self._opened.format not in _JPEG:
            self._image.save(buffer, "PNG", compress_level=1)
        elif self.is_smaller:
            self._image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
        else:
            sampling = JpegImagePlugin.get_sampling(self._opened)
            tables = self._opened.quantization
            self._image.save(buffer, "JPEG", qtables=tables, subsampling=sampling)
        return buffer.getvalue()

    def _is_read_alike(self) -> bool:
        if self.is_smaller:
            return False
        if image_header.is_plain(self._encoded):
            return True
        # What the header alone leaves open: an EXIF block elsewhere may say that all is upright.
        is_open = self._opened.format in _JPEG or (
            self._opened.format == "PNG" and not image_header.has_colour_key(self._encoded)
        )
        return is_open and not self._is_turned


def for_the_graph(encoded: bytes, max_pixels: int = image_header.MAX_PIXELS) -> bytes:
    """The same as ``Picture.for_the_graph``; decodes only what the graph doesn't read as meant.

    Raises ImageError where that can't be decoded, or has too many pixels.
    """
    if image_header.is_plain(encoded):
        _require_few(image_header.pixels(encoded), max_pixels)
        return encoded
    return Picture(encoded, max_pixels=max_pixels).for_the_graph()


def readable(encoded: bytes) -> tuple[str, ...]:
    """The formats that a file may have, those of an extra's libraries where it has one."""
    if encoded[4:8] != b"ftyp":
        return READABLE
    _register_heif()
    return _HEIF


@functools.cache
def _register_heif() -> None:
    with contextlib.suppress(ImportError):
        import pi_heif

        pi_heif.register_heif_opener()
    with contextlib.suppress(ImportError):  # newer Pillows read AVIF themselves
        import pillow_avif  # noqa: F401 - it registers itself


def open_image(
    encoded: bytes, formats: tuple[str, ...], max_pixels: int = image_header.MAX_PIXELS
) -> Image.Image:
    """Pillow's image, not decoded yet; raises an ImageError where it has none of the formats."""
    if not encoded:
        raise ImageError("empty")
    if not encoded.startswith(ANIMATED):  # of which Pillow decodes the first frame alone
        _require_few(image_header.pixels(encoded), max_pixels)
    try:
        image = _open(encoded, formats)
    except Image.DecompressionBombError:
        raise ImageError("too many pixels") from None
    except Exception:  # Pillow's plugins raise whatever a damaged header makes them
        raise ImageError(_why_not_opened(encoded)) from None
    width, height = image.size
    _require_few(width * height, max_pixels)
    if width * height == 0:
        raise ImageError("damaged")
    return image


def _require_few(pixels: int, most: int) -> None:
    if pixels > image_header.MAX_PIXELS:
        raise ImageError("too many pixels")
    if pixels > most:
        raise ImageError(f"{pixels} pixels; at most {most} are decoded")


def small(encoded: bytes, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """An image as the graph shows it, on white, as L or RGB, and its full width and height.

    A large JPEG is decoded at a part of its size, with ``side`` pixels at least. Raises an
    ImageError with the reason where it doesn't decode.
    """
    image = open_image(encoded, DECODABLE)
    size = image.size
    try:
        image.draft(None, (side, side))
        image.load()
        # The graph turns JPEGs alone.
        if image.format in _JPEG and (turn := orientation(image)) != 1:
            size = size[::-1] if turn > 4 else size
            image = ImageOps.exif_transpose(image)
    except Exception:  # Pillow's plugins raise whatever a damaged file makes them
        raise ImageError(why_not_decoded(encoded)) from None
    if image.mode.startswith("I"):  # 16 bits, of which Pillow would keep the lower 8
        image = Image.fromarray((np.asarray(image) / 257).astype(np.uint8))
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:  # as preprocessing.background has it
        behind = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(behind, image.convert("RGBA"))
    return image.convert(mode), size


def why_not_decoded(encoded: bytes) -> str:
    """The reason why an image with a good header doesn't decode."""
    try:
        open_image(encoded, DECODABLE).load()
    except ImageError as error:
        return str(error)
    except Exception as error:
        return _why_not_loaded(error)
    return "damaged"


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an open image, 1 (upright) to 8."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block says nothing about the picture
        return 1
    return value if value in range(1, 9) else 1


def _open(encoded: bytes, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Opens an image without Pillow's limit, which stays as it is for the user's code."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(encoded), formats=formats)


def _why_not_opened(encoded: bytes) -> str:
    try:
        return f"format not supported ({_open(encoded).format})"
    except Exception:
        return "damaged" if image_header.is_image(encoded) else "not an image"


def _why_not_loaded(error: Exception) -> str:
    return "cut off" if "truncated" in str(error) else "damaged"


def _plain(image: Image.Image) -> Image.Image:
    """Grey, grey of 16 bits or RGB; LA or RGBA where something shows through."""
    if image.mode in ("I", "F"):
        return _of_range(image)
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N"):
        return image.convert("I;16")
    if image.has_transparency_data:
        with_alpha = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        if with_alpha.getextrema()[-1][0] < 255:
            return with_alpha
    try:
        return image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
    except ValueError:
        raise ImageError(f"colours in {image.mode}, expected grey, RGB or CMYK") from None


def _of_range(image: Image.Image) -> Image.Image:
    """Whole numbers of 32 bits, or floats, as grey of 16 bits, white being the next usual one."""
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    whites = [white for white in _WHITES[image.mode] if high <= white]
    if not (low >= 0 and whites and np.isfinite(values).all()):
        most = " or ".join(f"{white:g}" for white in _WHITES[image.mode])
        raise ImageError(f"values from {low:g} to {high:g}, expected 0 to {most}")
    # Netpbm's files say which is white, and Pillow has scaled them by that.
    white = 65535 if image.mode == "I" and image.format == "PPM" else whites[0]
    return Image.fromarray(np.rint(values * (65535 / white)).astype(np.uint16))
