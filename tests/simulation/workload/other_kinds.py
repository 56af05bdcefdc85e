"""Records of another kind between ours, as in a topic that is shared: `input.….when` passes them over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from simulation.workload.kinds import Kind, source_of
from simulation.workload.scenario import FAR_AHEAD, OF_ANOTHER_KIND, START, Scenario, Written

BURST = 45
"""Records: more than those of which `consumer.runtime.late_run` takes twenty for a mass."""

FLOOD = 1_100
"""More than those that the same, or `dead_letter.max_ratio`, looks at."""


class OtherKinds:
    """Puts them into the logs of a scenario, by a random source of its own.

    Our records come as they would without; their offsets are higher.
    """

    def __init__(self, scenario: Scenario, names: list[str], partition_of: Callable[[str], int]) -> None:
        self._scenario = scenario
        # As the contract has it, a topic has one partitioner, for records of every kind.
        self._keys: dict[int, list[bytes]] = defaultdict(list)
        for name in [*names, *(f"page{number}" for number in range(10))]:
            self._keys[partition_of(name)].append(name.encode())
        self._random = random = source_of(Kind.OTHER_KINDS, scenario.seed)
        self._usual = random.choice((1, 1, 3, 12))
        self._flood = random.choice((0, 0, random.randint(1, 40)))
        """Before which record of ours one comes; 0: none does."""
        self._newest: dict[tuple[str, int], int] = {}

    def stand_before(self, at: int, place: tuple[str, int], ends: dict[tuple[str, int], int]) -> None:
        """Some come before the record of ours that is written next in the place, `at` that time (ms)."""
        random = self._random
        since = self._newest.get(place, START * 1000)
        self._newest[place] = at
        self._flood -= 1
        count = random.randint(0, self._usual)
        if random.random() < 0.02:
            count = BURST
        if self._flood == 0:
            count = FLOOD
        self._write(place, ends, sorted(random.randint(min(since, at), at) for _ in range(count)))

    def stand_at_the_end(self, ends: dict[tuple[str, int], int]) -> None:
        """Some come behind all of ours."""
        for place, since in self._newest.items():
            self._write(place, ends, [since + n for n in range(self._random.randint(0, self._usual))])
        self._scenario.records.sort(key=lambda written: written.at)

    def _write(self, place: tuple[str, int], ends: dict[tuple[str, int], int], moments: list[int]) -> None:
        random, lateness = self._random, self._scenario.rules.lateness
        for at in moments:
            offset = ends.get(place, 0)
            ends[place] = offset + 1
            stamp = random.choice((at, at, at, at - random.randint(0, lateness)))
            if random.random() < 0.005:
                stamp = at + FAR_AHEAD
            key = random.choice((None, *self._keys[place[1]]))
            self._scenario.records.append(
                Written(at, *place, offset, stamp, key, OF_ANOTHER_KIND, None, on_time=True, happened=at)
            )
            self._scenario.kinds["a record of another kind"] += 1
