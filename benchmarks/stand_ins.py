"""Stand-ins for two image sets that are not included: their folders, classes, sizes and counts.

``python benchmarks/stand_ins.py {blood_cells,fruits} TARGET`` draws them. They show that a
configuration runs and what it costs; what it reaches on them says nothing about the real images.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# Images of each class in the train and the test folder, as published.
BLOOD_CELLS = {
    "EOSINOPHIL": (2497, 623),
    "LYMPHOCYTE": (2483, 620),
    "MONOCYTE": (2478, 620),
    "NEUTROPHIL": (2499, 624),
}
# 1,325 and 330 in all; how many of each class was not published.
FRUITS = {
    "fresh_peaches": (221, 55),
    "fresh_pomegranates": (221, 55),
    "fresh_strawberries": (221, 55),
    "rotten_peaches": (221, 55),
    "rotten_pomegranates": (221, 55),
    "rotten_strawberries": (220, 55),
}

_Colour = tuple[int, ...]


def main() -> None:
    """Draws one of the sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=("blood_cells", "fruits"))
    parser.add_argument("target", type=Path, metavar="TARGET", help="folder; must not exist")
    parser.add_argument(
        "--per-class", type=int, metavar="N",
        help="train images of each class, and a quarter as many for test (default: as published)",
    )  # fmt: skip
    options = parser.parse_args()
    counts, draw = {
        "blood_cells": (BLOOD_CELLS, blood_cell),
        "fruits": (FRUITS, fruit),
    }[options.which]
    if options.per_class is not None:
        counts = dict.fromkeys(counts, (options.per_class, max(1, options.per_class // 4)))
    write(options.target, counts, draw)


def write(
    target: Path,
    counts: dict[str, tuple[int, int]],
    draw: Callable[[str, np.random.Generator], Image.Image],
) -> None:
    """Writes ``TRAIN/<class>/*.jpeg`` and ``TEST/<class>/*.jpeg``, the same ones each time."""
    for place, split in enumerate(("TRAIN", "TEST")):
        for number, label in enumerate(counts):
            folder = target / split / label
            folder.mkdir(parents=True)
            for index in range(counts[label][place]):
                generator = np.random.default_rng([place, number, index])
                draw(label, generator).save(folder / f"{index:05}.jpeg", quality=90)


def blood_cell(label: str, generator: np.random.Generator) -> Image.Image:
    """320×240: pale cells, and a stained one whose nucleus has the class's shape."""
    image = Image.new("RGB", (320, 240), _near((222, 200, 196), generator))
    pen = ImageDraw.Draw(image)
    for _ in range(generator.integers(8, 16)):
        _disc(pen, generator.uniform((0, 0), (320, 240)), 26, _near((214, 168, 166), generator))
    centre, size = generator.uniform((90, 80), (230, 160)), generator.uniform(40, 52)
    _disc(pen, centre, size, _near((206, 178, 206), generator))
    stain = _near((112, 64, 150), generator)
    turn = generator.uniform(0, 2 * np.pi)

    def lobe(angle: float, away: float, radius: float, colour: _Colour = stain) -> None:
        direction = np.array([np.cos(turn + angle), np.sin(turn + angle)])
        _disc(pen, centre + size * away * direction, size * radius, colour)

    if label == "LYMPHOCYTE":  # one round nucleus that fills the cell
        lobe(0, 0.05, 0.85)
    elif label == "MONOCYTE":  # a kidney
        lobe(0, 0.1, 0.7)
        lobe(0, 0.65, 0.4, _near((206, 178, 206), generator))
    elif label == "EOSINOPHIL":  # two lobes among orange granules
        for _ in range(60):
            lobe(generator.uniform(0, 7), generator.uniform(0, 0.9), 0.07, (214, 120, 96))
        lobe(0, 0.45, 0.4)
        lobe(np.pi, 0.45, 0.4)
    else:  # four lobes in an arc
        for angle in (-1.8, -0.6, 0.6, 1.8):
            lobe(angle, 0.5, 0.3)
    return _photographed(image, generator)


def fruit(label: str, generator: np.random.Generator) -> Image.Image:
    """240 to 400 pixels a side: one fruit, with brown spots where it is rotten."""
    width, height = (int(side) for side in generator.integers(240, 400, 2))
    image = Image.new("RGB", (width, height), _near((225, 222, 214), generator, 25))
    pen = ImageDraw.Draw(image)
    state, kind = label.split("_")
    centre = np.array([width, height]) * generator.uniform(0.42, 0.58, 2)
    size = min(width, height) * generator.uniform(0.26, 0.4)
    if kind == "peaches":
        _disc(pen, centre, size, _near((238, 164, 108), generator))
        _disc(pen, centre + size * 0.3, size * 0.6, _near((228, 122, 92), generator))
    elif kind == "pomegranates":
        _disc(pen, centre, size, _near((170, 34, 52), generator))
        x, y = centre - size * np.array([0.0, 0.9])
        for lean in (-0.35, 0.0, 0.35):  # the crown
            ends = ((lean - 0.15, 0.0), (lean + 0.15, 0.0), (lean * 1.5, -0.45))
            points = [(x + size * across, y + size * up) for across, up in ends]
            pen.polygon(points, fill=_near((186, 70, 60), generator))
    else:
        corners = [(-0.9, -0.7), (0.9, -0.7), (0.45, 0.5), (0, 1.1), (-0.45, 0.5)]
        outline = [tuple(centre + size * np.array(corner)) for corner in corners]
        pen.polygon(outline, fill=_near((214, 32, 44), generator))
        for _ in range(40):
            place = centre + size * generator.uniform((-0.6, -0.6), (0.6, 0.5))
            _disc(pen, place, size * 0.03, (244, 214, 120))
        _disc(pen, centre - [0, size * 0.8], size * 0.3, _near((64, 140, 52), generator))
    for _ in range(generator.integers(4, 9) if state == "rotten" else 0):
        place = centre + size * generator.uniform(-0.6, 0.6, 2)
        radius = size * generator.uniform(0.1, 0.3)
        _disc(pen, place, radius, _near((78, 54, 38), generator))
    return _photographed(image, generator)


def _disc(pen: ImageDraw.ImageDraw, centre: np.ndarray, radius: float, colour: _Colour) -> None:
    pen.ellipse([*(centre - radius), *(centre + radius)], fill=colour)


def _near(colour: _Colour, generator: np.random.Generator, amount: int = 12) -> _Colour:
    moved = np.array(colour) + generator.integers(-amount, amount + 1, 3)
    return tuple(int(value) for value in moved.clip(0, 255))


def _photographed(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Softer edges, and a sensor's noise."""
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(1.5)), np.float32)
    noise = generator.standard_normal(pixels.shape, np.float32) * 6
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
