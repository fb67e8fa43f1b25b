"""From the examples of a split to batches for ``keras.Model.fit``."""

import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from darkroom.components.base import examples as base_examples
from darkroom.components.base import results, sections
from darkroom.components.base.examples import records
from darkroom.components.base.examples import sample_images as sample_images
from darkroom.components.training import streaming
from darkroom.components.training.rows import Coding, Rows
from darkroom.components.training.streaming import Records
from darkroom.components.training.transform_graph import TransformGraph
from darkroom.serving import files

# Examples that are parsed and preprocessed together, before the batches of training are made.
_CHUNK = 256
PREFETCHED = 4  # batches that are ready before they are asked for
# tf.data's own optimisations cost more here than they gain, as the examples are at hand.
OPTIONS = tf.data.Options()
# With autotuning every epoch ends with an idle wait for the tuner's next turn, a third of its time.
OPTIONS.autotune.enabled = False
# Every new iterator would optimise the whole transform graph again: half a second per epoch.
OPTIONS.experimental_optimization.apply_default_optimizations = False
# Batches that are taken out of memory in one go, and how large they may be together.
_CHUNK_BATCHES, _CHUNK_BYTES = 32, 4 * 2**20
_FLOATS = Coding()
_GROUPS = "groups.npy"  # beside kept examples


