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

from datetime import timedelta

import pytest
from confluent_kafka import TopicPartition
from support.builders import checkout, offer
from support.kafka import Message
from support.loop_world import TOPICS, EndsNow, LoopWorld

from consumer.core.guards import SuspendedBy
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.edges import Clock

A, B = 0, 1
NOON = 1_000_000.0
MINUTE = 60.0
LATENESS, SILENCE, WINDOW, SKEW = 5 * MINUTE, 60 * MINUTE, 30 * MINUTE, MINUTE


class Kept:
    """What outlives a process: the time, and all records."""

    def __init__(self) -> None:
        self.now = NOON
        self.records: dict[tuple[str, int], list[Message]] = {(t, p): [] for t in TOPICS for p in (A, B)}

    def ends(self) -> dict[tuple[str, int], int]:
        return {place: len(records) for place, records in self.records.items()}


class Shop(LoopWorld):
    """A process with both tasks; `before`: the one whose commits it finds."""

    def __init__(self, kept: Kept, before: Shop | None = None, partitions: tuple[int, ...] = (A, B)) -> None:
        self.kept = kept
        super().__init__(
            join={
                "window": timedelta(seconds=WINDOW), "checkout_grace": timedelta(minutes=5),
                "lookback": timedelta(hours=2), "lateness": timedelta(seconds=LATENESS),
                "max_skew": timedelta(seconds=SKEW), "idle_after": timedelta(seconds=5),
                "checkout_silence": timedelta(seconds=SILENCE),
            },
            clock=Clock(wall=lambda: kept.now, monotonic=lambda: kept.now),
            ends=EndsNow(lambda: kept.now, kept.ends),
            clock_check=ClockCheck(lambda: kept.now, lambda: kept.now, max_skew=SKEW),
            kafka={"commit_interval": timedelta(seconds=5)},
            partitions=2,
        )  # fmt: skip
        if before is not None:
            self.consumer.texts.update(before.consumer.texts)
            self.consumer.committed_offsets.update(before.consumer.committed_offsets)
        logs = kept.records
        self.consumer.ends = {topic: max(len(logs[topic, p]) for p in partitions) for topic in TOPICS}
        self.turn(lambda it: it.on_assign(it, [TopicPartition(topic, p) for topic in TOPICS for p in partitions]))
        if before is not None:
            for partition in partitions:
                for topic in TOPICS:
                    begin = max(0, self.consumer.committed_offsets[topic, partition])
                    self.turn(kept.records[topic, partition][begin:])

    def read(self, partition: int, message: Message) -> None:
        message._partition = partition
        self.kept.records[message.topic() or "", partition].append(message)
        self.turn([message])

    def show(self, partition: int, offer_id: str) -> None:
        at = int(self.kept.now * 1000)
        offset = len(self.kept.records["offers", partition])
        self.read(partition, offer(offset, at, session=offer_id, offer_id=offer_id, stamp=at))

    def check_out(self, partition: int) -> None:
        at = int(self.kept.now * 1000)
        self.read(partition, checkout(len(self.kept.records["checkouts", partition]), at, session="another", stamp=at))

    def go(self, until: float, *, shows: bool = False) -> None:
        """Second by second; `shows`: an offer is shown in A every twenty seconds."""
        while self.kept.now < until:
            self.kept.now += 1.0
            if shows and int(self.kept.now) % 20 == 0:
                self.show(A, f"passer-by{self.kept.now:.0f}")
            else:
                self.turn()

    @property
    def called(self) -> list[str]:
        return [call.offer_id for call in self.delivery.calls]


def until_the_end_of_the_first(kept: Kept, ends: float) -> Shop:
    process = Shop(kept)
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
    kept = Kept()
    process = until_the_end_of_the_first(kept, NOON + ends)
    assert "bought at 12:30" not in process.called
    if restarted:
        kept.now += 20.0
        process = Shop(kept, process)
    again = NOON + SILENCE + 2 * MINUTE
    process.go(again, shows=True)
    if not restarted:
        assert process.loop.suspension.by is SuspendedBy.SILENCE
    process.check_out(A)  # the first one of the producer that was mended; the others land within lateness
    process.go(again + LATENESS - 1.0, shows=True)
    assert "bought at 12:30" not in process.called, "its purchase of 12:30 may still land"


def test_what_was_kept_back_may_land_though_a_leader_changed_just_before_the_silence_was_to_be_noticed() -> None:
    """No restart: for lateness after the trouble no end is believed, and so no silence is noticed meanwhile."""
    kept = Kept()
    process = until_the_end_of_the_first(kept, NOON + SILENCE - 2 * MINUTE)
    process.loop._idleness.trouble("checkouts[1] has a new leader")
    again = NOON + SILENCE + 2 * MINUTE
    process.go(again, shows=True)
    process.check_out(A)
    process.go(again + LATENESS - 1.0, shows=True)
    assert "bought at 12:30" not in process.called, "its purchase of 12:30 may still land"


def test_a_silence_that_was_noticed_ends_by_a_checkout_though_the_quiet_task_goes_to_another_instance() -> None:
    """B is given to an instance of its own, in peace and with a last commit, while no checkout has come yet."""
    kept = Kept()
    first = until_the_end_of_the_first(kept, NOON + SILENCE + 2 * MINUTE)
    assert first.loop.suspension.by is SuspendedBy.SILENCE
    first.delivery.answer()
    first.turn()
    first.turn(lambda it: it.on_revoke(it, [TopicPartition(topic, p) for topic, p in kept.records]))
    second = Shop(kept, first, partitions=(B,))
    second.go(NOON + SILENCE + 20 * MINUTE)
    assert "bought at 12:30" not in second.called, "no checkout of all has come yet"
