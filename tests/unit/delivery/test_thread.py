"""The delivery on a thread of its own: what is asked of it is done in that order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from support.delivery_world import OK, REFUSED, make_calls, numbered
from support.owner import Owner

from consumer.calls import Answer, OptOutCall
from consumer.delivery.thread import BATCH, DeliveryThread
from consumer.errors import StopError
from consumer.events import Outcome
from consumer.settings import DeliverySettings


class Connection:
    """Answers 422, or a moment later 204 to the offer `good`."""

    closed = False

    async def __call__(self, call: OptOutCall, may_leave: Callable[[], bool]) -> Answer:
        await asyncio.sleep(0.01)
        return OK if call.offer_id == "good" else REFUSED

    def credential_of(self, partner_code: str) -> str:
        return partner_code

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def thread(connection: Connection) -> Iterator[DeliveryThread]:
    thread = DeliveryThread(lambda _: connection, DeliverySettings(rate_limit=0, rejected="dead-letter"))
    thread.start()
    yield thread
    thread.stop(1.0)


def outcomes(thread: DeliveryThread, count: int) -> Counter[Outcome | None]:
    return Counter(thread.results.get(timeout=10).outcome for _ in range(count))


def test_a_call_that_is_submitted_between_two_requests_to_cancel_is_cancelled_by_the_second(
    thread: DeliveryThread,
) -> None:
    gone, other = Owner("gone"), Owner("other")
    thread.cancel([other])
    thread.submit(make_calls(numbered(3 * BATCH), owner=gone))
    thread.cancel([gone, other])
    thread.submit(make_calls(["good"], owner=Owner("stays")))
    counted = outcomes(thread, 3 * BATCH + 1)
    assert counted[Outcome.OPTED_OUT] == 1
    assert counted[None] > 3 * BATCH - 2_000, "what was not in flight yet is given back"


def test_a_refused_call_is_given_back_once_and_not_when_it_is_to_be_tried_again(thread: DeliveryThread) -> None:
    (call,) = make_calls(["bad"])
    thread.submit([call])
    assert outcomes(thread, 1) == {Outcome.DEAD_LETTERED: 1}
    thread.retry_refused(call)
    thread.submit(make_calls(["bad too"]))
    assert thread.results.get(timeout=10).call.offer_id == "bad too"
    thread.release({("P", "bad"): "released by on call: gone"})
    assert outcomes(thread, 1) == {Outcome.RELEASED: 1}


def test_the_connection_is_closed_at_the_end(connection: Connection) -> None:
    thread = DeliveryThread(lambda _: connection, DeliverySettings())
    thread.start()
    assert not connection.closed
    thread.stop(1.0)
    assert connection.closed


def test_a_connection_that_cannot_be_made_stops_the_start() -> None:
    def broken(_: int) -> Connection:
        raise RuntimeError("no certificates")

    with pytest.raises(StopError, match="no certificates"):
        DeliveryThread(broken, DeliverySettings()).start()
