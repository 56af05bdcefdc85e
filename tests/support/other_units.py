"""A time, and what producers make of it that write it in another unit than ours."""

from __future__ import annotations

from consumer.core.dating import DAY, HOUR, MINUTE

T = 1_800_000_000_000
"""Milliseconds since 1970."""

UNITS = {
    T // 1_000: "seconds",
    T // MINUTE: "minutes",
    T // HOUR: "hours",
    T // DAY: "days",
    T * 1_000: "microseconds",
    T * 1_000_000: "nanoseconds",
}
"""The same time as a number of each other unit, and that unit's name."""
