"""Which files ImportExampleGen reads: the newest span of its patterns.

TFX's driver of ExampleGen finds it out where it runs. The open-source back end of Kubeflow
Pipelines leaves drivers out.
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
    """Looks for the newest span, which all splits must have.

    Args:
      folder: that the patterns are relative to.
      input_config: TFX's Input as JSON.

    Raises:
      ValueError: there is none, or splits have different ones.
    """
    config = example_gen_pb2.Input()
    proto_utils.json_to_proto(input_config, config)
    processor = input_processor.FileBasedInputProcessor(folder, config.splits, None)
    span, version = processor.resolve_span_and_version()
    patterns = {
        split.name: processor.get_pattern_for_span_version(split.pattern, span, version)
        for split in config.splits
    }
    return InputFiles(patterns, span, str(processor.get_input_fingerprint(span, version)))
