"""Checks each commit: never more than what is settled, and no offer that is read again without its checkout."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from simulation.checkers.calls import CallChecker
from simulation.checkers.expected import ExpectedFates
from simulation.checkers.outputs import OutputChecker
from simulation.checkers.violation import Violation
from simulation.workload.scenario import CHECKOUTS, OFFERS, Written
from simulation.world.broker import Broker, Place

from consumer.core.checkpoint import OfferCheckpoint, UnreadableMetadata
from consumer.core.rules import MIN_TIME
from consumer.events import OfferPresented


class CommitChecker:
    """Is told of each commit before it is taken, and of what is lost of one; tells the other checkers."""

    def __init__(self, expected: ExpectedFates, broker: Broker, outputs: OutputChecker, calls: CallChecker) -> None:
        self._expected, self._scenario, self._broker = expected, expected.scenario, broker
        self._outputs, self._calls = outputs, calls
        self._before: dict[Place, int] = {}

    def on_written(self, written: Written) -> None:
        """A record is written to an input: it may be later than anything may be."""
        if not self._scenario.one_setting or written.on_time or not isinstance(written.event, OfferPresented):
            return
        offset, metadata = self._broker.group.committed.get((OFFERS, written.partition), (0, ""))
        with suppress(UnreadableMetadata):
            decided_to = OfferCheckpoint.decode(metadata, offset).decided_to
            if written.event.presented_at < decided_to - self._scenario.rules.late_after:
                self._outputs.is_too_late(written)

    def on_loss(self) -> None:
        """The metadata of what is committed is about to be lost: everything from there on may be called again."""
        committed = self._broker.group.committed
        for partition in range(self._scenario.partitions):
            self._expected.cut(partition, committed.get((OFFERS, partition), (0, ""))[0])
            checkouts = committed.get((CHECKOUTS, partition), (0, ""))[0]
            self._outputs.on_loss(partition, checkouts)
            self._calls.on_loss(partition)

    def on_answer(self, skips: Mapping[Place, int]) -> None:
        """An operator has said where to go on: back, or behind what is not settled.

        `skips`: by input, below which offset the answer takes for read before what was due by then.
        """
        self.on_loss()
        self._before = {place: offset for place, (offset, _) in self._broker.group.committed.items()}
        for (topic, partition), offset in self._before.items():
            self._outputs.on_skip(topic, partition, max(offset, skips.get((topic, partition), 0)))

    def on_made_anew(self, topic: str) -> None:
        """An input is deleted and made anew: what was not read of it is gone, and that is nobody's fault."""
        for partition in range(self._scenario.partitions):
            end = self._broker.logs[topic, partition].end
            self._outputs.on_skip(topic, partition, end)
            if topic == CHECKOUTS:
                self._outputs.on_loss(partition, end)

    def on_cut(self, topic: str, partition: int) -> None:
        """A log has lost its end, and has grown to where it was: what stood there is nobody's fault any more.

        To be told when the scenario no longer has what is gone. What was told by then is taken in before.
        """
        self.on_loss()
        end = self._broker.logs[topic, partition].end
        self._outputs.on_skip(topic, partition, end)
        if topic == CHECKOUTS:
            self._outputs.on_loss(partition, end)

    def check(self, offsets: dict[Place, tuple[int, str]]) -> None:
        """Committed is never more than what is settled, and never goes back."""
        self._outputs.read()
        committed = self._broker.group.committed
        for (topic, partition), (offset, metadata) in offsets.items():
            # What has expired is no bound: a group without any offsets begins anew.
            before = self._before.get((topic, partition), 0) if (topic, partition) in committed else 0
            self._before[topic, partition] = offset
            # A late presentation that is taken in time wants checkouts that had been let go of.
            exact = self._scenario.one_setting and self._scenario.all_on_time
            if offset < before and (topic == OFFERS or exact):
                raise Violation(f"the commit of {topic}[{partition}] goes back from {before} to {offset}")
            for record in self._broker.logs[topic, partition].between(before, offset):
                if not self._outputs.is_settled(topic, partition, record):
                    raise Violation(f"committed {offset} of {topic}[{partition}]: {record.offset} is not settled")
            if topic == OFFERS:
                decided_to = _decided_to(metadata, offset)
                self._calls.on_commit(partition, decided_to)
                # Where the list of what is open leaves less room, less is said to be decided: a restart repeats more.
                self._outputs.on_commit(partition, decided_to - self._scenario.rules.late_after)
        self._check_retained({**committed, **offsets})

    def _check_retained(self, committed: dict[Place, tuple[int, str]]) -> None:
        """An offer that would be read again is never without the checkout that bought it."""
        checkouts = self._broker.topics[1]
        for (partition, offset), fate in self._expected.home.items():
            spot = partition, offset
            buyer = self._expected.buyer(spot)
            if buyer < 0 or offset < committed.get((OFFERS, partition), (0, ""))[0]:
                continue
            if spot in self._outputs.covered or not self._expected.strict(spot):
                continue
            if buyer < committed.get((checkouts, partition), (0, ""))[0]:
                raise Violation(f"{fate.offer_id} at {offset} would be read again without the checkout that bought it")


def _decided_to(metadata: str, offset: int) -> int:
    """Up to when what a commit of the offers does not list is settled (ms)."""
    try:
        return OfferCheckpoint.decode(metadata, offset).decided_to
    except UnreadableMetadata:
        return MIN_TIME
