"""A task that has landed after a silence decides, and is read on, though in another one nothing lands.

Two tasks, A and B. In B's checkouts a transaction hangs. At night there is a silence of checkouts, with few offers. In
the morning a checkout ends it, in A, and lateness passes: A decides again. Soon A has more offers within a window than
it had at night and `delivery.max_unsettled` together: they must not count with those that are held.
"""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition
from structlog.testing import capture_logs
from support.builders import checkout, offer
from support.kept_logs import LATENESS, MINUTE, NOON, SILENCE, A, B, KeptLogs, ProcessOnKeptLogs
from support.loop_world import TOPICS

from consumer.core.guards import SuspendedBy


class Hanging(KeptLogs):
    """In the checkouts of B stands what cannot be read yet, if `hangs`."""

    hangs = False

    def ends(self) -> dict[tuple[str, int], int]:
        found = super().ends()
        found["checkouts", B] += self.hangs
        return found


class Morning(ProcessOnKeptLogs):
    """A process with both tasks. What its inputs are paused for stays in the log."""

    def __init__(self, kept: Hanging) -> None:
        super().__init__(kept)
        self.consumer.ends = dict.fromkeys(TOPICS, 0)
        self.turn(lambda it: it.on_assign(it, [TopicPartition(topic, p) for topic in TOPICS for p in (A, B)]))
        self.read_to = 0
        self.called_at = 0.0

    def go(self, until: float, *, every: int, checkouts: int = 0) -> None:
        """Every four seconds a turn, with an offer, and a checkout, in A every so many seconds."""
        log, done = self.logs.records["offers", A], self.logs.records["checkouts", A]
        while self.logs.now < until:
            self.logs.now += 4.0
            at = int(self.logs.now * 1000)
            batch = []
            if int(self.logs.now) % every == 0:
                log.append(offer(len(log), at, session=f"s{len(log)}", offer_id=f"o{len(log)}", stamp=at))
            if checkouts and int(self.logs.now) % checkouts == 0:
                done.append(checkout(len(done), at, session=f"c{len(done)}", stamp=at))
                batch.append(done[-1])
            if not self.loop._back_pressure.stops_offers:
                batch += log[self.read_to :]
                self.read_to = len(log)
            self.turn(batch)
            if self.delivery.calls:
                self.called_at = self.logs.now
            self.delivery.answer()


@pytest.mark.parametrize("hangs", [False, True])
def test_a_task_that_decides_is_read_on_though_in_another_one_nothing_lands(hangs: bool) -> None:
    kept = Hanging()
    process = Morning(kept)
    process.set_max_unsettled(200)
    for partition in (A, B):
        ms = int(kept.now * 1000)
        process.read(partition, checkout(0, ms, stamp=ms))
    kept.hangs = hangs
    process.go(NOON + SILENCE + 3 * MINUTE, every=60)
    assert process.loop.suspension.by is SuspendedBy.SILENCE
    process.go(NOON + SILENCE + 20 * MINUTE, every=20, checkouts=60)
    assert process.called_at > kept.now - MINUTE, "A decides"
    with capture_logs() as logs:
        process.go(NOON + 2 * SILENCE, every=4, checkouts=60)
        process.loop.suspension.report([runner.task for runner in process.loop.tasks.runners.values()])
    assert process.called_at > kept.now - 2 * LATENESS, (
        f"nothing was decided for {(kept.now - process.called_at) / 60:.0f} minutes; {process.loop.suspension.by}"
    )
    landing = [line["partitions"] for line in logs if line["event"].startswith("checkouts come again")]
    assert landing[-1:] == ([[B]] if hangs else []), "the line names where nothing lands"
