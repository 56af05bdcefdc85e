"""A day that is exported takes the place of the one before, or leaves it as it was; see also tests/integration."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from consumer.evidence import export as export_module
from consumer.evidence import outcome_rows
from consumer.evidence.outcome_parts import TimeRange
from consumer.row_file import row_file

DAY = 86_400_000
MIDNIGHT = 20_000 * DAY


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_day_that_was_exported_survives_what_ends_the_next_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Between its two renames, too: the only copy, once retention has deleted the outcomes."""
    day = tmp_path / "day=2024-10-04"
    day.mkdir()
    (day / "part-0-0.parquet").write_text("what was exported before")

    def read(settings: Any, causes: Any, wanted: Any, work: Path) -> Any:
        with row_file(work / "outcomes-0-000000.parquet", outcome_rows.COLUMNS) as write:
            fields = {"outcome": "PURCHASED", "presented_at": MIDNIGHT, "outcome_partition": 0, "outcome_offset": 0}
            write([fields.get(column.name) for column in outcome_rows.COLUMNS])
        return SimpleNamespace(partitions=[SimpleNamespace(span=SimpleNamespace(partition=0))], cut=[], notes=[])

    monkeypatch.setattr(export_module, "read_outcome_parts", read)
    real, renames = Path.rename, [0]

    def rename(self: Path, target: Path) -> Path:
        renames[0] += 1
        if renames[0] == 2:
            raise error
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with suppress(BaseException):
        export_module.export(None, None, TimeRange(MIDNIGHT, MIDNIGHT + DAY), tmp_path)  # type: ignore[arg-type]
    assert renames[0] >= 2
    (left,) = tmp_path.glob("day=*/*")
    assert left.read_text() == "what was exported before"