class Examples:
    """The preprocessed examples of a split, at hand in any order: cached or streamed."""

    def __init__(
        self,
        inputs: Rows | Records,
        labels: np.ndarray,
        coding: Coding | TransformGraph = _FLOATS,
        copies: int = 1,
        rows: np.ndarray | None = None,
    ):
        """Takes what is at hand already.

        Args:
          inputs: the network's, [copies × count, ...], as ``coding`` decodes them.
          labels: class numbers int64 [count]; multi-label: 0 and 1, float32 [count, num_classes].
          copies: how often the inputs have each example, in different augmentations: all examples
            once, then all of them again, and so on.
          rows: int [count], the numbers of the examples' inputs; None: one after the other.
        """
        self.inputs, self.labels, self.coding, self.copies = inputs, labels, coding, copies
        # Numbers of what each belongs to, int [count]; None: each to itself, or nobody asked.
        self.groups: np.ndarray | None = None
        self._rows = rows

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: np.ndarray) -> "Examples":
        """The examples numbered ``rows``, int [count], such as a fold; inputs are not copied."""
        return Examples(self.inputs, self.labels[rows], self.coding, self.copies, rows)

    def save(self, folder: str) -> None:
        """Writes them to a new folder, from which ``saved`` reads them."""
        os.makedirs(folder)
        self.inputs.save(os.path.join(folder, "inputs"))
        facts: dict[str, Any] = {**self.inputs.facts, **self.coding.facts}
        path = os.path.join(folder, "facts.npz")
        np.savez(path, labels=self.labels, copies=self.copies, **facts)

    @classmethod
    def saved(cls, folder: str, budget: int) -> "Examples":
        """Reads what ``save`` wrote, with up to ``budget`` bytes of inputs in memory."""
        with np.load(os.path.join(folder, "facts.npz")) as file:
            facts = dict(file)
        path, labels, copies = os.path.join(folder, "inputs"), facts["labels"], int(facts["copies"])
        if "transform" in facts:
            examples = cls(Records.saved(path, facts), labels, TransformGraph.saved(facts))
        else:
            shape, dtype = tuple(facts["shape"].tolist()), str(facts["dtype"])
            inputs = Rows.of_file(path, shape, dtype, len(labels) * copies, budget)
            examples = cls(inputs, labels, Coding(*facts["ends"]), copies)
        if os.path.exists(groups := os.path.join(folder, _GROUPS)):
            examples.groups = np.load(groups)
        return examples

    def counts(self) -> Counter[int]:
        if self.labels.ndim == 1:
            return Counter(self.labels.tolist())
        return Counter(dict(enumerate(self.labels.sum(axis=0).astype(int).tolist())))

    def constant_accuracy(self) -> float:
        """The best accuracy of a model that gives the same answer to every image."""
        counts = np.array(list(self.counts().values()))
        if self.labels.ndim > 1:  # yes or no to each class
            return float(np.maximum(counts, len(self) - counts).mean() / len(self))
        return float(counts.max() / len(self))

    def load(
        self, numbered: tf.data.Dataset, batch_size: int, in_chunks: bool = False
    ) -> tf.data.Dataset:
        """Looks rows up: from (x, rows int64 [batch]) to (x, inputs float32 [batch, ...], labels).

        ``batch_size``: of the largest batch. With ``in_chunks`` several pairs come as one,
        x [chunk, ...] and rows [chunk, batch], as each call of Python takes a tenth of a
        millisecond.
        """
        # The graph is loaded here, not within a function of TensorFlow's.
        decode, calls = self.coding.decode, self.coding.parallel_calls(batch_size)
        dtypes = [self.inputs.dtype, self.labels.dtype]

        def take(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            copy, flat = np.divmod(rows.ravel(), len(self))
            places = flat if self._rows is None else self._rows[flat]
            in_copy = len(self.inputs) // self.copies
            inputs, labels = self.inputs.take(copy * in_copy + places), self.labels[flat]
            return (
                inputs.reshape(*rows.shape, *inputs.shape[1:]),
                labels.reshape(*rows.shape, *labels.shape[1:]),
            )

        def loaded(step: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            inputs, labels = tf.numpy_function(take, [rows], dtypes, stateful=False)
            batch = [None] * rows.shape.rank
            inputs = tf.ensure_shape(inputs, [*batch, *self.inputs.shape])
            labels = tf.ensure_shape(labels, [*batch, *self.labels.shape[1:]])
            return step, inputs, labels

        untouched = tf.autograph.experimental.do_not_convert
        triples = numbered.map(untouched(loaded), num_parallel_calls=calls or 2)
        if in_chunks:
            slices = tf.data.Dataset.from_tensor_slices
            triples = triples.flat_map(untouched(lambda *chunk: slices(chunk)))
        return triples.map(
            untouched(lambda step, inputs, labels: (step, decode(inputs), labels)),
            num_parallel_calls=calls,
        )

    def inputs_of(self, batches: list[np.ndarray]) -> tf.data.Dataset:
        """The inputs of the rows of each batch, int [batch], as float32 [batch, ...]."""
        rows = tf.RaggedTensor.from_row_lengths(np.concatenate(batches), list(map(len, batches)))
        numbered = tf.data.Dataset.from_tensor_slices(rows).map(lambda batch: (0, batch))
        largest = max(map(len, batches))
        return self.load(numbered, largest).map(lambda step, inputs, labels: inputs)

    def first(self, count: int) -> np.ndarray:
        """The inputs of the first examples, float32 [count, ...]."""
        [inputs] = self.inputs_of([np.arange(min(count, len(self)))])
        return inputs.numpy()  # type: ignore[no-any-return]  # an array


Splits = tuple[Examples, Examples]  # train and eval


def splits(
    train_files: list[str],
    eval_files: list[str],
    transform: tft.TFTransformOutput,
    training: sections.Training,
    node: str,
    place: str | None = None,
) -> Splits:
    """Train and eval, as kept in ``place``, or cached or streamed by ``training.examples``.

    Where they are streamed, it says so for ``node``.
    """
    if place is not None and os.path.exists(place):
        return kept(place, training.cache_bytes)
    graph = TransformGraph(transform)
    if sources := streaming.chosen(training, [train_files, eval_files], graph, node):
        train, evaluation = (Examples(each, each.targets(graph, node), graph) for each in sources)
        return train, evaluation
    cached = preprocessed(train_files, graph, training.cache_bytes)
    left = training.cache_bytes - cached.inputs.held_bytes
    assert isinstance(cached.coding, Coding)
    return cached, preprocessed(eval_files, graph, left, cached.coding)


def place_for(
    folder: str,
    train_files: list[str],
    eval_files: list[str],
    transform: tft.TFTransformOutput,
    training: sections.Training,
) -> str:
    """The sub-folder for what these files become in this transform graph."""
    files, graph = [sorted(train_files), sorted(eval_files)], transform.transform_savedmodel_dir
    return os.path.join(folder, results.name_of([*files, graph, training.examples]))


def keep(examples: Splits, place: str) -> None:
    """Writes train and eval for other processes, in place of what was kept of other data."""
    shutil.rmtree(os.path.dirname(place), ignore_errors=True)
    unfinished = f"{place}.unfinished"
    for name, split in zip(("train", "eval"), examples, strict=True):
        split.save(os.path.join(unfinished, name))
    os.rename(unfinished, place)


def keep_groups(place: str, train_files: list[str]) -> None:
    """Writes what the examples of train belong to beside those kept in a place, if to anything."""
    path = os.path.join(place, "train", _GROUPS)
    groups = base_examples.groups(train_files)
    if groups is not None and not os.path.exists(path):
        with files.replacing(Path(path)) as unfinished, open(unfinished, "wb") as file:
            np.save(file, groups)


def kept(place: str, budget: int) -> Splits:
    """Reads what ``keep`` wrote, with up to ``budget`` bytes of it in memory."""
    train = Examples.saved(os.path.join(place, "train"), budget)
    left = budget - train.inputs.held_bytes
    return train, Examples.saved(os.path.join(place, "eval"), left)


def preprocessed(
    file_patterns: list[str],
    graph: TransformGraph,
    budget: int,
    coding: Coding | None = None,
) -> Examples:
    """The examples of a split, run through the transform graph once.

    Up to ``budget`` bytes are kept in memory, more in a temporary file. ``coding`` is tried first;
    None: one that suits the transform graph.
    """
    coding = coding or graph.coding
    transformed = tf.autograph.experimental.do_not_convert(graph.pair)  # 2.5 s, of a Keras layer
    chunks = records(file_patterns).batch(_CHUNK).map(transformed, tf.data.AUTOTUNE)
    chunks = chunks.prefetch(1).with_options(OPTIONS)
    # None: images were resized, or changed by a function of the user's; float16 takes anything.
    examples = _fill(chunks, coding, budget) or _fill(chunks, _FLOATS, budget)
    assert examples is not None
    return examples


def _fill(chunks: tf.data.Dataset, coding: Coding, budget: int) -> Examples | None:
    """Encodes all examples; None where the coding would lose something."""
    shape = chunks.element_spec[0].shape[1:]
    rows, labels = Rows(tuple(shape), coding.dtype, budget), []
    for images, label in chunks.as_numpy_iterator():
        kept = coding.encode(images)
        if kept is None:
            return None
        rows.append(kept)
        labels.append(label)
    return Examples(rows, np.concatenate(labels) if labels else np.empty(0, np.int64), coding)


class Share(NamedTuple):
    """A replica's part of each batch: every ``of``-th row, from the one numbered ``number`` on."""

    number: int = 0
    of: int = 1

    def rows(self, batch: np.ndarray) -> np.ndarray:
        """The share's rows of [batch, ...]; all where an empty share would remain for a replica."""
        # Where each replica takes the whole batch, the mean over them is the same.
        return batch[self.number :: self.of] if len(batch) >= self.of else batch


_WHOLE = Share()


class Feed:
    """The batches of a training: shuffled, and a function of the seed and of the step alone."""

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        seed: int,
        steps_per_epoch: int | None = None,
        share: Share = _WHOLE,
    ):
        """Gives a share of each of ``steps_per_epoch`` batches; None: all examples in an epoch."""
        self.epoch = 0  # which one an iterator begins with
        self.share = share
        self._examples, self._batch_size, self._seed = examples, batch_size, seed
        self._in_pass = -(-len(examples) // batch_size)
        self._endless = steps_per_epoch is not None
        self.steps = steps_per_epoch or self._in_pass

    def _numbered(self) -> Iterator[tuple[int, np.ndarray]]:
        """The step, from the beginning of the training, and its examples' row numbers."""
        step, count = self.epoch * self.steps, len(self._examples)
        while True:
            generator = np.random.default_rng([self._seed, step // self._in_pass])
            order = generator.permutation(count)
            order += count * generator.integers(self._examples.copies, size=count)
            for start in range(step % self._in_pass * self._batch_size, count, self._batch_size):
                yield step, self.share.rows(order[start : start + self._batch_size])
                step += 1
            if not self._endless:
                return

    def _chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Steps [chunk] and row numbers [chunk, batch]."""
        batch_bytes = self._examples.inputs.row_bytes * self._batch_size
        most = min(_CHUNK_BATCHES, max(1, _CHUNK_BYTES // batch_bytes))
        # A last batch may have another size.
        for _, alike in itertools.groupby(self._numbered(), key=lambda pair: len(pair[1])):
            while chunk := list(itertools.islice(alike, most)):
                steps, rows = zip(*chunk, strict=True)
                yield np.array(steps), np.stack(rows)

    def batches(self) -> tf.data.Dataset:
        """Triples of step int64 [], inputs float32 [batch, ...] and labels, from ``epoch`` on.

        An iterator yields one epoch, or with ``steps_per_epoch`` has no end.
        """
        numbers = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, None], tf.int64)
        numbered = tf.data.Dataset.from_generator(self._chunks, output_signature=numbers)
        length = tf.data.INFINITE_CARDINALITY if self._endless else self.steps
        counted = tf.data.experimental.assert_cardinality(length)
        batches = self._examples.load(numbered, self._batch_size, in_chunks=True).apply(counted)
        return batches.prefetch(PREFETCHED).with_options(OPTIONS)


def batches(examples: Examples, batch_size: int, share: Share = _WHOLE) -> tf.data.Dataset:
    """Pairs of inputs float32 [batch, ...] and labels in the examples' order, or shares of them."""
    count = len(examples)
    number, of = share if count >= share.of else _WHOLE
    # A size that leaves no last batch that is too small to be shared.
    sizes = range(min(batch_size, count), count + 1)
    batch_size = next((size for size in sizes if not 0 < count % size < of), batch_size)
    starts = tf.data.Dataset.range(0, count, batch_size)
    numbered = starts.map(
        lambda start: (start, tf.range(start + number, tf.minimum(start + batch_size, count), of))
    )
    loaded = examples.load(numbered, batch_size).map(lambda start, inputs, labels: (inputs, labels))
    return loaded.prefetch(PREFETCHED).with_options(OPTIONS)
