"""What a server may answer, and what an id may be: byte by byte, through the transport that ships, over a real socket.

No answer is taken for a success, or for "no such offer", that was not one; whatever comes has one of the stated
meanings, and words that can be logged and written into an outcome.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import zlib
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import pytest
from fuzz.fuzzing import TEXT, fuzz, spoilt
from hypothesis import example, given
from hypothesis import strategies as st
from support.owner import OWNER, always

from consumer.calls import Answer, AnswerKind, OptOutCall
from consumer.codecs.plain import PlainCodec
from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef
from consumer.kafka.producer import outcome_key
from consumer.settings import ApiSettings
from consumer.xcover.api import NOTE_LENGTH, OptOutApi, classify, parse_retry_after
from consumer.xcover.auth import Credentials
from consumer.xcover.transport import AiohttpTransport

NOW = 1_767_225_600.0
CODEC = PlainCodec()
T = TypeVar("T")

LONGEST_ADVICE = 100
"""Characters of our own words before those of an answer."""


@dataclass
class Line:
    """A loop with the transport, and a server that answers each request with `reply` and hangs up."""

    runner: asyncio.Runner
    reply: bytes = b""
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    port: int = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        self.port = self.server.sockets[0].getsockname()[1]
        settings = ApiSettings.model_validate(
            {"base_url": f"http://127.0.0.1:{self.port}/x", "auth": "none", "timeout": "1m"}
        )
        self.transport = AiohttpTransport(settings, connections=4)
        self.api = OptOutApi(settings, Credentials(settings, lambda: NOW), self.transport, lambda: NOW)

    async def close(self) -> None:
        await self.transport.aclose()
        self.server.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(x[15:]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")), 0)
            self.requests.append((head, await reader.readexactly(length)))
            writer.write(self.reply)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    def ask(
        self, reply: bytes, *, partner: str = "P", offer: str = "o", metadata: dict[str, str] | None = None
    ) -> Answer:
        """The answer, once it is known to fit into an outcome and a log."""
        self.reply = reply
        self.requests.clear()
        call = OptOutCall(partner, offer, "s", Reason.DECLINED, metadata or {}, RecordRef("offers", 0, 1), OWNER, 1)
        answer = self.run(self.api(call, always))
        check_words(answer)
        return answer


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    with asyncio.Runner() as runner:
        line = Line(runner)
        runner.run(line.open())
        yield line
        runner.run(line.close())


def check_words(answer: Answer) -> None:
    """They are short, and go into an outcome."""
    assert len(answer.note or "") <= NOTE_LENGTH + LONGEST_ADVICE
    outcome = OfferOutcome(
        offer_id="o",
        partner_code="P",
        session_id="s",
        outcome=Outcome.NOT_FOUND,
        reason=Reason.DECLINED,
        checkout_id=None,
        presented_at=0,
        decided_at=0,
        settled_at=0,
        status_code=answer.status_code,
        attempts=1,
        details=Details(),
        source=RecordRef("offers", 0, 0),
        mode=Mode.LIVE,
        note=answer.note,
    )
    assert CODEC.decode_outcome(CODEC.encode_outcome(outcome)).note == answer.note


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("message", "errors", "a")), inner, max_size=3)
    ),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from(("message", "errors", "type", "☃")), JSON, max_size=3)
NEITHER = (
    b'{"a": NaN}',
    b"[]",
    b"null",
    b"0",
    b'"{}"',
    b"{",
    b"{}{}",
    b"\xff",
    b"<html>",
    b"\xef\xbb\xbf<",
    b'{"a":' * 9000,
)
BODIES = st.one_of(
    OBJECTS.map(lambda value: json.dumps(value).encode()),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from((b"", b" \r\n\t", b"\xef\xbb\xbf{}", b'{"message": "\\ud800"}', *NEITHER)),
    OBJECTS.flatmap(lambda value: spoilt(json.dumps(value).encode())),
    st.binary(max_size=50),
    st.integers(0, 200_000).map(lambda size: b"x" * size),
)
STATUSES = st.sampled_from(
    (200, 204, 301, 302, 304, 400, 401, 403, 404, 404, 404, 408, 422, 423, 425, 429, 500, 503)
) | st.integers(200, 599)
WORDS = st.binary(max_size=20).map(lambda data: data.translate(None, b"\r\n\0"))


def is_object(body: bytes) -> bool:
    """By the standard, which has no NaN."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        return isinstance(json.loads(body, parse_constant=refuse), dict)
    except (ValueError, RecursionError):
        return False


