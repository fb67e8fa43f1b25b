"""What LastStatistics and Baseline found, and where the report is. Light to import."""

from darkroom.components.base import remote, results
from darkroom.components.base.status import Outputs, Status


def read_last_statistics(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    return "of an earlier run" if _found(outputs, "statistics") else "none"


def read_baseline(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    return "has a baseline" if _found(outputs, "model") else "no baseline"


def read_report(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    page = f"{outputs['report'].uri}/{results.REPORT_PAGE}"
    if not remote.exists(page):
        return f"{results.REPORT_PAGE}, removed since"
    status.report = page
    return results.REPORT_PAGE


def _found(outputs: Outputs, key: str) -> bool:
    if key not in outputs:
        return False
    properties = outputs[key].custom_properties
    return results.FOUND_PROPERTY not in properties or bool(
        properties[results.FOUND_PROPERTY].int_value
    )
