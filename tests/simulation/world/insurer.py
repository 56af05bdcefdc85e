"""The simulated insurer, where httpx hands the request to its transport: records calls, and answers as faults say."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from random import Random
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

import httpx
from simulation.world.timeline import Clock, Loop

from consumer.xcover.transport import MAY_LEAVE, NotSentError

JSON_404 = b'{"message": "Not found."}'


class Process(Protocol):
    """What the transport needs of the process that calls."""

    name: str

    def touch(self, what: str) -> None: ...
    def tell(self, what: str) -> None: ...


class Call(NamedTuple):
    """A call that reached the insurer. `settling`: answered 204, or 404 for good, and the answer is on its way."""

    at: int
    process: str
    partner_code: str
    offer_id: str
    reason: str
    status: int | None
    settling: bool


@dataclass
class Partner:
    """How a partner's calls are answered at present. `mode` is one of `MODES`."""

    mode: str = "ok"


MODES = ("ok", "ok", "500", "429", "403", "404", "html", "302", "hang", "cut", "recorded, then cut", "422")
"""What a fault may make of all answers to a partner. The first two are none."""

SLOW, SLOW_SECONDS = "slow", 6.0
"""The mode in which answers are right and take so many seconds, and how many: longer than a revoke waits."""


@dataclass
class Insurer:
    """All partners, and every call that came."""

    clock: Clock
    random: Random
    unknown: frozenset[str]
    refused: frozenset[tuple[str, str]]
    partners: dict[str, Partner] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    answers: set[tuple[str, int]] = field(default_factory=set)
    answered: Counter[str] = field(default_factory=Counter)
    on_leave: Callable[[Any, str], None] = lambda *_: None
    on_call: Callable[[Call], None] = lambda _: None

    def transport(self, process: Process) -> httpx.AsyncBaseTransport:
        """A process's way here."""
        return _Transport(self, process)

    async def answer(self, process: Process, request: httpx.Request) -> httpx.Response:
        """Take a call, do what the partner's mode says, and answer."""
        segments = request.url.raw_path.decode().split("/")
        partner_code, offer_id = unquote(segments[-5]), unquote(segments[-3])
        self.on_leave(process, offer_id)
        mode = self.partners.setdefault(partner_code, Partner()).mode
        reason = json.loads(request.content)["partner_metadata"]["reason"]
        await asyncio.sleep(self.random.choice((0.0, 0.01, 0.2)))
        if mode == "cut" or (mode == "hang" and self.random.random() < 0.5):
            self.answered[mode] += 1
            await asyncio.sleep(10.0 if mode == "hang" else 0)
            raise httpx.ReadTimeout("nothing came") if mode == "hang" else httpx.ConnectError("refused")
        process.touch("call, before it arrives")
        status, body, headers = self._status(mode, partner_code, offer_id)
        told = mode not in ("hang", "recorded, then cut")
        settling = told and (status == 204 or (status == 404 and body == JSON_404))
        call = Call(self.clock.ms, process.name, partner_code, offer_id, reason, status, settling)
        self.calls.append(call)
        self.answers.add((offer_id, status))
        process.tell(f"calls {partner_code}/{offer_id} {reason}: {mode} {status}")
        self.on_call(call)
        process.touch("call, before its answer")
        self.answered[mode if mode != "ok" else str(status)] += 1
        if mode == "hang":
            await asyncio.sleep(10.0)
            raise httpx.ReadTimeout("too slow")
        if mode == SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        if mode == "recorded, then cut":
            raise httpx.RemoteProtocolError("cut")
        date = format_datetime(datetime.fromtimestamp(self.clock.now, UTC), usegmt=True)
        return httpx.Response(status, content=body, headers={**headers, "Date": date})

    def ask_time(self, loop: Loop, on_time: Callable[[float | None, float, float], None]) -> None:
        """As an answer to HEAD tells it: to the second, a little later, and not always."""
        sent = loop.time()

        def answer() -> None:
            on_time(float(int(self.clock.now)), sent, loop.time())

        if self.random.random() < 0.95:
            loop.call_later(self.random.choice((0.01, 0.01, 0.3)), answer)  # of a lateness that is seconds here

    def _status(self, mode: str, partner_code: str, offer_id: str) -> tuple[int, bytes, dict[str, str]]:
        match mode:
            case "500" | "302" | "403" | "422":
                return int(mode), b"{}", {"Location": "/elsewhere"} if mode == "302" else {}
            case "429":
                return 429, b"{}", {"Retry-After": self.random.choice(("2", "30", "garbage"))}
            case "404":
                return 404, JSON_404, {}
            case "html":
                return 404, b"<html>not here</html>", {}
            case _ if (partner_code, offer_id) in self.refused:
                return 422, b"{}", {}
            case _:
                return (404, JSON_404, {}) if offer_id in self.unknown else (204, b"", {})


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, insurer: Insurer, process: Process) -> None:
        self._insurer = insurer
        self._process = process

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not request.extensions[MAY_LEAVE]():  # as the real one asks, once the connection stands
            raise NotSentError("it was withheld")
        return await self._insurer.answer(self._process, request)
