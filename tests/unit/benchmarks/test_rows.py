"""The table that `make bench` ends with: rows are kept as they were added, and a wrong result leaves none."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks import bench_memory, bench_open, bench_whole_way, run_all
from benchmarks.whole_way import rows
from benchmarks.whole_way.rows import Row
from benchmarks.whole_way.verdicts import Judged
from support.documents import MANUAL

from consumer.events import Reason

MET, MISSED = Row("speed", "0.90 x", "9 to 10/s", ">= 0.8 x", True), Row("memory", "", "9 B", "<= 8 B", False)
NO_REACH = Row("pace", "", "7 ms", "none", None)


def test_rows_are_read_as_they_were_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows"
    monkeypatch.setenv(rows.FILE, str(file))
    rows.add(MET)
    rows.add(MISSED, NO_REACH)
    assert rows.read(file) == [MET, MISSED, NO_REACH]


def test_the_table_says_what_was_met() -> None:
    assert rows.markdown_of([MET, MISSED, NO_REACH]).splitlines()[2:] == [
        "| speed | 0.90 x | 9 to 10/s | >= 0.8 x | met |",
        "| memory |  | 9 B | <= 8 B | not met |",
        "| pace |  | 7 ms | none |  |",
    ]


def test_the_manual_names_the_commands_that_make_the_table() -> None:
    page = (MANUAL / "performance.md").read_text(encoding="utf-8")
    named = [line for line in page.splitlines() if line.startswith("python tests/benchmarks/")]
    assert [line.partition("  #")[0] for line in named] == [
        f"python tests/benchmarks/{program.name}.py {program.arguments}" for program in run_all.PROGRAMS
    ]


def test_every_program_of_the_table_adds_rows() -> None:
    for program in run_all.PROGRAMS:
        tree = ast.parse((Path(run_all.__file__).parent / f"{program.name}.py").read_text(encoding="utf-8"))
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "add" in called, program.name


@pytest.mark.parametrize("judged", [Judged(right=9, false=1), Judged(right=9, missed=1), Judged(right=9, silent=1)])
def test_a_wrong_fate_told_by_the_service_ends_the_comparison(judged: Judged) -> None:
    right = bench_whole_way.Run(1.0, 1.0, 1.0, 1, Judged(right=10))
    bench_whole_way.must_be_right("us", [right])
    with pytest.raises(SystemExit, match="us: "):
        bench_whole_way.must_be_right("us", [right, replace(right, judged=judged)])


def test_a_wrong_reason_ends_the_bench_of_open_sessions() -> None:
    filled = bench_open.Filled(100, 100)
    filled.measure()
    wrong: Any = SimpleNamespace(start=1, reason=Reason.PURCHASED)
    filled.decided.append(wrong)
    with pytest.raises(SystemExit, match="should be"):
        filled.judge()


def test_a_lost_outcome_ends_the_bench_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_memory, "SLICE", 6)
    service = bench_memory.Service(metadata=False)
    try:
        service.show(5)
        assert service.decide() == 5
        service.wait_for(5)
        service.go_on()
        service.sink.outcome = lambda *_: None  # type: ignore[method-assign]
        with pytest.raises(SystemExit, match="not what it should be"):
            service.go_on()
    finally:
        service.delivery.stop(0)
