"""``darkroom review``: flipped labels found, planted faults named, near duplicates of 60,000.

Of each set 3 % of the labels are flipped to any other class; found are those among as many images
of ``review.csv``, from its top, as were flipped. Twenty faults of each kind are planted among
photographs (clothing/, or where that isn't there CIFAR-10); false are images that are named without
one, suspect labels aside, which real sets have.
"""

import csv
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import measure
import numpy as np
from PIL import Image, ImageFilter

from darkroom.components.base import features, tfrecord
from darkroom.pipeline.ingest import digits
from darkroom.pipeline.review import images
from darkroom.pipeline.review.images import Example

FLIPPED = 0.03
OF_EACH = 20
SETS = ("digits", "mnist", "cifar10", "clothing")
_SHARD = 10_000  # records of a file


class Planted(NamedTuple):
    """An image that has to be named, with one of the words."""

    example: Example
    words: str


def main() -> None:
    """Measures and reports."""
    parser = measure.Parser(__doc__)
    parser.add_argument("--only", choices=SETS, nargs="+", default=SETS, help=", ".join(SETS))
    parser.add_size("--images", 70_000, 150, "images of a set, at most")
    parser.add_size("--searched", 60_000, 300, "images among which near duplicates are looked for")
    options = parser.parse_args()
    rows = []
    for name in options.only:
        with measure.folder() as folder:
            if _records(options, name, folder / "records"):
                examples = _read(folder / "records")[: options.images]
                rows.append({"set": name, **_flipped(folder / "flipped", examples)})
    with measure.folder() as folder:
        is_there = _records(options, "clothing", folder / "records")
        if not is_there:
            _records(options, "cifar10", folder / "records")
        photos = _read(folder / "records")[: options.images if is_there else 3000]
        planted = _named(folder / "planted", photos, OF_EACH if not options.smoke else 2)
    with measure.folder() as folder:
        _records(options, "cifar10", folder / "records")
        near = _near(folder, options.searched)
    measure.report(options, rows, planted=planted, near_duplicates=near)


def _records(options: Any, name: str, target: Path) -> bool:
    """Puts a set at ``target``; returns whether it is there."""
    source = options.data / name
    if name == "digits":
        digits.write(target)
    elif not source.is_dir():
        return False
    elif name == "clothing":
        command = [sys.executable, "-m", "darkroom", "ingest", str(source), str(target)]
        measure.run(command, target.parent)
    else:
        shutil.copytree(source, target)
    return True


def _read(folder: Path) -> list[Example]:
    return list(images.read(images.Source(folder)))


def _write(folder: Path, examples: list[Example]) -> None:
    for split in images.SPLITS:
        (folder / split).mkdir(parents=True)
        of_split = [example for example in examples if example.split == split]
        for begin in range(0, len(of_split), _SHARD):
            records = map(_encoded, of_split[begin : begin + _SHARD])
            tfrecord.write(folder / split / f"{begin:08}.tfrecord", records)


def _encoded(example: Example) -> bytes:
    values = {
        features.IMAGE_KEY: example.encoded,
        features.LABEL_KEY: example.label.encode(),
        features.FILENAME_KEY: example.path.encode(),
    }
    return tfrecord.encode_example(values)


