"""Processes that follow one another on the same two partitions, while the time and the records stay."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from confluent_kafka import TopicPartition
from support.builders import checkout, offer
from support.kafka import Message
from support.loop_world import TOPICS, EndsNow, LoopWorld

from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.edges import Clock

A, B = 0, 1
NOON = 1_000_000.0
MINUTE = 60.0
LATENESS, SILENCE, WINDOW, SKEW = 5 * MINUTE, 60 * MINUTE, 30 * MINUTE, MINUTE


class KeptLogs:
    """What outlives a process: the time, and all records."""

    def __init__(self) -> None:
        self.now = NOON
        self.records: dict[tuple[str, int], list[Message]] = {(t, p): [] for t in TOPICS for p in (A, B)}

    def ends(self) -> dict[tuple[str, int], int]:
        return {place: len(records) for place, records in self.records.items()}


class ProcessOnKeptLogs(LoopWorld):
    """A process; `before`: the one whose commits it finds. It is assigned nothing yet."""

    def __init__(self, logs: KeptLogs, before: Self | None = None) -> None:
        self.logs = logs
        super().__init__(
            join={
                "window": timedelta(seconds=WINDOW), "checkout_grace": timedelta(minutes=5),
                "lookback": timedelta(hours=2), "lateness": timedelta(seconds=LATENESS),
                "max_skew": timedelta(seconds=SKEW), "idle_after": timedelta(seconds=5),
                "checkout_silence": timedelta(seconds=SILENCE),
            },
            clock=Clock(wall=lambda: logs.now, monotonic=lambda: logs.now),
            ends=EndsNow(lambda: logs.now, logs.ends),
            clock_check=ClockCheck(lambda: logs.now, lambda: logs.now, max_skew=SKEW),
            kafka={"commit_interval": timedelta(seconds=5)},
            partitions=2,
        )  # fmt: skip
        if before is not None:
            self.consumer.texts.update(before.consumer.texts)
            self.consumer.committed_offsets.update(before.consumer.committed_offsets)

    def read_on(self, partition: int) -> None:
        """Read again what stands in the log from where the task begins."""
        for topic in TOPICS:
            begin = max(0, self.consumer.committed_offsets[topic, partition])
            self.turn(self.logs.records[topic, partition][begin:])

    def read(self, partition: int, message: Message) -> None:
        message._partition = partition
        self.logs.records[message.topic() or "", partition].append(message)
        self.turn([message])

    def show(self, partition: int, offer_id: str) -> None:
        at = int(self.logs.now * 1000)
        offset = len(self.logs.records["offers", partition])
        self.read(partition, offer(offset, at, session=offer_id, offer_id=offer_id, stamp=at))

    def check_out(self, partition: int) -> None:
        at = int(self.logs.now * 1000)
        self.read(partition, checkout(len(self.logs.records["checkouts", partition]), at, session="another", stamp=at))

    @property
    def called(self) -> list[str]:
        return [call.offer_id for call in self.delivery.calls]


class KeptShop(ProcessOnKeptLogs):
    """A process with some of the tasks; `before`: the one whose commits it finds."""

    def __init__(self, logs: KeptLogs, before: Self | None = None, partitions: tuple[int, ...] = (A, B)) -> None:
        super().__init__(logs, before)
        self.consumer.ends = {topic: max(len(logs.records[topic, p]) for p in partitions) for topic in TOPICS}
        self.turn(lambda it: it.on_assign(it, [TopicPartition(topic, p) for topic in TOPICS for p in partitions]))
        if before is not None:
            for partition in partitions:
                self.read_on(partition)

    def go(self, until: float, *, shows: bool = False) -> None:
        """Second by second; `shows`: an offer is shown in A every twenty seconds."""
        while self.logs.now < until:
            self.logs.now += 1.0
            if shows and int(self.logs.now) % 20 == 0:
                self.show(A, f"passer-by{self.logs.now:.0f}")
            else:
                self.turn()
