"""The ImportExampleGen node: every image is looked at once; what can't be used is set aside."""

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from google.protobuf import wrappers_pb2
from tfx import types
from tfx.components.example_gen import utils
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from darkroom.components.base import features, progress, results, tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.sections import Splits
from darkroom.components.base.settings import IngestionSettings, Settings
from darkroom.components.ingestion import input_files, inspection, record_forms
from darkroom.components.ingestion.image_formats import ImageError
from darkroom.components.ingestion.inspection_counts import Sum, Tally
from darkroom.serving import signatures

# Images that are inspected together: enough for TensorFlow's threads, little to hold.
_BATCH_IMAGES = 256
_BATCH_BYTES = 16 * 2**20
# An image that is in two splits is wanted in the later one, which measures the model.
_SPLITS = ("train", "eval", "test")
_HASH_BUCKETS = 10_000
_SEPARATOR = signatures.LABEL_SEPARATOR.encode()
# Tags of outputs beside the splits.
_QUARANTINE, _TALLY = "quarantine", "tally"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads TFRecords of any form; writes inspected examples, quarantine and a report."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Inspects all splits in one pass.

        Raises:
          DarkroomError: a larger share than ``data.max_corrupt_fraction`` can't be used; or images
            are in two splits and ``data.leaks`` is ``fail``.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        [examples] = output_dict["examples"]
        data = _unpack(exec_properties["custom_config"])
        folder, given = exec_properties["input_base"], exec_properties["input_config"]
        if utils.SPAN_PROPERTY_NAME in exec_properties:  # of TFX's driver, which has resolved it
            splits = _proto(given, example_gen_pb2.Input()).splits
            patterns = {split.name: split.pattern for split in splits}
        else:
            patterns, span, seen = input_files.resolve(folder, given)
            examples.set_int_custom_property(utils.SPAN_PROPERTY_NAME, span)
            examples.set_string_custom_property(utils.FINGERPRINT_PROPERTY_NAME, seen)
        patterns = {name: os.path.join(folder, pattern) for name, pattern in patterns.items()}
        output = _proto(exec_properties["output_config"], example_gen_pb2.Output())
        buckets = {split.name: split.hash_buckets for split in output.split_config.splits}
        splits = [split for split in _SPLITS if split in {**patterns, **buckets}]
        examples.split_names = artifact_utils.encode_split_names(splits)
        report_path = os.path.join(examples.uri, results.INSPECTION_FILE)

        with self._make_beam_pipeline() as pipeline:
            held_out = pipeline | "Nothing" >> beam.Create([np.empty(0, np.int64)])
            tallies = []
            for source in [split for split in reversed(_SPLITS) if split in patterns]:
                into = buckets if buckets and source == "train" else {source: 1}
                found = (
                    pipeline
                    | f"Files[{source}]" >> beam.Create(_files(patterns[source]))
                    | f"Inspect[{source}]"
                    >> beam.ParDo(
                        _Inspect(source, into, data), held_out=beam.pvalue.AsSingleton(held_out)
                    ).with_outputs(_QUARANTINE, _TALLY, *into)
                )
                # No shuffle: Beam would hold all images for it. Trainer shuffles in each epoch.
                for split in into:
                    uri = artifact_utils.get_split_uri([examples], split)
                    _write(found[split], f"Write[{split}]", uri)
                quarantine = os.path.join(examples.uri, results.QUARANTINE_FOLDER, source)
                _write(found[_QUARANTINE], f"Quarantine[{source}]", quarantine, skip_if_empty=True)
                tallies.append(found[_TALLY])
                contents = found[_TALLY] | f"Contents[{source}]" >> beam.Map(Tally.contents)
                held_out = (
                    (held_out, contents)
                    | f"Both[{source}]" >> beam.Flatten()
                    | f"HeldOut[{source}]" >> beam.CombineGlobally(_union)
                )
            _ = (
                tallies
                | "Tallies" >> beam.Flatten()
                | "Sum" >> beam.CombineGlobally(Sum())
                | "Report" >> beam.Map(lambda tally: json.dumps(tally.report(splits)))
                | "WriteReport" >> beam.Map(_write_text, path=report_path)
            )
        with FileSystems.open(report_path) as file:
            _check(json.load(file), data)


