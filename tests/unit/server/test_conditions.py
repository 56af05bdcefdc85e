"""What is so in a snapshot, by its key: the numbers at which it begins, which are those of the alerts."""

from __future__ import annotations

from typing import Any

import pytest
from support.run_states import HOUR, NOW, a_snapshot, a_task, an_input

from consumer.server.conditions import conditions_of, is_late, nears_retention, needs_retention
from consumer.snapshot import CallsSnapshot, Snapshot, Suspended

DAY = 86_400.0


def keys(**changes: Any) -> list[str]:
    return list(conditions_of(a_snapshot(taken_at=NOW, **changes)))


def test_nothing_of_it_is_so_where_all_is_well() -> None:
    assert keys() == []


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"full": True}, "full"),
        ({"calls": CallsSnapshot(gate_closed=("writes fail",))}, "gate"),
        ({"clock_ahead": 2.1}, "clock"),
        ({"clock_ahead": -2.1}, "clock"),
        ({"halves": (3,)}, "halves"),
        ({"suspended": (Suspended(reason="gap", what="w", since=None),)}, "suspended gap"),
        ({"tasks": (a_task(4, watermark=NOW - 901_000),)}, "late 4"),
        ({"tasks": (a_task(4, metadata_characters=3_686, metadata_limit=4_095),)}, "metadata 4"),
        ({"tasks": (a_task(4, offers=an_input(retention_left=43_199.0)),)}, "retention offer.presented 4"),
    ],
)
def test_each_has_its_key(changes: dict[str, Any], key: str) -> None:
    assert keys(**changes) == [key]


@pytest.mark.parametrize(
    "changes",
    [
        {"clock_ahead": 2.0},
        {"calls": CallsSnapshot(gate_closed=("writes fail",)), "tasks": (a_task(due_uncalled=0),)},
        {"tasks": (a_task(watermark=NOW - 900_000),)},
        {"tasks": (a_task(metadata_characters=3_685, metadata_limit=4_095),)},
        {"tasks": (a_task(metadata_characters=0, metadata_limit=0),)},
        {"tasks": (a_task(offers=an_input(retention_left=43_200.0)),)},
    ],
)
def test_just_short_of_it_is_nothing(changes: dict[str, Any]) -> None:
    assert keys(**changes) == []


def test_a_task_is_late_by_more_than_its_lateness_and_only_while_it_decides() -> None:
    def late(lateness: float, **changes: Any) -> bool:
        snapshot: Snapshot = a_snapshot(taken_at=NOW, lateness=lateness)
        return is_late(a_task(watermark=NOW - HOUR, **changes), snapshot)

    assert late(300.0)
    assert not late(3_600.0), "it is always an hour behind, and all is well"
    assert not late(300.0, phase="restoring")


@pytest.mark.parametrize(
    ("left", "whole", "near", "now"),
    [
        (13 * 3_600.0, None, False, False),
        (11 * 3_600.0, None, True, True),
        (4 * DAY, 7 * DAY, False, False),
        (3 * DAY, 7 * DAY, True, False),
        (11 * 3_600.0, 7 * DAY, True, True),
        (5 * 3_600.0, 6 * 3_600.0, False, False),
        (2 * 3_600.0, 6 * 3_600.0, True, True),
        (None, 6 * 3_600.0, False, False),
    ],
)
def test_retention_is_near_at_half_of_it_and_urgent_for_a_night(
    left: float | None, whole: float | None, near: bool, now: bool
) -> None:
    one = an_input(retention_left=left, retention=whole)
    assert nears_retention(one) == near
    assert (left is not None and left < needs_retention(one)) == now
