"""A process that starts within a silence of checkouts which nobody has noticed yet, and that ends before it has watched
for lateness.

Two tasks, A and B, of one instance. The last checkouts are of 12:00, `checkout_silence` is an hour, lateness 5 minutes.
An offer is shown in B at 12:28, and bought at 12:30; the checkout producer is broken and keeps that back. The process
ends, by a kill or a deployment, before 13:00. The next one starts, offers of past 13:00 are shown in A, and a few
minutes later the first checkout of all comes, in A. What was kept back lands within lateness of that, in B too.

The same customers, read by a process that was not restarted: it finds the silence, and calls nothing before
lateness has passed since its end.
"""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition
from support.kept_logs import LATENESS, MINUTE, NOON, SILENCE, A, B, KeptLogs, KeptShop

from consumer.core.guards import SuspendedBy


def until_the_end_of_the_first(kept: KeptLogs, ends: float) -> KeptShop:
    process = KeptShop(kept)
    for partition in (A, B):
        process.show(partition, f"first{partition}")
        process.check_out(partition)
    process.go(NOON + 28 * MINUTE, shows=True)
    process.show(B, "bought at 12:30")
    process.go(ends, shows=True)
    return process


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("ends", [SILENCE - 2 * MINUTE, SILENCE - 2.0])
def test_what_was_kept_back_in_a_silence_may_land_though_the_process_began_within_it(
    ends: float, restarted: bool
) -> None:
    kept = KeptLogs()
    process = until_the_end_of_the_first(kept, NOON + ends)
    assert "bought at 12:30" not in process.called
    if restarted:
        kept.now += 20.0
        process = KeptShop(kept, process)
    again = NOON + SILENCE + 2 * MINUTE
    process.go(again, shows=True)
    if not restarted:
        assert process.loop.suspension.by is SuspendedBy.SILENCE
    process.check_out(A)  # the first one of the producer that was mended; the others land within lateness
    process.go(again + LATENESS - 1.0, shows=True)
    assert "bought at 12:30" not in process.called, "its purchase of 12:30 may still land"


def test_what_was_kept_back_may_land_though_a_leader_changed_just_before_the_silence_was_to_be_noticed() -> None:
    """No restart: for lateness after the trouble no end is believed, and so no silence is noticed meanwhile."""
    kept = KeptLogs()
    process = until_the_end_of_the_first(kept, NOON + SILENCE - 2 * MINUTE)
    process.loop._idleness.trouble("checkouts[1] has a new leader")
    again = NOON + SILENCE + 2 * MINUTE
    process.go(again, shows=True)
    process.check_out(A)
    process.go(again + LATENESS - 1.0, shows=True)
    assert "bought at 12:30" not in process.called, "its purchase of 12:30 may still land"


def test_a_silence_that_was_noticed_ends_by_a_checkout_though_the_quiet_task_goes_to_another_instance() -> None:
    """B is given to an instance of its own, in peace and with a last commit, while no checkout has come yet."""
    kept = KeptLogs()
    first = until_the_end_of_the_first(kept, NOON + SILENCE + 2 * MINUTE)
    assert first.loop.suspension.by is SuspendedBy.SILENCE
    first.delivery.answer()
    first.turn()
    first.turn(lambda it: it.on_revoke(it, [TopicPartition(topic, p) for topic, p in kept.records]))
    second = KeptShop(kept, first, partitions=(B,))
    second.go(NOON + SILENCE + 20 * MINUTE)
    assert "bought at 12:30" not in second.called, "no checkout of all has come yet"
