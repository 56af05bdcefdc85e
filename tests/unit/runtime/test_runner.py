"""One task's runner: the fence, the rebuild's hold-back, and what stops it."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.calls import CallResult
from consumer.codecs.plain import PlainCodec
from consumer.core.rules import DecisionRules
from consumer.core.task import Position, Side, Task
from consumer.errors import StopError, TooManyDeadLettersError, TruncatedLogError
from consumer.events import OfferOutcome, Outcome, Reason
from consumer.runtime.bad_records import BadRecordLimit
from consumer.runtime.runner import TaskRunner

RULES = DecisionRules(window=1_000, checkout_grace=100, lookback=5_000, lateness=0, max_skew=1_000_000)
NOW = 1_000_000
CODEC = PlainCodec()


class Message:
    """What the runner asks of a Kafka message."""

    def __init__(self, topic: str, offset: int, key: str | None, value: bytes | None, *, end: bool = False) -> None:
        self._topic, self._offset, self._key, self._value, self._end = topic, offset, key, value, end

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return None if self._key is None else self._key.encode()

    def value(self) -> bytes | None:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return 1, NOW

    def headers(self) -> None:
        return None

    def error(self) -> object | None:
        return object() if self._end else None


class Sink:
    """Keeps what is written; acknowledges at once."""

    def __init__(self) -> None:
        self.outcomes: list[OfferOutcome] = []
        self.dead: list[tuple[int, str]] = []

    def outcome(self, outcome: OfferOutcome, partition: int) -> None:
        self.outcomes.append(outcome)

    def dead_letter(self, record: Any, *, reason: str, error: str, on_ack: Any) -> None:
        self.dead.append((record.offset, reason))
        on_ack()


def offer(offset: int, at: int, *, session: str = "s1", offer_id: str = "o1") -> Message:
    event = {
        "event_id": "e",
        "session_id": session,
        "partner_code": "P",
        "offer_id": offer_id,
        "presented_at": at,
    }
    return Message("offers", offset, session, CODEC.encode_offer(event))


def checkout(
    offset: int, at: int, *bought: str, session: str = "s0", key: str | None = None, checkout_id: str = "c"
) -> Message:
    event = {
        "event_id": "e",
        "session_id": session,
        "checkout_id": checkout_id,
        "completed_at": at,
        "purchased_offer_ids": list(bought),
    }
    return Message("checkouts", offset, key or session, CODEC.encode_checkout(event))


def end(source: str, offset: int) -> Message:
    return Message(source, offset, None, None, end=True)


BEGIN = Position(0)


def make(offers: Position = BEGIN, checkouts: Position = BEGIN, max_run: int = 100) -> tuple[TaskRunner, Sink]:
    sink = Sink()
    runner = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=offers, checkouts=checkouts),
        topics=("offers", "checkouts"),
        codec=CODEC,
        sink=sink,  # type: ignore[arg-type]
        intakes=(BadRecordLimit("offers", max_run, 1.0), BadRecordLimit("checkouts", max_run, 1.0)),
        wall=lambda: NOW / 1000,
    )
    return runner, sink


def pass_time(runner: TaskRunner, until: int) -> None:
    for side in Side:
        runner.task.idle(side, until)


def test_a_result_after_the_partition_is_gone_is_written_and_commits_nothing() -> None:
    runner, sink = make()
    runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    pass_time(runner, 20_000)
    (call,) = runner.decide()
    runner.close()
    runner.on_result(CallResult(call, Outcome.OPTED_OUT, 204, 1, None))
    assert [outcome.outcome for outcome in sink.outcomes] == [Outcome.OPTED_OUT]
    assert runner.outstanding == 0
    plan = runner.task.prepare_commit()
    assert plan is not None
    assert plan.offers.offset == 0, "what came back behind the fence moved the commit"


def test_a_result_in_time_moves_the_commit() -> None:
    runner, _ = make()
    runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    pass_time(runner, 20_000)
    (call,) = runner.decide()
    runner.on_result(CallResult(call, Outcome.OPTED_OUT, 204, 1, None))
    plan = runner.task.prepare_commit()
    assert plan is not None
    assert plan.offers.offset == 1


def test_a_cancelled_call_settles_nothing_and_writes_nothing() -> None:
    runner, sink = make()
    runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    pass_time(runner, 20_000)
    (call,) = runner.decide()
    runner.on_result(CallResult(call, None, None, 0, None))
    assert sink.outcomes == []
    assert runner.task.unsettled == 1


def committed_after(offsets: list[int]) -> tuple[Position, Position]:
    """What is committed once these offers were read and none was due."""
    runner, _ = make()
    for offset in offsets:
        runner.on_message(Side.OFFERS, offer(offset, 10_000 + offset, session=f"s{offset}"), NOW)
    pass_time(runner, 10_500)
    runner.decide()
    plan = runner.task.prepare_commit()
    assert plan is not None
    return plan.offers, plan.checkouts


def test_what_had_not_been_read_before_the_restart_waits_for_the_rebuild() -> None:
    offers, checkouts = committed_after([0, 1, 2])
    runner, _ = make(offers, checkouts)
    assert runner.task.restoring
    assert runner.pauses() == {Side.CHECKOUTS}
    runner.on_message(Side.OFFERS, offer(0, 10_000, session="s0"), NOW)
    runner.on_message(Side.OFFERS, offer(1, 10_001, session="s1"), NOW)
    assert runner.task.restoring
    runner.on_message(Side.OFFERS, offer(2, 10_002, session="s2"), NOW)
    assert not runner.task.restoring
    assert runner.task.watermark == 10_499
    assert Side.CHECKOUTS not in runner.pauses()


def test_a_gap_in_the_offsets_does_not_hold_the_rebuild() -> None:
    offers, checkouts = committed_after([0, 5])
    runner, _ = make(offers, checkouts)
    runner.on_message(Side.OFFERS, offer(0, 10_000, session="s0"), NOW)
    runner.on_message(Side.OFFERS, offer(9, 10_600, session="s9"), NOW)  # 5 was compacted away since
    assert not runner.task.restoring
    assert runner.task.next_offset(Side.OFFERS) == 10


def test_a_log_that_ends_below_what_was_read_stops_the_service() -> None:
    offers, checkouts = committed_after([0, 1, 2])
    runner, _ = make(offers, checkouts)
    with pytest.raises(TruncatedLogError, match=r"offers\[0\] ends at 2, but was read up to 3 before"):
        runner.on_message(Side.OFFERS, end("offers", 2), NOW)


def half_committed(known: int = 0) -> tuple[Position, Position]:
    """The offer partition's commit when so many checkouts were read, and the checkout partition's when three were."""
    runner, _ = make()
    runner.on_message(Side.OFFERS, offer(0, 10_000, session="s0"), NOW)
    pass_time(runner, 10_500)
    for offset in range(known):
        runner.on_message(Side.CHECKOUTS, checkout(offset, 10_501), NOW)
    before = runner.task.prepare_commit()
    for offset in range(known, 3):
        runner.on_message(Side.CHECKOUTS, checkout(offset, 10_501), NOW)
    after = runner.task.prepare_commit()
    assert before is not None
    assert after is not None
    return before.offers, after.checkouts


def test_checkouts_that_the_offers_commit_does_not_know_of_wait_for_the_offers_and_are_read_before_anything_new() -> (
    None
):
    runner, _ = make(*half_committed())
    for offset in range(4):
        runner.on_message(Side.CHECKOUTS, checkout(offset, 10_501), NOW)
    assert runner.task.next_offset(Side.CHECKOUTS) == 0
    assert runner.pauses() == {Side.CHECKOUTS}
    runner.on_message(Side.OFFERS, offer(0, 10_000, session="s0"), NOW)
    runner.on_message(Side.OFFERS, offer(1, 10_502), NOW)
    assert runner.task.restoring
    assert runner.task.next_offset(Side.OFFERS) == 1
    assert runner.pauses() == {Side.OFFERS, Side.CHECKOUTS}
    runner.drain_buffer(NOW)
    assert not runner.task.restoring
    runner.drain_buffer(NOW)
    assert [runner.task.next_offset(side) for side in Side] == [2, 4]


def test_a_checkout_that_shows_that_the_last_one_is_gone_is_itself_applied_if_it_had_been_read_before() -> None:
    runner, _ = make(*half_committed(known=1))
    runner.on_message(Side.OFFERS, offer(0, 10_000, session="s0"), NOW)
    assert runner.task.restore_until(Side.CHECKOUTS) == 1
    runner.on_message(Side.CHECKOUTS, checkout(2, 10_501), NOW)
    assert not runner.task.restoring


def test_a_checkout_log_that_ends_below_what_either_commit_read_stops_the_service() -> None:
    runner, _ = make(*half_committed())
    with pytest.raises(TruncatedLogError, match=r"checkouts\[0\] ends at 2, but was read up to 3 before"):
        runner.on_message(Side.CHECKOUTS, end("checkouts", 2), NOW)


def test_a_record_seen_twice_is_applied_once() -> None:
    runner, _ = make()
    runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    pass_time(runner, 20_000)
    (call,) = runner.decide()
    assert call.offer_id == "o1"


def test_what_could_be_read_before_a_restart_and_cannot_now_is_dead_lettered() -> None:
    offers, checkouts = committed_after([0, 1])
    runner, sink = make(offers, checkouts)
    runner.on_message(Side.OFFERS, Message("offers", 0, "s0", b"\xff\xff"), NOW)
    assert sink.dead == [(0, "undecodable")]


def test_bad_records_in_a_row_stop_the_service() -> None:
    runner, sink = make(max_run=3)
    for offset in range(3):
        runner.on_message(Side.OFFERS, Message("offers", offset, "s", b"\xff"), NOW)
    with pytest.raises(TooManyDeadLettersError, match="4 in a row"):
        runner.on_message(Side.OFFERS, Message("offers", 3, "s", b"\xff"), NOW)
    assert len(sink.dead) == 4


def test_an_unreadable_checkout_dead_letters_its_session_and_no_other() -> None:
    runner, sink = make()
    runner.on_message(Side.OFFERS, offer(0, NOW - 100, session="tainted"), NOW)
    runner.on_message(Side.OFFERS, offer(1, NOW - 100, session="clean", offer_id="o2"), NOW)
    runner.on_message(Side.CHECKOUTS, Message("checkouts", 0, "tainted", b"\xff"), NOW)
    pass_time(runner, NOW + 5_000)
    assert [call.offer_id for call in runner.decide()] == ["o2"]
    (outcome,) = sink.outcomes
    assert (outcome.outcome, outcome.reason) == (Outcome.DEAD_LETTERED, Reason.CHECKOUT_UNREADABLE)


@pytest.mark.parametrize(("checkout_id", "reason"), [("c", "key_mismatch"), ("", "empty_id")])
def test_a_checkout_with_a_foreign_key_taints_the_session_of_its_key_and_that_of_its_value(
    checkout_id: str, reason: str
) -> None:
    runner, sink = make()
    for offset, session in enumerate(("key", "value", "clean")):
        runner.on_message(Side.OFFERS, offer(offset, NOW - 100, session=session, offer_id=f"of-{session}"), NOW)
    foreign = checkout(0, NOW - 50, "of-value", key="key", session="value", checkout_id=checkout_id)
    runner.on_message(Side.CHECKOUTS, foreign, NOW)
    pass_time(runner, NOW + 5_000)
    assert [call.offer_id for call in runner.decide()] == ["of-clean"]
    assert {o.offer_id: o.reason for o in sink.outcomes} == dict.fromkeys(
        ("of-key", "of-value"), Reason.CHECKOUT_UNREADABLE
    )
    assert sink.dead == [(0, reason)], "one record is one dead letter"


def test_an_unreadable_checkout_without_a_key_stops_the_service() -> None:
    runner, _ = make()
    with pytest.raises(StopError, match="no readable key"):
        runner.on_message(Side.CHECKOUTS, Message("checkouts", 0, None, b"\xff"), NOW)
