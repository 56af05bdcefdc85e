"""Fates are counted on their way, and all else is passed on."""

from __future__ import annotations

from dataclasses import replace

from support.kafka import Message
from support.outcomes import outcome_of

from consumer.backfill.tally import FateTally
from consumer.backfill.told import KnownFate
from consumer.events import OfferOutcome, Outcome, Reason
from consumer.kafka.record import Record
from consumer.runtime.outcomes import CUT_OFF


class Passed:
    """`Outputs` that remembers what came."""

    def __init__(self) -> None:
        self.came: list[object] = []

    def outcome(self, outcome: OfferOutcome, partition: int) -> None:
        self.came.append((outcome, partition))

    def dead_letter(self, record: Record, *, reason: str, error: str, on_ack: object) -> None:
        self.came.append((record, reason, error, on_ack))

    def poll(self) -> None:
        self.came.append("poll")

    def flush(self, timeout_s: float) -> bool:
        self.came.append(timeout_s)
        return True

    def check(self) -> None:
        self.came.append("check")


def test_each_fate_is_counted_and_passed_on() -> None:
    passed, heard = Passed(), list[OfferOutcome]()
    tally = FateTally(passed, heard.append)
    given = [
        outcome_of(),
        outcome_of(Outcome.NOT_FOUND),
        outcome_of(Outcome.PURCHASED, Reason.PURCHASED),
        outcome_of(Outcome.DEAD_LETTERED, Reason.LATE),
        replace(outcome_of(Outcome.DEAD_LETTERED, Reason.LATE), note=CUT_OFF),
    ]
    for number, one in enumerate([*given, given[0]]):
        tally.outcome(one, number)
    assert passed.came == [(one, number) for number, one in enumerate([*given, given[0]])]
    assert heard == [*given, given[0]]
    assert tally.fates[KnownFate(Outcome.OPTED_OUT, Reason.DECLINED)] == 2
    assert (tally.calls, tally.cut_off) == (3, 1), "what came late by itself is settled, and hides no gap"


def test_dead_letters_are_counted_and_the_rest_is_handed_over() -> None:
    passed = Passed()
    tally = FateTally(passed)
    record, on_ack = Record.of(Message("offers", 0, 7, b"k", b"v")), lambda: None
    tally.dead_letter(record, reason="undecodable", error="garbage", on_ack=on_ack)
    tally.poll()
    assert tally.flush(2.5)
    tally.check()
    assert passed.came == [(record, "undecodable", "garbage", on_ack), "poll", 2.5, "check"]
    assert tally.dead_letters == 1
