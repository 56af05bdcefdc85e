"""Which records dead letters and notes are of."""

from __future__ import annotations

from collections import defaultdict

from ..events import RecordIdentity
from ..kafka.letter import Entry

_TIMESTAMPS = 2**65
"""More than there are timestamps in a header: of at most 19 characters, and with a sign."""


class RecordSet:
    """Records by their place and their own timestamp: a number for each."""

    def __init__(self) -> None:
        self._records: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
        self._until: defaultdict[tuple[str, int], dict[int, int]] = defaultdict(dict)

    def add(self, entry: Entry) -> None:
        """The record of a dead letter or of a note, if it says where that stood.

        A note that does not tell its timestamp is of whatever stood there before the note was written.
        """
        if entry.source is None:
            return
        topic, partition, offset = entry.source
        if entry.timestamp is not None:
            self._records[topic, partition].add(_number(offset, entry.timestamp))
            return
        until = self._until[topic, partition]
        until[offset] = max(entry.written_at, until.get(offset, entry.written_at))

    def __contains__(self, record: RecordIdentity | None) -> bool:
        if record is None:
            return False
        (topic, partition, offset), timestamp = record
        if _number(offset, timestamp) in self._records.get((topic, partition), ()):
            return True
        until = self._until.get((topic, partition), {}).get(offset)
        return until is not None and timestamp <= until


def _number(offset: int, timestamp: int) -> int:
    return offset * _TIMESTAMPS + timestamp
