"""The ImportExampleGen node: every image is looked at once; what can't be used is set aside."""

import os
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.io import filebasedsink
from apache_beam.io.filesystems import FileSystems
from google.protobuf import message, wrappers_pb2
from tfx import types
from tfx.components.example_gen import utils
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from darkroom.components.base import features, progress, tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.sections import Splits
from darkroom.components.base.settings import IngestionSettings, Settings
from darkroom.components.ingestion import data_version, input_files, leaks, record_forms
from darkroom.components.ingestion.findings import SUSPECT, Findings
from darkroom.components.ingestion.inspection import Inspection, inspect
from darkroom.components.ingestion.inspection_counts import NAMED, InspectionCounts, total
from darkroom.components.ingestion.inspection_report import InspectionReport
from darkroom.serving import signatures
from darkroom.serving.codecs.pictures import ImageError

# Images that are inspected together: enough for TensorFlow's threads, little to hold.
_BATCH_IMAGES = 256
_BATCH_BYTES = 16 * 2**20
_HASH_BUCKETS = 10_000  # so a split's share is exact to a ten-thousandth
_SEPARATOR = signatures.LABEL_SEPARATOR.encode()
# Tags of outputs beside the splits.
_QUARANTINE, _SMALL, _COUNTS = "quarantine", "small", "counts"

_Artifacts = dict[str, list[types.Artifact]]


class _Record(NamedTuple):
    number: int  # in its file, from 0
    data: bytes
    intact: bool  # whether the data match their checksum


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads TFRecords of any form; writes inspected examples, quarantine and a report."""

    def Do(self, inputs: _Artifacts, outputs: _Artifacts, properties: Mapping[str, str]) -> None:
        """Inspects all splits in one pass.

        Raises a DarkroomError where more than ``data.max_corrupt_fraction`` can't be used, or where
        images, or near duplicates, are in two splits and ``data.leaks`` is ``fail``.
        """
        self._log_startup(inputs, outputs, properties)
        [examples] = outputs["examples"]
        data = _unpack(properties["custom_config"])
        patterns = _patterns(examples, properties)
        output = _proto(properties["output_config"], example_gen_pb2.Output())
        buckets = {split.name: split.hash_buckets for split in output.split_config.splits}
        _name_data(examples, properties["input_base"], patterns.values())
        if data.max_suspect_labels is not None:
            _check_labels(examples, data.max_suspect_labels)
        splits = [split for split in leaks.SPLITS if split in {**patterns, **buckets}]
        examples.split_names = artifact_utils.encode_split_names(splits)
        with self._make_beam_pipeline() as pipeline:
            _inspect_all(pipeline, examples, patterns, buckets, data)
        report = InspectionReport.read(examples.uri, anew=True)
        leaks.find(report, examples.uri)
        report.write(examples.uri)
        _check(report, data)


def _patterns(examples: types.Artifact, properties: Mapping[str, str]) -> dict[str, str]:
    """The files of each split; without TFX's driver the span is noted here."""
    folder, input_config = properties["input_base"], properties["input_config"]
    if utils.SPAN_PROPERTY_NAME in properties:  # of TFX's driver, which has resolved it
        splits = _proto(input_config, example_gen_pb2.Input()).splits
        patterns = {split.name: split.pattern for split in splits}
    else:
        patterns, span, fingerprint = input_files.resolve(folder, input_config)
        examples.set_int_custom_property(utils.SPAN_PROPERTY_NAME, span)
        examples.set_string_custom_property(utils.FINGERPRINT_PROPERTY_NAME, fingerprint)
    return {name: os.path.join(folder, pattern) for name, pattern in patterns.items()}


def _name_data(examples: types.Artifact, folder: str, patterns: Iterable[str]) -> None:
    """Notes which images these are."""
    if version := data_version.read(folder):
        examples.set_string_custom_property(data_version.PROPERTY, version)
    below = [pattern.removeprefix(f"{folder}/") for pattern in patterns]
    identity = data_version.identity(folder, below)
    examples.set_string_custom_property(data_version.FOLDER_PROPERTY, folder)
    examples.set_string_custom_property(data_version.IDENTITY_PROPERTY, identity)


def _check_labels(examples: types.Artifact, limit: float) -> None:
    """Raises a DarkroomError where a review suspects too many labels, or judged none of them."""
    folder = examples.get_string_custom_property(data_version.FOLDER_PROPERTY)
    identity = examples.get_string_custom_property(data_version.IDENTITY_PROPERTY)
    found = Findings.read(folder, identity)
    if found is None:
        raise DarkroomError(
            f"data.max_suspect_labels is set, and {folder} has no review of its images as they are "
            f"now. Make one: darkroom review {shlex.quote(folder)} --csv-only."
        )
    if not found.labels_judged:
        raise DarkroomError(f"data.max_suspect_labels is set, but: {' '.join(found.notes)}")
    if found.share(SUSPECT) > limit:
        faults = found.open(SUSPECT)
        first = (f"{each.path} ({each.label}: {each.suggestion})" for each in faults[:NAMED])
        raise DarkroomError(
            f"{len(faults):,} of {found.images:,} labels are suspect, more than "
            f"data.max_suspect_labels allows ({limit:.2%}). Relabel them, or keep what is right, "
            f"with darkroom review {shlex.quote(folder)}. The first are: {'; '.join(first)}."
        )