def _reviewed(folder: Path) -> tuple[list[dict[str, str]], measure.Run]:
    command = [sys.executable, "-m", "darkroom", "review", str(folder), "--csv-only"]
    run = measure.run(command, folder)
    with open(folder / "review.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)), run


def _flipped(folder: Path, examples: list[Example]) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    classes = sorted({example.label for example in examples})
    count = round(len(examples) * FLIPPED)
    for row in generator.permutation(len(examples))[:count]:
        other = [name for name in classes if name != examples[row].label]
        path = f"flipped-{row}.png"
        label = str(generator.choice(other))
        examples[row] = examples[row]._replace(label=label, path=path)
    _write(folder, examples)
    faults, run = _reviewed(folder)
    suspects = [fault["path"] for fault in faults if fault["fault"] == "suspect label"]
    found = sum(path.startswith("flipped-") for path in suspects[:count])
    return {
        "images": len(examples),
        "flipped": count,
        "found": found / count,
        "found_among_all_suspects": sum(p.startswith("flipped-") for p in suspects) / count,
        "suspects": len(suspects),
        "seconds": run.seconds,
        "peak_gib": run.peak_gib,
    }


def _named(folder: Path, clean: list[Example], of_each: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    order = iter(generator.permutation(len(clean)).tolist())
    classes = sorted({example.label for example in clean})
    planted: dict[str, Planted] = {}
    sources: set[str] = set()
    for kind, (words, plant) in _kinds(generator).items():
        for number in range(of_each):
            example = clean[next(order)]
            sources.add(example.path)
            path = f"planted {kind} {chr(97 + number)}.jpg"
            changed = plant(example._replace(path=path), number)
            if "another label" in words or words == "suspect label":
                others = [name for name in classes if name != example.label]
                changed = changed._replace(label=str(generator.choice(others)))
            planted[changed.path] = Planted(changed, words)
    # What stands for a new image takes the place of its own, which would be its double.
    copies = ("exact duplicate", "near duplicate")
    kept = [e for e in clean if e.path not in sources] + [
        e for e in clean if e.path in sources and _is_copied(e, planted, copies)
    ]
    _write(folder, [*kept, *(each.example for each in planted.values())])
    faults, run = _reviewed(folder)
    named = {
        path
        for path, each in planted.items()
        for fault in faults
        if path in (fault["path"], fault["other"]) and fault["fault"].startswith(each.words)
    }
    others = {f["path"] for f in faults if f["fault"] != "suspect label"}
    false = others - planted.keys() - sources
    missed: dict[str, int] = {}
    for path in planted.keys() - named:
        kind = path.split()[1]
        missed[kind] = missed.get(kind, 0) + 1
    return {
        "kinds": len(_kinds(generator)),
        "planted": len(planted),
        "named": len(named) / len(planted),
        "missed": ", ".join(f"{count} {kind}" for kind, count in sorted(missed.items())) or "none",
        "clean_images": len(kept),
        "false": len(false) / len(kept),
        "seconds": run.seconds,
    }


def _is_copied(example: Example, planted: dict[str, Planted], words: tuple[str, ...]) -> bool:
    place = example.place
    return any(p.example.place == place and p.words.startswith(words) for p in planted.values())


Plant = Callable[[Example, int], Example]


def _kinds(generator: np.random.Generator) -> dict[str, tuple[str, Plant]]:
    """The kinds of faults: the words by which each is named, and what plants one."""

    def drawn(change: Callable[[Image.Image], Image.Image], quality: int = 90) -> Plant:
        def plant(example: Example, number: int) -> Example:
            image = Image.open(io.BytesIO(example.encoded)).convert("RGB")
            return example._replace(encoded=_jpeg(change(image), quality))

        return plant

    def moved(plant: Plant) -> Plant:
        def elsewhere(example: Example, number: int) -> Example:
            split = "test" if example.split == "train" else "train"
            return plant(example, number)._replace(split=split)

        return elsewhere

    def same(example: Example, number: int) -> Example:
        return example

    def scaled(image: Image.Image, share: float) -> Image.Image:
        return image.resize((max(1, int(image.width * share)), max(1, int(image.height * share))))

    def cropped(image: Image.Image) -> Image.Image:
        edge = round(min(image.size) * 0.01)
        return image.crop((edge, edge, image.width - edge, image.height - edge))

    def noise(image: Image.Image) -> Image.Image:
        pixels = generator.integers(0, 256, (image.height, image.width, 3), np.uint8)
        return Image.fromarray(pixels)

    def halves(image: Image.Image) -> Image.Image:
        two = Image.new("RGB", image.size, tuple(generator.integers(0, 256, 3).tolist()))
        edge = int(generator.integers(1, image.width))
        two.paste(tuple(generator.integers(0, 256, 3).tolist()), (0, 0, edge, image.height))
        return two

    def strip(image: Image.Image) -> Image.Image:
        return image.resize((image.width, max(4, image.width // 10)))

    def drawing(image: Image.Image) -> Image.Image:
        bars = generator.integers(0, 2, (8, 8, 3), np.uint8) * 255
        return Image.fromarray(bars).resize(image.size, Image.Resampling.NEAREST)

    def of_group(example: Example, number: int) -> Example:
        image = Image.open(io.BytesIO(example.encoded)).convert("RGB")
        split = ("train", "test")[number % 2]
        path = f"planted group patient{number // 2:03}_{number % 2}.jpg"
        return example._replace(encoded=_jpeg(image, 90), split=split, path=path)

    def rare(example: Example, number: int) -> Example:
        return example._replace(label=f"rare {number // 5}")

    def cut(example: Example, number: int) -> Example:
        return example._replace(encoded=example.encoded[: len(example.encoded) // 2])

    copy = "near duplicate"
    return {
        "copy": ("exact duplicate", same),
        "copy-elsewhere": ("exact duplicate in another split", moved(same)),
        "copy-otherwise": ("exact duplicate with another label", same),
        "saved-again": (copy, drawn(lambda image: image, 40)),
        "smaller": (copy, drawn(lambda image: scaled(image, 0.6))),
        "lighter": (copy, drawn(lambda image: image.point(lambda v: v * 0.7 + 60))),
        "cropped": (copy, drawn(cropped)),
        "smaller-elsewhere": (f"{copy} in another split", moved(drawn(lambda i: scaled(i, 0.6)))),
        "dark": ("too dark", drawn(lambda image: image.point(lambda v: v * 0.12))),
        "bright": ("too bright", drawn(lambda image: image.point(lambda v: 215 + v * 0.15))),
        "blurred": ("blurred", drawn(lambda i: i.filter(ImageFilter.GaussianBlur(i.width / 40)))),
        "noise": ("noise", drawn(noise)),
        "one-colour": (
            "single colour",
            drawn(
                lambda i: Image.new("RGB", i.size, tuple(generator.integers(0, 256, 3).tolist()))
            ),
        ),
        "two-colours": ("low in information", drawn(halves)),
        "grey": ("grey among coloured", drawn(lambda image: image.convert("L").convert("RGB"))),
        "tiny": ("tiny", drawn(lambda image: scaled(image, 0.12))),
        "strip": ("extreme in shape", drawn(strip)),
        "foreign": ("outlier", drawn(drawing)),
        "cut-off": ("damaged", cut),
        "group": ("group in two splits", of_group),
        "rare": ("rare class", rare),
        "flipped": ("suspect label", same),
    }


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _near(folder: Path, count: int) -> dict[str, Any]:
    seen = images.look(images.Source(folder / "records"), lambda *_: None)
    np.save(folder / "small.npy", seen.small()[:count])
    every = measure.side("near_duplicates", folder / "small.npy", 10**9)
    pivots = measure.side("near_duplicates", folder / "small.npy", 0)
    usual = measure.side("near_duplicates", folder / "small.npy", 20_000)
    pairs, by_pivots = ({tuple(p) for p in run.result()["pairs"]} for run in (every, pivots))
    return {
        "images": len(seen.paths[:count]),
        "seconds": usual.result()["seconds"],
        "processor_seconds": usual.result()["processor_seconds"],
        "peak_gib": usual.peak_gib,
        "pairs": len(pairs),
        "seconds_of_every_pair": every.result()["seconds"],
        "recall_by_pivots": len(pairs & by_pivots) / max(1, len(pairs)),
    }


if __name__ == "__main__":
    main()
