"""The same logs once more, read late: a fresh process finds them finished, far in the past, and nothing fails."""

from __future__ import annotations

from collections import Counter

from simulation.checkers.violation import Violation
from simulation.workload.kinds import Kind
from simulation.workload.scenario import Scenario, implausible
from simulation.world.world import World

LATER = 86_400.0
"""Seconds after the last record."""


class LateWorld(World):
    """The logs of a world that has been run, in another one."""

    def __init__(self, live: World) -> None:
        super().__init__(live.scenario.seed, live.kinds)
        self.clock.now = self.scenario.records[-1].at / 1000 + LATER
        while self._records:
            self._write(self._records.popleft())
        self.plan.clear()
        self._due_starts = [self.clock.now]
        # What the insurer answers is no question here.
        self.insurer.unknown = self.insurer.refused = frozenset()

    def _draw(self, seed: int, kinds: frozenset[Kind]) -> Scenario:
        return read_late(super()._draw(seed, kinds))


def read_late(scenario: Scenario) -> Scenario:
    """Read late, there is no clock to be seen that keeps the watermark from what is dated ahead and believed: it eats
    the lateness of what stands behind it (see the manual's limits)."""
    newest: dict[tuple[str, int], int] = {}
    for number, written in enumerate(scenario.records):
        if written.event is None or implausible(written, scenario.loosest):
            continue
        place = written.topic, written.partition
        seen = newest.get(place, written.dated)
        on_time = written.on_time and written.dated >= seen - scenario.rules.lateness
        scenario.records[number] = written._replace(on_time=on_time)
        newest[place] = max(seen, min(written.dated, written.timestamp))
    return scenario


def compare(live: World) -> Counter[str]:
    """Read the logs of a world that has been run late, and hold against each other which offers both called.

    Returns:
        What they differ in, and may, by why; counted.

    Raises:
        Violation: they differ for no reason, or an invariant breaks in the late run.
    """
    late = LateWorld(live)
    try:
        late.run()
    except Violation as violation:
        raise Violation(f"in the late run: {violation}") from violation
    found = Counter({"late runs": 1})
    for offer_id in sorted(live.truth.left.keys() ^ late.truth.left.keys()):
        called, other = ("live", "late") if offer_id in live.truth.left else ("late", "live")
        why = live.why_called_or_not(offer_id)
        if not why:
            raise Violation(f"{offer_id} is called {called}, and not {other}")
        found[f"called {called} only: {why}"] += 1
    return found
