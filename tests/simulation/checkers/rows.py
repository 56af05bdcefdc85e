"""Checks that a row of records that cannot be read stops the service, and that no restart drains it meanwhile."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from simulation.checkers.expected import ExpectedFates
from simulation.checkers.violation import Violation
from simulation.workload.scenario import CHECKOUTS, OFFERS, TOPICS
from simulation.world.broker import Broker, Place
from simulation.world.process import SimulatedProcess

from consumer.core.watermark import Side
from consumer.errors import TooManyDeadLettersError
from consumer.runtime.bad_record_limit import QUIET

_SPAN = 1_000


class RowChecker:
    """Knows the rows of the logs: what cannot be read, one behind the other, but for what says nothing to us.

    How the records of several partitions come together is nobody's word: of these no row is judged, only their number.
    Nor is a row in which somebody was asked to end or in which nothing came for `QUIET` seconds, since what
    was read of it is settled then; nor any where positions were lost.
    """

    def __init__(self, expected: ExpectedFates, broker: Broker, faults: Counter[str]) -> None:
        self._expected, self._scenario, self._broker, self._faults = expected, expected.scenario, broker, faults
        self._excused: set[tuple[str, int]] = set()
        """Rows by topic and first offset."""
        self._read_to: dict[tuple[str, str], tuple[int, float]] = {}
        """By process and topic, how far it has read, and since when at the longest (s)."""
        self._looked: dict[str, float] = {}
        """By process, when it was looked at last (s)."""
        self._committed: dict[Place, int] = {}
        self._rows: dict[str, list[list[int]]] = defaultdict(list)
        if self._scenario.partitions == 1 and not self._scenario.loses_metadata:
            for topic in TOPICS:
                self._rows[topic] = [row for row in self._rows_of(topic) if len(row) > self._scenario.max_run]

    def _rows_of(self, topic: str, until: float = float("inf")) -> Iterable[list[int]]:
        """The rows of what is written up to a time (ms), by their offsets."""
        row: list[int] = []
        for w in self._scenario.records:
            if w.topic != topic or w.says_nothing or w.at > until:
                continue
            if w.event is None:
                row.append(w.offset)
                continue
            yield row
            row = []
        yield row

    def on_stop(self, process: SimulatedProcess, error: TooManyDeadLettersError) -> None:
        """A process has stopped since it has read too many: they must be there."""
        topic = OFFERS if f"records of {OFFERS} " in str(error) else CHECKOUTS
        limit, now = process.limits, self._broker.clock.ms
        rows = [len(row) for row in self._rows_of(topic, now)]
        most = sum(rows) if self._scenario.partitions > 1 else max(rows)
        if most > limit.max_run or sum(rows) > int(limit.max_ratio * _SPAN):
            self._faults["a row that cannot be read has stopped somebody"] += bool(self._rows[topic])
        else:
            raise Violation(f"{process.name} has no reason to stop, of {rows} that cannot be read: {error}")

    def look(self, process: SimulatedProcess) -> None:
        """To be called after each turn of a process."""
        if process.dead or not any(self._rows.values()):
            return
        self._note_quiet(process)
        now, runner = self._broker.clock.now, process.service.tasks.runners.get(0)
        for side in Side:
            what = process.name, TOPICS[side]
            read_to = -1 if runner is None else runner.task.next_offset(side)
            if self._read_to.get(what, (-1, 0.0))[0] != read_to:
                # It may have read that at once after the last look.
                self._read_to[what] = read_to, self._looked.get(process.name, now)
        self._looked[process.name] = now

    def _note_quiet(self, process: SimulatedProcess) -> None:
        """Excuse a row in which it stands for long."""
        for topic, rows in self._rows.items():
            at, since = self._read_to.get((process.name, topic), (-1, 0.0))
            for row in rows:
                if row[0] < at <= row[-1] and self._broker.clock.now - since >= QUIET:
                    self._excuse(topic, row, "nothing came for a while")

    def on_commit(
        self, offsets: dict[Place, tuple[int, str]], processes: Iterable[SimulatedProcess], *, is_raised: bool
    ) -> None:
        """To be called with each commit before it is taken."""
        for process in processes:
            self._note_quiet(process)
        for (topic, partition), (offset, _) in offsets.items():
            before = self._committed.get((topic, partition), 0)
            self._committed[topic, partition] = offset
            for row in self._rows[topic]:
                left = sum(one >= before for one in row)
                if offset <= row[0] or before > row[-1] or left <= self._scenario.max_run or is_raised:
                    continue
                if any(process.is_asked_to_end for process in processes):
                    self._excuse(topic, row, "somebody is asked to end")
                if (topic, row[0]) in self._excused or self._broker.lost_at >= 0 or offset <= before:
                    continue
                raise Violation(
                    f"committed {offset} of {topic}, where {len(row)} from {row[0]} to {row[-1]} cannot be read, "
                    f"{left} of them behind {before}; {self._scenario.max_run} are borne"
                )

    def _excuse(self, topic: str, row: list[int], why: str) -> None:
        if (topic, row[0]) not in self._excused:
            self._excused.add((topic, row[0]))
            self._faults[f"a row that cannot be read is not judged: {why}"] += 1
