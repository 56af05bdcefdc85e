"""An answer that settles a call counts, though the call was given up while it was in flight: with the real threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection

import pytest
from support.builders import offer
from support.delivery_world import FAILED, NOT_FOUND, OK
from support.loop_world import LoopWorld, lose, revoke

from consumer.calls import Answer, CallOwner, OptOutCall
from consumer.delivery.thread import DeliveryThread
from consumer.events import Outcome
from consumer.settings import DeliverySettings


class Insurer:
    """Answers once the test lets it."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.called = threading.Event()
        self.may_answer = asyncio.Event()  # set on the loop

    async def __call__(self, call: OptOutCall, may_leave: Callable[[], bool]) -> Answer:
        self.called.set()
        await self.may_answer.wait()
        return self.answer

    def credential_of(self, partner_code: str) -> str:
        return partner_code

    async def aclose(self) -> None:
        """It has no connections."""


class CancelledFirst(DeliveryThread):
    """Its insurer answers when the delivery has seen to the cancelling."""

    def __init__(self, insurer: Insurer, limit: int) -> None:
        super().__init__(lambda _: insurer, DeliverySettings(rate_limit=0, not_found_limit=limit))
        self.insurer = insurer

    def cancel(self, owners: Collection[CallOwner]) -> None:
        super().cancel(owners)
        self._send(lambda _: self.insurer.may_answer.set())


@pytest.mark.parametrize("how", [revoke, lose])
@pytest.mark.parametrize(
    ("answer", "limit", "outcome"),
    [
        (OK, 20, Outcome.OPTED_OUT),
        (NOT_FOUND, 0, Outcome.NOT_FOUND),
        (NOT_FOUND, 20, None),
        (FAILED, 20, None),
    ],
    ids=["204", "404", "404 that is not believed yet", "500"],
)
def test_an_answer_after_the_task_was_taken_away_settles_or_is_left_to_whoever_reads_on(
    how: object, answer: Answer, limit: int, outcome: Outcome | None
) -> None:
    thread = CancelledFirst(Insurer(answer), limit)
    world = LoopWorld(delivery=thread, kafka={"revoke_timeout": "10s"})
    thread.start()
    try:
        world.begin()
        world.turn([offer(0, 10_000)])
        world.idle(20_000)
        assert thread.insurer.called.wait(10)
        runner = world.runner
        world.turn(how)  # type: ignore[arg-type] # one of the two
        if runner.outstanding:  # a lost one waits for nothing
            world.loop.tasks.settle_results(wait=10)
        assert runner.outstanding == 0
        assert [written.outcome for written in world.sink.outcomes] == ([outcome] if outcome else [])
        if how is revoke:
            assert world.committed == (1 if outcome else 0)
    finally:
        thread.stop(1.0)