def meaning(status: int, body: bytes | None) -> AnswerKind:
    """The table of answers, a second time. The body None: it cannot be read."""
    if status == 204:
        return AnswerKind.RECORDED
    if status in (401, 403):
        return AnswerKind.CREDENTIALS
    if status == 404:
        good = body is not None and (not body.strip() or is_object(body))
        return AnswerKind.NOT_FOUND if good else AnswerKind.UNEXPECTED
    if status in (407, 408, 423, 425, 429) or 500 <= status <= 599:
        return AnswerKind.TRANSIENT
    return AnswerKind.REFUSED if status >= 400 else AnswerKind.UNEXPECTED


def http(status: int, body: bytes, *headers: bytes) -> bytes:
    if status in (204, 304):
        return b"\r\n".join([b"HTTP/1.1 %d X" % status, b"Connection: close", *headers, b"", b""])
    length = (b"Content-Length: %d" % len(body),)
    return b"\r\n".join([b"HTTP/1.1 %d X" % status, *length, b"Connection: close", *headers, b"", body])


@fuzz(75)
@given(
    STATUSES,
    BODIES,
    st.lists(
        st.tuples(st.sampled_from((b"Set-Cookie", b"Location", b"Content-Type", b"X", b"Link")), WORDS), max_size=3
    ),
)
@example(404, b'{"message": "\\ud800"}', [])
@example(404, b'{"a": NaN}', [])
def test_every_answer_has_the_meaning_of_the_table(
    line: Line, status: int, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    answer = line.ask(http(status, body, *(name + b": " + value for name, value in headers)))
    if answer.status_code is None:
        # A header that is none makes it no answer; that is the transport's to judge.
        assert headers
        assert answer.kind is AnswerKind.TRANSIENT
        return
    assert (answer.status_code, answer.kind) == (status, meaning(status, body[:65_536]))


@fuzz(40)
@given(
    STATUSES,
    BODIES,
    st.sampled_from((b"gzip", b"deflate", b"br", b"zstd", b"gzip, gzip", b"x", b"identity", b"\xff")),
    st.sampled_from(("none", "gzip", "zlib", "cut")),
)
@example(401, b"{}", b"gzip", "none")
@example(404, b"{}", b"gzip", "none")
@example(404, b"{}", b"gzip", "gzip")
@example(404, b"0", b"gzip", "none")
@example(503, b"{}", b"deflate", "none")
def test_a_body_that_cannot_be_unpacked_changes_no_meaning_of_a_status(
    line: Line, status: int, body: bytes, coding: bytes, packed: str
) -> None:
    raw = {"none": body, "gzip": gzip.compress(body), "zlib": zlib.compress(body), "cut": gzip.compress(body)[:-9]}[
        packed
    ]
    answer = line.ask(http(status, raw, b"Content-Encoding: " + coding, b"Retry-After: 7"))
    assert answer.status_code == status
    if status != 404:
        assert answer.kind is meaning(status, None)
    elif not raw or coding not in (b"gzip", b"deflate"):
        assert answer.kind is meaning(404, raw[:65_536])
    else:
        whole = packed in ("gzip", "zlib") and len(body) < 65_536
        assert answer.kind is meaning(404, body if whole else None)
    if answer.kind in (AnswerKind.TRANSIENT, AnswerKind.UNEXPECTED):
        assert answer.retry_after == 7


@pytest.mark.parametrize("times", [1, 2])
def test_a_small_answer_is_not_unpacked_into_a_large_one(line: Line, times: int) -> None:
    bomb = b" " * 2**26
    for _ in range(times):
        bomb = gzip.compress(bomb)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = line.ask(http(404, bomb[:65_536], b"Content-Encoding: " + b", ".join([b"gzip"] * times)))
    assert answer.kind is AnswerKind.UNEXPECTED
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16_384, "kB"


@fuzz(60)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.tuples(STATUSES | st.integers(0, 9999), BODIES).flatmap(
            lambda drawn: spoilt(http(drawn[0], drawn[1][:200]))
        ),
        st.tuples(st.integers(100, 199), BODIES).map(lambda drawn: http(*drawn)),
        st.tuples(STATUSES, BODIES, st.integers(1, 50)).map(lambda drawn: http(drawn[0], drawn[1])[: -drawn[2]]),
    )
)
@example(b"")
@example(b"HTTP/1.1 204")
@example(b"HTTP/1.1 404 X\r\nContent-Length: 10\r\n\r\n{}")
@example(b"HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}")
@example(b"HTTP/1.1 100 Continue\r\n\r\n")
@example(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
@example(b"HTTP/1.1 404 X\r\nX: \xff\xed\xa0\x80\r\nContent-Length: \xd9\xa3\r\n\r\n")
def test_bytes_that_are_no_answer_are_no_success_and_no_missing_offer(line: Line, reply: bytes) -> None:
    answer = line.ask(reply)
    if answer.kind is AnswerKind.RECORDED:
        assert b" 204" in reply
    if answer.kind is AnswerKind.NOT_FOUND:
        assert b" 404" in reply
    if answer.status_code is None:
        assert answer.kind is AnswerKind.TRANSIENT


# --- Retry-After

DATES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)).map(lambda at: at.replace(tzinfo=UTC))
WAITS = st.one_of(
    TEXT,
    st.integers(-(10**6), 10**25).map(str),
    st.sampled_from(
        ("٣", "²", "1e3", "0x10", "1_0", "+5", "5.5", "nan", "inf", "", " ", "1, 2", "000000000000300", "9" * 5000)
    ),
    DATES.map(lambda at: format_datetime(at, usegmt=True)),
    DATES.map(lambda at: format_datetime(at, usegmt=True))
    .flatmap(lambda text: spoilt(text.encode()))
    .map(lambda b: b.decode("latin-1")),
    st.builds(
        "Mon, {} Jan {} {}:00:00 {}".format,
        st.integers(0, 99),
        st.integers(0, 10**6),
        st.integers(0, 99),
        st.sampled_from(("GMT", "+2359", "-9999", "+99999999", "X")),
    ),
)


