"""What the guards remember where records are read again: no more than the logs do not tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.core.checkpoint import GuardState
from consumer.core.rules import MAX_TIME, MIN_TIME, DecisionRules
from consumer.core.still_held import still_held

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
LIMIT = 3
NOW = 1_000


@pytest.mark.parametrize(
    ("found", "left"),
    [
        (GuardState(900, 800, NOW - 5, 2, 950), GuardState()),
        (GuardState(900, 800, NOW - 4), GuardState(resume_at=NOW - 4)),
        (GuardState(900, 800, MAX_TIME, 2, 950), GuardState(900, resume_at=MAX_TIME)),
        (GuardState(900, 800, MIN_TIME, 3, 940), GuardState(900, MIN_TIME, 905, 3, 940)),
        (GuardState(900, 800, MIN_TIME, 3, 951), GuardState(900, MIN_TIME, 905, 3, 950)),
        (GuardState(900, 800, NOW, 4, 940), GuardState(900, MIN_TIME, NOW, 4, 940)),
        (GuardState(900, 800, MAX_TIME, 3, 940), GuardState(900, MIN_TIME, MAX_TIME, 3, 940)),
        (GuardState(MIN_TIME, 800, MIN_TIME, 3, 940), GuardState(unmatched=3)),
    ],
    ids=[
        "landed, and too few ids to suspend",
        "landing",
        "silent",
        "unmatched",
        "unmatched, judged by the clock",
        "unmatched and landing",
        "unmatched and silent",
        "unmatched, with no checkout ever",
    ],
)
def test_what_lasts_is_remembered_and_what_is_read_again_is_not(found: GuardState, left: GuardState) -> None:
    assert still_held(found, NOW, RULES, LIMIT) == left
    assert still_held(left, NOW, RULES, LIMIT) == left, "said twice, it is the same"


def test_with_that_guard_off_no_ids_are_remembered() -> None:
    assert still_held(GuardState(900, unmatched=0), NOW, RULES, 0) == GuardState()
    assert still_held(GuardState(900, unmatched=9, judged_to=940), NOW, replace(RULES, checkout_silence=9), 0) == (
        GuardState()
    )
