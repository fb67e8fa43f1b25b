import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from darkroom.components.ingestion.decoding import decode
from darkroom.components.ingestion.image_formats import ImageError
from darkroom.pipeline.ingest.pictures import Picture

RGB = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)).resize(
        (50, 30), Image.Resampling.BILINEAR
    )
)
PHOTO = Image.fromarray(RGB)


def file(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def deep() -> Image.Image:
    return Image.fromarray(RGB[..., 0].astype(np.uint16) * 100)


READ_ALIKE = {
    "jpeg": file(PHOTO, "JPEG"),
    "grey jpeg": file(PHOTO.convert("L"), "JPEG"),
    "cmyk": file(PHOTO.convert("CMYK"), "JPEG"),
    "progressive": file(PHOTO, "JPEG", progressive=True),
    "turned jpeg": file(PHOTO, "JPEG", exif=exif(6)),
    "png": file(PHOTO, "PNG"),
    "rgba": file(PHOTO.convert("RGBA"), "PNG"),
    "grey and alpha": file(PHOTO.convert("LA"), "PNG"),
    "palette": file(PHOTO.convert("P"), "PNG"),
    "one bit": file(PHOTO.convert("1"), "PNG"),
    "16 bits": file(deep(), "PNG"),
    "gif": file(PHOTO, "GIF"),
    "bmp": file(PHOTO, "BMP"),
}
REWRITTEN = {
    "webp": file(PHOTO, "WEBP", lossless=True),
    "webp with alpha": file(PHOTO.convert("RGBA"), "WEBP", lossless=True),
    "tiff": file(PHOTO, "TIFF"),
    "16 bit tiff": file(deep(), "TIFF"),
    "ppm": file(PHOTO, "PPM"),
    "grey bmp": file(PHOTO.convert("L"), "BMP"),
    "palette bmp": file(PHOTO.convert("P"), "BMP"),
    "one bit bmp": file(PHOTO.convert("1"), "BMP"),
    "turned png": file(PHOTO, "PNG", exif=exif(3)),
}


def upright(content: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.mode.startswith("I"):
        return np.asarray(image, np.float32)[..., np.newaxis] / 257
    pixels = np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"), np.float32)
    return pixels.reshape(*pixels.shape[:2], -1)


@pytest.mark.parametrize("name", READ_ALIKE)
def test_what_the_graph_reads_stays_untouched(name: str) -> None:
    content = READ_ALIKE[name]
    assert Picture(content).for_the_graph() is content
    assert np.abs(decode(content) - upright(content)).mean() < 3


@pytest.mark.parametrize("name", REWRITTEN)
def test_everything_else_becomes_a_png_without_loss(name: str) -> None:
    content = Picture(REWRITTEN[name]).for_the_graph()
    assert content.startswith(b"\x89PNG")
    np.testing.assert_allclose(decode(content), upright(REWRITTEN[name]), atol=1e-3)


def test_a_turned_jpeg_whose_orientation_the_graph_does_not_find_is_turned() -> None:
    turned = file(PHOTO, "JPEG", exif=exif(6), quality=90)
    at = turned.index(b"\xff\xe1")
    comment = b"\xff\xfe\x00\x06abcd"
    moved = turned[:at] + comment + turned[at:]
    written = Picture(moved).for_the_graph()
    assert written.startswith(b"\xff\xd8\xff")
    assert Image.open(io.BytesIO(written)).size == (30, 50)
    assert np.abs(decode(written) - upright(turned)).mean() < 4
    tables = [Image.open(io.BytesIO(c)).quantization for c in (written, moved)]
    assert tables[0] == tables[1]


def test_the_same_picture_has_the_same_content() -> None:
    lossless = [file(PHOTO, "PNG"), file(PHOTO, "BMP"), file(PHOTO, "TIFF"), REWRITTEN["webp"]]
    assert len({Picture(content).content() for content in lossless}) == 1
    turned = file(PHOTO.transpose(Image.Transpose.ROTATE_180), "PNG", exif=exif(3))
    assert Picture(turned).content() == Picture(lossless[0]).content()
    others = [file(PHOTO.transpose(Image.Transpose.ROTATE_180), "PNG"), file(deep(), "PNG")]
    assert len({Picture(content).content() for content in [*others, lossless[0]]}) == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"text", "not an image"),
        (READ_ALIKE["jpeg"][:-50], "cut off"),
        (REWRITTEN["webp"][:40], "damaged"),
    ],
)
def test_what_can_not_be_read(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        Picture(content)


# 24 by 16 pixels, the left half black and the right half white, as pillow-heif writes them.
HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAWltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAAA5waXRtAAAAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAGNAAEAAAAAAAAAKwAAACNpaW5mAAAAAAAB"
    "AAAAFWluZmUCAAAAAAEAAGh2YzEAAAAA6WlwcnAAAADKaXBjbwAAAHZodmNDAQNwAAAAAAAAAAAAHvAA/P34+AAADw"
    "MgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQCEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAA"
    "AAMAgAAAAwCEIgABAAZEAcFzwYkAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAGAAAAAEAAAAQAAAAAf///9"
    "gAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAF2lwbWEAAAAAAAAAAQABBIECgwQAAAAzbWRhdAAAACcoAa8Z"
    "IWJBwPcBqzfhiymhLuJOKkVipdQGUvQUUHkQtmLAq7BWmWQ="
)
AVIF = (
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAA"
    "AAAAAAAAAAAAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAJAAAAChpaW5mAAAAAAAB"
    "AAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAGAAAABAAAAAQcG"
    "l4aQAAAAADCAgIAAAADGF2MUOBAAwAAAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAA"
    "LG1kYXQSAAoJGBDv7RAQ0GhAMhVHEeHhd3TTTTCwACCusc6oz9yy3OA="
)


@pytest.mark.parametrize(("library", "file"), [("pi_heif", HEIC), ("pillow_avif", AVIF)])
def test_formats_of_phones_by_the_libraries_of_an_extra(library: str, file: str) -> None:
    pytest.importorskip(library)
    picture = Picture(base64.b64decode(file))
    image = Image.open(io.BytesIO(picture.for_the_graph()))
    assert (image.format, image.size) == ("PNG", (24, 16))
    left, right = image.convert("L").getpixel((2, 8)), image.convert("L").getpixel((21, 8))
    assert left < 8
    assert right > 247
