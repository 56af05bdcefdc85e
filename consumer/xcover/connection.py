"""One connection to the API, below aiohttp: it knows whether the answer to its call has arrived, whatever came with it.

Once the insurer has answered 204, the call is settled. aiohttp's parser loses an answer that it has read already if
something behind it is wrong, in the same segment: a body that a 204 must not have, an endless header, a cut. The call
would then be made again for ever. So what comes is kept until the next call, and where aiohttp fails it is read again.

A connection is used again only if it brought an answer that settles a call, and not for longer than CONNECTION_LIFE_S:
one that leads to the wrong machine must not be kept for as long as that one answers.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import aiohttp
import h11
from aiohttp.client_proto import ResponseHandler

from .body import MAX_BODY, is_of_the_api, unpacked

MAX_HEAD = 1024 * 1024
"""Bytes of an answer before its body, that of 1xx answers included. Gateways add long headers; none is so long."""
CONNECTION_LIFE_S = 60.0
"""A connection of this age is not used again: a name that has moved is followed though the old machine answers."""
NAME_LIFE_S = 10
"""So long an address is taken for that of its name."""

_KEPT = MAX_HEAD + MAX_BODY
_STATUS_LINE = re.compile(rb"[\r\n]*HTTP/1\.[0-9] ([1-9][0-9]{2})(?: [^\n]*|\r)?\n")
_IDENTITY = re.compile(rb"^transfer-encoding(?=:[ \t]*identity[ \t]*\r?$)", re.IGNORECASE | re.MULTILINE)
"""A coding that changes nothing. HTTP has it no more, and to both parsers it is one beside which no length counts."""
_HEAD_END = re.compile(rb"\n\r?\n")
_carrier: ContextVar[AnswerConnection | None] = ContextVar("carrier", default=None)
"""The connection that carries the call of this task."""


_may_leave: ContextVar[Callable[[], bool]] = ContextVar("may_leave")
"""Whether the call of this task is still to be made."""


class WithheldError(aiohttp.ClientError):
    """The call was withheld while it waited for its connection: nothing of it was sent."""


class ArrivedAnswer(NamedTuple):
    """An answer as far as it counts. `body` is whole with a 404; with another status, it may be cut or missing."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def arrived_answer(received: bytes) -> ArrivedAnswer | None:
    """The answer to a call in what was received for it, as far as it came; None if it does not tell what to do.

    That is so without a whole status line, and with a 404 whose body is not known to be whole.
    """
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=_KEPT)
    reader.send(h11.Request(method="POST", target="/", headers=[("Host", "api"), ("Content-Length", "0")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(received)
    status, headers, body, is_whole = None, [], b"", False
    try:
        while not is_whole and (event := reader.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Response):
                status, headers = event.status_code, list(event.headers)
            elif isinstance(event, h11.Data):
                body += event.data
            is_whole = isinstance(event, h11.EndOfMessage)
    except h11.RemoteProtocolError:
        pass  # what came before it counts
    if status is None:
        status = _final_status(received)
    if status is None or (status == 404 and not is_whole):
        return None
    return ArrivedAnswer(status, headers, body)


def _final_status(received: bytes) -> int | None:
    """The status by the status lines alone, whatever the headers are; those of 1xx answers are passed over."""
    at = 0
    while line := _STATUS_LINE.match(received, at):
        status = int(line[1])
        if status >= 200:
            return status
        end = _HEAD_END.search(received, line.end() - 1)
        if end is None:
            return None
        at = end.end()
    return None


class AnswerConnection(ResponseHandler):
    """A connection that keeps what comes for one call, and is kept only if that was good."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._opened = loop.time()
        self._received = bytearray()
        self._answer: Any = None  # aiohttp's message and its body
        self._carried = False

    def set_response_params(self, **params: Any) -> None:
        """A call begins."""
        self._received.clear()
        self._answer = None
        self._carried = True
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Keep what comes for the call. What comes behind its answer is nobody's, least of all the next call's."""
        # aiohttp calls it with nothing, too, when it goes on reading.
        if data and self._answer is not None and self._answer[1].is_eof():
            self._hang_up()
            return
        if self._answer is None:
            data = _IDENTITY.sub(b"old-transfer-code", data)  # as long, since a body may have come with it
        if len(self._received) < _KEPT:
            self._received += data
        super().data_received(data)
        if self._answer is None and len(self._received) > MAX_HEAD:
            self._hang_up()
            self.set_exception(aiohttp.ClientPayloadError(f"an answer's head of more than {MAX_HEAD} bytes"))

    def feed_data(self, data: Any, size: int = 0) -> None:
        """aiohttp has read the head of an answer."""
        if data[0].code >= 200:
            self._answer = data
        super().feed_data(data, size)

    def has_surplus(self) -> bool:
        """Whether something has come since its last call that the loop has not read yet: its end, or nobody's bytes.

        A busy loop makes the next call in the moment in which the last one was answered, and would take it for the
        answer to that.
        """
        if not self._carried or self.transport is None:
            return False
        look = select.poll()
        look.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(look.poll(0))

    @property
    def should_close(self) -> bool:
        """Asked by aiohttp when a call is done."""
        return super().should_close or self._loop.time() - self._opened > CONNECTION_LIFE_S or not self._was_good()

    def arrived(self) -> ArrivedAnswer | None:
        """See `arrived_answer`, of the call that this carries."""
        return arrived_answer(bytes(self._received))

    def _was_good(self) -> bool:
        """Whether it brought what settles a call, and nothing that it should not."""
        if self._answer is None:
            return False
        message = self._answer[0]
        if message.code == 204:
            return message.headers.get("Content-Length", "0") == "0" and "Transfer-Encoding" not in message.headers
        if message.code != 404 or (answer := self.arrived()) is None:
            return False
        return is_of_the_api(unpacked(answer.body, message.headers.get("Content-Encoding")))

    def _hang_up(self) -> None:
        self.force_close()
        if self.transport is not None:
            self.transport.close()


class AnswerConnector(aiohttp.TCPConnector):
    """Opens connections of that kind, and remembers which of them carries a task's call."""

    def __init__(self, **options: Any) -> None:
        super().__init__(ttl_dns_cache=NAME_LIFE_S, **options)
        # aiohttp promises no way; pyproject.toml bounds its version, and `connect` holds that this one works.
        self._factory = partial(AnswerConnection, loop=self._loop)  # type: ignore[assignment]

    async def connect(self, *given: Any, **named: Any) -> aiohttp.connector.Connection:
        """A connection for the call of this task. Until it stands there is none: a proxy's answer is not the API's."""
        _carrier.set(None)
        connection = await super().connect(*given, **named)
        while isinstance(kept := connection.protocol, AnswerConnection) and kept.has_surplus():
            connection.close()
            connection = await super().connect(*given, **named)
        # An API that accepts no more for now gives a connection seconds after the gate was asked.
        may_leave = False
        try:
            may_leave = _may_leave.get(_always)()
        finally:
            if not may_leave:
                connection.close()
        if not may_leave:
            raise WithheldError("not sent: it was withheld while it waited for a connection")
        assert isinstance(connection.protocol, AnswerConnection)  # noqa: S101 - made by _factory
        _carrier.set(connection.protocol)
        return connection


def arrived_for_this_call() -> ArrivedAnswer | None:
    """What has arrived for the call that this task made, though aiohttp failed."""
    carrier = _carrier.get()
    return carrier.arrived() if carrier is not None else None


def is_connected() -> bool:
    """Whether the call that this task made had a connection to the API, a proxy between them or not."""
    return _carrier.get() is not None


def begin_call(may_leave: Callable[[], bool] | None) -> None:
    """Before a call of this task: nothing has arrived for it. `may_leave` is asked once more when it is connected."""
    _carrier.set(None)
    _may_leave.set(may_leave or _always)


def _always() -> bool:
    return True
