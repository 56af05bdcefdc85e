"""Times and lengths of time as people read them at a glance. Times are UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))

_MOST = 6


def span(seconds: float) -> str:
    """A length of time by its two largest units: `12 s`, `41 min`, `2 h 5 min`; a second one that is 0 is left out.

    From ten minutes on seconds are left out as well.
    """
    left = max(0, round(seconds))
    if left >= 600:
        left -= left % 60
    parts: list[str] = []
    for unit, size in _UNITS:
        if parts and left < size:
            break
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
        if len(parts) == 2:
            break
    return " ".join(parts) or "0 s"


def clock(ms: int, now: int, *, seconds: bool = False) -> str:
    """The time of day, such as `02:10`, with the day before it where that is not the day of `now`; both in ms."""
    moment, today = _utc(ms), _utc(now)
    if moment is None:
        return f"{ms} ms"
    time = f"{moment:%H:%M:%S}" if seconds else f"{moment:%H:%M}"
    if today is not None and moment.date() == today.date():
        return time
    day = f"{moment.day} {moment:%b}"
    return f"{day} {time}" if today is not None and moment.year == today.year else f"{day} {moment.year:04} {time}"


def iso(ms: int | None) -> str | None:
    """For programs: ISO 8601 to the millisecond; None for None, and for a time that no calendar has."""
    moment = None if ms is None else _utc(ms)
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def listed(numbers: Sequence[int]) -> str:
    """`partition 3`, `partitions 0, 1 and 5`; of many the first ones and how many more there are."""
    return f"partition{'' if len(numbers) == 1 else 's'} {enumerated([str(number) for number in numbers])}"


def enumerated(texts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; of more than six the first ones and how many more there are."""
    if len(texts) > _MOST:
        return f"{', '.join(texts[:_MOST])} and {len(texts) - _MOST} more"
    return " and ".join(part for part in (", ".join(texts[:-1]), *texts[-1:]) if part)


def counted(number: int, noun: str) -> str:
    """`1 call`, `1,204 calls`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _utc(ms: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
