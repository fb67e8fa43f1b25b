"""What is private of other libraries: each use fails here first where an upgrade changes it."""

import argparse

import pytest


def test_beams_parser_knows_its_options() -> None:
    from darkroom.components.compat import beam

    names = beam.option_names()
    assert {"runner", "worker_machine_type", "no_use_public_ips"} <= set(names), (
        "Beam's private parser no longer names its options: mend components/compat/beam.py"
    )
    with pytest.raises(argparse.ArgumentError, match="disk_size_gb: invalid int value"):
        beam.parse(["--disk_size_gb=big"])
