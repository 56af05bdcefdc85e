"""A delivery in virtual time, with an insurer that answers as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from random import Random

from support.owner import OWNER, Owner

from consumer.calls import Answer, AnswerKind, CallResult, OptOutCall
from consumer.delivery.doing import DeliverySnapshot
from consumer.delivery.gate import Condition
from consumer.delivery.queue import Delivery
from consumer.events import Outcome, Reason, RecordRef
from consumer.settings import DeliverySettings

OK = Answer(AnswerKind.RECORDED, 204)
NOT_FOUND = Answer(AnswerKind.NOT_FOUND, 404)
DENIED = Answer(AnswerKind.CREDENTIALS, 403, None, "no access")
FAILED = Answer(AnswerKind.TRANSIENT, 500)
TIMED_OUT = Answer(AnswerKind.TRANSIENT)
REFUSED = Answer(AnswerKind.REFUSED, 422, None, "Unexpected field")
ODD = Answer(AnswerKind.UNEXPECTED, 302)


def slow_down(seconds: float) -> Answer:
    return Answer(AnswerKind.TRANSIENT, 429, seconds)


Insurer = Callable[[OptOutCall], Answer | Awaitable[Answer]]


class Highest(Random):
    """No luck: every back-off is as long as it may be."""

    def uniform(self, a: float, b: float) -> float:
        return b


class DeliveryWorld:
    """Made within `virtual_time.run`. `made` lists the calls as (time, partner_code, offer_id)."""

    def __init__(
        self,
        insurer: Insurer,
        *,
        shared_key: bool = False,
        credential_of: Callable[[str], Hashable] | None = None,
        random: Random | None = None,
        max_refused_run: int = 100,
        conditions: Sequence[Condition] = (),
        **settings: object,
    ):
        self.loop = asyncio.get_running_loop()
        self.insurer = insurer
        self.latency = 0.1
        self.connecting = 0.0
        """Seconds that a call waits for its connection."""
        self.made: list[tuple[float, str, str]] = []
        self.results: list[tuple[float, CallResult]] = []
        self.most_at_once: dict[str, int] = {}
        self._at_once: dict[str, int] = {}
        self._arrived = asyncio.Event()
        self.delivery = Delivery(
            self._call,
            DeliverySettings.model_validate({"rate_limit": 0, **settings}),
            self._on_result,
            credential_of=credential_of or (lambda partner: "key" if shared_key else partner),
            random=random or Random(1),
            max_refused_run=max_refused_run,
            conditions=conditions,
        )

    async def _call(self, call: OptOutCall, may_leave: Callable[[], bool]) -> Answer:
        if self.connecting:
            await asyncio.sleep(self.connecting)
        if not may_leave():
            return Answer(AnswerKind.WITHHELD)
        self.made.append((self.loop.time(), call.partner_code, call.offer_id))
        now = self._at_once[call.partner_code] = self._at_once.get(call.partner_code, 0) + 1
        self.most_at_once[call.partner_code] = max(now, self.most_at_once.get(call.partner_code, 0))
        try:
            answer = self.insurer(call)
            if not isinstance(answer, Answer):
                return await answer
            await asyncio.sleep(self.latency)
            return answer
        finally:
            self._at_once[call.partner_code] -= 1

    def _on_result(self, result: CallResult) -> None:
        self.results.append((self.loop.time(), result))
        self._arrived.set()

    def submit(self, *offer_ids: str, partner: str = "P", owner: Owner = OWNER) -> list[OptOutCall]:
        calls = make_calls(offer_ids, partner, owner)
        self.delivery.submit(calls)
        return calls

    async def until(self, when: float) -> None:
        """Let everything up to this time happen."""
        await asyncio.sleep(when - self.loop.time())
        for _ in range(5):
            await asyncio.sleep(0)

    async def until_results(self, count: int) -> None:
        while len(self.results) < count:
            self._arrived.clear()
            await self._arrived.wait()

    def outcomes(self) -> dict[str, Outcome | None]:
        return {result.call.offer_id: result.outcome for _, result in self.results}

    def times(self, partner: str | None = None) -> list[float]:
        return [round(when, 6) for when, code, _ in self.made if partner in {None, code}]

    def offers(self, partner: str = "P") -> list[str]:
        return [offer for _, code, offer in self.made if code == partner]


def states(snapshot: DeliverySnapshot) -> dict[str, str]:
    """The partners with calls that wait, and why in words."""
    return {partner.code: partner.words for partner in snapshot.partners if partner.unsettled}


def make_calls(offer_ids: Iterable[str], partner: str = "P", owner: Owner = OWNER) -> list[OptOutCall]:
    """Calls of chains that start at 0, 1, 2 and so on."""
    source, metadata = RecordRef("offers", 3, 14), {"m": "s3cr3t"}
    return [
        OptOutCall(partner, offer_id, "session", Reason.DECLINED, metadata, source, owner, chain_start)
        for chain_start, offer_id in enumerate(offer_ids)
    ]


def numbered(count: int, prefix: str = "o") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


async def never(_: OptOutCall) -> Answer:
    """A partner that hangs, up to the transport's time-out."""
    await asyncio.sleep(10.0)
    return TIMED_OUT
