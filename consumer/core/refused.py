"""Records of offers that were given up: what of them a commit has to say, until their dead letters are written."""

from __future__ import annotations

from collections.abc import Iterable


class RefusedOffers:
    """Those of one task, by the offset of the record.

    What it gives are offsets of presentations, as a checkpoint has them. Of a record that cannot be read nobody knows
    how many it holds, and a restart may find another fate for it, or can read it. So until its dead letter is written
    all that it could hold is unsettled. Else a restart would call the first of three offers, and take the others for
    settled.

    Args:
        dead: as they were found in the checkpoint.
        unit: by how much the offsets of presentations of neighbouring records differ.
    """

    def __init__(self, dead: Iterable[int], unit: int) -> None:
        self._unit = unit
        self._dead = set(dead)
        self._unacknowledged: set[int] = set()

    def add(self, offset: int, *, lasting: bool) -> None:
        """A record is to be dead-lettered. `lasting`: for a reason that a restart cannot find again by itself."""
        self._unacknowledged.add(offset)
        if lasting:
            self._dead.add(offset * self._unit)

    def acknowledged(self, offset: int) -> None:
        """The dead letter of a record is written."""
        self._unacknowledged.discard(offset)

    def dead(self) -> frozenset[int]:
        """Those given up for such a reason: each by the offset of its first presentation."""
        return frozenset(self._dead)

    def unacknowledged(self) -> frozenset[int]:
        """All that may be in records whose dead letters are not written."""
        unit = self._unit
        return frozenset(one for offset in self._unacknowledged for one in range(offset * unit, (offset + 1) * unit))

    def forget(self, below: int) -> None:
        """Drop what stands below this offset, and is never read again."""
        self._dead = {first for first in self._dead if first >= below * self._unit}
