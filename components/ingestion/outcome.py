"""What ImportExampleGen left behind. Light to import."""

import json
from typing import Any

from darkroom.components.base import remote, results
from darkroom.components.base.status import Outputs, Status


def inspection(examples: Any) -> dict[str, Any]:
    """What ImportExampleGen counted and set aside."""
    path = remote.file(examples.uri, results.INSPECTION_FILE)
    counted: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return counted


def read(status: Status, outputs: Outputs) -> str:
    """Adds it to ``status``; returns what matters most, in words."""
    status.inspection = inspection(outputs["examples"])
    splits = status.inspection["splits"]
    words = ", ".join(f"{split} {found['images']:,}" for split, found in splits.items()) + " images"
    bad = sum(sum(found["quarantined"].values()) for found in splits.values())
    if bad:
        status.quarantine = f"{outputs['examples'].uri}/{results.QUARANTINE_FOLDER}"
        words += f", {bad:,} in quarantine"
    return words
