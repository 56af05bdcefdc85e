"""Times for people."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(ms: int) -> str:
    """A time (ms) in UTC as people write it; the number where no calendar has it."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(ms)
