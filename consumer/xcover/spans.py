"""What of a trace goes with a request, and who records a span of it.

Without spans the trace goes on as it came: whoever answers is the child of whoever wrote the record. With spans it is
the child of our span. A trace that is not sampled goes on as it came either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..calls import CallTrace
from ..errors import SettingsError
from ..events import TraceContext
from ..hiding import hide
from ..settings import ApiSettings, TraceSettings
from ..settings.model import both_names


class CallSpan(Protocol):
    """One request, from before it is sent. What is not ended is not recorded.

    Attributes:
        headers: that carry the trace on.
        error: the class of what kept the answer from coming.
    """

    headers: Mapping[str, str]
    error: str | None

    def end(self, status_code: int | None) -> None:
        """It was answered with this status; None: it was not answered."""


class SpanRecorder(Protocol):
    """Records spans, and waits for nothing but at its end."""

    def begin(self, trace: CallTrace) -> CallSpan | None:
        """A span of the call's next request; None where the trace is not sampled."""

    def close(self) -> None:
        """Send what is left, as far as a stop has time for it."""


def headers_of(context: TraceContext) -> dict[str, str]:
    """The headers that carry a trace on. They have passed `trace_of`, so that nothing in them ends a header."""
    if context.tracestate:
        return {"traceparent": context.traceparent, "tracestate": context.tracestate}
    return {"traceparent": context.traceparent}


def spans_of(trace: TraceSettings, api: ApiSettings, shutdown_timeout: float) -> SpanRecorder | None:
    """Who records spans by these settings; None: nobody does, and nothing of OpenTelemetry is imported.

    Args:
        shutdown_timeout: seconds that a stop has.

    Raises:
        SettingsError: the libraries are not installed, or do not take what their own variables say.
    """
    if not (trace.enabled and trace.otlp_endpoint):
        return None
    begin = f"{both_names('trace.otlp_endpoint')} asks for spans"
    try:
        from .otlp import OtlpSpans  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise SettingsError(
            f"{begin}, and what sends them is not installed ({error}): pip install 'offer-opt-out[otel]'"
        ) from None
    try:
        return OtlpSpans(trace.otlp_endpoint, api, shutdown_timeout)
    except Exception as error:
        # Of a variable OTEL_... that cannot be read; what it raises is not told.
        raise SettingsError(hide(f"{begin}, and OpenTelemetry does not start: {error}; see OTEL_...")) from error
