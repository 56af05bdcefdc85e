"""What is seen of a process from outside."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from benchmarks.whole_way.contenders import begun_by_line, task_begins
from benchmarks.whole_way.measured import QUIET, Sample, Seen, watched


def test_processor_time_between_two_moments_is_read_off_the_looks_around_them() -> None:
    seen = Seen(100.0, [Path("log")], [Sample(100.0, 1.0), Sample(101.0, 2.0), Sample(103.0, 6.0)])
    assert seen.cpu_between(100.5, 102.0) == pytest.approx(4.0 - 1.5)


def test_moments_outside_of_the_looks_are_those_at_the_ends() -> None:
    seen = Seen(100.0, [Path("log")], [Sample(100.0, 1.0), Sample(101.0, 2.0)])
    assert seen.cpu_between(0.0, 1_000.0) == pytest.approx(1.0)


def test_a_process_is_stopped_when_its_output_is_there_and_grows_no_more(tmp_path: Path) -> None:
    begin = time.monotonic()
    program = "import time\nx = bytearray(50_000_000)\nwhile True: time.sleep(0.01)"
    logs = [tmp_path / "one", tmp_path / "two"]
    seen = watched([sys.executable, "-c", program], os.environ, logs, lambda: 3, expected=3)
    assert seen.ended is None
    assert time.monotonic() - begin > QUIET
    assert seen.peak > 100_000_000, "of both"
    assert [sample.cpu for sample in seen.samples] == sorted(sample.cpu for sample in seen.samples)


def test_one_that_ends_by_itself_is_told_by_its_code_and_has_its_output_in_the_log(tmp_path: Path) -> None:
    program = "import sys; print('no broker'); sys.exit(3)"
    seen = watched([sys.executable, "-c", program], os.environ, [tmp_path / "log"], lambda: 0, expected=3)
    assert (seen.ended, seen.texts()) == (3, ["no broker\n"])


def test_when_a_peer_has_begun() -> None:
    assert begun_by_line("INFO something\nbegun 1700000000.25\nmore\n") == 1_700_000_000.25
    assert begun_by_line("it has not begun yet\n") is None


def test_when_the_service_has_begun() -> None:
    line = '{"partition": 0, "event": "task begins", "level": "info", "timestamp": "2023-11-14T22:13:20.250000Z"}'
    assert task_begins(f"not JSON\n{line}\n") == 1_700_000_000.25
    assert task_begins("") is None
