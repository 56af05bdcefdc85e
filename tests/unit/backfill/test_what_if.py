"""What a dry run leaves behind; see `integration/test_backfill.py` for what it finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consumer.backfill import what_if
from consumer.backfill.compare import Comparison
from consumer.backfill.end import Left
from consumer.backfill.told import Told

SETTINGS: Any = object()


@pytest.mark.parametrize(
    ("interrupted", "is_written"), [([True], False), ([False, True], False), ([False, False], True)]
)
def test_a_dry_run_that_a_signal_ends_leaves_the_file_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: list[bool], is_written: bool
) -> None:
    file = tmp_path / "calls.csv"
    file.write_text("the calls of yesterday\n")
    ends = [what_if.Rehearsal(Comparison(Told()), Left(0, 0, ()), interrupted=one) for one in interrupted]
    coming = iter(ends)
    monkeypatch.setattr(what_if, "_rehearse", lambda *_: next(coming))
    assert what_if.rehearse(SETTINGS, SETTINGS, SETTINGS, file) == ends
    assert (file.read_text() != "the calls of yesterday\n") is is_written
    assert [path.name for path in tmp_path.iterdir()] == ["calls.csv"]
