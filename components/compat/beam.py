"""What is private of Apache Beam."""

import argparse
import functools

from apache_beam.options import pipeline_options


@functools.cache
def _parser() -> argparse.ArgumentParser:
    """Beam's parser of all its options.

    Public are only ``PipelineOptions``, which drop an option that nobody knows with a warning, and
    end the process where one has a wrong value.
    """
    parser: argparse.ArgumentParser = pipeline_options._BeamArgumentParser(
        add_help=False, exit_on_error=False
    )
    # A module that was imported twice has its sections there twice.
    for section in {str(c): c for c in pipeline_options.PipelineOptions.__subclasses__()}.values():
        section._add_argparse_args(parser)
    return parser


def option_names() -> list[str]:
    """The names of all options, as in ``worker_machine_type`` and ``no_use_public_ips``."""
    return [flag.removeprefix("--") for flag in _parser()._option_string_actions]


def parse(flags: list[str]) -> None:
    """Checks the values of options.

    Raises:
      argparse.ArgumentError: Beam takes no such value.
    """
    _parser().parse_known_args(flags)
