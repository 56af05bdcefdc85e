"""The log: events, levels and fields. Alerts and dashboards are written against them.

Where a call stands is of no interest. A processor that adds fields to every line is none of this scan's business.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from golden.logscan import UNKNOWN, Scan
from golden.nets import ROOT, hold_json


def test_every_event_its_level_and_its_fields() -> None:
    scan = Scan(ROOT / "consumer")
    lines = sorted({(line.event, line.level, line.fields) for line in scan.lines})
    assert len(lines) > 50, "the scan finds no longer what is there"
    hold_json("logs.json", [{"event": event, "level": level, "fields": [*fields]} for event, level, fields in lines])


def test_nothing_escapes_the_scan() -> None:
    """What it cannot tell is listed here by name, so that a person looks at it."""
    scan = Scan(ROOT / "consumer")
    untold = [line for line in scan.lines if UNKNOWN in line.event or any(UNKNOWN in field for field in line.fields)]
    hold_json("logs-not-told.json", sorted([*scan.oddities, *(f"{line.event} {line.fields}" for line in untold)]))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("log.info('a', x=1, y=2)", [("a", "info", ("x", "y"))]),
        ("log.warning('a' if full else 'b')", [("a", "warning", ()), ("b", "warning", ())]),
        ("A = 'a'\nlog.info(A)", [("a", "info", ())]),
        ("W = {1: 'a', 2: 'b'}\nlog.info(W[n])", [("a", "info", ()), ("b", "info", ())]),
        ("def f(log, word):\n    log.error(word)\nf(log, 'a')\nf(log, word='b')",
         [("a", "error", ()), ("b", "error", ())]),
        ("def f():\n    level = log.info if x else log.debug\n    level('a')", [("a", "debug", ()), ("a", "info", ())]),
        ("def f():\n    facts = {'x': 1}\n    facts |= {'y': 2}\n    facts['z'] = 3\n    log.info('a', **facts)",
         [("a", "info", ("x", "y", "z"))]),
        ("def g():\n    return {'x': 1}\nlog.info('a', **g())", [("a", "info", ("x",))]),
        ("class C:\n    def f(self):\n        self._log = log.bind(x=1)\n        self._log.info('a', y=1)",
         [("a", "info", ("x", "y"))]),
        ("message.error()", []),
        ("log.info(f'a {x}')", [("a ?", "info", ())]),
        ("log.info(compute())", [("?", "info", ())]),
        ("log.info('a', **compute())", [("a", "info", ("**? compute()",))]),
    ],
)  # fmt: skip
def test_the_scan_tells_what_is_logged(
    tmp_path: Path, source: str, found: list[tuple[str, str, tuple[str, ...]]]
) -> None:
    scan = scanned(tmp_path, source)
    assert sorted(line[:3] for line in scan.lines) == found
    assert scan.oddities == []


@pytest.mark.parametrize(
    "source",
    [
        "tell(log.info)",
        "journal.info('a')",
        "journal = structlog.get_logger()",
        "mine = log.bind(x=1)",
        "structlog.contextvars.bind_contextvars(x=1)",
        "class C:\n    def f(self):\n        self._log = log.bind(x=1)\n        tell(self._log)",
    ],
)
def test_the_scan_says_what_it_cannot_follow(tmp_path: Path, source: str) -> None:
    assert len(scanned(tmp_path, source).oddities) == 1


def scanned(folder: Path, source: str) -> Scan:
    (folder / "m.py").write_text(source, encoding="utf-8")
    return Scan(folder)