def _inspect_all(
    pipeline: beam.Pipeline,
    examples: types.Artifact,
    patterns: dict[str, str],
    buckets: dict[str, int],
    data: IngestionSettings,
) -> None:
    held_out = pipeline | "Nothing" >> beam.Create([np.empty(0, np.int64)])
    all_counts = []
    for source in [split for split in reversed(leaks.SPLITS) if split in patterns]:
        into = buckets if buckets and source == "train" else {source: 1}
        inspected = (
            pipeline
            | f"Files[{source}]" >> beam.Create(_files(patterns[source]))
            | f"Inspect[{source}]"
            >> beam.ParDo(
                _Inspect(source, into, data), held_out=beam.pvalue.AsSingleton(held_out)
            ).with_outputs(_QUARANTINE, _SMALL, _COUNTS, *into)
        )
        # No shuffle: Beam would hold all images for it. Trainer shuffles in each epoch.
        for split in into:
            uri = artifact_utils.get_split_uri([examples], split)
            _write(inspected[split], f"Write[{split}]", uri)
        quarantine = os.path.join(examples.uri, InspectionReport.QUARANTINE_FOLDER, source)
        # Beam fails to write an empty file to S3.
        _write(inspected[_QUARANTINE], f"Quarantine[{source}]", quarantine, skip_if_empty=True)
        small = os.path.join(examples.uri, leaks.FOLDER, source)
        _write(inspected[_SMALL], f"Small[{source}]", small, skip_if_empty=True)
        counts = inspected[_COUNTS]
        all_counts.append(counts)
        contents = counts | f"Contents[{source}]" >> beam.Map(InspectionCounts.contents)
        held_out = (
            (held_out, contents)
            | f"Both[{source}]" >> beam.Flatten()
            | f"HeldOut[{source}]" >> beam.CombineGlobally(_union)
        )
    splits, uri = artifact_utils.decode_split_names(examples.split_names), examples.uri
    _ = (
        all_counts
        | "Counts" >> beam.Flatten()
        | "Sum" >> beam.CombineGlobally(total)
        | "Report" >> beam.Map(lambda counts: counts.report(splits).write(uri))
    )


class _Inspect(beam.DoFn):
    def __init__(self, source: str, buckets: dict[str, int], data: IngestionSettings):
        """Divides the images of ``source`` among ``buckets`` by the hash of their pixels."""
        self._source, self._buckets, self._data = source, buckets, data
        self._bounds = np.cumsum(list(buckets.values()))

    def process(
        self, file: tuple[str, int, float, float], held_out: np.ndarray
    ) -> Iterator[beam.pvalue.TaggedOutput]:
        """Yields examples tagged with their split, quarantined records, small pictures and counts.

        A batch's examples of a split are one element, framed as in a file: a way of its own through
        Beam would cost an image as much as its inspection.
        """
        path, size, begin, end = file
        name = os.path.basename(path)
        counts = InspectionCounts()
        with FileSystems.open(path) as opened:
            for batch in _batches(_records(opened, path, size, counts)):
                records: dict[str, list[bytes]] = defaultdict(list)
                for tag, record in self._inspected(batch, path, counts, held_out):
                    records[tag].append(tfrecord.frame(record))
                for tag, frames in records.items():
                    yield beam.pvalue.TaggedOutput(tag, b"".join(frames))
                words = f"{self._source} split, {counts.images:,} images of {name}"
                progress.report("ImportExampleGen", words, begin)
        progress.report("ImportExampleGen", name, end)
        yield beam.pvalue.TaggedOutput(_COUNTS, counts.packed())

    def _inspected(
        self, batch: list[_Record], path: str, counts: InspectionCounts, held_out: np.ndarray
    ) -> Iterator[tuple[str, bytes]]:
        readable: list[tuple[_Record, record_forms.LabelledImage]] = []
        refused: list[tuple[_Record, str, bytes]] = []  # with the reason and the image's filename
        for record in batch:
            try:
                if not record.intact:
                    raise ImageError("checksum doesn't match")
                readable.append((record, record_forms.read(record.data, self._data)))
            except ImageError as error:
                refused.append((record, str(error), b""))
        inspections = inspect([image.encoded for _, image in readable])
        small: dict[str, list[leaks.Picture]] = defaultdict(list)
        for (record, image), inspection in zip(readable, inspections, strict=True):
            label = _SEPARATOR.join(image.labels or map(_text, image.numbers.values()))
            if isinstance(inspection, str):
                refused.append((record, inspection, image.filename))
                counts.drop(self._source, label)
                continue
            name = _name(path, record.number, image.filename)
            if _contains(held_out, inspection.content):
                counts.leak(self._source, name)
                if self._data.leaks == "drop":
                    counts.drop(self._source, label)
                    continue
            split = self._split(inspection.content)
            counts.keep(split, inspection.content, label, image.group)
            known_as = image.filename.decode("utf-8", "replace") or name
            small[split].append(leaks.Picture(known_as, inspection.content, inspection.small))
            yield split, _example(image, inspection)
        for split, seen in small.items():
            yield _SMALL, leaks.record(split, seen)
        for record, reason, filename in refused:
            counts.quarantine(self._source, reason, _name(path, record.number, filename))
            yield _QUARANTINE, _quarantined(record, reason, path)

    def _split(self, content: int) -> str:
        bucket = content % int(self._bounds[-1])
        return list(self._buckets)[int(np.searchsorted(self._bounds, bucket, side="right"))]


