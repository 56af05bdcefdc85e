"""What stands around a final status: bytes behind it, endless heads, cuts; through the transport that ships.

A call that was answered by 204, or by a whole 404 of the API's own, is settled: made again, it would be recorded
again, and so for ever. A 404 that may have been cut is none, since what is missing may be a gateway's page. And
whatever came with one answer is no part of the next one.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Literal, Self, TypeAlias

import pytest
from fuzz.fuzzing import fuzz
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.loopback_server import LoopbackServer, read_request
from support.owner import OWNER, always

from consumer.calls import Answer, AnswerKind, OptOutCall
from consumer.events import Reason, RecordRef
from consumer.settings import ApiSettings
from consumer.xcover.api import OptOutApi
from consumer.xcover.auth import Credentials
from consumer.xcover.connection import MAX_HEAD
from consumer.xcover.transport import AiohttpTransport

End: TypeAlias = Literal["stay", "close", "reset"]
RESET = b"\1\0\0\0\0\0\0\0"
"""SO_LINGER with no time: closing sends RST."""
SECOND = b'HTTP/1.1 404 Not Found\r\nContent-Length: 21\r\n\r\n{"message": "second"}'


@dataclass
class Script:
    """What the server does to a request: writes the segments, each by itself, then ends or not."""

    segments: Sequence[bytes] = ()
    end: End = "stay"


async def the_clients_turn() -> None:
    """It runs on this loop, and reads what has come."""
    for _ in range(4):
        await asyncio.sleep(0)


class RawServer(LoopbackServer):
    """Answers the offer "first" by the script, and every other offer by SECOND."""

    def __init__(self, timeout: timedelta = timedelta(seconds=20)) -> None:
        super().__init__()
        self.script = Script()
        self._timeout = timeout
        self._played = asyncio.Event()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        settings = ApiSettings(base_url=f"http://127.0.0.1:{self.port}/x", auth="none", timeout=self._timeout)
        self._transport = AiohttpTransport(settings, 4)
        self._api = OptOutApi(settings, Credentials(settings, lambda: 0.0), self._transport, lambda: 0.0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.aclose()
        await super().__aexit__()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await read_request(reader)
            script = self.script if b"/first/" in head else Script([SECOND])
            try:
                for segment in script.segments:
                    writer.write(segment)
                    await writer.drain()
                    await the_clients_turn()
                if script.end == "reset":
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    writer.transport.abort()
            finally:
                self._played.set()
            if script.end != "stay":
                return

    async def answer(self, *segments: bytes, end: End = "stay") -> Answer:
        """What the call for the first offer is told; and that the second one is told its own."""
        self.script = Script(segments, end)
        self._played.clear()
        first = await self._call("first")
        await self._played.wait()
        await the_clients_turn()
        second = await self._call("second")
        assert (second.kind, second.note) == (AnswerKind.NOT_FOUND, "second"), "what follows has nothing of the first"
        return first

    async def _call(self, offer_id: str) -> Answer:
        call = OptOutCall("P", offer_id, "s", Reason.DECLINED, {}, RecordRef("offers", 0, 1), OWNER, 1)
        return await self._api(call, always)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def server(runner: asyncio.Runner) -> Iterator[RawServer]:
    server = RawServer()
    runner.run(server.__aenter__())
    yield server
    runner.run(server.__aexit__())


def told(*segments: bytes, end: End = "stay", timeout: timedelta = timedelta(seconds=20)) -> Answer:
    """The answer of a server of its own."""

    async def main() -> Answer:
        async with RawServer(timeout) as server:
            return await server.answer(*segments, end=end)

    return asyncio.run(main())


INTERIM = st.lists(
    st.sampled_from((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n")), max_size=2
).map(b"".join)
REASONS = st.sampled_from((b"", b" ", b" No Content", b" Kein Inhalt \xfc", b" " + b"r" * 20_000))
PLAIN_HEADERS = st.one_of(
    st.sampled_from((b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade", b"Set-Cookie: a=b; =;")),
    st.sampled_from((b"Date: Sun, 22 Nov 2026 12:00:00 GMT", b"Date: x", b"Retry-After: 1", b"Content-Type: a", b"E:")),
    st.integers(0, 100_000).map(lambda size: b"X-Long: " + b"v" * size),
    st.integers(1, 10_000).map(lambda size: b"n" * size + b": v"),
    st.integers(0, 1_000).map(lambda count: b"\r\n".join(b"X-%d: v" % number for number in range(count + 1))),
)
ODD_HEADERS = st.sampled_from(
    (
        b"Content-Length: 0",
        b"Content-Length: 2",
        b"Content-Length: 2\r\nContent-Length: 3",
        b"Content-Length: -1",
        b"Content-Length: x",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: x",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked",
        b"Content-Encoding: gzip",
        b"Upgrade: h2c\r\nConnection: upgrade",
        b"No-Colon",
        b": no name",
        b"A Blank: x",
        b"Blank : x",
        b" Folded: x",
        b"Nul: \0",
        b"\xff: x",
        b"Bare: \n",
    )
)
BEHIND = st.one_of(
    st.sampled_from(
        (b"", b"{}", b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n", b"<html></html>", b"HTTP/1.1")
    ),
    st.sampled_from((b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")),
    st.binary(max_size=30),
)
CUTS = st.lists(st.floats(0, 1), max_size=4)
ENDS = st.sampled_from(("close", "reset"))


def segments(whole: bytes, cuts: list[float]) -> list[bytes]:
    places = [0, *sorted(round(cut * len(whole)) for cut in cuts), len(whole)]
    return [whole[a:b] for a, b in pairwise(places) if a < b]


@fuzz(150)
@given(
    INTERIM,
    st.sampled_from((b"1.1", b"1.0")),
    REASONS,
    st.lists(PLAIN_HEADERS | ODD_HEADERS, max_size=3),
    BEHIND,
    st.none() | st.floats(0, 1),
    CUTS,
    ENDS,
)
@example(b"", b"1.1", b" No Content", [b"Connection: close"], b"{}", None, [], "close")
@example(b"", b"1.1", b" No Content", [b"Content-Length: 2"], b"{}", None, [], "close")
@example(b"", b"1.1", b" No Content", [b"Transfer-Encoding: chunked"], b"0\r\n\r\n", None, [], "close")
@example(b"", b"1.1", b" No Content", [], b"{}", None, [], "close")
@example(b"", b"1.1", b" No Content", [b"X-Long: " + b"v" * 9_000], b"", None, [], "close")
@example(b"", b"1.1", b" No Content", [b"\r\n".join([b"X: y"] * 200)], b"", None, [], "close")
@example(b"", b"1.1", b"", [], b"", 0.0, [], "reset")
def test_a_204_settles_the_call_whatever_stands_around_it(
    runner: asyncio.Runner,
    server: RawServer,
    interim: bytes,
    version: bytes,
    reason: bytes,
    headers: list[bytes],
    behind: bytes,
    cut: float | None,
    cuts: list[float],
    end: End,
) -> None:
    line = interim + b"HTTP/" + version + b" 204" + reason + b"\r\n"
    rest = b"".join(header + b"\r\n" for header in headers) + b"\r\n" + behind
    whole = line + (rest if cut is None else rest[: round(cut * len(rest))])
    answer = runner.run(server.answer(*segments(whole, cuts), end=end))
    assert answer.kind is AnswerKind.RECORDED


def chunked(body: bytes, size: int) -> bytes:
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x;a=b\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


BODIES = st.sampled_from((b"", b"{}", b'{"message": "no such offer"}', b" \r\n", b"[]", b"<html></html>", b"0", b"{"))


@fuzz(150)
@given(
    INTERIM,
    REASONS,
    st.lists(PLAIN_HEADERS, max_size=3),
    BODIES,
    st.sampled_from(("length", "chunked", "until closed")),
    st.integers(1, 40),
    BEHIND,
    st.none() | st.floats(0, 1),
    CUTS,
    ENDS,
)
@example(b"", b" Not Found", [b"Connection: close"], b"{}", "length", 1, b"{}", None, [], "close")
@example(b"", b" Not Found", [], b"{}", "length", 1, b"{}", None, [0.9], "close")
@example(b"", b" Not Found", [b"X-Long: " + b"v" * 9_000], b"{}", "length", 1, b"", None, [0.5], "close")
@example(b"", b" Not Found", [b"\r\n".join([b"X: y"] * 200)], b"{}", "chunked", 1, b"x", None, [0.5], "close")
def test_a_404_settles_the_call_if_its_body_is_whole_and_the_apis_own(
    runner: asyncio.Runner,
    server: RawServer,
    interim: bytes,
    reason: bytes,
    headers: list[bytes],
    body: bytes,
    framing: str,
    size: int,
    behind: bytes,
    cut: float | None,
    cuts: list[float],
    end: End,
) -> None:
    assume(b"Connection: upgrade" not in headers)
    framed = chunked(body, size) if framing == "chunked" else body
    if framing != "until closed":
        announced = b"Transfer-Encoding: chunked" if framing == "chunked" else b"Content-Length: %d" % len(body)
        headers = [*headers, announced]
    else:
        assume(b"Connection: keep-alive" not in headers)
        behind, cut, end = b"", None, "close"
    line = interim + b"HTTP/1.1 404" + reason + b"\r\n"
    rest = b"".join(header + b"\r\n" for header in headers) + b"\r\n" + framed
    sent = len(rest) if cut is None else round(cut * len(rest))
    whole = line + (rest + behind if sent == len(rest) else rest[:sent])
    answer = runner.run(server.answer(*segments(whole, cuts), end=end))
    if sent < len(rest):
        assert (answer.status_code, answer.kind) == (None, AnswerKind.TRANSIENT)
        return
    try:
        is_own = not body.strip() or isinstance(json.loads(body), dict)
    except ValueError:
        is_own = False
    assert (answer.status_code, answer.kind) == (404, AnswerKind.NOT_FOUND if is_own else AnswerKind.UNEXPECTED)


@fuzz(40)
@given(st.sampled_from((204, 404)), st.data())
def test_a_status_line_that_is_cut_is_no_answer(
    runner: asyncio.Runner, server: RawServer, status: int, data: st.DataObject
) -> None:
    line = b"HTTP/1.1 %d Some Reason\r\n" % status
    cut = data.draw(st.integers(0, len(line) - 2))
    answer = runner.run(server.answer(line[:cut], end=data.draw(ENDS)))
    assert (answer.status_code, answer.kind) == (None, AnswerKind.TRANSIENT)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AnswerKind.CREDENTIALS), (422, AnswerKind.REFUSED), (503, AnswerKind.TRANSIENT)]
)
@pytest.mark.parametrize("rest", [b"", b"X: y\r\n", b"Content-Length: 9\r\n\r\n{", b"\r\n{}"])
def test_another_status_counts_though_what_follows_is_cut(status: int, kind: AnswerKind, rest: bytes) -> None:
    answer = told(b"HTTP/1.1 %d X\r\n%s" % (status, rest), end="reset")
    assert (answer.status_code, answer.kind) == (status, kind)


@pytest.mark.parametrize("rest", [b"", b"X: y", b"X: y\r\n"])
def test_a_204_counts_though_the_server_stops_in_its_head(rest: bytes) -> None:
    assert told(b"HTTP/1.1 204 No Content\r\n" + rest, timeout=timedelta(seconds=0.3)).kind is AnswerKind.RECORDED


def test_a_404_does_not_count_if_the_server_stops_in_it() -> None:
    answer = told(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n", timeout=timedelta(seconds=0.3))
    assert (answer.status_code, answer.kind) == (None, AnswerKind.TRANSIENT)


@pytest.mark.parametrize(
    "coding", [b"identity", b" Identity ", b"identity\r\nX: y", b"identity\r\nTransfer-Encoding: chunked"]
)
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("status", "kind"), [(204, AnswerKind.RECORDED), (404, AnswerKind.NOT_FOUND), (422, AnswerKind.REFUSED)]
)
def test_the_coding_that_changes_nothing_does_not_change_the_answer(
    status: int, kind: AnswerKind, at_once: bool, coding: bytes
) -> None:
    """HTTP had it once; servers of that time write it beside the length."""
    body = b"" if status == 204 else b'{"message": "no"}'
    length = b"Content-Length: %d\r\n" % len(body)
    if b"chunked" in coding:
        body, length = chunked(body, 9), b""
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 %d X\r\nTransfer-Encoding:%s\r\n%s\r\n" % (status, coding, length)
    answer = told(*([head + body] if at_once else [head, body]))
    assert (answer.status_code, answer.kind) == (status, kind)


@pytest.mark.parametrize(("status", "kind"), [(204, AnswerKind.RECORDED), (404, AnswerKind.TRANSIENT)])
def test_a_head_without_end_is_not_read_for_ever(status: int, kind: AnswerKind) -> None:
    head = b"HTTP/1.1 %d X\r\n" % status
    answer = told(head, *[b"X: " + b"y" * 65_531 + b"\r\n"] * (MAX_HEAD // 65_536 + 1))
    assert answer.kind is kind


@pytest.mark.parametrize("behind", [b"HTTP/1.1 204 No Content\r\n\r\n", b"{}", b"\r\n"])
@pytest.mark.parametrize("first", [b"HTTP/1.1 204 No Content\r\n\r\n", SECOND])
def test_bytes_that_come_between_two_calls_end_the_connection(first: bytes, behind: bytes) -> None:
    async def main() -> None:
        async with RawServer() as server:
            await server.answer(first, behind)
            assert server.connections == 2

    asyncio.run(main())
