"""A silence of checkouts that nobody remembers, since no commit was taken after it began.

Two tasks, A and B. The last checkouts are of 12:00, an offer is shown in B at 12:20. At 13:00 the silence begins, by an
offer in A; at 13:00:20 a checkout in A ends it, and for lateness what the producer kept back may still land: the
purchase in B among it. Then the process is killed, and half a minute later another one reads on.
"""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, TopicPartition
from support.kept_logs import LATENESS, MINUTE, NOON, SILENCE, SKEW, A, B, KeptLogs, ProcessOnKeptLogs
from support.loop_world import TOPICS

from consumer.core.checkpoint import OfferCheckpoint
from consumer.core.guards import SuspendedBy
from consumer.core.rules import MIN_TIME

ENDED = NOON + SILENCE + 20.0


class TwoTasks(ProcessOnKeptLogs):
    """A process with both tasks. `before`: the one that was killed, whose commits it finds."""

    def __init__(self, logs: KeptLogs, before: TwoTasks | None = None) -> None:
        super().__init__(logs, before)
        self.consumer.ends = dict.fromkeys(TOPICS, 0)
        self.turn(lambda it: it.on_assign(it, [TopicPartition(topic, p) for topic, p in logs.records]))

    def go(self, until: float) -> None:
        while self.logs.now < until:
            self.logs.now += 1.0
            self.turn()

    def commit(self) -> None:
        self.loop.tasks.commit([A, B], 0.1)

    def trusted(self, partition: int) -> bool:
        """Whether what is committed says that the inputs have been watched."""
        offset = self.consumer.committed_offsets["offers", partition]
        found = OfferCheckpoint.decode(self.consumer.texts["offers", partition, offset], offset)
        return found.trusted_since > MIN_TIME


def before_the_silence(logs: KeptLogs) -> TwoTasks:
    """At 12:59:58, with the last checkouts of 12:00 and an offer of 12:28 in B, which is due after 13:00."""
    process = TwoTasks(logs)
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
    process = before_the_silence(KeptLogs())
    if taken == "no part":
        process.consumer.errors["commit"] = [KafkaError._TRANSPORT] * 100
    elif taken == "the offers' part":
        process.consumer.refused["checkouts"] = KafkaError(KafkaError.REQUEST_TIMED_OUT)
    silence_and_its_end(process)
    process.go(ENDED + 5.0)

    process.logs.now += 30.0
    after = TwoTasks(process.logs, process)
    after.read_on(B)
    after.go(process.logs.now + 5.0)
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
    process = TwoTasks(KeptLogs())
    process.check_out(A)
    process.go(NOON + quiet_for)
    process.commit()
    assert process.trusted(B) == (quiet_for < SILENCE - LATENESS / 2 - SKEW)
