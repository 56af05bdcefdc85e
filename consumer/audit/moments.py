"""Times for people."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(ms: int) -> str:
    """A time (ms) in UTC as people write it; the number where no calendar has it."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(ms)


def lasting(ms: int) -> str:
    """How long something lasts, as settings have it: `1h30m`, `45s`, `500ms`; no more than the two largest units."""
    parts: list[str] = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"
