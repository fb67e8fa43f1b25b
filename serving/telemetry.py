"""Spans of requests and of runs, sent to the collector that OpenTelemetry's variables name.

Light to import; without such a variable nothing of OpenTelemetry is imported.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from darkroom.serving import imports
from darkroom.serving.errors import invalid

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

Attributes = Mapping[str, str | int | None]  # None: left out
_Headers = Callable[[], Iterable[tuple[str | bytes, str | bytes]]]

LOGGER = __name__  # which warns of what could not be sent
_log = logging.getLogger(LOGGER)

# The more special variable first, as OpenTelemetry has it.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER = "OTEL_TRACES_EXPORTER"
_PROTOCOL = "http/protobuf"
# Those of the library that repeat what one warning of ours says.
_LOUD = ("opentelemetry.exporter", "opentelemetry.sdk.trace.export", "opentelemetry.sdk._shared")
_END_SECONDS = 5  # that the last spans may take to be sent

_provider: "TracerProvider | None" = None  # of this process, as OpenTelemetry's own is
_is_sending = False


def begin(service: str) -> None:
    """Makes spans from now on, where OpenTelemetry's variables say so; ``send`` sends them.

    They are those of ``service``, unless a variable names another. Raises a ServingError where
    OpenTelemetry isn't installed, or is to send in a way that it isn't installed for.
    """
    global _provider
    exporter = os.environ.get(_EXPORTER, "").strip()
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    variables = [name for name in (_EXPORTER, *_ENDPOINTS) if os.environ.get(name)]
    if is_disabled or exporter == "none" or not variables:
        return
    _require(_EXPORTER, exporter, "otlp")
    for name in _PROTOCOLS:
        _require(name, os.environ.get(name, "").strip(), _PROTOCOL)
    try:
        with imports.without_collections():
            # All that a request needs: the first one is not to wait for imports.
            from opentelemetry import propagate  # noqa: F401
            from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: F401
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource
            from opentelemetry.sdk.trace import TracerProvider
    except ImportError as error:
        raise invalid(
            f"{variables[0]} is set, and OpenTelemetry isn't installed: "
            "pip install 'darkroom-tfx[opentelemetry]', or OTEL_SDK_DISABLED=true."
        ) from error
    resource = Resource.create({"service.name": service}).merge(OTELResourceDetector().detect())
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)


def _require(name: str, value: str, expected: str) -> None:
    if value not in ("", expected):
        raise invalid(f"{name}: expected {expected}, found {value!r}.")


def send() -> None:
    """Sends spans that end from now on, by a thread: to be called after the last fork."""
    global _is_sending
    if _provider is not None and not _is_sending:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        _provider.add_span_processor(BatchSpanProcessor(_exporter()))
        _is_sending = True


def end() -> None:
    """Sends what is left, or leaves it where that takes longer than some seconds."""
    global _provider, _is_sending
    if (provider := _provider) is None:
        return
    _provider, _is_sending = None, False
    sending = threading.Thread(target=provider.shutdown, daemon=True)
    sending.start()
    sending.join(_END_SECONDS)
    if sending.is_alive():
        _log.warning("OpenTelemetry: the last spans could not be sent in %d s.", _END_SECONDS)


@contextlib.contextmanager
def span(name: str, attributes: Attributes, caller: _Headers | None = None) -> Iterator[None]:
    """A span for what is done inside: a child of the current one.

    With the headers of a ``caller`` it is a request's, and a child of the caller's span.
    """
    if _provider is None:
        yield
        return
    from opentelemetry import propagate
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind

    kind, parent = SpanKind.INTERNAL, None
    if caller is not None:
        carrier = {_text(key).lower(): _text(value) for key, value in caller()}
        kind, parent = SpanKind.SERVER, propagate.extract(carrier, Context())
    tracer = _provider.get_tracer("darkroom")
    with tracer.start_as_current_span(
        name,
        parent,
        kind,
        _given(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ):
        yield


def note(attributes: Attributes, name: str = "") -> None:
    """Adds attributes to the current span, and gives it a name."""
    if _provider is not None:
        from opentelemetry import trace

        current = trace.get_current_span()
        current.set_attributes(_given(attributes))
        if name:
            current.update_name(name)


def fail(sentence: str) -> None:
    """Marks the current span as failed."""
    if _provider is not None:
        from opentelemetry import trace

        trace.get_current_span().set_status(trace.StatusCode.ERROR, sentence)


def ids() -> dict[str, str]:
    """``trace_id`` and ``span_id`` of the current span, as logs have them; empty without one."""
    if _provider is None:
        return {}
    from opentelemetry import trace

    current = trace.get_current_span().get_span_context()
    if not current.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(current.trace_id),
        "span_id": trace.format_span_id(current.span_id),
    }


def _given(attributes: Attributes) -> dict[str, str | int]:
    return {key: value for key, value in attributes.items() if value is not None}


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class _LastWords(logging.Handler):
    words = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.words = record.getMessage()


def _exporter() -> "SpanExporter":
    """OTLP's; of a collector that doesn't take spans it warns once, until that takes some."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    said = _LastWords()
    for name in _LOUD:
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(said)

    class Exporter(OTLPSpanExporter):
        is_lost = False

        def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
            try:
                result = super().export(spans)
            except Exception as error:  # the library's older versions raise what requests does
                result, said.words = SpanExportResult.FAILURE, str(error)
            was_lost, self.is_lost = self.is_lost, result is not SpanExportResult.SUCCESS
            if self.is_lost and not was_lost:
                _log.warning("OpenTelemetry: spans are lost. %s", said.words)
            return result

    return Exporter()
