"""What processes log: lines for people, or JSON for what collects them. Light to import."""

import logging
import os
from typing import IO

from darkroom.serving import telemetry
from darkroom.serving.errors import invalid

VARIABLE = "DARKROOM_LOG_FORMAT"  # of the environment, so that all processes of a run have it
_FORMATS = ("text", "json")


def begin(
    stream: IO[str],
    text: str = "%(asctime)s %(levelname)s %(message)s",
    one_line: bool = False,
) -> None:
    """Has this process log to a stream, from INFO on; ``text`` is the form of lines for people.

    ``one_line``: a message is a line, whatever others' words in it.

    JSON has timestamp (ISO 8601, UTC), level, logger, message, of an error exc_info, and within a
    span trace_id and span_id. Raises a ServingError where the variable has another value.
    """
    form = os.environ.get(VARIABLE) or "text"
    if form not in _FORMATS:
        raise invalid(f"{VARIABLE}: expected {' or '.join(_FORMATS)}, found {form!r}.")
    handler = logging.StreamHandler(stream)
    kind = _OneLine if one_line else logging.Formatter
    handler.setFormatter(_json() if form == "json" else kind(text))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _OneLine(logging.Formatter):
    """Else a client could write lines of its own; a traceback comes after the message."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line = super().formatMessage(record)
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _json() -> logging.Formatter:
    try:
        from pythonjsonlogger.json import JsonFormatter
    except ImportError as error:
        raise invalid(
            f"{VARIABLE}: json needs python-json-logger: pip install python-json-logger."
        ) from error

    class Formatter(JsonFormatter):
        def process_log_record(self, log_record: dict[str, object]) -> dict[str, object]:
            return {**log_record, **telemetry.ids()}

    formatter: logging.Formatter = Formatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp=True,
    )
    return formatter
