"""Streamed examples against cached ones: memory at 100 times the data, and images per second.

Photographs of 160×160 at 128×128, patches of scikit-learn's two, and a network so small that it
shows what feeds it. The larger set has the smaller one's examples again and again; an epoch has as
many steps in both.
"""

import io
from pathlib import Path
from typing import Any

import measure
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from darkroom.components.base import features, tfrecord

_PATCH, _SIZE = 160, 128
_SHARDS = 8  # of the larger set
# training.examples, and GiB of training.cache_budget.
_WAYS = {"streamed": ("streamed", 4.0), "cached": ("cached", 4.0)}
_ON_DISK = {"cached, on disk": ("cached", 0.1)}


def main() -> None:
    """Writes both sets, trains on them in all ways, and reports."""
    parser = measure.Parser(__doc__)
    parser.add_size("--images", 100, 40, "of the smaller set")
    parser.add_size("--times", 100, 3, "how often the larger set has them")
    parser.add_size("--steps", 32, 1, "of 32 images, in an epoch")
    parser.add_size("--epochs", 2, 2, "the first warms up")
    options = parser.parse_args()
    with measure.folder() as folder:
        for split, seed in (("train", 0), ("test", 1)):
            _write(folder / "data" / split / "photos.tfrecord", options.images, seed)
        artifacts = _ingested(folder)
        [graph] = artifacts.glob("Transform/transform_graph/*")
        [small] = artifacts.glob("ImportExampleGen/examples/*/Split-train")
        [evaluation] = artifacts.glob("ImportExampleGen/examples/*/Split-eval")
        large = folder / "large"
        _repeat(small, large, options.times)
        rows = []
        for times, train in ((1, small), (options.times, large)):
            ways = _WAYS if times == 1 else {**_WAYS, **_ON_DISK}
            for name, (examples, budget) in ways.items():
                done = measure.side(
                    "streaming", train, evaluation, graph, examples, budget, _SIZE,
                    options.steps, options.epochs,
                )  # fmt: skip
                rows.append(
                    {
                        "examples": name,
                        "images": options.images * times,
                        "peak_gib": done.peak_gib,
                        **done.result(),
                    }
                )
    measure.report(options, rows, **_growth(rows))


def _write(path: Path, count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    photos = load_sample_images().images
    records = []
    for number in range(count):
        pixels = photos[number % 2]
        y, x = (generator.integers(0, side - _PATCH) for side in pixels.shape[:2])
        buffer = io.BytesIO()
        Image.fromarray(pixels[y : y + _PATCH, x : x + _PATCH]).save(buffer, "JPEG", quality=90)
        label = (b"china", b"flower")[number % 2]
        values = {features.IMAGE_KEY: buffer.getvalue(), features.LABEL_KEY: label}
        records.append(tfrecord.encode_example(values))
    path.parent.mkdir(parents=True)
    tfrecord.write(path, records)


def _ingested(folder: Path) -> Path:
    """The artifacts of the nodes up to Transform, which a scan of learning rates needs alone."""
    overrides = [
        f"data.path={folder / 'data'}", f"root={folder / 'runs'}", f"preprocessing.height={_SIZE}",
        f"preprocessing.width={_SIZE}", "training.batch_size=8", "lr_scan.points=2",
        "lr_scan.epochs=1", "training.steps_per_epoch=1", *measure.SMOKE_OVERRIDES,
    ]  # fmt: skip
    measure.darkroom(folder, "lr-scan", "cifar10", overrides)
    return folder / "runs" / "cifar10" / "artifacts"


def _repeat(small: Path, large: Path, times: int) -> None:
    records = [record for path in sorted(small.iterdir()) for record in tfrecord.read(path)]
    large.mkdir()
    for number, part in enumerate(np.array_split(np.arange(times), _SHARDS)):
        name = f"data_tfrecord-{number:05}-of-{_SHARDS:05}"
        tfrecord.write(large / name, (record for _ in part for record in records))


def _growth(rows: list[dict[str, Any]]) -> dict[str, float]:
    """What the larger set takes more of memory than the smaller one."""
    least = min(row["images"] for row in rows)
    before = {row["examples"]: row["peak_gib"] for row in rows if row["images"] == least}
    return {
        f"more_gib_{row['examples']}": row["peak_gib"] - before[row["examples"]]
        for row in rows
        if row["images"] > least and row["examples"] in before
    }


if __name__ == "__main__":
    main()
