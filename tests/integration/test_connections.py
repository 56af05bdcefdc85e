"""How long a connection to the API is kept: as long as it brings what settles calls, and not for ever."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from support.delivery_world import states
from support.loopback_server import LoopbackServer, read_request
from support.owner import OWNER, Owner, always

from consumer.calls import Answer, AnswerKind, CallResult, OptOutCall, Withheld
from consumer.delivery.breaker import OFFERS_TO_OPEN
from consumer.delivery.gate import LOOK_S, GateState, Opening
from consumer.delivery.queue import Delivery
from consumer.events import Outcome, Reason, RecordRef
from consumer.settings import ApiSettings, DeliverySettings
from consumer.xcover import connection
from consumer.xcover.api import OptOutApi
from consumer.xcover.auth import Credentials
from consumer.xcover.transport import AiohttpTransport

GOOD = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status: int, body: bytes = b"", *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers, b"", body])


class Machine(LoopbackServer):
    """Answers every request at one address with the same bytes, and never hangs up."""

    def __init__(self, reply: bytes = GOOD, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(host, port)
        self.reply = reply
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            self.requests += 1
            writer.write(self.reply)


class Client:
    """Makes calls over one transport."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        settings = ApiSettings(base_url=f"http://{host}:{port}/x", auth="none")
        self.transport = AiohttpTransport(settings, 4)
        self.api = OptOutApi(settings, Credentials(settings, lambda: 0.0), self.transport, lambda: 0.0)

    async def call(self) -> int | None:
        return (await self.ask(always)).status_code

    async def ask(self, may_leave: Callable[[], bool]) -> Answer:
        call = OptOutCall("P", "o", "s", Reason.DECLINED, {}, RecordRef("offers", 0, 1), OWNER, 1)
        return await self.api(call, may_leave)


def connections_of_two_calls(reply: bytes, between: Callable[[], None] = lambda: None) -> int:
    async def main() -> int:
        async with Machine(reply) as machine:
            client = Client(machine.port)
            for _ in range(2):
                assert await client.call() is not None
                between()
            await client.transport.aclose()
            assert machine.requests == 2
            return machine.connections

    return asyncio.run(main())


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        answer(204),
        answer(404),
        answer(404, b'{"message": "no"}'),
        answer(404, gzip.compress(b"{}", mtime=0), b"Content-Encoding: gzip"),
        b"HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_a_connection_that_settles_calls_is_kept(reply: bytes) -> None:
    assert connections_of_two_calls(reply) == 1


