"""What ServingValidator and Pusher left behind. Light to import."""

import os
from typing import TYPE_CHECKING

from darkroom.components.base.status import Outputs, Status, text
from darkroom.components.pushing import version_folder
from darkroom.components.pushing.artifacts import ServingValidation
from darkroom.serving.pushed_files import RolloutError

if TYPE_CHECKING:
    from ml_metadata.proto.metadata_store_pb2 import Artifact


def pushed(pushed_model: "Artifact") -> str | None:
    """Folder or URI of the version that Pusher made; None where it pushed nothing."""
    if pushed_model.custom_properties["pushed"].int_value != 1:
        return None
    return text(pushed_model, "pushed_destination")


def read_validation(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    validation = ServingValidation.read(outputs["blessing"])
    status.serving_reasons = validation.reasons
    if validation.reasons or validation.measured is None:
        return f"not blessed: {validation.reasons[0]}"
    latency = validation.measured.latency
    times = ", ".join(f"{name} {latency[name].p99_ms:.1f}" for name in ("rest", "grpc"))
    return f"blessed, p99 in ms: {times}; {validation.measured.memory_mib:.0f} MiB"


def read_pushed(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    folder = pushed(outputs["pushed_model"])
    if folder is None:
        return "not pushed"
    base, version = os.path.split(folder)
    versions = version_folder.at(base).versions()
    if version not in versions:
        return f"version {version}, removed since"
    status.pushed_version = version
    try:
        current = version_folder.at(base).current()
    except RolloutError as error:
        status.pushed_as = str(error)
        return f"version {version}; {error}"
    if current is not None:
        status.pushed_as = current.describe(int(version))
    elif version != versions[0]:
        status.pushed_as = f"not the newest; that is version {versions[0]}"
    return f"version {version}" + f", {status.pushed_as}" * bool(status.pushed_as)
