"""How far it is: measured, and shown as a bar or as lines."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.backfill.progress import EVERY, Meter, RangeProgress, showing
from consumer.core.rules import MIN_TIME

T = 1_790_000_000_000


def progress(**more: Any) -> RangeProgress:
    given = {"read": 50, "total": 100, "reached": T, "calls": 3, "waiting": 1, "tasks": 2, "done": 1} | more
    return RangeProgress(**given)


def test_what_was_read_and_called_here_is_measured_from_where_the_tasks_began() -> None:
    offsets = {0: 10, 1: 20}

    def runner(partition: int) -> Any:
        task = SimpleNamespace(
            next_offset=lambda side: offsets[partition], decided_to=[MIN_TIME, T][partition], unsettled=2
        )
        return SimpleNamespace(task=task, is_done=partition == 1)

    tasks = SimpleNamespace(
        runners={p: runner(p) for p in offsets}, consumer=SimpleNamespace(topic=lambda side: f"t{int(side)}")
    )
    ends = {(f"t{side}", p): end for side in (0, 1) for p, end in ((0, 30), (1, 15))}
    meter = Meter(tasks, SimpleNamespace(calls=7), ends)  # type: ignore[arg-type]
    assert meter.read() == RangeProgress(0, 40, None, 7, 4, 2, 1), "where a task begins behind the end, nothing is left"
    offsets[0] = 25
    assert meter.read().read == 30
    offsets[0] = 99
    assert meter.read().read == 40


@pytest.mark.parametrize(
    ("found", "share"),
    [
        (progress(waiting=0), 0.5),
        (progress(calls=1, waiting=1), 0.25),
        (progress(read=100, waiting=0), 0.99),
        (progress(read=100, waiting=0, done=2), 1.0),
        (progress(total=0, waiting=0), 0.99),
    ],
)
def test_the_bar_is_full_only_where_all_is_settled(found: RangeProgress, share: float) -> None:
    assert found.share == share


def test_without_a_terminal_a_line_comes_at_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("consumer.backfill.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    with capture_logs() as lines, showing("b1", bar=False) as show:
        show(progress)
        now[0] += EVERY
        show(progress)
        show(progress)
        now[0] += EVERY
        show(lambda: progress(calls=23))
    assert [line["event"] for line in lines] == ["backfill", "backfill"]
    assert lines[0]["name"] == "b1"
    assert lines[0]["reached"].startswith("2026-")
    assert [line["calls_per_second"] for line in lines] == [0.3, 2.0]
    assert lines[1]["partitions_done"] == "1/2"


def test_in_a_terminal_a_bar_says_the_same(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    with showing("b1", bar=True) as show:
        show(progress)
    said = capsys.readouterr().err
    assert "b1" in said
    assert "50 of about 100 records" in said
    assert "3 calls" in said