@fuzz(150)
@given(WAITS, st.floats(0, 4e9))
@example("Mon, 01 Jan 0001 00:00:00 +2359", NOW)
@example("Fri, 31 Dec 9999 23:59:59 -2359", NOW)
@example("0000000000000300", NOW)
def test_retry_after_is_a_time_within_its_bounds_or_nothing(text: str, now: float) -> None:
    pause = parse_retry_after(text, now)
    assert pause is None or 1 <= pause <= 300
    digits = text.strip(" \t")
    if digits.isascii() and digits.isdigit():
        assert pause == min(max(int(digits[-4000:]) if len(digits) < 4000 else 300, 1), 300)


@fuzz(50)
@given(DATES, st.floats(0, 250e9))
def test_retry_after_by_date_is_the_time_until_then(at: datetime, now: float) -> None:
    pause = parse_retry_after(format_datetime(at, usegmt=True), now)
    assert pause == pytest.approx(min(max(at.replace(microsecond=0).timestamp() - now, 1), 300), abs=0.001)


@fuzz(50)
@given(st.lists(st.integers(0, 400), min_size=2, max_size=20), st.integers(0, 400))
def test_a_longer_wait_is_never_read_as_a_shorter_one(waits: list[int], skew: int) -> None:
    at = datetime.fromtimestamp(NOW + skew, UTC)
    for read in (str, lambda s: format_datetime(at + timedelta(seconds=s), usegmt=True)):
        pauses = [parse_retry_after(read(wait), NOW) or 0 for wait in sorted(waits)]
        assert pauses == sorted(pauses)


