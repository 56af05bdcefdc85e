"""A silence of checkouts within which a process began, and its end, in ways that show no gap between two checkouts.

Two tasks, A and B. The checkout producer is broken from 12:00 on, or from the very beginning. An offer is shown in B at
12:28 and bought at 12:30; that is kept back. The process ends shortly before 13:00, when the silence would be noticed,
and the next one starts: until it has watched for lateness no end of a log is believed, and no silence is noticed. At
13:02 the producer is mended, and what it kept back lands within lateness of that, in B too.

A process that was not restarted calls nothing of that time before lateness has passed since 13:02.
"""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from support.builders import checkout
from support.kept_logs import LATENESS, MINUTE, NOON, SILENCE, A, B, KeptLogs, KeptShop

from consumer.core.guards import SuspendedBy

IDLE_AFTER = 5.0
"""Seconds between two questions for the ends: so exactly is known when a checkout came."""

AGAIN = NOON + SILENCE + 2 * MINUTE
"""When the producer is mended."""


class OutboxShop(KeptShop):
    """Its checkouts are stamped when they happened, however late they come."""

    def check_out_of(self, partition: int, at: float) -> None:
        """A checkout of that time comes now. An outbox stamps it when it happened; so does a client that retries."""
        offset = len(self.logs.records["checkouts", partition])
        ms = int(at * 1000)
        self.read(partition, checkout(offset, ms, session="another", stamp=ms))


def shown_at_28(kept: KeptLogs, *, checkouts: bool = True) -> OutboxShop:
    process = OutboxShop(kept)
    for partition in (A, B):
        process.show(partition, f"first{partition}")
        if checkouts:
            process.check_out_of(partition, kept.now)
    process.go(NOON + 28 * MINUTE, shows=True)
    process.show(B, "bought at 12:30")
    process.go(NOON + SILENCE - 2.0, shows=True)
    return process


def begun_again(kept: KeptLogs, process: OutboxShop, *, restarted: bool) -> OutboxShop:
    if restarted:
        kept.now += 20.0
        process = OutboxShop(kept, process)
    process.go(AGAIN, shows=True)
    if not restarted:
        assert process.loop.suspension.by is SuspendedBy.SILENCE
    assert "bought at 12:30" not in process.called
    return process


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_kept_back_may_land_though_it_comes_in_its_order(restarted: bool) -> None:
    """An outbox that goes on writes in the order of what happened: in A 12:01 first, then minute by minute."""
    kept = KeptLogs()
    process = begun_again(kept, shown_at_28(kept), restarted=restarted)
    for minute in range(1, 62):
        process.check_out_of(A, NOON + minute * MINUTE)
        process.go(kept.now + 1.0, shows=True)
    process.go(AGAIN + LATENESS - 1.0, shows=True)
    assert "bought at 12:30" not in process.called, "its purchase of 12:30 may still land"


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_kept_back_may_land_though_the_first_checkout_that_comes_is_one_of_it(restarted: bool) -> None:
    """The first one of all, in A, is of 12:56: there is a gap, but it does not last lateness from when that came."""
    kept = KeptLogs()
    process = begun_again(kept, shown_at_28(kept), restarted=restarted)
    process.check_out_of(A, NOON + 56 * MINUTE)
    process.go(AGAIN + LATENESS - 1.0, shows=True)
    assert "bought at 12:30" not in process.called, "its purchase of 12:30 may still land"


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_kept_back_may_land_though_there_was_no_checkout_before_it(restarted: bool) -> None:
    """The first checkout of all holds its own task only: A."""
    kept = KeptLogs()
    process = begun_again(kept, shown_at_28(kept, checkouts=False), restarted=restarted)
    process.check_out_of(A, AGAIN)
    process.go(AGAIN + LATENESS - 1.0, shows=True)
    assert "bought at 12:30" not in process.called, "its purchase of 12:30 may still land"


@pytest.mark.parametrize("tasks", [(A, B), (B,)])
@pytest.mark.parametrize("taken", ["both parts", "the offers' part"])
def test_what_was_kept_back_may_land_though_the_gap_is_remembered_by_a_part_of_the_commit(
    taken: str, tasks: tuple[int, ...]
) -> None:
    """The second process has found the gap, and has watched for lateness at 13:05. Of its commits since 13:02 the
    broker takes the offers' part alone, which says that the inputs have been watched since 12:59. Then it is killed,
    and a third one has B."""
    kept = KeptLogs()
    process = begun_again(kept, shown_at_28(kept), restarted=True)
    if taken != "both parts":
        process.consumer.refused["checkouts"] = KafkaError(KafkaError.REQUEST_TIMED_OUT)
    process.check_out_of(A, AGAIN)
    process.go(AGAIN + 3.5 * MINUTE, shows=True)
    kept.now += 20.0
    third = OutboxShop(kept, process, tasks)
    third.go(AGAIN + LATENESS - 1.0, shows=False)
    assert "bought at 12:30" not in process.called + third.called, "its purchase of 12:30 may still land"


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_kept_back_lands_from_when_the_first_of_it_comes_though_no_offer_was_shown(restarted: bool) -> None:
    """No offer is shown after 12:59, so that there is no silence by the rule; but there is a gap, from 12:00 to 12:56,
    which is the date of the first checkout that comes. All that the log held was read just before it."""
    kept = KeptLogs()
    process = shown_at_28(kept)
    if restarted:
        kept.now += 20.0
        process = OutboxShop(kept, process)
    process.go(AGAIN, shows=False)
    process.check_out_of(A, NOON + 56 * MINUTE)
    process.go(AGAIN + LATENESS - IDLE_AFTER - 1.0, shows=False)
    assert process.loop.suspension.by is SuspendedBy.NONE
    assert "bought at 12:30" not in process.called, "its purchase of 12:30 may still land"


def test_what_was_kept_back_may_land_though_no_offer_was_shown_and_the_gap_is_remembered_by_no_one() -> None:
    """Nor does the broker take the checkouts' part of a commit after the gap. Then the process is killed, and a next
    one has B alone: it finds no gap, and must not believe from the offers' part that B was watched all the time."""
    kept = KeptLogs()
    process = shown_at_28(kept)
    process.go(AGAIN, shows=False)
    process.consumer.refused["checkouts"] = KafkaError(KafkaError.REQUEST_TIMED_OUT)
    process.check_out_of(A, NOON + 56 * MINUTE)
    process.go(AGAIN + 3.5 * MINUTE, shows=False)
    kept.now += 20.0
    third = OutboxShop(kept, process, (B,))
    third.go(AGAIN + LATENESS - IDLE_AFTER - 1.0, shows=False)
    assert "bought at 12:30" not in process.called + third.called, "its purchase of 12:30 may still land"