@pytest.mark.parametrize(
    "reply",
    [
        *(answer(status, b"{}") for status in (200, 202, 302, 400, 401, 403, 407, 408, 422, 425, 429, 500, 502, 503)),
        answer(404, b"<html>"),
        answer(404, b"[]"),
        answer(404, b"{", b"Content-Encoding: gzip"),
        b"HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_connection_that_brings_anything_else_is_dropped(reply: bytes) -> None:
    assert connections_of_two_calls(reply) == 2


@pytest.mark.parametrize("connected", [False, True], ids=["a new connection", "one that is kept"])
def test_a_call_that_is_withheld_while_it_waits_for_its_connection_does_not_leave(connected: bool) -> None:
    """An API that accepts no more for now gives a connection seconds after the gate was asked."""

    async def main() -> None:
        async with Machine() as machine:
            client = Client(machine.port)
            if connected:
                await client.call()
            answer = await client.ask(lambda: False)
            assert (answer.kind, answer.status_code) == (AnswerKind.WITHHELD, None)
            await client.transport.aclose()
            assert machine.requests == int(connected)

    asyncio.run(main())


def test_a_call_withheld_at_its_connection_counts_as_not_made() -> None:
    """Else its offer would be said to be bought after an opt-out that nobody has sent, and its partner to fail."""

    class Bought(Owner):
        """A purchase is read between the gate and the connection."""

        def withholds(self, call: OptOutCall) -> Withheld | None:
            return Withheld() if call in asked or asked.add(call) else None  # type: ignore[func-returns-value]

    asked: set[OptOutCall] = set()

    async def main() -> list[CallResult]:
        results: list[CallResult] = []
        all_told = asyncio.Event()

        def on_result(result: CallResult) -> None:
            results.append(result)
            if len(results) == OFFERS_TO_OPEN:
                all_told.set()

        async with Machine() as machine:
            client = Client(machine.port)
            delivery = Delivery(
                client.api,
                DeliverySettings(rate_limit=0),
                on_result,
                credential_of=lambda partner: partner,
                random=Random(1),
            )
            bought = Bought()
            delivery.submit(
                OptOutCall("P", f"o{at}", "s", Reason.DECLINED, {}, RecordRef("offers", 0, at), bought, at)
                for at in range(OFFERS_TO_OPEN)
            )
            async with asyncio.timeout(20):
                await all_told.wait()
            assert machine.requests == 0
            assert states(delivery.snapshot()) == {}
            await delivery.close(1.0)
            await client.transport.aclose()
        return results

    assert {(result.outcome, result.attempts, result.maybe_recorded) for result in asyncio.run(main())} == {
        (None, 0, False)
    }


def test_the_whole_gate_is_asked_once_more_when_the_connection_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our writes may begin to fail, or our clock to be wrong, while a name is looked up or an API accepts no more."""
    state = GateState(Opening.OPEN)
    looked_up, go_on = threading.Event(), threading.Event()
    look_up = socket.getaddrinfo

    def slow(*given: Any, **named: Any) -> Any:
        looked_up.set()
        assert go_on.wait(20)
        return look_up(*given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def main() -> None:
        nonlocal state
        async with Machine() as machine:
            client = Client(machine.port, "localhost")
            results: asyncio.Queue[CallResult] = asyncio.Queue()
            delivery = Delivery(
                client.api,
                DeliverySettings(rate_limit=0),
                results.put_nowait,
                credential_of=lambda partner: partner,
                random=Random(1),
                conditions=[lambda: state],
            )
            delivery.submit([OptOutCall("P", "o", "s", Reason.DECLINED, {}, RecordRef("offers", 0, 1), OWNER, 1)])
            await asyncio.to_thread(looked_up.wait, 20)
            state = GateState(Opening.CLOSED, "outcomes cannot be written")
            go_on.set()
            await asyncio.sleep(3 * LOOK_S)
            assert (machine.requests, results.qsize(), delivery.queued) == (0, 0, 1)
            state = GateState(Opening.OPEN)
            async with asyncio.timeout(20):
                result = await results.get()
            assert (result.outcome, result.attempts, machine.requests) == (Outcome.OPTED_OUT, 1, 1)
            await delivery.close(1.0)
            await client.transport.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("surplus", [GOOD, b"{}", b""], ids=["another answer", "a body", "the end"])
def test_what_has_come_since_the_last_answer_is_no_part_of_the_next(surplus: bytes) -> None:
    """Though the loop has not read it yet: a busy one makes the next call in the same moment."""
    done, sent = threading.Event(), threading.Event()

    def serve(listener: socket.socket) -> None:
        for number, reply in enumerate((GOOD, answer(404, b"{}"))):
            with listener.accept()[0] as connection:
                connection.recv(65_536)
                connection.sendall(reply)
                if number == 0:
                    assert done.wait(20)
                    connection.sendall(surplus)
                    if not surplus:
                        connection.shutdown(socket.SHUT_WR)
                    sent.set()
                connection.settimeout(5)
                with suppress(OSError):  # closed with bytes unread, it is reset
                    connection.recv(65_536)

    async def main() -> None:
        client = Client(listener.getsockname()[1])
        assert await client.call() == 204
        done.set()
        assert sent.wait(20)
        assert await client.call() == 404
        await client.transport.aclose()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,), daemon=True)
        server.start()
        asyncio.run(main())
        server.join(10)


def test_a_good_connection_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connections_of_two_calls(GOOD, lambda: monkeypatch.setattr(connection, "CONNECTION_LIFE_S", -1.0)) == 1
    assert connections_of_two_calls(GOOD) == 2


@pytest.mark.parametrize("old_reply", [answer(503), answer(404, b"<html>"), GOOD])
def test_a_name_that_moves_is_followed(monkeypatch: pytest.MonkeyPatch, old_reply: bytes) -> None:
    """Though the machine at its old address answers, and keeps its connections open."""
    monkeypatch.setattr(connection, "NAME_LIFE_S", 0)
    addresses = ["127.0.0.1"]
    look_up = socket.getaddrinfo

    def names(host: Any, *rest: Any, **more: Any) -> Any:
        return look_up(addresses[0] if host == "api.test" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", names)

    async def main() -> None:
        async with Machine(old_reply) as old, Machine(host="127.0.0.2", port=old.port) as new:
            client = Client(old.port, "api.test")
            await client.call()
            addresses[0] = "127.0.0.2"
            if old_reply == GOOD:
                assert await client.call() == 204
                assert new.requests == 0, "it is told from a good one by its age alone"
                monkeypatch.setattr(connection, "CONNECTION_LIFE_S", -1.0)
                await client.call()
            before = old.requests
            assert await client.call() == 204
            assert (old.requests, new.requests) == (before, 1)
            await client.transport.aclose()

    asyncio.run(main())
