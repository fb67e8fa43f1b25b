"""What models said of every example: kept by TFMA's pipeline as it evaluates, in a Parquet file."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.dsl.io import fileio

from darkroom.components.base import features
from darkroom.components.compat import tfma as compat
from darkroom.components.evaluation.metrics import Numbers, Outcome
from darkroom.serving import signatures

_KEY = "predictions"  # among the outputs of TFMA's evaluators
_CONTENT, _FILENAME, _LABEL, _TRUTH = "content_hash", "filename", "label", "numbers"
_SCORES = {tfma.CANDIDATE_KEY: "scores", tfma.BASELINE_KEY: "baseline_scores"}
_UNCUT = "uncut/"  # before the key of a number of which there are ranges instead
_ENDS = (signatures.LOW, signatures.HIGH)  # of numbers' intervals, beside the scores
_CLASSES = {tfma.CANDIDATE_KEY: b"classes", tfma.BASELINE_KEY: b"baseline_classes"}


@dataclass
class Predictions:
    """All examples of a split, and what the candidate and the baseline said of them."""

    classes: list[str]  # the candidate's, in the order of its label vocabulary
    outcome: Outcome
    labels: list[str]  # as in a|b where data are multi-label
    contents: np.ndarray  # int64 [examples], hashes of the pixels
    filenames: list[str]  # empty where they are not known
    slices: dict[str, np.ndarray]  # values of each slicing feature, str [examples]
    baseline_classes: list[str]  # empty where there is no baseline
    baseline: Outcome | None  # of the same examples, its classes in its own order

    @property
    def common(self) -> list[str]:
        return [name for name in self.classes if name in set(self.baseline_classes)]

    @cached_property
    def compared(self) -> tuple[Outcome, Outcome, np.ndarray] | None:
        """Both models' outcomes on examples of classes that both know, and which: bool [examples].

        An answer that only one could give is wrong. None where fewer than two classes are common,
        or no number.
        """
        if self.baseline is None or len(self.common) < 2 - self.outcome.of_numbers:
            return None
        ours = [self.classes.index(name) for name in self.common]
        theirs = [self.baseline_classes.index(name) for name in self.common]
        known = self.outcome.known(ours)
        candidate, baseline = self.outcome.part(known, ours), self.baseline.part(known, theirs)
        return candidate, baseline.with_truth(candidate.truth), known


def cut(slices: dict[str, list[float]]) -> tfma.extractors.Extractor:
    """Replaces the numbers of features by ranges, where ``slices`` has their edges."""
    transform = beam.Map(_cut, {key: edges for key, edges in slices.items() if edges})
    return tfma.extractors.Extractor("CutFeatures", "CutFeatures" >> transform)


def ranges(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """From floats to ``below 64``, ``64 to 128``, ``128 or more``: bytes of the same shape."""
    written = [text(edge) for edge in edges]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(written)]
    names = [f"below {written[0]}", *between, f"{written[-1]} or more", "no number"]
    places = np.where(np.isnan(values), len(names) - 1, np.digitize(values, edges))
    named: np.ndarray = np.array([name.encode() for name in names], object)[places]
    return named


def _cut(extracts: tfma.Extracts, edges: dict[str, list[float]]) -> tfma.Extracts:
    values = dict(extracts[tfma.FEATURES_KEY])
    for key in edges:
        rows = np.asarray(values[key], object)
        values[f"{_UNCUT}{key}"] = values[key]
        numbers = [_number(value) for value in rows.ravel()]
        values[key] = ranges(np.array(numbers, float), edges[key]).reshape(rows.shape)
    return {**extracts, tfma.FEATURES_KEY: values}


def _number(value: bytes | float) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def evaluator(slices: Sequence[str]) -> tfma.evaluators.Evaluator:
    """Collects the predictions, next to TFMA's metrics."""
    return tfma.evaluators.Evaluator(
        "CollectPredictions", compat.predictions_stage(), _collect(tuple(slices))
    )


def writer(path: str) -> tfma.writers.Writer:
    """Writes what ``evaluator`` collected."""
    return tfma.writers.Writer("WritePredictions", _write_all(path))


@beam.ptransform_fn
def _collect(extracts: beam.PCollection, slices: tuple[str, ...]) -> dict[str, beam.PCollection]:
    return {_KEY: extracts | "Columns" >> beam.Map(_columns, slices)}


@beam.ptransform_fn
def _write_all(outputs: dict[str, beam.PCollection], path: str) -> beam.PCollection:
    tables = outputs[_KEY] | "Together" >> beam.combiners.ToList()
    return tables | "WriteParquet" >> beam.Map(_write, path)


