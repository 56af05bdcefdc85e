from __future__ import annotations

import asyncio
import json
from email.utils import formatdate

import httpx
import pytest
from pydantic import SecretStr
from support.owner import always

from consumer.calls import Answer, AnswerKind, OptOutCall
from consumer.events import Reason, RecordRef
from consumer.settings import ApiSettings
from consumer.xcover.api import RETRY_AFTER_MAX_S, OptOutApi, classify, connect, parse_retry_after
from consumer.xcover.auth import Credentials

NOW = 1_795_348_800.0


def call(offer_id: str = "offer", partner_code: str = "LLODT", metadata: dict[str, str] | None = None) -> OptOutCall:
    source = RecordRef("offer.presented", 0, 7)
    return OptOutCall(partner_code, offer_id, "session", Reason.DECLINED, metadata or {}, source, "owner", 1)


def answer_to(
    a_call: OptOutCall, response: httpx.Response | None = None, **settings: object
) -> tuple[Answer, list[httpx.Request]]:
    """What the API makes of a response, and the requests it sent."""
    sent: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return response or httpx.Response(204)

    api = ApiSettings.model_validate({"key": "k", "secret": "s", **settings})
    caller = OptOutApi(api, Credentials(api, lambda: NOW), httpx.MockTransport(handle), lambda: NOW)
    return asyncio.run(caller(a_call, always)), sent


def test_the_call_is_a_post_to_the_documented_address_with_its_slash() -> None:
    answer, (request,) = answer_to(call("fe92ecc3-fe4c-4000-8000-000000000001"))
    assert answer == Answer(AnswerKind.RECORDED, 204)
    assert request.method == "POST"
    assert str(request.url) == (
        "https://api.xcover.com/x/partners/LLODT/offers/fe92ecc3-fe4c-4000-8000-000000000001/opt_out/"
    )
    assert {"X-Api-Key", "Date", "Authorization", "Content-Type"} <= {name.title() for name in request.headers}


def test_host_prefix_and_path_are_settings() -> None:
    _, (request,) = answer_to(
        call(), base_url="https://staging.example/xcover/", path="/p/{partner_code}/o/{offer_id}/opt-out"
    )
    assert str(request.url) == "https://staging.example/xcover/p/LLODT/o/offer/opt-out"


@pytest.mark.parametrize(
    ("hostile", "encoded"),
    [
        ("../../admin", "..%2F..%2Fadmin"),
        ("a?b=c", "a%3Fb%3Dc"),
        ("a#b", "a%23b"),
        ("a/b", "a%2Fb"),
        ("%2e%2e", "%252e%252e"),
        ("a b+c", "a%20b%2Bc"),
        ("é{offer_id}", "%C3%A9%7Boffer_id%7D"),
        ("...", "..."),
        ("a\r\nX-Evil: 1", "a%0D%0AX-Evil%3A%201"),
    ],
)
def test_an_id_is_data_and_cannot_change_the_path(hostile: str, encoded: str) -> None:
    _, (request,) = answer_to(call(offer_id=hostile, partner_code=hostile))
    assert request.url.raw_path.decode() == f"/x/partners/{encoded}/offers/{encoded}/opt_out/"


@pytest.mark.parametrize("dots", ["", ".", ".."])
def test_an_id_that_is_a_path_segment_of_dots_is_refused_without_a_call(dots: str) -> None:
    for a_call in (call(offer_id=dots), call(partner_code=dots)):
        answer, sent = answer_to(a_call)
        assert answer.kind is AnswerKind.REFUSED
        assert not sent


def test_an_id_too_long_for_any_url_is_refused_without_a_call() -> None:
    answer, sent = answer_to(call(offer_id="x" * 100_000))
    assert answer.kind is AnswerKind.REFUSED
    assert not sent


def test_the_body_gives_the_reason_and_the_metadata_somebody_chose() -> None:
    _, (request,) = answer_to(call(metadata={"channel": "web"}))
    assert json.loads(request.content) == {"partner_metadata": {"reason": "DECLINED", "channel": "web"}}
    assert request.headers["Content-Type"] == "application/json"


def test_an_empty_body_is_an_empty_object() -> None:
    _, (request,) = answer_to(call(metadata={"channel": "web"}), body="empty")
    assert request.content == b"{}"


def test_no_credentials_is_a_credentials_fault_and_makes_no_call() -> None:
    answer, sent = answer_to(call(), key=None, secret=None)
    assert answer.kind is AnswerKind.CREDENTIALS
    assert answer.status_code is None
    assert not sent


def test_partners_with_one_key_share_a_credential_and_its_limit() -> None:
    own = {name: {"key": key, "secret": "s"} for name, key in (("A", "one"), ("B", "one"), ("C", "two"))}
    api = ApiSettings.model_validate({"key": "k", "secret": "s", "credentials": own})
    caller = OptOutApi(
        api, Credentials(api, lambda: NOW), httpx.MockTransport(lambda _: httpx.Response(204)), lambda: NOW
    )
    assert caller.credential_of("A") == caller.credential_of("B")
    assert len({caller.credential_of(partner) for partner in ("A", "C", "D")}) == 3


