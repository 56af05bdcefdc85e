"""Traced calls, and an API that shows what arrived of them on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from support.http_handlers import ApiHandler, served
from support.loopback_server import LoopbackServer, read_request
from support.owner import OWNER

from consumer.calls import CallTrace, OptOutCall
from consumer.events import Reason, RecordRef, TraceContext

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-01"
UNSAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-00"


def traced_call(traceparent: str | None = SAMPLED, tracestate: str = "", offer_id: str = "o-77") -> OptOutCall:
    """A call, of a record with this `traceparent`; None: of a record without one."""
    trace = None if traceparent is None else CallTrace(TraceContext(traceparent, tracestate))
    source = RecordRef("offer.presented", 0, 1)
    return OptOutCall("P-1", offer_id, "s-55", Reason.DECLINED, {}, source, OWNER, 1, trace)


class WireApi(LoopbackServer):
    """Answers each request with the next of the statuses, the last one for ever; keeps the heads as they came."""

    def __init__(self, *statuses: int) -> None:
        super().__init__()
        self.statuses = list(statuses or (204,))
        self.heads: list[bytes] = []

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}/x"

    def headers(self, name: str) -> list[list[str]]:
        """Of each request the values of the headers of this name."""
        prefix = f"{name}: "
        return [
            [line[len(prefix) :] for line in head.decode("latin-1").split("\r\n") if line.lower().startswith(prefix)]
            for head in self.heads
        ]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await read_request(reader)
            self.heads.append(head)
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
            if status == 0:  # no answer
                return
            body = b"" if status == 204 else b"Content-Length: 2\r\n"
            writer.write(b"HTTP/1.1 %d X\r\n%b\r\n%b" % (status, body, b"{}" if body else b""))
            await writer.drain()


class HeaderApi:
    """Answers each call for a process with 204, the first one for an offer with 503; keeps the headers of all."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.base_url = ""

    def of(self, offer_id: str) -> list[dict[str, str]]:
        """The headers of each request for an offer, by their names in small letters."""
        return [headers for offer, headers in self.calls if offer == offer_id]

    @contextmanager
    def serving(self) -> Iterator[HeaderApi]:
        """Serve, on a free port of this machine, until the context ends."""
        api = self

        class Handler(ApiHandler):
            def on_post(self, body: bytes) -> None:
                offer_id = self.path.split("/")[5]
                is_first = not api.of(offer_id)
                api.calls.append((offer_id, {name.lower(): value for name, value in self.headers.items()}))
                self.send_response(503 if is_first else 204)
                if is_first:
                    self.send_header("Content-Length", "0")
                self.end_headers()

        with served(Handler) as url:
            self.base_url = f"{url}/x"
            yield self
