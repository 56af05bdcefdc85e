"""Which records of a partition are in the dead-letter topic: by their offsets and their own timestamps."""

from __future__ import annotations

from consumer.audit.dead_letters import DeadLetters

T = 1_790_000_000_000


def test_another_record_in_the_same_place_is_another_record() -> None:
    dead = DeadLetters()
    dead.add("undecodable", 7, T, T + 500)
    assert dead.reason(7, T) == "undecodable"
    assert [dead.reason(7, stamp) for stamp in (T - 1, T + 1, -1)] == [None] * 3
    assert dead.reason(8, T) is None
    dead.add("late", 7, T + 1, T + 900)
    assert (dead.reason(7, T), dead.reason(7, T + 1)) == ("undecodable", "late")


def test_the_first_reason_of_a_record_counts() -> None:
    dead = DeadLetters()
    dead.add("late", 7, T, T + 500)
    dead.add("resubmitted", 7, T, T + 600)
    dead.add("resubmitted", 7, None, T + 700)
    assert dead.reason(7, T) == "late"


def test_what_does_not_tell_the_timestamp_is_of_what_is_no_younger_than_itself() -> None:
    dead = DeadLetters()
    dead.add("resubmitted", 7, None, T + 900)
    assert [dead.reason(7, stamp) for stamp in (-1, T, T + 900, T + 901)] == ["resubmitted"] * 3 + [None]
    dead.add("resubmitted", 7, None, T + 100)
    assert dead.reason(7, T + 900) == "resubmitted", "of several the youngest counts"
    assert dead.reason(8, T) is None
