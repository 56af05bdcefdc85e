"""The report as a table and as rows; how shares and times are written."""

from __future__ import annotations

import json
import tempfile

import pytest
from support.reports import ACME, report

from consumer.errors import OutputFileError
from consumer.evidence.report import _work_folder, columns_of, document, lasted, percent, rows_of
from consumer.output import as_json, plain_lines


def test_the_table_ends_with_the_total_and_json_has_the_facts() -> None:
    shown = document(report(missing=["why"]))
    lines = list(plain_lines(shown.tables["figures"]))
    assert lines[-1].split()[:2] == ["total", "1,191"]
    assert lines[-2].split()[0] == "(none)"
    found = json.loads(as_json(shown))
    assert found["figures"][-2]["partner"] is None
    assert found["complete"] is False
    assert found["notes"][0] == "why"
    assert found["unread_inputs"] == [{"topic": "offer.presented", "reason": "undecodable", "records": 7}]
    assert (found["from"], found["to"]) == ("2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z")


def test_rows_have_the_values_that_json_has_and_no_total() -> None:
    names = [column.name for column in columns_of(("partner",))]
    found = json.loads(as_json(document(report())))["figures"]
    assert [dict(zip(names, row, strict=True)) for row in rows_of(report())] == found[:-1]
    without = report().counted._replace(groups=[], total=ACME._replace(group=()))
    alone = rows_of(report(by=(), counted=without))
    assert len(alone) == 1
    assert len(alone[0]) == len(columns_of(()))


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (None, "-"),
        (0, "0s"),
        (1_234, "1s200ms"),
        (12_345, "12s"),
        (345_600, "5m46s"),
        (90_061_000, "1d1h1m1s"),
        (-61_000, "-1m1s"),
    ],
)
def test_how_long_it_took_in_words(ms: float | None, words: str) -> None:
    assert lasted(ms) == words


def test_a_share_in_words() -> None:
    assert [percent(None), percent(0.0), percent(1 / 3), percent(1.0, 1)] == ["-", "0.00 %", "33.33 %", "100.0 %"]


def test_without_room_for_temporary_files_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(OutputFileError, match=r"No usable temporary directory found\. Set TMPDIR"), _work_folder():
        pass
