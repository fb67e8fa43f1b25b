"""Which files ImportExampleGen reads: the newest span of its patterns.

TFX's driver finds it out, which the open-source back end of Kubeflow Pipelines leaves out.
"""

from typing import NamedTuple

from tfx.components.example_gen import input_processor
from tfx.proto import example_gen_pb2
from tfx.utils import proto_utils


class InputFiles(NamedTuple):
    """The files of one span, and how they are told from others."""

    patterns: dict[str, str]  # by split, relative to the folder, of one span and version
    span: int  # 0 where the patterns have none
    fingerprint: str  # of number, sizes and times: a line for each split, as TFX writes it


def resolve(folder: str, input_config: str) -> InputFiles:
    """The newest span of TFX's Input (JSON); raises a ValueError unless all splits have it."""
    config = example_gen_pb2.Input()
    proto_utils.json_to_proto(input_config, config)
    processor = input_processor.FileBasedInputProcessor(folder, config.splits, None)
    span, version = processor.resolve_span_and_version()
    patterns = {
        split.name: processor.get_pattern_for_span_version(split.pattern, span, version)
        for split in config.splits
    }
    return InputFiles(patterns, span, str(processor.get_input_fingerprint(span, version)))
