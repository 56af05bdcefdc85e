"""Spans at a real receiver; the calls go to a real server as well, through the transport that ships."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from structlog.testing import capture_logs
from support.otlp_receiver import OtlpReceiver, values
from support.owner import always
from support.traced_calls import PARENT_ID, SAMPLED, TRACE_ID, UNSAMPLED, WireApi, traced_call

from consumer import __version__
from consumer.calls import OptOutCall
from consumer.hiding import hide
from consumer.settings import ApiSettings, TraceSettings
from consumer.xcover import otlp
from consumer.xcover.api import OptOutApi, connect
from consumer.xcover.otlp import BATCH, QUEUE, QUIET_S, OtlpSpans, WatchedExporter
from consumer.xcover.spans import spans_of


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver().serving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def no_thread_outlives_its_test() -> Iterator[None]:
    """The SDK's threads may go on for a while after a stop, and draw random numbers for their back-off: in the midst of
    somebody else's test."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive(), f"{thread.name} still runs"


def spans_to(endpoint: str, api: ApiSettings, shutdown_timeout: float = 25.0) -> OtlpSpans:
    spans = spans_of(TraceSettings(enabled=True, otlp_endpoint=endpoint), api, shutdown_timeout)
    assert isinstance(spans, OtlpSpans)
    return spans


def calls_to(
    receiver: OtlpReceiver, call: OptOutCall, *statuses: int, shutdown_timeout: float = 25.0
) -> tuple[WireApi, float]:
    """Make a call as often as there are statuses, then stop. Returns the API, and the seconds that the stop took."""

    async def main() -> WireApi:
        nonlocal spans
        async with WireApi(*statuses) as api:
            settings = ApiSettings(base_url=api.base_url, auth="none")
            spans = spans_to(receiver.endpoint, settings, shutdown_timeout)
            connection = connect(settings, 2, spans=spans)
            for _ in statuses:
                await connection(call, always)
            await connection.aclose()
            return api

    spans: OtlpSpans | None = None
    api = asyncio.run(main())
    assert spans is not None
    begun = time.monotonic()
    spans.close()
    return api, time.monotonic() - begun


def test_a_span_a_request_with_the_record_as_its_parent_and_the_call_as_its_child(receiver: OtlpReceiver) -> None:
    api, _ = calls_to(receiver, traced_call(tracestate="a=1"), 503, 404, 204)
    spans = sorted(receiver.spans, key=lambda span: span.start_time_unix_nano)
    assert [span.trace_id.hex() for span in spans] == [TRACE_ID] * 3
    assert [span.parent_span_id.hex() for span in spans] == [PARENT_ID] * 3
    assert [value for (value,) in api.headers("traceparent")] == [
        f"00-{TRACE_ID}-{span.span_id.hex()}-01" for span in spans
    ]
    assert api.headers("tracestate") == [["a=1"]] * 3
    assert len({span.span_id for span in spans}) == 3
    assert {(span.kind, span.name, span.trace_state) for span in spans} == {
        (Span.SPAN_KIND_CLIENT, "POST /partners/{partner_code}/offers/{offer_id}/opt_out/", "a=1")
    }
    assert all(span.end_time_unix_nano > span.start_time_unix_nano for span in spans)
    told = [values(span) for span in spans]
    assert told[0] == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": api.port,
        "url.scheme": "http",
        "url.template": "/partners/{partner_code}/offers/{offer_id}/opt_out/",
        "url.full": f"{api.base_url}/partners/{{partner_code}}/offers/{{offer_id}}/opt_out/",
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert [one.get("http.request.resend_count") for one in told] == [None, 1, 2]
    assert [one.get("error.type") for one in told] == ["503", "404", None]
    codes = [span.status.code for span in spans]
    assert codes == [Status.STATUS_CODE_ERROR, Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET]
    assert {(one["service.name"], one["service.version"]) for one in receiver.resources} == {
        ("offer-opt-out", __version__)
    }
    assert set(receiver.paths) == {"/v1/traces"}


def test_no_id_of_anybody_is_in_a_span(receiver: OtlpReceiver) -> None:
    calls_to(receiver, traced_call(offer_id="o-77"), 422, 204)
    assert len(receiver.spans) == 2
    for span in receiver.spans:
        assert not [word for word in (b"o-77", b"P-1", b"s-55") if word in span.SerializeToString()]


def test_what_is_not_answered_is_an_error_of_its_kind(receiver: OtlpReceiver) -> None:
    calls_to(receiver, traced_call(), 0)
    (span,) = receiver.spans
    assert values(span)["error.type"] in {"ReadError", "RemoteProtocolError"}
    assert "http.response.status_code" not in values(span)
    assert span.status.code == Status.STATUS_CODE_ERROR


def test_a_call_that_is_cancelled_in_flight_ends_its_span(receiver: OtlpReceiver) -> None:
    async def main() -> OtlpSpans:
        reached = asyncio.Event()

        class Silent(WireApi):
            async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                reached.set()
                await asyncio.Event().wait()

        async with Silent() as api:
            settings = ApiSettings(base_url=api.base_url, auth="none")
            spans = spans_to(receiver.endpoint, settings)
            connection: OptOutApi = connect(settings, 2, spans=spans)
            task = asyncio.create_task(connection(traced_call(), always))
            await reached.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await connection.aclose()
        return spans

    asyncio.run(main()).close()
    (span,) = receiver.spans
    assert values(span)["error.type"] == "no answer"


