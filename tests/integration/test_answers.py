"""The answer table, through the transport that ships, against a real server on a real socket."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from email.utils import formatdate
from functools import partial
from random import Random

import pytest
from support.loopback_server import LoopbackServer, read_request
from support.owner import OWNER, always

from consumer import __version__
from consumer.calls import Answer, AnswerKind, CallResult, OptOutCall
from consumer.delivery.queue import Delivery
from consumer.delivery.thread import DeliveryThread
from consumer.errors import StopError
from consumer.events import Outcome, Reason, RecordRef
from consumer.settings import ApiSettings, DeliverySettings
from consumer.xcover.api import OptOutApi, connect
from consumer.xcover.auth import Credentials, sign
from consumer.xcover.body import MAX_BODY
from consumer.xcover.transport import AiohttpTransport

Writer = asyncio.StreamWriter
Reply = Callable[[Writer], Awaitable[None]]


def raw(status: str, body: bytes = b"", *headers: str) -> Reply:
    """An answer, byte by byte as given."""

    async def reply(writer: Writer) -> None:
        length = () if status.startswith("204") else (f"Content-Length: {len(body)}",)
        head = "\r\n".join([f"HTTP/1.1 {status}", *length, *headers, "", ""])
        writer.write(head.encode() + body)

    return reply


async def reset_mid_answer(writer: Writer) -> None:
    """Half of an answer, then RST."""
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def close_without_an_answer(writer: Writer) -> None:
    writer.close()


async def hang(writer: Writer) -> None:
    await asyncio.Event().wait()


async def hang_mid_body(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n{")
    await asyncio.Event().wait()


async def trickle(writer: Writer) -> None:
    """Never silent for long, never done: only a time-out for the whole call ends it."""
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


class Server(LoopbackServer):
    """Answers each POST by what its offer_id is mapped to; 204 if it is not."""

    def __init__(self, replies: dict[str, Reply] | None = None) -> None:
        super().__init__()
        self.replies = replies or {}
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.asked = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        while True:
            head, body = await read_request(reader)
            first, *lines = head.decode().split("\r\n")[:-2]
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            self.requests.append((first, headers, body))
            self.asked.set()
            offer_id = first.split(" ")[1].split("/")[5]
            await self.replies.get(offer_id, raw("204 No Content"))(writer)
            await writer.drain()


def call(offer_id: str, partner_code: str = "P") -> OptOutCall:
    source = RecordRef("offer.presented", 0, 1)
    return OptOutCall(partner_code, offer_id, f"session-{offer_id}", Reason.DECLINED, {}, source, OWNER, 1)


def api_settings(port: int, **values: object) -> ApiSettings:
    return ApiSettings.model_validate(
        {"base_url": f"http://127.0.0.1:{port}/x", "key": "k", "secret": "s", "timeout": timedelta(seconds=5), **values}
    )


async def ask(server_port: int, *offer_ids: str, connections: int = 8, **values: object) -> list[Answer]:
    """Call for each offer, one after the other, over one transport."""
    api = api_settings(server_port, **values)
    transport = AiohttpTransport(api, connections)
    try:
        caller = OptOutApi(api, Credentials(api, time.time), transport, time.time)
        return [await caller(call(offer_id), always) for offer_id in offer_ids]
    finally:
        await transport.aclose()


def answer_of(reply: Reply, **values: object) -> Answer:
    async def main() -> Answer:
        async with Server({"offer": reply}) as server:
            (answer,) = await ask(server.port, "offer", **values)
            assert len(server.requests) == 1, "one call is one request"
            return answer

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("reply", "status", "verdict"),
    [
        (raw("204 No Content"), 204, AnswerKind.RECORDED),
        (raw("200 OK", b"{}"), 200, AnswerKind.UNEXPECTED),
        (raw("400 Bad Request", b'{"message": "x"}'), 400, AnswerKind.REFUSED),
        (raw("401 Unauthorized", b"{}"), 401, AnswerKind.CREDENTIALS),
        (raw("403 Forbidden", b"{}"), 403, AnswerKind.CREDENTIALS),
        (raw("404 Not Found"), 404, AnswerKind.NOT_FOUND),
        (raw("404 Not Found", b'{"message": "Quote package does not exist"}'), 404, AnswerKind.NOT_FOUND),
        (raw("404 Not Found", b"[1]"), 404, AnswerKind.UNEXPECTED),
        (raw("404 Not Found", b" " * MAX_BODY + b"<html></html>"), 404, AnswerKind.UNEXPECTED),
        (raw("404 Not Found", b"<html></html>", "Content-Type: text/html"), 404, AnswerKind.UNEXPECTED),
        (raw("408 Request Timeout"), 408, AnswerKind.TRANSIENT),
        (raw("422 Unprocessable", b'{"message": "Unexpected field"}'), 422, AnswerKind.REFUSED),
        (raw("423 Locked"), 423, AnswerKind.TRANSIENT),
        (raw("425 Too Early"), 425, AnswerKind.TRANSIENT),
        (raw("429 Too Many Requests"), 429, AnswerKind.TRANSIENT),
        (raw("500 Oops", b"<html>"), 500, AnswerKind.TRANSIENT),
        (raw("503 Unavailable"), 503, AnswerKind.TRANSIENT),
        (reset_mid_answer, None, AnswerKind.TRANSIENT),
        (close_without_an_answer, None, AnswerKind.TRANSIENT),
        (raw("not http at all"), None, AnswerKind.TRANSIENT),
    ],
)
def test_each_row_of_the_answer_table(reply: Reply, status: int | None, verdict: AnswerKind) -> None:
    answer = answer_of(reply)
    assert (answer.status_code, answer.kind) == (status, verdict)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_never_followed(status: str) -> None:
    async def main() -> None:
        async with Server() as server:
            server.replies["offer"] = raw(
                status, b"", f"Location: http://127.0.0.1:{server.port}/x/partners/P/offers/else/opt_out/"
            )
            (answer,) = await ask(server.port, "offer")
            assert answer.kind is AnswerKind.UNEXPECTED
            assert answer.status_code == int(status[:3])
            assert len(server.requests) == 1, "the 204 behind the redirect must not be asked for"

    asyncio.run(main())


def test_retry_after_is_read_from_a_real_answer_in_both_forms() -> None:
    assert answer_of(raw("429 Slow", b"", "Retry-After: 17")).retry_after == 17.0
    date = formatdate(time.time() + 100, usegmt=True)
    seconds = answer_of(raw("429 Slow", b"", f"Retry-After: {date}")).retry_after
    assert seconds is not None
    assert 90 < seconds <= 100


def test_a_404_that_a_gateway_compressed_is_still_read() -> None:
    reply = raw("404 Not Found", gzip.compress(b'{"message": "gone"}'), "Content-Encoding: gzip")
    answer = answer_of(reply)
    assert (answer.kind, answer.note) == (AnswerKind.NOT_FOUND, "gone")


def test_a_body_without_end_is_cut_and_is_no_proof_of_a_missing_offer() -> None:
    reply = raw("404 Not Found", b'{"a": "' + b"x" * (4 * MAX_BODY) + b'"}')
    assert answer_of(reply).kind is AnswerKind.UNEXPECTED


@pytest.mark.parametrize("reply", [hang, hang_mid_body, trickle])
def test_a_call_takes_no_longer_than_the_time_out_in_all(reply: Reply) -> None:
    began = time.monotonic()
    answer = answer_of(reply, timeout=timedelta(seconds=0.3), connect_timeout=timedelta(seconds=5))
    took = time.monotonic() - began
    assert (answer.status_code, answer.kind) == (None, AnswerKind.TRANSIENT)
    assert answer.note is not None
    assert "Timeout" in answer.note
    assert 0.3 <= took < 2.0, "the parts of a time-out must not add up"


def test_a_refused_connection_is_transient() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        (answer,) = asyncio.run(ask(nobody.getsockname()[1], "offer"))
    assert (answer.status_code, answer.kind) == (None, AnswerKind.TRANSIENT)
    assert answer.note is not None
    assert answer.note.startswith("ConnectError")


def test_calls_that_timed_out_give_their_connection_back() -> None:
    async def main() -> None:
        async with Server({f"hang-{i}": hang for i in range(6)}) as server:
            offers = [*(f"hang-{i}" for i in range(6)), "fine-1", "fine-2"]
            answers = await ask(server.port, *offers, connections=2, timeout=timedelta(seconds=0.1))
            assert [answer.status_code for answer in answers] == [None] * 6 + [204, 204]

    asyncio.run(main())


def test_a_connection_is_used_again() -> None:
    async def main() -> None:
        async with Server({"lost": raw("404 Not Found", b"{}")}) as server:
            await ask(server.port, "a", "lost", "b")
            assert server.connections == 1

    asyncio.run(main())


def test_ids_arrive_as_they_were_encoded() -> None:
    async def main() -> None:
        async with Server() as server:
            api = api_settings(server.port)
            transport = AiohttpTransport(api, 1)
            caller = OptOutApi(api, Credentials(api, time.time), transport, time.time)
            await caller(call("../a?b#c%2e@:!", "P/../Q~"), always)
            await transport.aclose()
            line, headers, body = server.requests[0]
            assert line == "POST /x/partners/P%2F..%2FQ~/offers/..%2Fa%3Fb%23c%252e%40%3A%21/opt_out/ HTTP/1.1"
            assert headers["x-api-key"] == "k"
            assert headers["authorization"].startswith('Signature keyId="k",algorithm="hmac-sha512",signature="')
            assert headers["host"] == f"127.0.0.1:{server.port}"
            assert body == b'{"partner_metadata": {"reason": "DECLINED"}}'

    asyncio.run(main())


def test_the_version_that_calls_is_told() -> None:
    async def main() -> None:
        async with Server() as server:
            await ask(server.port, "a")
            assert server.requests[0][1]["user-agent"] == f"offer-opt-out/{__version__}"

    asyncio.run(main())


def test_a_cookie_is_not_sent_back() -> None:
    async def main() -> None:
        async with Server({"a": raw("204 No Content", b"", "Set-Cookie: s=1; Path=/")}) as server:
            await ask(server.port, "a", "b")
            assert "cookie" not in server.requests[1][1]

    asyncio.run(main())


def test_a_proxy_of_the_environment_is_used_and_no_proxy_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(expected: int, offer_id: str) -> None:
        async with Server() as server, Server() as proxy:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            await ask(server.port, offer_id)
            assert (len(proxy.requests), len(server.requests)) == ((1, 0) if expected else (0, 1))

    monkeypatch.setenv("no_proxy", "elsewhere.example")
    asyncio.run(main(1, "a"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    asyncio.run(main(0, "a"))


def test_a_call_is_tried_until_it_is_recorded() -> None:
    async def main() -> CallResult:
        tries = iter([reset_mid_answer, raw("500 Oops"), raw("302 Found", b"", "Location: /"), raw("204 No Content")])

        async def in_turn(writer: Writer) -> None:
            await next(tries)(writer)

        async with Server({"offer": in_turn}) as server:
            api = api_settings(server.port)
            transport = AiohttpTransport(api, 4)
            credentials = Credentials(api, time.time)
            done: asyncio.Future[CallResult] = asyncio.get_running_loop().create_future()

            class NoWait(Random):
                def uniform(self, a: float, b: float) -> float:
                    return 0.0

            delivery = Delivery(
                OptOutApi(api, credentials, transport, time.time),
                DeliverySettings(),
                done.set_result,
                credential_of=credentials.credential_of,
                random=NoWait(),
            )
            delivery.submit([call("offer")])
            result = await asyncio.wait_for(done, 10)
            await delivery.close(1)
            await transport.aclose()
            return result

    result = asyncio.run(main())
    assert (result.outcome, result.attempts) == (Outcome.OPTED_OUT, 4)


def test_each_try_is_signed_afresh() -> None:
    class ASecond(Random):
        def uniform(self, a: float, b: float) -> float:
            return 1.1

    async def main() -> list[dict[str, str]]:
        tries = iter([raw("503 Unavailable"), raw("204 No Content")])

        async def in_turn(writer: Writer) -> None:
            await next(tries)(writer)

        async with Server({"offer": in_turn}) as server:
            thread = DeliveryThread(partial(connect, api_settings(server.port)), DeliverySettings(), random=ASecond())
            thread.start()
            thread.submit([call("offer")])
            result = await asyncio.to_thread(thread.results.get, True, 10)
            await asyncio.to_thread(thread.stop, 1.0)
            assert result.outcome is Outcome.OPTED_OUT
            return [headers for _, headers, _ in server.requests]

    first, second = asyncio.run(main())
    assert first["date"] != second["date"]
    assert first["authorization"] != second["authorization"]
    for headers in (first, second):
        assert headers["authorization"] == sign("k", "s", headers["date"])


def test_the_thread_makes_the_calls_and_gives_the_results_back() -> None:
    async def main() -> None:
        async with Server() as server:
            thread = DeliveryThread(partial(connect, api_settings(server.port)), DeliverySettings(rate_limit=0))
            thread.start()
            calls = [call(str(number)) for number in range(500)]
            thread.submit(calls)
            results = [await asyncio.to_thread(thread.results.get, True, 10) for _ in calls]
            assert {result.call for result in results} == set(calls)
            assert {result.outcome for result in results} == {Outcome.OPTED_OUT}
            await asyncio.to_thread(thread.stop, 5.0)
            calls_now = thread.snapshot().calls
            assert (calls_now.queued, calls_now.in_flight, calls_now.answers) == (0, 0, {("P", "204"): 500})
            thread.check()

    asyncio.run(main())


def test_stopping_the_thread_gives_every_call_a_result() -> None:
    async def main() -> None:
        async with Server({"hang": hang}) as server:
            thread = DeliveryThread(
                partial(connect, api_settings(server.port)), DeliverySettings(concurrency=1, rate_limit=0)
            )
            thread.start()
            thread.submit([call("hang"), call("queued")])
            await asyncio.wait_for(server.asked.wait(), 10)
            await asyncio.to_thread(thread.stop, 0.1)
            results = [thread.results.get_nowait() for _ in range(2)]
            assert {(result.call.offer_id, result.outcome) for result in results} == {("hang", None), ("queued", None)}

    asyncio.run(main())


def test_a_thread_that_cannot_start_says_so() -> None:
    def no_connection(_: int) -> OptOutApi:
        raise RuntimeError("no certificates")

    thread = DeliveryThread(no_connection, DeliverySettings())
    with pytest.raises(StopError, match="no certificates"):
        thread.start()


def test_a_failure_on_the_loop_surfaces_in_the_calling_thread() -> None:
    class Broken(Random):
        def uniform(self, a: float, b: float) -> float:
            raise ZeroDivisionError("broken")

    async def main() -> None:
        async with Server({"offer": raw("500 Oops")}) as server:
            thread = DeliveryThread(partial(connect, api_settings(server.port)), DeliverySettings(), random=Broken())
            thread.start()
            thread.submit([call("offer")])

            async def check_until_it_raises() -> None:
                while True:
                    thread.check()
                    await asyncio.sleep(0.01)

            with pytest.raises(StopError, match="broken"):
                await asyncio.wait_for(check_until_it_raises(), 10)
            await asyncio.to_thread(thread.stop, 1.0)

    asyncio.run(main())
