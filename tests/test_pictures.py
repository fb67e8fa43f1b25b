import base64
import io
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from darkroom.components.base import features, tfrecord
from darkroom.components.ingestion.decoding import decode
from darkroom.components.ingestion.inspection import Inspection, inspect
from darkroom.serving import signatures
from darkroom.serving.codecs import pictures
from darkroom.serving.codecs.pictures import ImageError, Picture
from darkroom.serving.predictor import Predictor
from darkroom.serving.rollout import served_version
from tests import much_work as work
from tests.conftest import Project
from tests.model_servers import Server, running

RGB = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)).resize(
        (50, 30), Image.Resampling.BILINEAR
    )
)
PHOTO = Image.fromarray(RGB)
CLEAR = PHOTO.copy()  # more and more opaque from left to right
CLEAR.putalpha(Image.linear_gradient("L").rotate(90).resize(PHOTO.size))


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
    "rgba": file(CLEAR, "PNG"),
    "grey and alpha": file(CLEAR.convert("LA"), "PNG"),
    "palette": file(PHOTO.convert("P"), "PNG"),
    "one bit": file(PHOTO.convert("1"), "PNG"),
    "16 bits": file(deep(), "PNG"),
    "rgba palette": file(PHOTO.convert("P"), "PNG", transparency=bytes(range(256))),
    "xmp": file(PHOTO, "JPEG", xmp=b"<x/>"),
    "upright with exif": file(PHOTO, "PNG", exif=exif(1)),
}
REWRITTEN = {
    "gif": file(PHOTO, "GIF"),
    "transparent gif": file(
        PHOTO.convert("P"), "GIF", transparency=PHOTO.convert("P").getpixel((0, 0))
    ),
    "bmp": file(PHOTO, "BMP"),
    "alpha tiff": file(CLEAR, "TIFF"),
    "colour key": file(PHOTO, "PNG", transparency=PHOTO.getpixel((0, 0))),
    "webp": file(PHOTO, "WEBP", lossless=True),
    "webp with alpha": file(CLEAR, "WEBP", lossless=True),
    "tiff": file(PHOTO, "TIFF"),
    "16 bit tiff": file(deep(), "TIFF"),
    "ppm": file(PHOTO, "PPM"),
    "grey bmp": file(PHOTO.convert("L"), "BMP"),
    "palette bmp": file(PHOTO.convert("P"), "BMP"),
    "one bit bmp": file(PHOTO.convert("1"), "BMP"),
    "turned png": file(PHOTO, "PNG", exif=exif(3)),
}


