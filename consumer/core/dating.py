"""Dates for people, and what is wrong with one, by the time that it should be about: its unit, its zone or a clock."""

from __future__ import annotations

from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
"""Milliseconds."""

UNITS = {
    "seconds": 1_000.0,
    "minutes": float(MINUTE),
    "hours": float(HOUR),
    "days": float(DAY),
    "microseconds": 1e-3,
    "nanoseconds": 1e-6,
}
"""Milliseconds in what a producer may have taken for the unit."""

NEAR = 31 * DAY
"""Milliseconds within which a date in another unit is that of its record: units lie further apart, and a record may be
read again, or come late."""

EAST, WEST, QUARTER = 14 * HOUR, -12 * HOUR, 15 * MINUTE
"""Milliseconds that local time may be ahead of UTC; each zone is at a whole quarter of an hour."""

UNDER_WAY = 2 * MINUTE
"""Milliseconds between an event and its record that still tell the zone."""


def iso_of(ms: int) -> str | None:
    """A time (ms) as people write it; None for an event's that is dated in a year that no calendar has."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None


def seems(dated: int, true: int) -> str:
    """What is wrong with a date that should be about another one (both ms), in words."""
    if (unit := unit_of(dated, true)) is not None:
        return f"{unit} instead of milliseconds"
    ahead = dated - true
    quarters = round(ahead / QUARTER)
    if quarters and WEST <= quarters * QUARTER <= EAST and abs(ahead - quarters * QUARTER) <= UNDER_WAY:
        hours, minutes = divmod(abs(quarters) * 15, 60)
        return f"local time instead of UTC (UTC{'+' if quarters > 0 else '-'}{hours}{f':{minutes}' if minutes else ''})"
    return "a clock that is ahead" if ahead > 0 else "a clock that is behind or stands still"


def unit_of(dated: int, true: int) -> str | None:
    """The unit of a date that should be about another one (both ms), if it is one of UNITS."""
    return next((unit for unit, factor in UNITS.items() if abs(dated * factor - true) <= NEAR), None)
