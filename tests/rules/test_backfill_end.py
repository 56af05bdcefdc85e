"""When a backfill is over: what it waits for, and for how long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from consumer.backfill.end import PATIENCE, End
from consumer.core.rules import MAX_TIME, MIN_TIME
from consumer.errors import StartError

LATENESS = 1_000


class Other:
    """The rest of the deployment, as an end sees it: what is committed, what is acknowledged, and what time it is."""

    def __init__(self, *runners: Any, partitions: int = 1) -> None:
        self.now, self.acknowledged, self.away = 0.0, True, False
        consumer = SimpleNamespace(assigned=True, positions=self._positions)
        tasks: Any = SimpleNamespace(runners=dict(enumerate(runners)), consumer=consumer)
        self.end = End(
            tasks,
            SimpleNamespace(),  # type: ignore[arg-type]
            partitions=partitions,
            began=10_000,
            lateness=LATENESS,
            flush=lambda seconds: self.acknowledged,
            monotonic=lambda: self.now,
        )

    def _positions(self) -> Any:
        if self.away:
            raise StartError("no answer")
        nothing = SimpleNamespace(checkpoint=None)
        return SimpleNamespace(by_place=dict.fromkeys(((side, p) for side in range(2) for p in range(9)), nothing))


def runner(*, done: bool = False, watermark: int = 9_000, behind_gap: bool = False, resume_at: int = MIN_TIME) -> Any:
    guard = SimpleNamespace(behind_gap=behind_gap, has_landed=resume_at == MIN_TIME, resume_at=resume_at)
    task = SimpleNamespace(restoring=False, unsettled=0, watermark=watermark, guard=guard)
    late_run = SimpleNamespace(suspended=False, kept=False)
    return SimpleNamespace(is_done=done, task=task, outstanding=0, late_run=late_run)


def test_it_is_over_only_once_what_was_written_is_acknowledged() -> None:
    other = Other(runner(done=True))
    other.acknowledged = False
    assert not other.end.is_reached()
    other.acknowledged = True
    assert other.end.is_reached()


def test_what_the_log_held_is_read_and_something_is_left() -> None:
    assert not Other(runner(watermark=8_998)).end.is_reached()
    assert Other(runner(watermark=8_999)).end.is_reached()


@pytest.mark.parametrize("held", [{"behind_gap": True}, {"resume_at": 12_000}])
def test_it_waits_for_checkouts_that_land(held: dict[str, Any]) -> None:
    assert not Other(runner(**held)).end.is_reached()


def test_it_does_not_wait_for_a_silence_to_end() -> None:
    assert Other(runner(resume_at=MAX_TIME)).end.is_reached()


def test_one_that_has_something_left_waits_a_while_for_the_tasks_of_one_that_has_died() -> None:
    other = Other(runner(), partitions=2)
    assert not other.end.is_reached()
    other.now = PATIENCE - 1
    assert not other.end.is_reached()
    other.now = PATIENCE
    assert other.end.is_reached(), "or two of them would wait for each other"


def test_one_whose_tasks_are_settled_waits_for_the_others_also_while_the_broker_is_away() -> None:
    other = Other(runner(done=True), partitions=2)
    for other.now in (0.0, 10.0, 2 * PATIENCE):
        other.away = not other.away
        assert not other.end.is_reached()
