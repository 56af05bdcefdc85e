"""Shared topics, rows that cannot be read, a changed mapping: what is broken there has to be noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from simulation.simulate import run
from simulation.workload.drawing import draw
from simulation.workload.kinds import ON, Kind
from simulation.workload.scenario import OF_ANOTHER_KIND

from consumer.core.provenance import Provenance
from consumer.core.watermark import Side
from consumer.errors import TooManyDeadLettersError
from consumer.runtime.bad_record_limit import BadRecordLimit
from consumer.runtime.runner import TaskRunner

ROWS = ON | {Kind.WRONG_SCHEMA}
SHARED = ROWS | {Kind.OTHER_KINDS}


def counted_as_read(real: Any) -> Any:
    """What is passed over breaks a row of what cannot be read."""

    def pass_over(self: TaskRunner, side: Side, offset: int) -> Any:
        found = real(self, side, offset)
        self._bad_records[side].read += 1
        return found

    return pass_over


def settled_at_once(real: Any) -> Any:
    return lambda self, *, at_once=False: real(self, at_once=True)


def borne(real: Any) -> Any:
    def bad(self: BadRecordLimit, error: str, partition: int) -> None:
        try:
            real(self, error, partition)
        except TooManyDeadLettersError:
            return

    return bad


CASES: list[tuple[str, Any, str, Callable[[Any], Any], frozenset[Kind], tuple[int, ...]]] = [
    ("what is passed over counts as read", TaskRunner, "_pass_over", counted_as_read, SHARED, (4, 27)),
    ("a row is settled before it has ended", BadRecordLimit, "settle", settled_at_once, ROWS, (27,)),
    ("no row is too long", BadRecordLimit, "bad", borne, ROWS, (4, 21)),
]
"""What is broken, the function that is replaced and by what, and the seeds that show it."""


@pytest.mark.parametrize(
    ("where", "name", "broken", "kinds", "seeds"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_a_sabotage_is_noticed(
    where: Any,
    name: str,
    broken: Callable[[Any], Any],
    kinds: frozenset[Kind],
    seeds: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for seed in seeds:
        assert run(seed, kinds=kinds).failure is None
    monkeypatch.setattr(where, name, broken(getattr(where, name)))
    for seed in seeds:
        assert "cannot be read" in (run(seed, kinds=kinds).failure or ""), f"seed {seed} does not notice"


def test_records_of_another_kind_change_nothing_of_ours_but_their_offsets() -> None:
    alone, shared = (
        [
            (w.at, w.topic, w.partition, w.timestamp, w.key, w.value)
            for w in draw(7, kinds).records
            if w.value != OF_ANOTHER_KIND
        ]
        for kinds in (ON, ON | {Kind.OTHER_KINDS})
    )
    assert sorted(alone, key=str) == sorted(shared, key=str)
    places = {(w.topic, w.partition, w.offset) for w in draw(7, SHARED).records}
    assert len(places) == len(draw(7, SHARED).records)


def test_a_supervisor_starts_again_what_stops_until_an_operator_raises_the_limit() -> None:
    done = run(20, kinds=ROWS)
    assert done.failure is None
    assert done.faults["stopped: TooManyDeadLettersError"] > 1
    assert done.faults["a row that cannot be read has stopped somebody"] > 1
    assert done.faults["an operator raises dead_letter.max_run"] == 1


def test_a_service_that_goes_on_by_another_mapping_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds, real = ON | {Kind.CHANGED_MAPPING}, Provenance.differences
    done = run(9, kinds=kinds)
    assert done.failure is None
    assert done.faults["stopped: PositionsError"] > 0

    def differences(self: Provenance, now: Provenance) -> dict[str, tuple[str, str]]:
        return {name: found for name, found in real(self, now).items() if name != "mapping"}

    monkeypatch.setattr(Provenance, "differences", differences)
    assert "were committed by another mapping" in (run(9, kinds=kinds).failure or "")