def test_what_is_not_sampled_goes_on_as_it_came_and_is_told_nobody(receiver: OtlpReceiver) -> None:
    api, _ = calls_to(receiver, traced_call(UNSAMPLED), 204)
    assert api.headers("traceparent") == [[UNSAMPLED]]
    assert receiver.spans == []


def test_the_variables_of_opentelemetry_say_who_we_are_and_what_the_receiver_wants(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "opt-out-staging")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Api-Token%20dt0c01.very-secret,tenant=1")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    calls_to(receiver, traced_call(), 204)
    (resource,) = receiver.resources
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("opt-out-staging", "staging")
    assert receiver.tokens == ["Api-Token dt0c01.very-secret"]
    assert hide("it got Api-Token dt0c01.very-secret of tenant 1") == "it got *** of tenant 1"


def test_a_disabled_sdk_lets_the_trace_go_on_and_loses_nothing(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with capture_logs() as lines:
        api, _ = calls_to(receiver, traced_call(), 204)
    assert api.headers("traceparent") == [[SAMPLED]]
    assert (receiver.spans, lines) == ([], [])


def test_a_path_of_the_receiver_is_kept_and_the_signal_is_added_once(receiver: OtlpReceiver) -> None:
    for path in ("/otlp", "/otlp/", "/otlp/v1/traces"):
        receiver.endpoint = receiver.endpoint.partition("/otlp")[0] + path
        calls_to(receiver, traced_call(), 204)
    assert receiver.paths == ["/otlp/v1/traces"] * 3


@pytest.mark.parametrize("status", [None, 503, 401])
def test_a_receiver_that_hangs_or_refuses_holds_neither_calls_nor_the_stop(
    receiver: OtlpReceiver, status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "EVERY_MS", 1)
    # The SDK's thread outlives the stop and tries on for so many seconds, ten by default: the fixture waits for it.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3")
    receiver.status = status
    with capture_logs() as lines:
        api, stop = calls_to(receiver, traced_call(), *[204] * 20, shutdown_timeout=5.0)
    assert len(api.heads) == 20
    assert receiver.asked.is_set()
    assert stop < 1.0
    told = [line for line in lines if line["event"].startswith("spans were lost")]
    assert [line["lost"] for line in told] == [20]


def test_without_time_for_a_stop_nothing_is_waited_for(receiver: OtlpReceiver) -> None:
    receiver.status = None
    _, stop = calls_to(receiver, traced_call(), 204, shutdown_timeout=0.0)
    assert stop < 0.5


class Scripted(SpanExporter):
    """Answers as it is told; logs as the SDK does."""

    def __init__(self) -> None:
        self.answers: list[SpanExportResult | Exception] = []
        self.words = ["Transient error refused", "retrying", "Failed to export due to timeout"]

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        answer = self.answers.pop(0)
        if answer is not SpanExportResult.SUCCESS:
            for word in self.words:
                logging.getLogger("opentelemetry.exporter.otlp").warning(word)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def shutdown(self) -> None: ...


OK, FAILED = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


class Exported:
    """Batches that are exported, at times of the test's own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.inner = Scripted()
        self.exporter = WatchedExporter(self.inner, "http://127.0.0.1:1", lambda: self.now)

    def export(self, *answers: SpanExportResult | Exception, count: int = 1) -> list[Any]:
        self.inner.answers += answers
        with capture_logs() as lines:
            for _ in answers:
                self.exporter.ended += count
                self.exporter.export([None] * count)  # type: ignore[list-item]  # they are only counted
        return [(line["log_level"], line["event"].partition(":")[0], line.get("lost")) for line in lines]


WARNED, AGAIN = ("warning", "spans are lost", None), ("info", "spans are exported again", 3)


class RootLog(logging.Handler):
    """What goes to the log of the process, where a service's goes."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def root_log() -> Iterator[RootLog]:
    handler = RootLog()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_an_outage_is_told_once_and_its_end(root_log: RootLog) -> None:
    world = Exported()
    assert world.export(OK) == []
    assert world.export(FAILED, FAILED, RuntimeError("broken")) == [WARNED]
    assert world.export(OK, OK) == [AGAIN]
    assert world.exporter.lost_at_the_end() == 0
    assert root_log.records == [], "nothing of the SDK's own goes to the log"


def test_a_receiver_that_comes_and_goes_is_told_every_ten_minutes() -> None:
    world = Exported()
    assert world.export(FAILED, OK, *[FAILED, OK] * 50) == [WARNED, ("info", "spans are exported again", 1)]
    world.now = QUIET_S
    assert world.export(FAILED, FAILED) == [WARNED]
    assert world.exporter.lost_at_the_end() == 52


def test_the_line_says_why_by_the_first_words_and_the_last() -> None:
    world = Exported()
    world.inner.answers = [FAILED]
    with capture_logs() as lines:
        world.exporter.export([])
    assert lines[0]["why"] == "Transient error refused Failed to export due to timeout"
    assert lines[0]["endpoint"] == "http://127.0.0.1:1"


def test_a_queue_that_overflows_is_told() -> None:
    world = Exported()
    world.exporter.ended = QUEUE + 100
    with capture_logs() as lines:
        world.inner.answers = [OK]
        world.exporter.export([None] * BATCH)  # type: ignore[list-item]  # they are only counted
    assert [line["log_level"] for line in lines] == ["warning"]
    assert "faster" in lines[0]["why"]


def test_the_thread_of_a_stop_that_is_over_holds_no_process(receiver: OtlpReceiver) -> None:
    receiver.status = None
    calls_to(receiver, traced_call(), 204, shutdown_timeout=1.0)
    assert [thread.name for thread in threading.enumerate() if "spans" in thread.name and not thread.daemon] == []
