"""Ranges: what is in them, up to when they are decided, and how they stand with a group."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consumer.backfill.scope import BackfillScope, EventTimeRange, OffsetRange, in_words, moment, read_bound
from consumer.core.provenance import LONGEST
from consumer.core.rules import MIN_TIME, DecisionRules
from consumer.events import OfferAmongSeveral, OfferPresented

HOUR = 3_600_000
RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)


def shown(at: int, offset: int = 0) -> OfferPresented:
    return OfferPresented("s", "ada", "o", at, offset)


@pytest.mark.parametrize(("at", "inside"), [(99, False), (100, True), (199, True), (200, False)])
def test_a_chain_is_in_the_range_by_its_last_presentation_and_the_end_is_not(at: int, inside: bool) -> None:
    range_ = EventTimeRange(100, 200)
    assert range_.contains(0, shown(at)) is inside
    assert range_.is_of(0, 7, at) is inside


@pytest.mark.parametrize(
    ("partition", "offset", "inside"), [(0, 4, False), (0, 5, True), (0, 9, True), (0, 10, False), (1, 7, False)]
)
def test_a_range_of_offsets_goes_by_the_record_of_the_last_presentation(
    partition: int, offset: int, inside: bool
) -> None:
    range_ = OffsetRange({0: 5}, {0: 10}, 100, {0: 200})
    assert range_.contains(partition, shown(0, offset)) is inside
    assert range_.contains(partition, OfferAmongSeveral("s", "ada", "o", 0, offset * 64 + 3)) is inside
    assert range_.is_of(partition, offset, MIN_TIME) is inside


def test_all_of_the_range_is_decided_by_the_window_and_the_grace_behind_its_end() -> None:
    scope = BackfillScope(EventTimeRange(1_000, 2_000), RULES)
    assert scope.done_at(3) == 2_000 + RULES.window + RULES.checkout_grace
    assert scope.begin == 1_000 - RULES.lookback
    offsets = BackfillScope(OffsetRange({0: 5}, {0: 10}, 100, {0: 200}), RULES)
    assert offsets.done_at(0) == 200 + RULES.window + RULES.checkout_grace
    assert offsets.done_at(1) == MIN_TIME, "it has no part in it"
    assert [offsets.range.is_read(0, offset) for offset in (9, 10)] == [False, True]
    assert offsets.range.is_read(1, 0)


def test_another_range_other_rules_and_force_are_another_backfill_in_words() -> None:
    begin = 1_790_000_000_000
    scope = BackfillScope(EventTimeRange(begin, begin + HOUR), RULES)
    texts = {
        scope.text(),
        BackfillScope(EventTimeRange(begin, begin + HOUR + 1), RULES).text(),
        BackfillScope(EventTimeRange(begin, begin + HOUR), replace(RULES, window=1)).text(),
        BackfillScope(EventTimeRange(begin, begin + HOUR), RULES, force=True).text(),
    }
    assert len(texts) == 4
    words = in_words(scope.text())
    assert moment(begin) in words
    assert f"join.window {RULES.window / 1000:g} s" in words
    assert in_words("#a-hash") == "another one (#a-hash)"
    assert "deployment" in in_words("")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-11-01T00:00:00Z", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T01:00:00+01:00", datetime(2026, 11, 1, tzinfo=UTC)),
        ("0:5", {0: 5}),
        ("0:5,12:7", {0: 5, 12: 7}),
        ("0:5,0:7", None),
        ("0:5,", None),
        ("2026-11-01T00:00:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_bound_is_a_time_with_a_zone_or_an_offset_for_each_partition(text: str, found: object) -> None:
    assert read_bound(text) == found


def test_the_text_of_a_usual_range_is_stored_as_it_is() -> None:
    begin = 1_790_000_000_000
    longest = BackfillScope(EventTimeRange(begin, begin + HOUR), RULES, force=True).text()
    assert len(longest) <= LONGEST
