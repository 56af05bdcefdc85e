"""A silence of checkouts that nobody remembers, since no commit was taken after it began.

Two tasks, A and B. The last checkouts are of 12:00, an offer is shown in B at 12:20. At 13:00 the silence begins, by an
offer in A; at 13:00:20 a checkout in A ends it, and for lateness what the producer kept back may still land: the
purchase in B among it. Then the process is killed, and half a minute later another one reads on.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from confluent_kafka import KafkaError, TopicPartition
from support.builders import checkout, offer
from support.kafka import Message
from support.loop_world import TOPICS, EndsNow, LoopWorld

from consumer.core.checkpoint import OfferCheckpoint
from consumer.core.guards import SuspendedBy
from consumer.core.rules import MIN_TIME
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.edges import Clock

A, B = 0, 1
NOON = 1_000_000.0
MINUTE = 60.0
LATENESS, SILENCE, WINDOW, SKEW = 5 * MINUTE, 60 * MINUTE, 30 * MINUTE, MINUTE
ENDED = NOON + SILENCE + 20.0


class Log:
    """What outlives a process: the time, and all records."""

    def __init__(self) -> None:
        self.now = NOON
        self.records: dict[tuple[str, int], list[Message]] = {(t, p): [] for t in TOPICS for p in (A, B)}

    def ends(self) -> dict[tuple[str, int], int]:
        return {place: len(records) for place, records in self.records.items()}


class TwoTasks(LoopWorld):
    """A process with both tasks. `before`: the one that was killed, whose commits it finds."""

    def __init__(self, log: Log, before: TwoTasks | None = None) -> None:
        self.log = log
        super().__init__(
            join={
                "window": timedelta(seconds=WINDOW), "checkout_grace": timedelta(minutes=5),
                "lookback": timedelta(hours=2), "lateness": timedelta(seconds=LATENESS),
                "max_skew": timedelta(seconds=SKEW), "idle_after": timedelta(seconds=5),
                "checkout_silence": timedelta(seconds=SILENCE),
            },
            clock=Clock(wall=lambda: log.now, monotonic=lambda: log.now),
            ends=EndsNow(lambda: log.now, log.ends),
            clock_check=ClockCheck(lambda: log.now, lambda: log.now, max_skew=SKEW),
            kafka={"commit_interval": timedelta(seconds=5)},
            partitions=2,
        )  # fmt: skip
        if before is not None:
            self.consumer.texts.update(before.consumer.texts)
            self.consumer.committed_offsets.update(before.consumer.committed_offsets)
        self.consumer.ends = dict.fromkeys(TOPICS, 0)
        self.turn(lambda it: it.on_assign(it, [TopicPartition(topic, p) for topic, p in log.records]))

    def read_on(self, partition: int) -> None:
        """Read again what stands in the log from where the task begins."""
        for topic in TOPICS:
            begin = max(0, self.consumer.committed_offsets[topic, partition])
            self.turn(self.log.records[topic, partition][begin:])

    def read(self, partition: int, message: Message) -> None:
        message._partition = partition
        self.log.records[message.topic() or "", partition].append(message)
        self.turn([message])

    def show(self, partition: int, offer_id: str) -> None:
        at = int(self.log.now * 1000)
        offset = len(self.log.records["offers", partition])
        self.read(partition, offer(offset, at, session=offer_id, offer_id=offer_id, stamp=at))

    def check_out(self, partition: int) -> None:
        at = int(self.log.now * 1000)
        self.read(partition, checkout(len(self.log.records["checkouts", partition]), at, session="another", stamp=at))

    def go(self, until: float) -> None:
        while self.log.now < until:
            self.log.now += 1.0
            self.turn()

    @property
    def called(self) -> list[str]:
        return [call.offer_id for call in self.delivery.calls]

    def commit(self) -> None:
        self.loop.tasks.commit([A, B], 0.1)

    def trusted(self, partition: int) -> bool:
        """Whether what is committed says that the inputs have been watched."""
        offset = self.consumer.committed_offsets["offers", partition]
        found = OfferCheckpoint.decode(self.consumer.texts["offers", partition, offset], offset)
        return found.trusted_since > MIN_TIME


def before_the_silence(log: Log) -> TwoTasks:
    """At 12:59:58, with the last checkouts of 12:00 and an offer of 12:28 in B, which is due after 13:00."""
    process = TwoTasks(log)
    for partition in (A, B):
        process.show(partition, f"first{partition}")
        process.check_out(partition)
    process.go(NOON + 28 * MINUTE)
    process.show(B, "quiet")
    process.go(NOON + SILENCE - 2.0)
    return process


def silence_and_its_end(process: TwoTasks) -> None:
    process.go(NOON + SILENCE + 1.0)
    process.show(A, "ahead")
    process.go(NOON + SILENCE + 15.0)  # the checkouts are asked for their end meanwhile
    assert process.loop.suspension.by is SuspendedBy.SILENCE
    process.go(ENDED)
    process.check_out(A)
    assert process.loop.suspension.by is SuspendedBy.LANDING


@pytest.mark.parametrize("taken", ["no part", "the offers' part", "both parts"])
def test_no_offer_is_decided_while_checkouts_land_though_the_process_is_killed_meanwhile(taken: str) -> None:
    process = before_the_silence(Log())
    if taken == "no part":
        process.consumer.errors["commit"] = [KafkaError._TRANSPORT] * 100
    elif taken == "the offers' part":
        process.consumer.refused["checkouts"] = KafkaError(KafkaError.REQUEST_TIMED_OUT)
    silence_and_its_end(process)
    process.go(ENDED + 5.0)

    process.log.now += 30.0
    after = TwoTasks(process.log, process)
    after.read_on(B)
    after.go(process.log.now + 5.0)
    after.read_on(A)
    landed = ENDED + LATENESS
    after.go(landed)
    assert "quiet" not in after.called, "its purchase may still land"
    after.go(landed + 2 * LATENESS)
    assert "quiet" in after.called


@pytest.mark.parametrize("quiet_for", [SILENCE - LATENESS / 2 - SKEW - 5, SILENCE - LATENESS / 2 - SKEW + 5])
def test_a_commit_says_that_inputs_are_watched_only_where_no_silence_can_begin_before_that_is_believed(
    quiet_for: float,
) -> None:
    process = TwoTasks(Log())
    process.check_out(A)
    process.go(NOON + quiet_for)
    process.commit()
    assert process.trusted(B) == (quiet_for < SILENCE - LATENESS / 2 - SKEW)
