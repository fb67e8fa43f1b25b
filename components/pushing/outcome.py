"""What ServingValidator and Pusher left behind. Light to import."""

import json
import os
from typing import Any

from darkroom.components.base import results
from darkroom.components.base.status import Outputs, Status, text
from darkroom.components.pushing import versions as pushed_models
from darkroom.serving.pushed_files import RolloutError


def validation(infra_blessing: Any) -> dict[str, Any]:
    """What ServingValidator found: ``reasons`` against serving it, and any measurements."""
    found: dict[str, Any] = json.loads(text(infra_blessing, results.VERDICT_PROPERTY))
    return found


def pushed(pushed_model: Any) -> str | None:
    """Folder or URI of the version that Pusher made; None where it pushed nothing."""
    if pushed_model.custom_properties["pushed"].int_value != 1:
        return None
    return text(pushed_model, "pushed_destination")


def read_validation(status: Status, outputs: Outputs) -> str:
    """Adds it to ``status``; returns what matters most, in words."""
    found = validation(outputs["blessing"])
    status.serving_reasons = found["reasons"]
    if found["reasons"]:
        return f"not blessed: {found['reasons'][0]}"
    latency = found["latency"]
    times = ", ".join(f"{name} {latency[name]['p99_ms']:.1f}" for name in ("rest", "grpc"))
    return f"blessed, p99 in ms: {times}; {found['memory_mib']:.0f} MiB"


def read_pushed(status: Status, outputs: Outputs) -> str:
    """Adds it to ``status``; returns what matters most, in words."""
    folder = pushed(outputs["pushed_model"])
    if folder is None:
        return "not pushed"
    base, version = os.path.split(folder)
    there = pushed_models.versions(base)
    if version not in there:
        return f"version {version}, removed since"
    status.pushed_version = version
    try:
        current = pushed_models.current(base)
    except RolloutError as error:
        status.pushed_as = str(error)
        return f"version {version}; {error}"
    if current is not None:
        status.pushed_as = current.describe(int(version))
    elif version != there[0]:
        status.pushed_as = f"not the newest; that is version {there[0]}"
    return f"version {version}" + f", {status.pushed_as}" * bool(status.pushed_as)