@fuzz(20)
@given(st.lists(WAITS.map(lambda text: text.encode("utf-8", "replace").translate(None, b"\r\n\0")), max_size=3))
def test_any_retry_after_headers_leave_the_meaning_as_it_is(line: Line, values: list[bytes]) -> None:
    answer = line.ask(http(503, b"", *(b"Retry-After: " + value for value in values)))
    assert answer.kind is AnswerKind.TRANSIENT
    assert answer.retry_after is None or 1 <= answer.retry_after <= 300
    if answer.status_code == 503 and len(values) == 1 and values[0].isdigit():
        assert answer.retry_after is not None


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>"])
def test_each_status_has_its_meaning_with_the_plainest_bodies(body: bytes) -> None:
    found = {status: classify(status, None, body, NOW).kind for status in range(100, 600)}
    assert found == {status: meaning(status, body) for status in range(100, 600)}


@fuzz(50)
@given(STATUSES | st.integers(100, 599), BODIES, st.none() | WAITS)
def test_the_table_alone(status: int, body: bytes, wait: str | None) -> None:
    answer = classify(status, wait, body, NOW)
    assert answer.kind is meaning(status, body)
    check_words(answer)


# --- ids and metadata

IDS = TEXT | st.sampled_from(
    (
        "",
        ".",
        "..",
        "../",
        "a/b",
        "a?b",
        "a#b",
        "%2f",
        "%",
        "%zz",
        "%2e%2e",
        "\0",
        "\r\nX: y",
        " ",
        "☃",
        "\ud7ff",
        "\U0010ffff",
        "{offer_id}",
        "{partner_code}",
        ";",
        "a" * 70_000,
    )
)
METADATA = st.dictionaries(TEXT.filter(lambda key: key != "reason"), TEXT, max_size=3)


@fuzz(60)
@given(IDS, IDS, METADATA)
@example("{offer_id}", "o", {})
@example("..", "o", {})
@example("%2e%2e", "%2F", {})
def test_an_id_is_data_whatever_is_in_it(line: Line, partner: str, offer: str, metadata: dict[str, str]) -> None:
    answer = line.ask(http(204, b""), partner=partner, offer=offer, metadata=metadata)
    if {partner, offer} & {"", ".", ".."} or len(partner) + len(offer) > 20_000:
        assert (answer.kind, line.requests) == (AnswerKind.REFUSED, [])
        assert answer.note
        return
    assert answer.kind is AnswerKind.RECORDED
    ((head, body),) = line.requests
    first, *rest = head.split(b"\r\n")
    method, path, version = first.split(b" ")
    assert (method, version) == (b"POST", b"HTTP/1.1")
    *_, x, partners, sent_partner, offers, sent_offer, last, empty = path.split(b"/")
    assert (x, partners, offers, last, empty, path.count(b"/")) == (b"x", b"partners", b"offers", b"opt_out", b"", 7)
    assert (unquote_to_bytes(sent_partner).decode(), unquote_to_bytes(sent_offer).decode()) == (partner, offer)
    assert not set(path) & set(b"?#\\ ;")
    assert path.isascii()
    assert not [header for header in rest if header.lower().startswith(b"x:")]
    assert json.loads(body) == {"partner_metadata": {**metadata, "reason": "DECLINED"}}


@fuzz(50)
@given(TEXT, TEXT)
def test_the_key_of_an_outcome_tells_both_ids_apart(partner: str, offer: str) -> None:
    key = outcome_key(partner, offer)
    assert key.isascii()
    assert [unquote_to_bytes(part).decode() for part in key.split(b"/")] == [partner, offer]
