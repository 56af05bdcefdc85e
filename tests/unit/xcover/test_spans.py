from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import httpx
import pytest
from support.owner import always
from support.traced_calls import SAMPLED, UNSAMPLED, traced_call

from consumer.calls import Answer, AnswerKind, CallTrace
from consumer.errors import SettingsError
from consumer.settings import ApiSettings, TraceSettings, load_settings
from consumer.xcover.api import OptOutApi
from consumer.xcover.auth import Credentials
from consumer.xcover.spans import CallSpan, spans_of
from consumer.xcover.transport import NotSentError

API = ApiSettings(auth="none")


class KeptSpan:
    def __init__(self, trace: CallTrace) -> None:
        self.headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        self.error: str | None = None
        self.resent = trace.sent
        self.ends: list[int | None] = []

    def end(self, status_code: int | None) -> None:
        self.ends.append(status_code)


class KeptSpans:
    def __init__(self) -> None:
        self.kept: list[KeptSpan] = []

    def begin(self, trace: CallTrace) -> CallSpan | None:
        if not trace.context.is_sampled:
            return None
        self.kept.append(KeptSpan(trace))
        return self.kept[-1]

    def close(self) -> None: ...


class Api:
    """The API with spans that are kept, which answers as told."""

    def __init__(self, *answers: int | Exception, spans: KeptSpans | None = None) -> None:
        self.sent: list[httpx.Request] = []
        self._answers = list(answers)
        transport = httpx.MockTransport(self._answer)
        self.api = OptOutApi(API, Credentials(API, lambda: 0.0), transport, lambda: 0.0, None, spans)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer, json={} if answer != 204 else None)

    async def ask(self, call: Any) -> Answer:
        return await self.api(call, always)


async def run(*answers: int | Exception, call: Any, spans: KeptSpans | None = None) -> list[httpx.Request]:
    api = Api(*answers, spans=spans)
    for _ in answers:
        await api.ask(call)
    return api.sent


def asked(*answers: int | Exception, call: Any, spans: KeptSpans | None = None) -> list[httpx.Request]:
    return asyncio.run(run(*answers, call=call, spans=spans))


def test_without_spans_the_trace_goes_on_as_it_came() -> None:
    (request,) = asked(204, call=traced_call(SAMPLED, "a=1,b=2"))
    assert (request.headers["traceparent"], request.headers["tracestate"]) == (SAMPLED, "a=1,b=2")


def test_what_has_no_trace_begins_none() -> None:
    spans = KeptSpans()
    (request,) = asked(204, call=traced_call(None), spans=spans)
    assert not {"traceparent", "tracestate"} & set(request.headers)
    assert spans.kept == []


def test_what_is_not_sampled_has_no_span_and_goes_on_as_it_came() -> None:
    spans = KeptSpans()
    (request,) = asked(204, call=traced_call(UNSAMPLED), spans=spans)
    assert request.headers["traceparent"] == UNSAMPLED
    assert spans.kept == []


def test_each_request_has_a_span_which_knows_how_many_were_before() -> None:
    spans = KeptSpans()
    sent = asked(503, httpx.ReadTimeout("x"), RuntimeError("y"), 204, call=traced_call(), spans=spans)
    assert {request.headers["traceparent"] for request in sent} == {f"00-{'a' * 32}-{'b' * 16}-01"}
    told = [(span.resent, span.ends, span.error) for span in spans.kept]
    assert told == [
        (0, [503], None), (1, [None], "ReadTimeout"), (2, [None], "RuntimeError"), (3, [204], None),
    ]  # fmt: skip


def test_what_was_not_sent_is_no_span() -> None:
    spans = KeptSpans()
    asked(NotSentError("withheld"), 204, call=traced_call(), spans=spans)
    assert [(span.resent, span.ends) for span in spans.kept] == [(0, []), (0, [204])]


def test_the_answer_is_the_same_with_and_without_a_trace() -> None:
    async def answers(call: Any) -> list[Answer]:
        api = Api(204, 404, 503, httpx.ConnectError("no"), spans=KeptSpans())
        return [await api.ask(call) for _ in range(4)]

    with_one, without = asyncio.run(answers(traced_call())), asyncio.run(answers(traced_call(None)))
    assert with_one == without
    assert [answer.kind for answer in without] == [
        AnswerKind.RECORDED,
        AnswerKind.NOT_FOUND,
        AnswerKind.TRANSIENT,
        AnswerKind.TRANSIENT,
    ]


@pytest.mark.parametrize("settings", [TraceSettings(), TraceSettings(enabled=True)])
def test_nobody_records_spans_unless_told_where_to(settings: TraceSettings) -> None:
    assert spans_of(settings, API, 25) is None


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.delitem(sys.modules, "consumer.xcover.otlp", raising=False)
    settings = TraceSettings(enabled=True, otlp_endpoint="http://127.0.0.1:4318")
    with pytest.raises(SettingsError, match=r"OPT_OUT_TRACE__OTLP_ENDPOINT.*offer-opt-out\[otel\]"):
        spans_of(settings, API, 25)


def test_a_variable_of_opentelemetry_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    settings = TraceSettings(enabled=True, otlp_endpoint="http://127.0.0.1:4318")
    with pytest.raises(SettingsError, match=r"OpenTelemetry does not start.*OTEL_"):
        spans_of(settings, API, 25)


def test_nothing_of_opentelemetry_is_imported_without_an_endpoint() -> None:
    code = """if True:
        import sys
        import consumer.backfill.run
        from consumer.settings import ApiSettings, TraceSettings
        from consumer.xcover.spans import spans_of
        assert spans_of(TraceSettings(enabled=True), ApiSettings(), 25) is None
        print([name for name in sys.modules if name.startswith("opentelemetry")])
    """
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"OTLP_ENDPOINT": "http://localhost:4318"}, "needs trace.enabled"),
        ({"ENABLED": "true", "OTLP_ENDPOINT": "localhost:4318"}, "http://localhost:4318"),
        ({"ENABLED": "true", "OTLP_ENDPOINT": "http://user:pass@localhost:4318"}, "OTEL_EXPORTER_OTLP_HEADERS"),
        ({"ENABLED": "perhaps"}, "trace.enabled"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told) as refused:
        load_settings(None, {f"OPT_OUT_TRACE__{name}": value for name, value in given.items()})
    assert "pass@" not in str(refused.value)