class _Inspect(beam.DoFn):  # type: ignore[misc]  # Beam's base has no types
    """A file of TFRecords to examples, quarantined records and a tally."""

    def __init__(self, source: str, buckets: dict[str, int], data: IngestionSettings):
        """Divides the images of ``source`` among ``buckets`` by the hash of their pixels."""
        self._source, self._buckets, self._data = source, buckets, data
        self._bounds = np.cumsum(list(buckets.values()))

    def process(self, file: tuple[str, float, float], held_out: np.ndarray) -> Iterator[Any]:
        """Yields examples tagged with their split, quarantined records and, last, the tally."""
        path, begin, end = file
        tally = Tally()
        with FileSystems.open(path, compression_type=_compression(path)) as opened:
            for batch in _batches(self._records(opened, path, tally)):
                yield from self._inspected(batch, path, tally, held_out)
                words = f"{self._source} split, {tally.images:,} images of {os.path.basename(path)}"
                progress.report("ImportExampleGen", words, begin)
        progress.report("ImportExampleGen", os.path.basename(path), end)
        yield beam.pvalue.TaggedOutput(_TALLY, tally.packed())

    def _records(self, opened: Any, path: str, tally: Tally) -> Iterator[tuple[int, bytes, bool]]:
        """Every whole record: its number, its data, whether they match their checksum."""
        count = 0
        try:
            for record, intact in tfrecord.records(opened, path):
                yield count, record, intact
                count += 1
        except tfrecord.BrokenFile as error:
            # How many records there are behind a break can only be guessed from those before it.
            behind = max(0, _size(path) - error.position)
            lost = behind * count // error.position if error.position else 1
            tally.broken(f"{error} Its first {count:,} records are used.", lost)

    def _inspected(
        self,
        batch: list[tuple[int, bytes, bool]],
        path: str,
        tally: Tally,
        held_out: np.ndarray,
    ) -> Iterator[Any]:
        readable: list[tuple[int, bytes, record_forms.LabelledImage]] = []
        refused: list[tuple[int, bytes, str, bytes]] = []
        for number, record, intact in batch:
            try:
                if not intact:
                    raise ImageError("checksum doesn't match")
                readable.append((number, record, record_forms.read(record, self._data)))
            except ImageError as error:
                refused.append((number, record, str(error), b""))
        seen = inspection.inspect([image.encoded for _, _, image in readable])
        for (number, record, image), found in zip(readable, seen, strict=True):
            if isinstance(found, str):
                refused.append((number, record, found, image.filename))
                continue
            split = self._split(found.content)
            if _contains(held_out, found.content):
                tally.found_twice(self._source, _name(path, number, image.filename))
                if self._data.leaks == "drop":
                    continue
            tally.keep(split, found.content, _SEPARATOR.join(image.labels))
            yield beam.pvalue.TaggedOutput(split, _example(image, found))
        for number, record, reason, filename in refused:
            tally.set_aside(self._source, reason, _name(path, number, filename))
            values: dict[str, bytes | int | float] = {
                features.REASON_KEY: reason.encode(),
                features.SOURCE_KEY: path.encode(),
                features.POSITION_KEY: number,
                features.RECORD_KEY: record,
            }
            yield beam.pvalue.TaggedOutput(_QUARANTINE, tfrecord.encode_example(values))

    def _split(self, content: int) -> str:
        bucket = content % int(self._bounds[-1])
        return list(self._buckets)[int(np.searchsorted(self._bounds, bucket, side="right"))]


def _batches(records: Iterable[tuple[int, bytes, bool]]) -> Iterator[list[tuple[int, bytes, bool]]]:
    batch, size = [], 0
    for record in records:
        batch.append(record)
        size += len(record[1])
        if len(batch) == _BATCH_IMAGES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _example(image: record_forms.LabelledImage, seen: inspection.Inspection) -> bytes:
    return tfrecord.encode_example(
        {
            features.IMAGE_KEY: image.encoded,
            features.LABEL_KEY: image.labels,
            features.FILENAME_KEY: image.filename,
            features.FORMAT_KEY: seen.header.format.encode(),
            features.HEIGHT_KEY: seen.height,
            features.WIDTH_KEY: seen.width,
            features.CHANNELS_KEY: seen.header.channels,
            features.BIT_DEPTH_KEY: seen.header.bit_depth,
            features.ASPECT_RATIO_KEY: seen.width / seen.height,
            features.BRIGHTNESS_KEY: seen.brightness,
            features.CONTRAST_KEY: seen.contrast,
            features.ENCODED_SIZE_KEY: len(image.encoded),
            features.CONTENT_KEY: seen.content,
            **image.kept,
        }
    )