def _records(
    opened: IO[bytes], path: str, size: int, counts: InspectionCounts
) -> Iterator[_Record]:
    count = 0
    try:
        for data, intact in tfrecord.records(opened, path):
            yield _Record(count, data, intact)
            count += 1
    except tfrecord.BrokenFile as error:
        # How many records there are behind a break can only be guessed from those before it.
        behind = max(0, size - error.position)
        lost = behind * count // error.position if error.position else 1
        counts.broken_file(f"{error} Its first {count:,} records are used.", lost)


def _batches(records: Iterable[_Record]) -> Iterator[list[_Record]]:
    batch, size = [], 0
    for record in records:
        batch.append(record)
        size += len(record.data)
        if len(batch) == _BATCH_IMAGES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _example(image: record_forms.LabelledImage, inspection: Inspection) -> bytes:
    return tfrecord.encode_example(
        {
            features.IMAGE_KEY: inspection.encoded,
            **_learnt(image),
            features.FILENAME_KEY: image.filename,
            features.FORMAT_KEY: inspection.header.format.encode(),
            features.HEIGHT_KEY: inspection.height,
            features.WIDTH_KEY: inspection.width,
            features.CHANNELS_KEY: inspection.header.channels,
            features.BIT_DEPTH_KEY: inspection.header.bit_depth,
            features.ASPECT_RATIO_KEY: inspection.width / inspection.height,
            features.BRIGHTNESS_KEY: inspection.brightness,
            features.CONTRAST_KEY: inspection.contrast,
            features.ENCODED_SIZE_KEY: len(inspection.encoded),
            features.CONTENT_KEY: inspection.content,
            **image.kept,
        }
    )


def _learnt(image: record_forms.LabelledImage) -> dict[str, Sequence[bytes] | float]:
    if image.numbers:
        return {f"{features.TARGET_PREFIX}{key}": value for key, value in image.numbers.items()}
    return {features.LABEL_KEY: image.labels}


def _quarantined(record: _Record, reason: str, path: str) -> bytes:
    return tfrecord.encode_example(
        {
            features.REASON_KEY: reason.encode(),
            features.SOURCE_KEY: path.encode(),
            features.POSITION_KEY: record.number,
            features.RECORD_KEY: record.data,
        }
    )


def _check(report: InspectionReport, data: IngestionSettings) -> None:
    bad = sum(report.quarantined.values()) + report.lost
    total = sum(split.images for split in report.splits.values()) + bad
    if bad > total * data.max_corrupt_fraction:
        reasons = [f"{count:,} {reason}" for reason, count in report.quarantined.items()]
        reasons += [f"about {report.lost:,} lost in broken files"] if report.lost else []
        first = report.first_quarantined + report.first_broken_files
        raise DarkroomError(
            f"{bad:,} of {total:,} images can't be used ({', '.join(reasons)}), more than "
            f"data.max_corrupt_fraction allows ({data.max_corrupt_fraction:.2%}). Mend or remove "
            f"them, or raise that share. The first are: {'; '.join(first)}."
        )
    leaked = sum(split.in_two_splits for split in report.splits.values())
    if leaked and data.leaks == "fail":
        raise DarkroomError(
            f"{leaked:,} images of one split are in another split too, and data.leaks is fail. "
            "Remove them, or set data.leaks to drop. The first are: "
            f"{'; '.join(report.first_in_two_splits)}."
        )
    _check_near(report, data)
    for name, split in report.splits.items():
        why = f"{sum(split.quarantined.values()):,} can't be used"
        if data.leaks == "drop":
            why += f", {split.in_two_splits:,} are in another split too"
        if not split.images:
            raise DarkroomError(
                f"The {name} split has no image left: of those in its files {why}. Check "
                f"data.splits.{name}, mend the images, or set data.leaks to report."
            )
        if split.emptied and data.target == "class" and not data.multi_label:
            classes = ", ".join(f"{label!r} ({n:,})" for label, n in split.emptied.items())
            raise DarkroomError(
                f"The {name} split has no image left of {classes}: of its images {why}. Mend or "
                "add images of that class, or take it out of all splits."
            )