def test_a_value_of_the_metadata_that_the_api_quotes_does_not_get_into_the_note() -> None:
    response = httpx.Response(422, json={"message": "bad channel: s3cr3t", "errors": {"channel": "s3cr3t"}})
    answer, _ = answer_to(call(metadata={"channel": "s3cr3t"}), response)
    assert answer.kind is AnswerKind.REFUSED
    assert answer.note is not None
    assert answer.note.startswith("bad channel: ***")
    assert "s3cr3t" not in answer.note


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (204, b"", AnswerKind.RECORDED),
        (200, b"{}", AnswerKind.UNEXPECTED),
        (201, b"", AnswerKind.UNEXPECTED),
        (302, b"", AnswerKind.UNEXPECTED),
        (304, b"", AnswerKind.UNEXPECTED),
        (400, b'{"message": "no"}', AnswerKind.REFUSED),
        (401, b"", AnswerKind.CREDENTIALS),
        (403, b"", AnswerKind.CREDENTIALS),
        (404, b"", AnswerKind.NOT_FOUND),
        (404, b" \r\n", AnswerKind.NOT_FOUND),
        (404, b'{"type": "api_error", "message": "Quote package does not exist"}', AnswerKind.NOT_FOUND),
        (404, b"[]", AnswerKind.UNEXPECTED),
        (404, b"null", AnswerKind.UNEXPECTED),
        (404, b"<html>nginx</html>", AnswerKind.UNEXPECTED),
        (404, b'{"cut', AnswerKind.UNEXPECTED),
        (404, b"\xff\xfe", AnswerKind.UNEXPECTED),
        (404, b"[" * 100_000, AnswerKind.UNEXPECTED),
        (405, b"", AnswerKind.REFUSED),
        (407, b"", AnswerKind.TRANSIENT),
        (408, b"", AnswerKind.TRANSIENT),
        (409, b"", AnswerKind.REFUSED),
        (410, b"", AnswerKind.REFUSED),
        (422, b"", AnswerKind.REFUSED),
        (423, b"", AnswerKind.TRANSIENT),
        (425, b"", AnswerKind.TRANSIENT),
        (429, b"", AnswerKind.TRANSIENT),
        (500, b"", AnswerKind.TRANSIENT),
        (503, b"", AnswerKind.TRANSIENT),
        (599, b"", AnswerKind.TRANSIENT),
    ],
)
def test_what_an_answer_means(status: int, body: bytes, verdict: AnswerKind) -> None:
    answer = classify(status, None, body, NOW)
    assert (answer.kind, answer.status_code) == (verdict, status)


def test_the_note_is_the_apis_own_message() -> None:
    body = b'{"type": "validation_error", "message": "An API error occurred.", "errors": {"x": "Unexpected field"}}'
    assert classify(422, None, body, NOW).note == "An API error occurred. {'x': 'Unexpected field'}"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 1.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 5_000, RETRY_AFTER_MAX_S),
        ("86400", RETRY_AFTER_MAX_S),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        (formatdate(NOW - 3600, usegmt=True), 1.0),
        (formatdate(NOW + 86_400, usegmt=True), RETRY_AFTER_MAX_S),
        ("Sun, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_clamped(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW) == seconds


def test_retry_after_of_a_transient_answer_is_passed_on() -> None:
    answer, _ = answer_to(call(), httpx.Response(429, headers={"Retry-After": "12"}))
    assert (answer.kind, answer.retry_after) == (AnswerKind.TRANSIENT, 12.0)


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("no"), httpx.ReadTimeout("late"), httpx.ReadError("cut"), httpx.DecodingError("gz")]
)
def test_what_the_network_does_is_transient(error: httpx.RequestError) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    api = ApiSettings(auth="none")
    caller = OptOutApi(api, Credentials(api, lambda: NOW), httpx.MockTransport(fail), lambda: NOW)
    answer = asyncio.run(caller(call(), always))
    assert (answer.kind, answer.status_code) == (AnswerKind.TRANSIENT, None)
    assert answer.note is not None
    assert type(error).__name__ in answer.note


def test_what_time_the_api_has_is_told_by_an_answer_a_second_whatever_its_status() -> None:
    told: list[float | None] = []
    answers = [httpx.Response(503, headers={"Date": formatdate(NOW)}), httpx.Response(204), httpx.Response(204)]
    api = ApiSettings(key="k", secret=SecretStr("s"))

    def on_time(date: float | None, sent: float, received: float) -> None:
        assert sent <= received
        told.append(date)

    caller = OptOutApi(
        api, Credentials(api, lambda: NOW), httpx.MockTransport(lambda _: answers.pop(0)), lambda: NOW, on_time
    )
    asyncio.run(caller(call(), always))
    asyncio.run(caller(call(), always))
    assert told == [NOW], "the second is no second later"
    caller._next_time = 0.0
    asyncio.run(caller(call(), always))
    assert told == [NOW, None]


def test_the_connected_api_tells_the_time_of_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    response = httpx.Response(204, headers={"Date": formatdate(NOW, usegmt=True)})
    monkeypatch.setattr("consumer.xcover.api.AiohttpTransport", lambda *_: httpx.MockTransport(lambda _: response))
    told: list[float | None] = []
    api = connect(ApiSettings(key="k", secret=SecretStr("s")), 1, lambda date, *_: told.append(date))
    assert asyncio.run(api(call(), always)).kind is AnswerKind.RECORDED
    assert told == [NOW]


def test_leading_zeros_of_retry_after_say_nothing() -> None:
    assert parse_retry_after("0" * 20 + "5", NOW) == 5.0
