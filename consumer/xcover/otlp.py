"""Spans of the requests to the API, sent to an OTLP receiver by OpenTelemetry's SDK: the extra `otel`.

A request waits for nothing here: its span goes into a queue, from which a thread of the SDK's takes batches. Where the
receiver is slow or gone the queue drops its oldest spans; calls and stops go on as if there were none. A span holds no
id of an offer, a partner or a session: its URL is the one of the settings, with the places of the ids in braces.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote, urlsplit

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    format_span_id,
    set_span_in_context,
)

from .. import __version__
from ..calls import CallTrace
from ..events import TraceContext
from ..hiding import IN_USE
from ..settings import ApiSettings
from .spans import CallSpan, headers_of

log = structlog.get_logger(__name__)

QUEUE = 2_048
"""Spans that wait to be sent at the most: a few MB."""

BATCH = 512
"""Spans of a request to the receiver at the most; with so many none waits for `EVERY_MS`."""

EVERY_MS = 5_000
"""So often (ms) what waits is sent."""

CLOSE_S = 1.0
"""Seconds that a stop waits for what is left to be sent."""

CLOSE_PART = 0.05
"""The part of `delivery.shutdown_timeout` that this takes at the most: calls in flight have four fifths of it, and the
last commit comes before this."""

QUIET_S = 600.0
"""Seconds between two warnings: a receiver that comes and goes is one finding, not one a batch."""

_PATH = "/v1/traces"
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_SECRET_FROM = 8
"""Characters: a value of such a header that is shorter is no secret, and would be hidden in every text."""


class OtlpSpans:
    """See `SpanRecorder`. Its own connection, proxy and certificates are as OpenTelemetry's variables say, OTEL_...

    Args:
        endpoint: base URL of the receiver.
        api: what the calls go to.
        shutdown_timeout: seconds that a stop has.

    Raises:
        Exception: a variable of OpenTelemetry's cannot be read.
    """

    def __init__(self, endpoint: str, api: ApiSettings, shutdown_timeout: float) -> None:
        IN_USE.learn(_secret_headers())
        self._close_within = min(CLOSE_S, CLOSE_PART * shutdown_timeout)
        self._exporter = WatchedExporter(
            OTLPSpanExporter(endpoint=endpoint if endpoint.endswith(_PATH) else endpoint + _PATH), endpoint
        )
        # Whether a trace is sampled was decided where it began, and is looked at before a span is made.
        provider = TracerProvider(sampler=ALWAYS_ON, resource=_resource(), shutdown_on_exit=False)
        self._processor = BatchSpanProcessor(
            self._exporter, max_queue_size=QUEUE, schedule_delay_millis=EVERY_MS, max_export_batch_size=BATCH
        )
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("offer-opt-out", __version__)
        self._name = f"POST {api.path}"
        url = urlsplit(api.base_url)
        self._attributes: dict[str, str | int] = {
            "http.request.method": "POST",
            "server.address": url.hostname or "",
            "server.port": url.port or (443 if url.scheme == "https" else 80),
            "url.scheme": url.scheme,
            "url.template": api.path,
            "url.full": api.base_url.rstrip("/") + "/" + api.path.lstrip("/"),
        }

    def begin(self, trace: CallTrace) -> CallSpan | None:
        """See `SpanRecorder`."""
        context = trace.context
        if not context.is_sampled:
            return None
        parent = SpanContext(
            int(context.trace_id, 16),
            int(context.parent_id, 16),
            is_remote=True,
            trace_flags=TraceFlags(int(context.traceparent[53:], 16)),
            trace_state=TraceState.from_header([context.tracestate]) if context.tracestate else None,
        )
        resent = {"http.request.resend_count": trace.sent} if trace.sent else {}
        span = self._tracer.start_span(
            self._name,
            context=set_span_in_context(NonRecordingSpan(parent)),
            kind=SpanKind.CLIENT,
            attributes={**self._attributes, **resent},
        )
        return OtlpSpan(span, context, self._exporter)

    def close(self) -> None:
        """See `SpanRecorder`."""
        # On a thread that nobody waits for in the end: the SDK waits for as long as the receiver hangs.
        closing = threading.Thread(target=self._processor.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(self._close_within)
        if lost := self._exporter.lost_at_the_end():
            log.info("spans were lost: they could not be exported", lost=lost)


class OtlpSpan:
    """See `CallSpan`."""

    def __init__(self, span: Span, context: TraceContext, exporter: WatchedExporter) -> None:
        self.error: str | None = None
        self._span, self._exporter = span, exporter
        ids = span.get_span_context()
        child = f"00-{context.trace_id}-{format_span_id(ids.span_id)}-{ids.trace_flags:02x}"
        self.headers: Mapping[str, str] = headers_of(TraceContext(child, context.tracestate))

    def end(self, status_code: int | None) -> None:
        """See `CallSpan`."""
        span, error = self._span, self.error
        if status_code is not None:
            span.set_attribute("http.response.status_code", status_code)
            if status_code >= 400:
                error = str(status_code)
        elif error is None:
            error = "no answer"
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR))
        self._exporter.ended += span.is_recording()  # none is with OTEL_SDK_DISABLED
        span.end()


class WatchedExporter(SpanExporter):
    """Sends by another exporter, and tells our log in one line that it cannot, and in another that it can again.

    Attributes:
        ended: spans that were handed to the queue. Counted by the delivery's loop, and read by the SDK's thread.
    """

    def __init__(self, exporter: SpanExporter, endpoint: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.ended = 0
        self._exporter, self._endpoint, self._monotonic = exporter, endpoint, monotonic
        self._words = _hear_the_sdk()
        self._taken = self._exported = 0
        self._lost_before = 0
        self._warned = False
        self._quiet_until = float("-inf")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        self._taken += len(spans)
        # A queue that was full has just given a batch away. What it lacks beside that, it has dropped.
        dropped = max(0, self.ended - self._taken - (QUEUE - BATCH))
        self._taken += dropped
        self._words.clear()
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # whatever it is, the SDK's thread goes on
            self._words.append(repr(error))
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._exported += len(spans)
        if result is not SpanExportResult.SUCCESS or dropped:
            self._failed(" ".join(dict.fromkeys([*self._words[:1], *self._words[-1:]])) or "calls are faster than it")
        else:
            self._succeeded()
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()

    def lost_at_the_end(self) -> int:
        """How many spans were not exported, those of which a warning told not counted."""
        return self.ended - self._exported - self._lost_before

    def _failed(self, why: str) -> None:
        now = self._monotonic()
        if self._warned or now < self._quiet_until:
            return
        self._warned = True
        self._quiet_until = now + QUIET_S
        log.warning(
            "spans are lost: they cannot be exported, and calls go on without; check trace.otlp_endpoint",
            endpoint=self._endpoint,
            why=why[:300],
        )

    def _succeeded(self) -> None:
        if self._warned:
            self._warned = False
            lost = self._taken - self._exported
            log.info("spans are exported again", lost=lost - self._lost_before)
            self._lost_before = lost


class _LastWords(logging.Handler):
    """Keeps what the SDK would log, to be told by us: it logs each batch that fails, for as long as that lasts."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message; of many the first ones, and the last."""
        if len(self.words) >= 8:
            self.words.pop()
        self.words.append(record.getMessage())


_LAST_WORDS = _LastWords()


def _hear_the_sdk() -> list[str]:
    """From now on what the SDK logs goes here, and nowhere else."""
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    if _LAST_WORDS not in logger.handlers:
        logger.addHandler(_LAST_WORDS)
    return _LAST_WORDS.words


def _resource() -> Resource:
    """Who we are; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say so too, and win."""
    ours = Resource.create({"service.name": "offer-opt-out", "service.version": __version__})
    return ours.merge(OTELResourceDetector().detect())


def _secret_headers() -> list[str]:
    """The values of the headers that the receiver is to get, such as tokens: as they are given, and decoded."""
    given = [part.partition("=")[2].strip() for name in _HEADERS for part in os.environ.get(name, "").split(",")]
    return [form for value in given if len(value) >= _SECRET_FROM for form in (value, unquote(value))]