def _check_near(report: InspectionReport, data: IngestionSettings) -> None:
    near = sum(split.near_in_two_splits or 0 for split in report.splits.values())
    share = near / max(1, sum(split.images for split in report.splits.values()))
    why = ""
    if near and data.leaks == "fail":
        why = ", and data.leaks is fail"
    elif data.max_near_duplicates is not None and share > data.max_near_duplicates:
        why = f", more than data.max_near_duplicates allows ({data.max_near_duplicates:.2%})"
    if why:
        raise DarkroomError(
            f"{near:,} images ({share:.2%}) show nearly the same as one of another split{why}. "
            "darkroom review shows them side by side, to decide about. The first are: "
            f"{'; '.join(report.first_near_in_two_splits)}."
        )


def _files(pattern: str) -> list[tuple[str, int, float, float]]:
    """Files with their sizes in bytes, and shares of all bytes up to their begin and end."""
    [match] = FileSystems.match([pattern])
    files = sorted((file.path, file.size_in_bytes) for file in match.metadata_list)
    ends = np.cumsum([size for _, size in files], dtype=float)
    ends /= max(ends[-1], 1) if len(ends) else 1
    begins = [0.0, *ends[:-1]]
    return [
        (path, int(size), float(begin), float(end))
        for (path, size), begin, end in zip(files, begins, ends, strict=True)
    ]


class _TFRecordSink(filebasedsink.FileBasedSink):
    """Writes framed records, many in an element; WriteToTFRecord's sink writes empty files, too."""

    def write_encoded_record(self, file_handle: IO[bytes], encoded_value: bytes) -> None:
        file_handle.write(encoded_value)


def _write(records: beam.PCollection, name: str, folder: str, skip_if_empty: bool = False) -> None:
    prefix = os.path.join(folder, "data_tfrecord")
    # Not compressed, as images are already: gzip would cost seconds here and in every reader.
    sink = _TFRecordSink(prefix, beam.coders.BytesCoder(), skip_if_empty=skip_if_empty)
    _ = records | name >> beam.io.Write(sink)


def _union(arrays: Iterable[np.ndarray]) -> np.ndarray:
    union: np.ndarray = np.unique(np.concatenate([np.empty(0, np.int64), *arrays]))
    return union


def _contains(values: np.ndarray, value: int) -> bool:
    index = int(np.searchsorted(values, value))
    return index < len(values) and int(values[index]) == value


def _text(number: float) -> bytes:
    return f"{number:.9g}".encode()


def _name(path: str, number: int, filename: bytes) -> str:
    own = f" ({filename.decode('utf-8', 'replace')})" if filename else ""
    return f"{os.path.basename(path)}, record {number}{own}"


def _proto(text: str, empty: message.Message) -> message.Message:
    proto_utils.json_to_proto(text, empty)
    return empty


def _unpack(custom_config: str) -> IngestionSettings:
    packed = _proto(custom_config, example_gen_pb2.CustomConfig())
    value = wrappers_pb2.StringValue()
    packed.custom_config.Unpack(value)
    return IngestionSettings.unpack(value.value)


class ImportExampleGen(FileBasedExampleGen):
    """TFX's component with the executor above; quarantine and report are beside the splits."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, input_base: str, files: Splits, settings: Settings):
        """Reads the TFRecord ``files`` below ``input_base``, which make the splits."""
        patterns = files.patterns
        output = example_gen_pb2.Output()
        if "eval" not in patterns:
            held_out = round(files.eval_share * _HASH_BUCKETS)
            output.split_config.splits.add(name="train", hash_buckets=_HASH_BUCKETS - held_out)
            output.split_config.splits.add(name="eval", hash_buckets=held_out)
        custom = example_gen_pb2.CustomConfig()
        custom.custom_config.Pack(wrappers_pb2.StringValue(value=settings.model_dump_json()))
        splits = [
            example_gen_pb2.Input.Split(name=name, pattern=pattern)
            for name, pattern in patterns.items()
        ]
        super().__init__(
            input_base=input_base,
            input_config=example_gen_pb2.Input(splits=splits),
            output_config=output,
            custom_config=custom,
        )
