"""Photographs of 24 megapixels through all nodes, as they are and with ``ingest --max-side``.

scikit-learn's two photographs, enlarged, each from another corner, with a sensor's noise. The
seconds of nodes have their imports in them, which a thousand photographs take but once.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

# What looks at images, or at what was found in them, before a network is trained.
_NODES = ("ImportExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform")
_OVERRIDES = (
    "preprocessing.height=224", "preprocessing.width=224", "training.batch_size=2",
    *measure.SMOKE_OVERRIDES,
)  # fmt: skip
_NOISE, _QUALITY = 6, 90  # standard deviation of each value; of the JPEG
_CROP = (420, 280)  # pixels of the small photographs


def main() -> None:
    """Makes the photographs, runs both ways, and reports."""
    parser = measure.Parser(__doc__)
    parser.add_size("--images", 16, 24, "photographs")
    parser.add_size("--width", 6000, 900, "pixels; two thirds of them high")
    parser.add_size("--max-side", 512, 448, "pixels of the smaller copies")
    options = parser.parse_args()
    with measure.folder() as folder:
        for number, photo in enumerate(_photographs(options.images, options.width)):
            path = folder / "photographs" / ("china", "flower")[number % 2] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            photo.save(path, quality=_QUALITY)
        smaller = ["--max-side", str(options.max_side)]
        rows = [
            {"photographs": side, **_run(folder, side, flags)}
            for side, flags in (("as they are", []), ("ingest --max-side", smaller))
        ]
    measure.report(options, rows, images=options.images)


def _photographs(count: int, width: int) -> Iterator[Image.Image]:
    generator = np.random.default_rng(0)
    size = (width, width * 2 // 3)
    for number in range(count):
        photo = Image.fromarray(load_sample_images().images[number % 2])
        x, y = (
            int(generator.integers(0, whole - part))
            for whole, part in zip(photo.size, _CROP, strict=True)
        )
        box = (x, y, x + _CROP[0], y + _CROP[1])
        smooth = np.asarray(photo.resize(size, Image.Resampling.BICUBIC, box), np.float32)
        noise = generator.standard_normal(smooth.shape, np.float32) * _NOISE
        yield Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def _run(folder: Path, side: str, flags: list[str]) -> dict[str, Any]:
    source, target = folder / "photographs", folder / side
    target.mkdir()
    command = [sys.executable, "-m", "darkroom", "ingest", str(source), "records", *flags]
    ingest = measure.run(command, target)
    overrides = [f"data.path={target / 'records'}", "data.splits.train=train/*", *_OVERRIDES]
    done = measure.pipeline(
        target, "cifar10", [*overrides, "data.splits.eval=eval/*", "data.splits.test=null"]
    )
    seconds = {node: done.node_seconds(node) or 0.0 for node in _NODES}
    return {
        "ingest": ingest.seconds,
        **seconds,
        "Trainer": done.node_seconds("Trainer"),
        "data_seconds": ingest.seconds + sum(seconds.values()),
        "peak_gib": max(ingest.peak_gib, done.run.peak_gib),
    }


if __name__ == "__main__":
    main()
