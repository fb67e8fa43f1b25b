"""A review of all images of a folder: every fault, as a table."""

import csv
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion import data_version, findings
from darkroom.components.ingestion.findings import OUTLIER, SUSPECT, Fault, Findings
from darkroom.pipeline.review import faults, features, images, suspects
from darkroom.pipeline.review.features import Space
from darkroom.pipeline.review.images import Images, Progress, Source
from darkroom.serving import files, signatures

TABLE = "review.csv"  # in the folder of the records
_TRIED = 5000  # images by which features are chosen
_FEWEST = 5  # images of a class whose labels are judged: one for each fold
_FAR = 5.0  # deviations, of the logarithms of distances
_FAR_SHARE, _ROUNDS = 0.1, 4  # of images that don't count, found in so many rounds
_DIMENSIONS = 16  # components in which distances are measured: the others are mostly noise


class Review(NamedTuple):
    """What was found."""

    images: Images
    faults: list[Fault]
    notes: list[str]  # sentences
    labels_judged: bool

    def findings(self) -> Findings:
        """The same without the images, as runs read it."""
        source = self.images.source
        return Findings(
            data=data_version.identity(str(source.folder), source.patterns.values()),
            images=len(self.images.paths) + len(self.images.damaged),
            labels_judged=self.labels_judged,
            notes=self.notes,
            faults=[
                fault._replace(path=findings.text(fault.path), other=findings.text(fault.other))
                for fault in self.faults
            ],
            kept=findings.kept(str(source.folder)),
        )


def review(source: Source, progress: Progress) -> Review:
    """Looks at all images of a folder; raises a DarkroomError where there are none."""
    seen = images.look(source, progress)
    found, notes = faults.find(seen)
    judged, more = _judged(seen, progress)
    return Review(seen, [*(judged or []), *found], [*notes, *more], judged is not None)


def write(review: Review) -> Path:
    """Writes all faults beside the records, as a table and for runs; returns the table."""
    review.findings().write(review.images.source.folder)
    path = review.images.source.folder / TABLE
    with (
        files.replacing(path) as unfinished,
        open(unfinished, "w", encoding="utf-8", newline="", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(Fault._fields)
        writer.writerows(review.faults)
    return path


def _judged(seen: Images, progress: Progress) -> tuple[list[Fault] | None, list[str]]:
    """Suspect labels and outliers; None where labels can't be judged."""
    if any(signatures.LABEL_SEPARATOR in label for label in seen.labels):
        return None, ["Labels weren't judged, and outliers not looked for: images have several."]
    counts = Counter(seen.labels)
    classes = sorted(label for label, count in counts.items() if count >= _FEWEST)
    if len(classes) < 2:
        return None, [f"Labels weren't judged: fewer than two classes have {_FEWEST} images."]
    rows = np.array([row for row, label in enumerate(seen.labels) if counts[label] >= _FEWEST])
    labels = np.searchsorted(classes, [seen.labels[row] for row in rows])
    space, notes = _best_space(seen, rows, labels, progress)
    points = space.of(rows)
    progress("judging labels", 0, len(rows))
    answers = suspects.scores(points, labels)
    accuracy = float((answers.argmax(axis=1) == labels).mean())
    notes.append(f"Labels were judged by {space.name}, which agree with {accuracy:.1%} of them.")
    suspect, fitting = suspects.judge(answers, labels)
    own = answers[np.arange(len(labels)), labels]
    found = []
    for place in np.flatnonzero(suspect)[np.argsort(own[suspect], kind="stable")]:
        alike = np.flatnonzero(labels == fitting[place])
        near = alike[np.argmax(points[alike] @ points[place] - _squares(points[alike]) / 2)]
        suggestion = f"relabel {classes[fitting[place]]}"
        value = float(own[place])
        found.append(faults.of(seen, rows[place], SUSPECT, value, suggestion, int(rows[near])))
    distances = _distances(points[:, :_DIMENSIONS], labels)
    for place in np.argsort(-distances):
        if distances[place] <= _FAR:
            break
        found.append(faults.of(seen, rows[place], OUTLIER, float(distances[place])))
    return found, notes


def _best_space(
    seen: Images, rows: np.ndarray, labels: np.ndarray, progress: Progress
) -> tuple[Space, list[str]]:
    """The features whose scores agree with the most labels, of some images."""
    tried = np.sort(np.random.default_rng(0).permutation(len(rows))[:_TRIED])
    sample, notes = rows[tried], []
    spaces = [features.pixels(seen, sample, progress)]
    small = np.median(seen.column("width")) <= features.SMALL
    if not small or features.is_coloured(seen):
        try:
            spaces.append(features.network(seen, sample, progress))
        except DarkroomError as error:
            notes.append(f"Labels are judged by pixels alone: {error}")
    return max(spaces, key=lambda space: _agreement(space.points, labels[tried])), notes


def _agreement(points: np.ndarray, labels: np.ndarray) -> float:
    _, labels = np.unique(labels, return_inverse=True)
    return float((suspects.scores(points, labels).argmax(axis=1) == labels).mean())


def _distances(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far each image is from all classes, in deviations of the logarithms.

    Means and covariance are those of the nearer images: outliers would make themselves usual.
    """
    kept = np.ones(len(points), bool)
    for _ in range(_ROUNDS):
        classes = [points[kept & (labels == number)] for number in np.unique(labels[kept])]
        means = np.stack([own.mean(axis=0) for own in classes])
        inner = np.concatenate([own - mean for own, mean in zip(classes, means, strict=True)])
        values, axes = np.linalg.eigh(np.cov(inner.T) + 1e-6 * np.eye(points.shape[1]))
        white = axes / np.sqrt(np.maximum(values, 1e-6))
        squared = np.min([_squares((points - mean) @ white) for mean in means], axis=0)
        kept = squared <= np.quantile(squared, 1 - _FAR_SHARE)
    logs = np.log(np.maximum(squared, 1e-6)) / 2
    middle = np.median(logs)
    deviation: np.ndarray = (logs - middle) / max(1.4826 * np.median(abs(logs - middle)), 1e-6)
    return deviation


def _squares(points: np.ndarray) -> np.ndarray:
    squares: np.ndarray = np.einsum("ij,ij->i", points, points)
    return squares
