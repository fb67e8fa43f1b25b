"""An image file of any kind, as ``darkroom ingest`` takes it in."""

import contextlib
import functools
import hashlib
import io

from PIL import Image, ImageOps, JpegImagePlugin, TiffImagePlugin, WebPImagePlugin

from darkroom.components.ingestion import image_formats
from darkroom.components.ingestion.image_formats import ImageError
from darkroom.serving.codecs import image_header

# Formats that Pillow reads by itself, without outside programs.
_READABLE = (
    *image_formats.DECODABLE,
    "PPM",
    # Pillow knows these only once their plugins are imported.
    TiffImagePlugin.TiffImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
)
# Phones' formats, of which Pillow learns by the libraries of an extra.
_HEIF = ("HEIF", "AVIF")
_JPEG = ("JPEG", "MPO")  # with several pictures in it, as some phones write


class Picture:
    """A decoded image file; raises ImageError with the reason where it can't be used."""

    def __init__(self, encoded: bytes):
        self._encoded = encoded
        is_heif = encoded[4:8] == b"ftyp"
        if is_heif:
            _register_heif()
        self._image = image_formats.open_image(encoded, _HEIF if is_heif else _READABLE)
        try:
            self._image.load()
        except Exception as error:  # whatever a damaged file makes Pillow raise
            reason = "cut off" if "truncated" in str(error) else "damaged"
            raise ImageError(reason) from None

    def content(self) -> str:
        """A hash of the upright pixels: the same for the same picture in another file."""
        pixels = _plain(self._upright())
        digest = hashlib.blake2b(f"{pixels.mode} {pixels.size} ".encode(), digest_size=12)
        digest.update(pixels.tobytes())
        return digest.hexdigest()

    def for_the_graph(self) -> bytes:
        """The file itself where the transform graph reads it as it is meant, else another.

        A JPEG stays a JPEG with its own quantisation; everything else becomes a PNG, lossless.
        """
        if self._is_read_alike():
            return self._encoded
        buffer = io.BytesIO()
        image = self._upright()
        if self._image.format in _JPEG:
            sampling = JpegImagePlugin.get_sampling(self._image)
            image.save(buffer, "JPEG", qtables=self._image.quantization, subsampling=sampling)
        else:
            _plain(image).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    def _is_read_alike(self) -> bool:
        name = self._image.format
        turned = image_formats.orientation(self._image) != 1
        if name in _JPEG:
            return not turned or image_header.has_exif(self._encoded)
        if name == "BMP":
            return image_header.is_plain_bmp(self._encoded)
        return name in image_formats.DECODABLE and not turned

    def _upright(self) -> Image.Image:
        return ImageOps.exif_transpose(self._image) or self._image


@functools.cache
def _register_heif() -> None:
    with contextlib.suppress(ImportError):
        import pi_heif

        pi_heif.register_heif_opener()
    with contextlib.suppress(ImportError):  # newer Pillows read AVIF themselves
        import pillow_avif  # noqa: F401


def _plain(image: Image.Image) -> Image.Image:
    """Grey, grey of 16 bits, RGB or RGBA."""
    if image.mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("I", "I;16B"):
        return image.convert("I;16")
    transparent = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
    return image.convert("RGBA" if transparent else "RGB")