def _columns(extracts: tfma.Extracts, slices: tuple[str, ...]) -> pa.Table:
    outputs = extracts[tfma.PREDICTIONS_KEY]
    if {signatures.SCORES, signatures.NUMBERS} & set(outputs):
        outputs = {tfma.CANDIDATE_KEY: outputs}  # TFMA names the models only where there are two
    values = extracts[tfma.FEATURES_KEY]
    targets = features.target_keys(values)
    of_numbers = targets != [features.LABEL_KEY]
    learnt = [values.get(f"{_UNCUT}{key}", values[key]) for key in targets]
    named, said = signatures.CLASSES, signatures.SCORES
    if of_numbers:
        named, said = signatures.NAMES, signatures.NUMBERS
    classes = {
        name: [text(value) for value in of_model[named][0]] for name, of_model in outputs.items()
    }
    columns: dict[str, Sequence[str] | np.ndarray | pa.Array] = {
        _CONTENT: np.asarray(values[features.CONTENT_KEY]).ravel().astype(np.int64),
        _FILENAME: ["".join(row) for row in _rows(values[features.FILENAME_KEY])],
        # The examples' own: a model may have its classes' names mixed up.
        _LABEL: [
            signatures.LABEL_SEPARATOR.join(row if of_numbers else sorted(row))
            for row in map(_joined, *(_rows(each) for each in learnt))
        ],
        **{key: ["".join(row) for row in _rows(values[key])] for key in slices},
    }
    if of_numbers:
        numbers = [np.asarray(each, float).ravel() for each in learnt]
        columns[_TRUTH] = pa.array(list(np.stack(numbers, axis=1)), pa.list_(pa.float64()))
    for name, of_model in outputs.items():
        ends = {f"{_SCORES[name]}_{end}": of_model[end] for end in _ENDS if of_numbers}
        for column, rows in {_SCORES[name]: of_model[said], **ends}.items():
            rows = np.reshape(rows, (-1, len(classes[name])))
            columns[column] = pa.array(list(rows), pa.list_(pa.float32()))
    metadata = {_CLASSES[name]: json.dumps(names).encode() for name, names in classes.items()}
    return pa.table(columns).replace_schema_metadata(metadata)


def _joined(*rows: list[str]) -> list[str]:
    return list(itertools.chain(*rows))


def _rows(
    values: np.ndarray | tfma.VarLenTensorValue | tf.compat.v1.SparseTensorValue,
) -> list[list[str]]:
    if isinstance(values, tfma.VarLenTensorValue | tf.compat.v1.SparseTensorValue):
        rows: list[list[str]] = [[] for _ in range(values.dense_shape[0])]
        for (row, _), value in zip(values.indices, values.values, strict=True):
            rows[row].append(text(value))
        return rows
    return [[text(value) for value in np.ravel(row)] for row in values]


def text(value: bytes | float) -> str:
    """A feature's value, as slices name it."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else f"{value:.15g}"


def _write(tables: list[pa.Table], path: str) -> None:
    if not tables:
        return
    table = pa.concat_tables(tables)
    # In an order that doesn't depend on the workers, for the same intervals every time.
    ordered = table.take(pa.array(np.argsort(table[_CONTENT].to_numpy(), kind="stable")))
    sink = pa.BufferOutputStream()
    pq.write_table(ordered.replace_schema_metadata(table.schema.metadata), sink)
    with fileio.open(path, "wb") as file:
        file.write(sink.getvalue().to_pybytes())


def read(path: str, multi_label: bool, slices: Sequence[str] = ()) -> Predictions | None:
    """The predictions in a file; None where the split had no examples."""
    if not fileio.exists(path):
        return None
    with fileio.open(path, "rb") as file:
        table = pq.read_table(pa.BufferReader(file.read()))
    metadata = table.schema.metadata
    classes = {name: json.loads(metadata[key]) for name, key in _CLASSES.items() if key in metadata}
    labels = table[_LABEL].to_pylist()
    outcomes: dict[str, Outcome] = {}
    for name, names in classes.items():
        said = _matrix(table, _SCORES[name])
        if _TRUTH in table.column_names:
            ends = (_matrix(table, f"{_SCORES[name]}_{end}") for end in _ENDS)
            outcomes[name] = Numbers(_matrix(table, _TRUTH), said, *ends)
        else:
            outcomes[name] = Outcome(_truth(labels, names, multi_label), said, multi_label)
    return Predictions(
        classes=classes[tfma.CANDIDATE_KEY],
        outcome=outcomes[tfma.CANDIDATE_KEY],
        labels=labels,
        contents=table[_CONTENT].to_numpy(),
        filenames=table[_FILENAME].to_pylist(),
        slices={key: np.array(table[key].to_pylist(), object) for key in slices},
        baseline_classes=classes.get(tfma.BASELINE_KEY, []),
        baseline=outcomes.get(tfma.BASELINE_KEY),
    )


def _matrix(table: pa.Table, column: str) -> np.ndarray:
    """A column of lists as float64 [examples, ...]."""
    flat = table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    matrix: np.ndarray = flat.astype(np.float64).reshape(len(table), -1)
    return matrix


def _truth(labels: list[str], classes: list[str], multi_label: bool) -> np.ndarray:
    numbers = {name: number for number, name in enumerate(classes)}
    truth = np.zeros((len(labels), len(classes)), bool)
    for row, label in zip(truth, labels, strict=True):
        for name in features.split_labels(label) if multi_label else [label]:
            if name in numbers:
                row[numbers[name]] = True
    return truth
