"""Which records of an input's partition are in the dead-letter topic, and why."""

from __future__ import annotations


class DeadLetters:
    """Those of one partition, by their offsets and their own timestamps (ms).

    The offset alone does not tell: where a topic was made anew, or a log was cut and has grown again, another record
    stands there.
    """

    def __init__(self) -> None:
        self._reasons: dict[tuple[int, int], str] = {}
        self._until: dict[int, tuple[int, str]] = {}

    def add(self, reason: str, offset: int, timestamp: int | None, written_at: int) -> None:
        """A dead letter, written then, or a note of one; the first one of a record counts.

        One that does not tell the record's timestamp (None) is of whatever stood there before it was written.
        """
        if timestamp is not None:
            self._reasons.setdefault((offset, timestamp), reason)
            return
        until, first = self._until.get(offset, (written_at, reason))
        self._until[offset] = max(until, written_at), first

    def reason(self, offset: int, timestamp: int) -> str | None:
        """Why the record is there; None: it is not."""
        if (reason := self._reasons.get((offset, timestamp))) is not None:
            return reason
        until = self._until.get(offset)
        return until[1] if until is not None and timestamp <= until[0] else None
