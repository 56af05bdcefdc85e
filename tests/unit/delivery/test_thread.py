"""The delivery on a thread of its own: what is asked of it is done in that order."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs
from support.delivery_world import OK, REFUSED, make_calls, numbered
from support.owner import Owner

from consumer.calls import Answer, OptOutCall
from consumer.delivery.counts import CallCounts
from consumer.delivery.doing import NOTHING_YET, DeliverySnapshot
from consumer.delivery.queue import Delivery
from consumer.delivery.thread import BATCH, SNAPSHOT_EVERY, DeliveryThread
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


def test_what_it_is_doing_may_be_read_from_any_thread_while_partners_come(thread: DeliveryThread) -> None:
    """A dictionary that grows while another thread goes through it raises an error. None is gone through so."""
    partners = 3_000
    for number in range(partners):
        thread.submit(make_calls(["good"], partner=f"partner-{number}", owner=Owner("o")))
        found = thread.snapshot()
        assert sum(found.calls.unsettled.values()) <= number + 1
    assert outcomes(thread, partners) == {Outcome.OPTED_OUT: partners}
    thread.stop(1.0)
    found = thread.snapshot()
    assert (found.calls.queued, found.calls.in_flight) == (0, 0)
    assert sum(found.calls.answers.values()) == partners


def test_what_it_is_doing_is_looked_at_by_itself(thread: DeliveryThread) -> None:
    thread.submit(make_calls(["good"], owner=Owner("o")))
    deadline = time.monotonic() + 20 * SNAPSHOT_EVERY
    while not thread.snapshot().calls.answers:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_fault_in_telling_what_is_done_stops_no_call(thread: DeliveryThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people look at must not be able to stop what they look at."""
    failed = threading.Event()

    def broken(_: Delivery) -> DeliverySnapshot:
        failed.set()
        raise RuntimeError("a mistake in what is told to those outside")

    with capture_logs() as lines:
        monkeypatch.setattr(Delivery, "snapshot", broken)
        for _ in range(2):
            failed.clear()
            assert failed.wait(10), "it is looked at again: the next look may succeed"
        thread.submit(make_calls(["good"]))
        assert outcomes(thread, 1) == {Outcome.OPTED_OUT: 1}
        thread.check()
        thread.stop(1.0)
    thread.check()
    assert [line["log_level"] for line in lines if line["event"].startswith("metrics and the status page")] == ["error"]


def test_a_start_that_cannot_tell_what_is_done_is_a_start(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Delivery, "snapshot", lambda _: 1 // 0)
    thread = DeliveryThread(lambda _: connection, DeliverySettings(rate_limit=0))
    thread.start()
    try:
        thread.submit(make_calls(["good"]))
        assert outcomes(thread, 1) == {Outcome.OPTED_OUT: 1}
        assert thread.snapshot() == NOTHING_YET
    finally:
        thread.stop(1.0)


def test_a_fault_in_counting_what_is_done_stops_no_call(
    thread: DeliveryThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CallCounts, "answered", lambda *_, **__: 1 // 0)
    thread.submit(make_calls(["good", "bad", "good"]))
    assert outcomes(thread, 3) == {Outcome.OPTED_OUT: 2, Outcome.DEAD_LETTERED: 1}
    thread.check()
