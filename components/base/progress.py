"""What a long node reports while it works: log records with their fields. Light to import."""

import logging

LOGGER = logging.getLogger("darkroom.progress")


def report(node: str, text: str, fraction: float | None = None) -> None:
    """Says how far a node is, such as ``epoch 3/10``; ``fraction``: from 0 to 1, where known."""
    LOGGER.info("%s: %s", node, text, extra={"progress": (node, text, fraction)})


def trials(node: str, headline: str, table: object) -> None:
    """Says how far a search is: a line for a log, ``tuning.trial_table`` for a display."""
    LOGGER.info("%s: %s", node, headline, extra={"trials": table})


def warn(node: str, text: str) -> None:
    """Says in a sentence what a person will want to know before the node is done."""
    LOGGER.warning("%s: %s", node, text)
