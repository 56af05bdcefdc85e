"""The last hour, from counts that only grow."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from support.run_states import MINUTE, NOW, a_snapshot, a_task

from consumer.events import Reason
from consumer.server.history import History, MinuteCounts
from consumer.server.latest import Latest
from consumer.snapshot import CallsSnapshot, CountsSnapshot, Snapshot

BEGIN = NOW // MINUTE * MINUTE


def at(ms: int, *, good: int = 0, bad: int = 0, decided: int = 0) -> Snapshot:
    return a_snapshot(
        taken_at=ms,
        calls=CallsSnapshot(answers=MappingProxyType({("A", "204"): good, ("A", "none"): bad, ("B", "404"): good})),
        counts=CountsSnapshot(decisions={Reason.DECLINED: decided}),
    )


@pytest.fixture
def history() -> History:
    return History()


def test_before_the_first_snapshot_there_is_nothing(history: History) -> None:
    assert history.hour(NOW).minutes == ()
    assert dict(history.hour(NOW).rates) == {}


def test_each_minute_has_what_was_counted_in_it(history: History) -> None:
    history.note(at(BEGIN + 1_000, good=5, bad=1, decided=20))
    history.note(at(BEGIN + 59_000, good=7, bad=1, decided=24))
    history.note(at(BEGIN + MINUTE, good=8, bad=4, decided=24))
    history.note(at(BEGIN + 4 * MINUTE, good=9, bad=4, decided=30))
    assert history.hour(BEGIN + 5 * MINUTE).minutes == (
        MinuteCounts(BEGIN, 14, 1, 24),
        MinuteCounts(BEGIN + MINUTE, 2, 3, 0),
        MinuteCounts(BEGIN + 2 * MINUTE, 0, 0, 0),
        MinuteCounts(BEGIN + 3 * MINUTE, 0, 0, 0),
        MinuteCounts(BEGIN + 4 * MINUTE, 2, 0, 6),
        MinuteCounts(BEGIN + 5 * MINUTE, 0, 0, 0),
    )


def test_no_more_than_an_hour_is_told_and_none_of_it_twice(history: History) -> None:
    for minute in range(200):
        history.note(at(BEGIN + minute * MINUTE, good=minute, decided=3 * minute))
    minutes = history.hour(BEGIN + 199 * MINUTE + 30_000).minutes
    assert [one.begin for one in minutes] == [BEGIN + minute * MINUTE for minute in range(140, 200)]
    assert {(one.answered, one.failed, one.decided) for one in minutes} == {(2, 0, 3)}
    assert len(history._sums) == 61


def test_after_a_long_silence_the_hour_is_empty_but_for_now(history: History) -> None:
    history.note(at(BEGIN, good=5))
    minutes = history.hour(BEGIN + 600 * MINUTE).minutes
    assert len(minutes) == 60
    assert sum(one.answered for one in minutes) == 0


def test_a_clock_that_is_set_back_takes_nothing_back(history: History) -> None:
    history.note(at(BEGIN + 10 * MINUTE, good=5))
    history.note(at(BEGIN, good=9))
    assert history.hour(BEGIN).minutes == (MinuteCounts(BEGIN + 10 * MINUTE, 18, 0, 0),)


def test_a_partners_rate_is_that_of_the_last_minute(history: History) -> None:
    for second in range(300):
        history.note(at(BEGIN + 1_000 * second, good=0 if second < 200 else 3 * (second - 200), bad=second))
    rates = history.hour(BEGIN + 300_000).rates
    assert rates["A"] == pytest.approx(4, rel=0.1)
    assert rates["B"] == pytest.approx(3, rel=0.1)
    assert len(history._points) <= 14


def test_the_newest_snapshot_is_noted_when_it_is_swapped_in() -> None:
    latest = Latest()
    assert latest.snapshot is None
    newest = at(BEGIN, good=1)
    latest.swap_in(newest)
    assert latest.snapshot is newest
    assert latest.history.hour(BEGIN).minutes == (MinuteCounts(BEGIN, 2, 0, 0),)


def test_since_when_something_is_so_is_remembered_until_it_is_not(history: History) -> None:
    for second, full in enumerate([False, True, True, False, True]):
        history.note(a_snapshot(taken_at=BEGIN + 1_000 * second, full=full))
        expected = {1: {"full": BEGIN + 1_000}, 2: {"full": BEGIN + 1_000}, 4: {"full": BEGIN + 4_000}}.get(second, {})
        assert dict(history.hour(BEGIN).since) == expected


def test_what_has_risen_is_counted_over_the_time_that_alerts_look_at(history: History) -> None:
    """One dead letter a minute for three hours."""
    for minute in range(181):
        counts = CountsSnapshot(dead_letters={("offers", "late"): minute}, purchases_after_opt_out=minute)
        history.note(a_snapshot(taken_at=BEGIN + minute * MINUTE, counts=counts))
    risen = history.hour(BEGIN + 181 * MINUTE).risen
    assert risen.dead_letters == {("offers", "late"): 15}
    assert risen.purchases_after_opt_out == 60
    assert 120 <= risen.dead_letters_of_two_hours["offers", "late"] <= 180
    assert risen.dead_letters_of_a_day == {("offers", "late"): 180}


def test_a_day_is_kept_by_the_hour_and_no_more_of_it(history: History) -> None:
    for minute in range(0, 40 * 60, 3):
        counts = CountsSnapshot(dead_letters={("offers", "late"): minute})
        history.note(a_snapshot(taken_at=BEGIN + minute * MINUTE, counts=counts))
    assert len(history._marks) < 61 + 27
    a_day = history.hour(BEGIN).risen.dead_letters_of_a_day["offers", "late"]
    assert 24 * 60 <= a_day <= 25 * 60


def test_what_was_there_when_nobody_looked_has_not_risen(history: History) -> None:
    history.note(a_snapshot(taken_at=BEGIN, counts=CountsSnapshot(dead_letters={("offers", "late"): 500})))
    assert history.hour(BEGIN).risen.dead_letters == {("offers", "late"): 0}


def test_the_pace_of_a_watermark_is_that_of_the_last_minutes(history: History) -> None:
    for second in range(0, 301, 30):
        task = a_task(2, watermark=BEGIN + 4_000 * second)
        history.note(a_snapshot(taken_at=BEGIN + 1_000 * second, tasks=(task,)))
        assert (2 in history.hour(BEGIN).risen.paces) == (second >= 60), "before that nothing can be told"
    assert history.hour(BEGIN).risen.paces == {2: 4.0}


def test_a_loop_that_stood_was_not_told_to_wait_meanwhile(history: History) -> None:
    calls = CallsSnapshot(stopped={"A": ("retry_after",)})
    for at in (0, 1_000, 2_000, 20 * MINUTE):
        history.note(a_snapshot(taken_at=BEGIN + at, calls=calls))
    assert history.hour(BEGIN).risen.told_to_wait["A"] == pytest.approx(7 / 1_800)