def _check(report: dict[str, Any], data: IngestionSettings) -> None:
    """Ends the run where too much is wrong with the data."""
    splits = report["splits"].values()
    reasons: dict[str, int] = {}
    for split in splits:
        for reason, count in split["quarantined"].items():
            reasons[reason] = reasons.get(reason, 0) + count
    bad = sum(reasons.values()) + report["lost"]
    total = sum(split["images"] for split in splits) + bad
    if bad > total * data.max_corrupt_fraction:
        shown = [f"{count:,} {reason}" for reason, count in reasons.items()]
        shown += [f"about {report['lost']:,} lost in broken files"] if report["lost"] else []
        first = report.get("first_quarantined", []) + report.get("first_broken_files", [])
        raise DarkroomError(
            f"{bad:,} of {total:,} images can't be used ({', '.join(shown)}), more than "
            f"data.max_corrupt_fraction allows ({data.max_corrupt_fraction:.2%}). Mend or remove "
            f"them, or raise that share. The first are: {'; '.join(first)}."
        )
    leaked = sum(split["in_two_splits"] for split in splits)
    if leaked and data.leaks == "fail":
        raise DarkroomError(
            f"{leaked:,} images of one split are in another split too, and data.leaks is fail. "
            "Remove them, or set data.leaks to drop. The first are: "
            f"{'; '.join(report['first_in_two_splits'])}."
        )


def _files(pattern: str) -> list[tuple[str, float, float]]:
    """Files with the shares of all bytes that are before and after them."""
    [match] = FileSystems.match([pattern])
    found = sorted((file.path, file.size_in_bytes) for file in match.metadata_list)
    ends = np.cumsum([size for _, size in found], dtype=float)
    ends /= max(ends[-1], 1) if len(ends) else 1
    begins = [0.0, *ends[:-1]]
    return [
        (path, float(begin), float(end))
        for (path, _), begin, end in zip(found, begins, ends, strict=True)
    ]


def _size(path: str) -> int:
    [match] = FileSystems.match([path])
    return int(match.metadata_list[0].size_in_bytes)


def _compression(path: str) -> str:
    compressed = path.endswith(".gz")
    kinds = beam.io.filesystem.CompressionTypes
    kind: str = kinds.GZIP if compressed else kinds.UNCOMPRESSED
    return kind


def _write(records: beam.PCollection, name: str, folder: str, skip_if_empty: bool = False) -> None:
    # Not compressed, as images are already: gzip would cost seconds here and in every reader.
    write = beam.io.WriteToTFRecord(os.path.join(folder, "data_tfrecord"))
    # Beam fails to write an empty file to S3, and only its other writers have an argument for it.
    write._sink.skip_if_empty = skip_if_empty
    _ = records | name >> write


def _write_text(text: str, path: str) -> None:
    with FileSystems.create(path) as file:
        file.write(text.encode())


def _union(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Sorted, for ``_contains``."""
    union: np.ndarray = np.unique(np.concatenate([np.empty(0, np.int64), *arrays]))
    return union


def _contains(values: np.ndarray, value: int) -> bool:
    index = int(np.searchsorted(values, value))
    return index < len(values) and int(values[index]) == value


def _name(path: str, number: int, filename: bytes) -> str:
    own = f" ({filename.decode('utf-8', 'replace')})" if filename else ""
    return f"{os.path.basename(path)}, record {number}{own}"


def _proto(text: str, message: Any) -> Any:
    proto_utils.json_to_proto(text, message)
    return message


def _unpack(custom_config: str) -> IngestionSettings:
    packed = _proto(custom_config, example_gen_pb2.CustomConfig())
    value = wrappers_pb2.StringValue()
    packed.custom_config.Unpack(value)
    return IngestionSettings.unpack(value.value)


class ImportExampleGen(FileBasedExampleGen):
    """TFX's component with the executor above.

    Outputs ``examples`` with the features of ``base.features``; beside the splits there are the
    quarantined records and the report.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, input_base: str, files: Splits, settings: Settings):
        """Reads files below ``input_base``.

        Args:
          input_base: folder of the TFRecord files.
          files: which of them make which split.
          settings: what is in the records.
        """
        output, patterns = None, files.patterns
        if "eval" not in patterns:
            held_out = round(files.eval_share * _HASH_BUCKETS)
            buckets = {"train": _HASH_BUCKETS - held_out, "eval": held_out}
            output = example_gen_pb2.Output(
                split_config=example_gen_pb2.SplitConfig(
                    splits=[
                        example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=count)
                        for name, count in buckets.items()
                    ]
                )
            )
        custom = example_gen_pb2.CustomConfig()
        custom.custom_config.Pack(wrappers_pb2.StringValue(value=settings.model_dump_json()))
        splits = [
            example_gen_pb2.Input.Split(name=name, pattern=pattern)
            for name, pattern in patterns.items()
        ]
        super().__init__(
            input_base=input_base,
            input_config=example_gen_pb2.Input(splits=splits),
            output_config=output or example_gen_pb2.Output(),
            custom_config=custom,
        )
