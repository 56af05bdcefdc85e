"""Times and spans as people read them."""

from __future__ import annotations

import pytest

from consumer.audit.moments import iso, lasting


def test_a_time_is_told_in_utc_to_the_millisecond() -> None:
    assert iso(1_750_000_000_007) == "2025-06-15T15:06:40.007Z"
    assert iso(2**62) == str(2**62)


@pytest.mark.parametrize(
    ("ms", "words"),
    [(0, "0s"), (500, "500ms"), (60_000, "1m"), (5_400_000, "1h30m"), (90_061_001, "1d1h"), (1_800_000, "30m")],
)
def test_a_span_is_told_by_its_two_largest_units(ms: int, words: str) -> None:
    assert lasting(ms) == words
