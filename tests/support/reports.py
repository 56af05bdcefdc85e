"""A report as `evidence.report` makes it, of which a test says only what it is about."""

from __future__ import annotations

from typing import Any

from consumer.evidence.figures import DELAY_STEPS_MS, Counted, Day, Figures
from consumer.evidence.outcome_parts import TimeRange
from consumer.evidence.report import Origin, Report
from consumer.evidence.unread_inputs import UnreadInput

HOSTILE = """<script>document.title='x'</script><img src=x onerror="document.title='x'">"'&amp;"""
"""A name that would run in a page that lets it."""

NOVEMBER = TimeRange(1_793_491_200_000, 1_796_083_200_000)

ACME = Figures(("ACME",), 120, 700, 300, 9, 4, 12, 1, 30, 345_000.0, 900_000.0)
OTHER = Figures((HOSTILE,), 2, 6, 4, 0, 0, 0, 0, 0, 300_400.0, None)
NAMELESS = Figures((None,), open=3)


def report(**changes: Any) -> Report:
    """Of three partners: one as usual, one with a hostile name, one without a name and with nothing but open chains."""
    days = [Day(f"2026-11-{day:02}", 30 + day, day % 3) for day in (*range(1, 12), *range(13, 31))]
    total = Figures((None,), 122, 706, 304, 9, 4, 12, 1, 33, 344_000.0, 880_000.0)
    counted = Counted([ACME, OTHER, NAMELESS], total, 3, 2, 1, 5, days, [0, 100, 700, 150, 40, 10, 5, 3, 1, 1, 0])
    assert len(counted.delays) == len(DELAY_STEPS_MS) + 1
    told: dict[str, Any] = {
        "wanted": NOVEMBER,
        "by": ("partner",),
        "counted": counted,
        "unread": [UnreadInput("offer.presented", "undecodable", 7)],
        "origin": Origin(
            "kafka:9092", "MkU3OEVBNTcwNTJENDM2Qk", ("offer.outcome", "offer.presented", "checkout.completed", "dead")
        ),
        "made_at": NOVEMBER.end + 3_723_000,
        "missing": [],
        "notes": [f"A note about `{HOSTILE}`."],
        "outcomes": 1_180,
        "inputs": 60,
    }
    return Report(**told | changes)
