"""Checks the calls as they arrive: none too early, none for an offer that was bought, none for a reason of its own."""

from __future__ import annotations

from collections import Counter

from simulation.checkers.expected import ExpectedFates
from simulation.checkers.head import head_came_late
from simulation.checkers.outputs import OutputChecker
from simulation.checkers.violation import Violation
from simulation.workload.scenario import callable_reason
from simulation.world.broker import Broker
from simulation.world.insurer import Call


class CallChecker:
    """Is told of every call, and of all that lets a call be repeated."""

    def __init__(
        self,
        expected: ExpectedFates,
        broker: Broker,
        outputs: OutputChecker,
        concurrency: int,
        faults: Counter[str],
    ) -> None:
        self._expected, self._scenario = expected, expected.scenario
        self._broker, self._outputs = broker, outputs
        self._concurrency = concurrency
        self._faults = faults
        self._settling: Counter[str] = Counter()
        self._since_commit: Counter[int] = Counter()
        self._allowed_repeats: Counter[int] = Counter()

    def check(self, call: Call) -> None:
        """No call before its watermark; none for an offer that was bought."""
        offer, expected = call.offer_id, self._expected
        if offer not in expected.chains:
            raise Violation(f"{offer} is called, and no presentation of it is to be believed")
        session_id = expected.chains[offer][0].session_id
        partition = expected.partition_of[offer]
        is_cut = head_came_late(self._broker, self._scenario, partition)
        if offer in expected.surely_bought and session_id not in self._scenario.eaten and not is_cut:
            raise Violation(f"{offer} was bought, and is called")
        if self._scenario.strict(session_id) and not is_cut:
            self._check_reason_and_time(call)
        group = self._broker.group
        if not group.runs(call.process, partition):
            # A member that was held up does not know yet that it lost the task; the new one makes the call too.
            self._faults["two own a task: the former makes a call"] += group.owner(partition) is not None
            self._allowed_repeats[partition] += call.settling
        if call.settling and call.status == 204:
            # Not a 404: while the guard does not believe it, it is asked again, and settles nothing.
            self._settling[offer] += 1
            self._since_commit[partition] += 1

    def _check_reason_and_time(self, call: Call) -> None:
        offer, rules = call.offer_id, self._scenario.rules
        may = [
            fate
            for fate in self._expected.may[offer]
            if callable_reason(fate.reason, rules) and fate.reason.value == call.reason
        ]
        if not may:
            raise Violation(f"{offer} is called as {call.reason}, and has no chain of that fate")
        due = min(fate.decide_at for fate in may)
        if call.at <= due + rules.lateness:
            raise Violation(f"{offer} is called at {call.at}, before its watermark: it is due at {due}")

    # --- what lets a call be repeated

    def on_begin(self, partition: int) -> None:
        """A member begins with a task: it may repeat what was not committed."""
        self._allowed_repeats[partition] += self._concurrency + self._since_commit[partition]

    def on_commit(self, partition: int, decided_to: int) -> None:
        """What has an outcome and was due by `decided_to` (ms) is committed: the next member repeats the others only.

        Where the list of the unsettled did not fit, `decided_to` is lower, and more is repeated.
        """
        self._since_commit[partition] = self._without_outcome(partition) + self._due_after(partition, decided_to)

    def on_loss(self, partition: int) -> None:
        """The metadata of what is committed is lost: everything from there on may be called again."""
        self._allowed_repeats[partition] += 1_000_000

    # --- at the end

    def check_end(self) -> None:
        """Repeats are bounded."""
        for partition in range(self._scenario.partitions):
            repeats = sum(self._repeats(o) for o, p in self._expected.partition_of.items() if p == partition)
            allowed = self._allowed_repeats[partition]
            if repeats > allowed:
                raise Violation(f"partition {partition}: {repeats} repeated, {allowed} allowed")

    @property
    def repeats(self) -> int:
        """Settling answers beyond one a chain."""
        return sum(self._repeats(offer) for offer in self._expected.chains)

    def _repeats(self, offer: str) -> int:
        chains = self._expected.chains[offer]
        if not self._scenario.strict(chains[0].session_id):
            return 0
        partition, rules = self._expected.partition_of[offer], self._scenario.rules
        # A checkout without a date may make a chain one to be called that is none with the least doubt about it.
        reasons = [self._expected.reasons((partition, min(chain.offsets))) for chain in chains]
        return max(0, self._settling[offer] - sum(any(callable_reason(r, rules) for r in may) for may in reasons))

    def _due_after(self, partition: int, decided_to: int) -> int:
        """Calls that were answered 204, and that the commit does not tell of."""
        return sum(
            settling
            for offer, settling in self._settling.items()
            if self._expected.partition_of[offer] == partition
            and max(fate.decide_at for fate in self._expected.may[offer]) > decided_to
        )

    def _without_outcome(self, partition: int) -> int:
        """Calls that were answered 204, and whose outcome is not written yet: a commit cannot rely on them."""
        mine = (offer for offer in self._settling if self._expected.partition_of[offer] == partition)
        return sum(max(0, self._settling[offer] - self._outputs.told[offer]) for offer in mine)
