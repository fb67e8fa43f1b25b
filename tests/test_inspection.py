import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.components.ingestion.decoding import decode
from darkroom.components.ingestion.inspection import Inspection, inspect
from tests.conftest import encoded

GENERATOR = np.random.default_rng(0)
RGB = GENERATOR.integers(0, 256, (12, 20, 3), dtype=np.uint8)


def seen(content: bytes) -> Inspection:
    [result] = inspect([content])
    assert isinstance(result, Inspection), result
    return result


def test_what_is_seen() -> None:
    result = seen(encoded(RGB))
    assert (result.height, result.width) == (12, 20)
    assert np.isclose(result.brightness, RGB.mean() / 255, atol=1e-5)
    assert np.isclose(result.contrast, RGB.std() / 255, atol=1e-5)
    assert result.header.format == "PNG"
    dark = seen(encoded(np.zeros((4, 4), np.uint8)))
    assert (dark.brightness, dark.contrast) == (0, 0)


def test_the_same_picture_has_the_same_content_whatever_the_file() -> None:
    contents = {seen(encoded(RGB, kind)).content for kind in ("PNG", "BMP")}
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG", compress_level=0, dpi=(72, 72))
    assert contents == {seen(buffer.getvalue()).content}
    others = [RGB[::-1], RGB[:, ::-1], RGB.reshape(20, 12, 3), RGB[..., 0]]
    assert len({seen(encoded(other)).content for other in others} | contents) == 5
    assert all(0 <= content < 2**63 for content in contents)


def test_an_upright_size() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG", exif=exif)
    result = seen(buffer.getvalue())
    assert (result.height, result.width) == (20, 12)
    assert (result.header.height, result.header.width) == (12, 20)


def test_a_large_photograph_is_seen_at_its_full_size() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1100, 600, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 8
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", exif=exif)
    result = seen(buffer.getvalue())
    assert (result.height, result.width) == (600, 1100)
    assert np.isclose(result.brightness, 0.5, atol=0.01)


def test_bad_images_among_good_ones_keep_their_places() -> None:
    good = [encoded(RGB[: number + 1]) for number in range(10)]
    bad = {
        0: b"",
        3: b"text",
        4: encoded(RGB, "JPEG")[:-200],
        7: encoded(RGB)[:-40],
        12: encoded(RGB)[:30] + bytes(60),
    }
    mixed = list(good)
    for place, content in bad.items():
        mixed.insert(place, content)
    results = inspect(mixed)
    assert {place for place, result in enumerate(results) if isinstance(result, str)} == set(bad)
    assert [result.height for result in results if isinstance(result, Inspection)] == list(
        range(1, 11)
    )
    assert [results[place] for place in (0, 3, 4, 7)] == [
        "empty",
        "not an image",
        "cut off",
        "cut off",
    ]


JPEG, PNG = encoded(RGB, "JPEG"), encoded(RGB, "PNG")


@given(st.sampled_from([JPEG, PNG]), st.data())
def test_what_passes_decodes_in_the_graph(content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(len(damaged) // 2, len(damaged)))]
    [result] = inspect([bytes(damaged)])
    if isinstance(result, Inspection):
        assert decode(bytes(damaged)).shape[:2] == (result.height, result.width)
    else:
        assert result in {"cut off", "damaged", "not an image", "too many pixels"} or (
            result.startswith("format not supported")
        )


def test_nothing_gives_nothing() -> None:
    assert inspect([]) == []
