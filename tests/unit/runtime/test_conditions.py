"""What is said in words about our own writes, as the gate takes it."""

from __future__ import annotations

from consumer.delivery.gate import OPEN, Opening
from consumer.kafka.topic_watch import TopicWatch
from consumer.kafka.writes import Writes
from consumer.runtime.conditions import attended, recorded, same_topics
from consumer.server.health import CALM, IN_HAND, STALL, Health


def test_calls_go_one_at_a_time_then_freely_and_not_at_all_while_writes_fail() -> None:
    writes = Writes("offer.outcome")
    state = recorded(writes)
    assert state().opening is Opening.ONE_AT_A_TIME
    assert "no outcome of this run" in state().reason
    writes.end(writes.begin("offer.outcome"), recorded=True)
    assert state() == OPEN
    writes.fail("an outcome: refused")
    assert state().opening is Opening.CLOSED
    assert "an outcome: refused" in state().reason


def test_no_call_leaves_while_the_loop_stands_still_and_until_it_has_turned_for_a_while() -> None:
    now = 100.0

    def turn() -> None:
        health.turned(assigned=True, tasks=(0,), restoring=(), stopping=False)

    health = Health(95.0, lambda: now)
    state = attended(health)
    assert state() == OPEN
    now += STALL
    assert state() == OPEN, "a long turn"
    now += 0.1
    assert state().opening is Opening.CLOSED
    assert "has not turned for 5 s" in state().reason
    turn()
    assert state().opening is Opening.CLOSED, "it has not heard yet whose the tasks are"
    now += CALM
    turn()
    assert state() == OPEN


def test_a_wait_for_the_brokers_is_a_loop_that_stands_still() -> None:
    now = 100.0
    health = Health(95.0, lambda: now)
    state = attended(health)
    with health.waiting("a commit"):
        now += STALL + 1
        assert state().opening is Opening.CLOSED
    assert state().opening is Opening.CLOSED
    now += CALM
    assert state() == OPEN


def test_no_call_leaves_while_records_that_were_read_wait_however_short_that_is() -> None:
    health = Health(95.0, lambda: 100.0)
    state = attended(health)
    health.records_wait("the broker is asked")
    assert state() == (Opening.CLOSED, "the broker is asked")
    health.records_wait("")
    assert state() == OPEN


def test_no_call_leaves_while_what_was_read_waits_to_be_applied() -> None:
    now = 100.0
    health = Health(95.0, lambda: now)
    state = attended(health)
    with health.applying():
        now += IN_HAND
        assert state() == OPEN, "a full batch"
        now += 0.5
        assert state().opening is Opening.CLOSED
        assert "are not applied for 2 s" in state().reason
    assert state() == OPEN


def test_no_call_leaves_while_it_is_in_doubt_whether_the_topics_are_the_same() -> None:
    watch = TopicWatch(None, {"offers": "an id"})  # type: ignore[arg-type]
    state = same_topics(watch)
    assert state() == OPEN
    watch.doubt()
    assert state().opening is Opening.CLOSED
    watch.certain = True
    assert state() == OPEN
