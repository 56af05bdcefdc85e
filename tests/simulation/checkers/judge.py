"""The invariants, judged from outside: what was committed, what was called, what stands in the output topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from contextlib import suppress

from simulation.checkers.expected import Truth, Violation
from simulation.checkers.outputs import Outputs
from simulation.workload.scenario import CHECKOUTS, OFFERS, Scenario, Written, callable_reason
from simulation.world.broker import Broker, Place
from simulation.world.insurer import Call, Insurer

from consumer.core.checkpoint import OfferCheckpoint, UnreadableMetadata
from consumer.events import OfferPresented


class Judge:
    """Knows the scenario and the oracle's fates; is told of commits, calls and records written."""

    def __init__(
        self,
        scenario: Scenario,
        broker: Broker,
        insurer: Insurer,
        released: Collection[str],
        concurrency: int,
        faults: Counter[str],
    ) -> None:
        self._scenario, self._broker = scenario, broker
        self._concurrency = concurrency
        self.truth = Truth(scenario)
        self._faults = faults
        self._outputs = Outputs(self.truth, broker, insurer, released)
        self._settling: Counter[str] = Counter()
        self._since_commit: Counter[int] = Counter()
        self._allowed_repeats: Counter[int] = Counter()
        broker.on_commit = self.on_commit

    # --- while it runs

    def on_written(self, written: Written) -> None:
        """A record is written to an input: it may be later than anything may be."""
        if not self._scenario.one_setting or written.on_time or not isinstance(written.event, OfferPresented):
            return
        offset, metadata = self._broker.group.committed.get((OFFERS, written.partition), (0, ""))
        with suppress(UnreadableMetadata):
            decided_to = OfferCheckpoint.decode(metadata, offset).decided_to
            if written.event.presented_at < decided_to - self._scenario.rules.late_after:
                self._outputs.is_too_late((written.partition, written.offset))

    def on_call(self, call: Call) -> None:
        """No call before its watermark; none for an offer that was bought."""
        offer, truth = call.offer_id, self.truth
        if offer not in truth.chains:
            raise Violation(f"{offer} is called, and no presentation of it is to be believed")
        if offer in truth.surely_bought:
            raise Violation(f"{offer} was bought, and is called")
        partition = truth.partition_of[offer]
        if self._scenario.strict(truth.chains[offer][0].session_id):
            rules = self._scenario.rules
            may = [f for f in truth.may[offer] if callable_reason(f.reason, rules) and f.reason.value == call.reason]
            if not may:
                raise Violation(f"{offer} is called as {call.reason}, and has no chain of that fate")
            due = min(fate.decide_at for fate in may)
            if call.at <= due + rules.lateness:
                raise Violation(f"{offer} is called at {call.at}, before its watermark: it is due at {due}")
        group = self._broker.group
        if not group.runs(call.process, partition):
            # A member that was held up does not know yet that it lost the task; the new one makes the call too.
            self._faults["two own a task: the former makes a call"] += group.owner(partition) is not None
            self._allowed_repeats[partition] += call.settling
        if call.settling and call.status == 204:
            # Not a 404: while the guard does not believe it, it is asked again, and settles nothing.
            self._settling[offer] += 1
            self._since_commit[partition] += 1

    def on_begin(self, partition: int) -> None:
        """A member begins with a task: it may repeat what was not committed."""
        self._allowed_repeats[partition] += self._concurrency + self._since_commit[partition]

    def on_loss(self) -> None:
        """The metadata of what is committed is about to be lost: everything from there on may be called again."""
        committed = self._broker.group.committed
        for partition in range(self._scenario.partitions):
            self.truth.cut(partition, committed.get((OFFERS, partition), (0, ""))[0])
            checkouts = committed.get((CHECKOUTS, partition), (0, ""))[0]
            self._outputs.on_loss(partition, checkouts)
            self._allowed_repeats[partition] += 1_000_000

    def on_commit(self, offsets: dict[Place, tuple[int, str]]) -> None:
        """Committed is never more than what is settled, and never goes back."""
        self._outputs.read()
        committed = self._broker.group.committed
        for (topic, partition), (offset, _) in offsets.items():
            before = committed.get((topic, partition), (0, ""))[0]
            # A late presentation that is taken in time wants checkouts that had been let go of.
            exact = self._scenario.one_setting and self._scenario.all_on_time
            if offset < before and (topic == OFFERS or exact):
                raise Violation(f"the commit of {topic}[{partition}] goes back from {before} to {offset}")
            for record in self._broker.logs[topic, partition].between(before, offset):
                if not self._outputs.is_settled(topic, partition, record):
                    raise Violation(f"committed {offset} of {topic}[{partition}]: {record.offset} is not settled")
            if topic == OFFERS:
                self._since_commit[partition] = self._untold(partition)
        self._check_hold({**committed, **offsets})

    def _check_hold(self, committed: dict[Place, tuple[int, str]]) -> None:
        """An offer that would be read again is never without the checkout that bought it."""
        checkouts = self._broker.topics[1]
        for (partition, offset), fate in self.truth.home.items():
            spot = partition, offset
            buyer = self.truth.buyer(spot)
            if buyer < 0 or offset < committed.get((OFFERS, partition), (0, ""))[0]:
                continue
            if spot in self._outputs.covered or not self.truth.strict(spot):
                continue
            if buyer < committed.get((checkouts, partition), (0, ""))[0]:
                raise Violation(f"{fate.offer_id} at {offset} would be read again without the checkout that bought it")

    # --- at the end

    def check_end(self) -> None:
        """Every record has met its one fate, and repeats are bounded."""
        self._outputs.check_end()
        for partition in range(self._scenario.partitions):
            repeats = sum(self._repeats(o) for o, p in self.truth.partition_of.items() if p == partition)
            allowed = self._allowed_repeats[partition]
            if repeats > allowed:
                raise Violation(f"partition {partition}: {repeats} repeated, {allowed} allowed")

    def _repeats(self, offer: str) -> int:
        chains = self.truth.chains[offer]
        if not self._scenario.strict(chains[0].session_id):
            return 0
        return max(0, self._settling[offer] - sum(callable_reason(f.reason, self._scenario.rules) for f in chains))

    def _untold(self, partition: int) -> int:
        """Calls that were answered 204, and whose outcome is not written yet: a commit cannot rely on them."""
        mine = (offer for offer in self._settling if self.truth.partition_of[offer] == partition)
        return sum(max(0, self._settling[offer] - self._outputs.told[offer]) for offer in mine)

    @property
    def repeats(self) -> int:
        """Settling answers beyond one a chain."""
        return sum(self._repeats(offer) for offer in self.truth.chains)