def upright(content: bytes) -> np.ndarray:
    """As a viewer shows it."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.has_transparency_data:
        behind = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(behind, image.convert("RGBA")).convert("RGB")
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
    np.testing.assert_allclose(decode(content), upright(REWRITTEN[name]), atol=1)


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
        (READ_ALIKE["png"][:60] + b"?" + READ_ALIKE["png"][61:], "damaged"),
        (READ_ALIKE["png"][:-12], "damaged"),
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


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (RGB[..., 0] / np.float32(255), 1),
        (RGB[..., 0].astype(np.float32), 255),
        (RGB[..., 0] * np.float32(257), 65535),
        (RGB[..., 0].astype(np.int32), 255),
        (RGB[..., 0].astype(np.int32) * 257, 65535),
    ],
)
def test_numbers_without_a_white_are_scaled_by_their_range(
    values: np.ndarray, white: float
) -> None:
    for name in ("TIFF", "PPM") if values.dtype == np.float32 else ("TIFF",):
        content = Picture(file(Image.fromarray(values), name)).for_the_graph()
        np.testing.assert_allclose(decode(content)[..., 0], values * 255 / white, atol=0.01)


@pytest.mark.parametrize("value", [-1.0, 1e6, np.nan, np.inf])
def test_numbers_of_no_known_range_are_refused(value: float) -> None:
    content = file(Image.fromarray(np.array([[0.5, value]], np.float32)), "TIFF")
    with pytest.raises(ImageError, match=r"values from .* to .*, expected 0 to 1 or 255 or 65535"):
        Picture(content)


def test_pictures_that_live_in_their_alpha_are_not_the_same() -> None:
    icons = []
    for number in range(3):
        icon = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
        icon.putpixel((number, 3), (0, 0, 0, 255))
        icons.append(file(icon, "PNG"))
    assert len({Picture(icon).content() for icon in icons}) == 3
    seen = [inspected for inspected in inspect(icons) if isinstance(inspected, Inspection)]
    assert len({inspection.content for inspection in seen}) == 3
    assert all(0.9 < inspection.brightness < 1 for inspection in seen)


def test_an_alpha_that_hides_nothing_makes_no_other_picture() -> None:
    both = [file(PHOTO, "PNG"), file(PHOTO.convert("RGBA"), "PNG")]
    assert len({Picture(content).content() for content in both}) == 1
    first, second = inspect(both)
    assert isinstance(first, Inspection)
    assert isinstance(second, Inspection)
    assert first.content == second.content


# One set of formats: what ingest takes is answered alike everywhere.


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Image files of all modes and formats, with what turns them or shows through."""
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    seed = draw(st.integers(0, 99))
    values = np.random.default_rng(seed).integers(0, 256, (4, 4, 4), dtype=np.uint8)
    image = Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)
    mode = draw(
        st.sampled_from(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I", "F", "I;16"])
    )
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = (image if mode in ("LA", "RGBA") else image.convert("RGB")).convert(mode)
    name = draw(st.sampled_from(["JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]))
    options = st.fixed_dictionaries(
        {},
        optional={
            "exif": st.integers(1, 8).map(exif),
            "transparency": st.integers(0, 255),
            "progressive": st.just(True),
            "lossless": st.just(True),
        },
    )
    try:
        return file(image, name, **draw(options))
    except (OSError, ValueError, TypeError, KeyError):  # there is no such file
        reject()


@pytest.fixture(scope="module")
def exported(
    small: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Predictor, Server]]:
    """A model that was trained, here and on a server."""
    version = served_version(small.folder / "runs" / "small" / "pushed" / "small")
    folder = tmp_path_factory.mktemp("pictures")
    arguments = ("--model_name=small", f"--model_base_path={version.parent}")
    with running(folder, *arguments, "--enable_batching") as server:
        yield Predictor(version), server


@settings(max_examples=150, deadline=None)
@given(content=files())
def test_any_file_is_scored_as_its_record(
    exported: tuple[Predictor, Server], content: bytes
) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    predictor, server = exported
    record = Picture(content).for_the_graph()
    [inspection] = inspect([record])
    assert isinstance(inspection, Inspection)
    assert inspection.encoded == record
    example = tfrecord.encode_example({features.IMAGE_KEY: record})
    trained = predictor._model.signatures[signatures.EXAMPLES]
    expected = trained(examples=tf.constant([example]))[signatures.SCORES].numpy()[0]

    own = predictor.predict("a file", content)
    # What the page asks, too.
    body = {"instances": [{"b64": base64.b64encode(content).decode()}]}
    [rest] = server.ask("/v1/models/small:predict", body).json["predictions"]
    request = PredictRequest()
    request.model_spec.name = "small"
    request.inputs[signatures.IMAGE_BYTES].CopyFrom(tf.make_tensor_proto([content]))
    grpc = server.stub.Predict(request).outputs[signatures.SCORES].float_val
    scores = dict(zip(own.classes, own.scores, strict=True))
    for answer in ([scores[name] for name in rest["classes"]], rest["scores"], grpc):
        np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_a_limit_of_pixels_holds_before_they_are_decoded() -> None:
    tiff = file(PHOTO, "TIFF")
    assert pictures.for_the_graph(tiff, 1500) == Picture(tiff).for_the_graph()
    with pytest.raises(ImageError, match="1500 pixels; at most 1499 are decoded"):
        pictures.for_the_graph(tiff, 1499)
    png = file(PHOTO, "PNG")  # which the graph reads by itself
    assert pictures.for_the_graph(png, 1500) == png
    with pytest.raises(ImageError, match="1500 pixels; at most 1499 are decoded"):
        pictures.for_the_graph(png, 1499)


def test_small_files_that_are_much_work() -> None:
    for content in (work.scans((800, 800), 10_000), work.png_texts([bytes(8_000_000)] * 40)):
        for read in (pictures.for_the_graph, Picture):
            with pytest.raises(ImageError, match="too many pixels"):
                read(content)
        assert inspect([content]) == ["too many pixels"]
    # Of an animation only the first frame is taken.
    assert Image.open(io.BytesIO(pictures.for_the_graph(work.animation((800, 800), 300)))).size == (
        800, 800,
    )  # fmt: skip
