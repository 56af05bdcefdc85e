"""A range of time on the command line."""

from __future__ import annotations

import pytest
import typer

from consumer.commands.time_range import days_of, range_of


def test_times_with_a_zone_are_read_to_the_millisecond() -> None:
    assert range_of("2026-01-01T01:00:00.001+01:00", "2026-01-01T00:00:00.002Z") == (
        1_767_225_600_001,
        1_767_225_600_002,
    )


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "--from must be before --to"),
        ("2026-01-01T01:00:00+01:00", "2025-12-31T23:00:00Z", "--from must be before --to"),
        ("2026-01-01T00:00:00", "2026-01-02T00:00:00Z", "a time with its zone"),
        ("2026-01-01T00:00:00Z", "tomorrow", "a time with its zone"),
        ("9998-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "lies in the future"),
    ],
)
def test_what_is_no_range_is_wrong_usage(begin: str, end: str, words: str) -> None:
    with pytest.raises(typer.BadParameter, match=words):
        range_of(begin, end)


def test_a_range_that_ends_in_the_future_is_one() -> None:
    assert range_of("2026-01-01T00:00:00Z", "9999-01-01T00:00:00Z")[0] == 1_767_225_600_000


def test_whole_days_begin_at_midnight_in_utc() -> None:
    assert days_of("2026-01-01T00:00:00Z", "2026-01-02T02:00:00+02:00") == (1_767_225_600_000, 1_767_312_000_000)
    for begin, end in (
        ("2026-01-01T00:00:00.001Z", "2026-01-02T00:00:00Z"),
        ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00+01:00"),
    ):
        with pytest.raises(typer.BadParameter, match="must be a midnight in UTC"):
            days_of(begin, end)
