"""Records of offers that were given up: what of them a commit has to say, until their dead letters are written."""

from __future__ import annotations

from collections.abc import Iterable

from .admission import Admission
from .rules import MIN_TIME


class RefusedOffers:
    """Those of one task, by the offset of the record.

    What it gives are offsets of presentations, as a checkpoint has them. Of a record that cannot be read nobody knows
    how many it holds, and a restart may find another fate for it, or can read it. So until its dead letter is written
    all that it could hold is unsettled. Else a restart would call the first of three offers, and take the others for
    settled.

    One that was late by the watermark is on time for a restart, which knows no more than `decided_to`. Once that has
    come to where the watermark was, its chain is due, and told to be settled. Until then it has to be listed, or it
    would be decided too. For example: while decisions are suspended at 12:00, the watermark is at 15:00, and what is
    presented at 13:00 comes late. A restart goes on at 12:00, and would call it after its dead letter.

    Args:
        dead: as they were found in the checkpoint.
        unit: by how much the offsets of presentations of neighbouring records differ.
    """

    MOST_LATE = 50_000
    """How many late ones are kept. The oldest are dropped first: `decided_to` comes to those first."""

    def __init__(self, dead: Iterable[int], unit: int) -> None:
        self._unit = unit
        self._dead = set(dead)
        self._unacknowledged: dict[int, int | None] = {}
        self._unreadable = set[int]()
        """Those of the unacknowledged that cannot be read."""
        self._late: list[tuple[int, int]] = []
        """Of each that was late, and whose dead letter is written, the `decided_to` (ms) that tells that it is settled,
        and the offset of its first presentation."""

    def add(self, offset: int, admission: Admission | None = None, watermark: int = MIN_TIME) -> None:
        """A record is to be dead-lettered.

        Args:
            offset: of the record.
            admission: why; None: it cannot be read.
            watermark: that of the task (ms).
        """
        self._unacknowledged[offset] = watermark if admission is Admission.LATE else None
        if admission is None:
            self._unreadable.add(offset)
        if admission is None or admission is Admission.IMPLAUSIBLE:
            self._dead.add(offset * self._unit)

    def found_again(self, first: int, told_by: int) -> None:
        """Of one that was found in the checkpoint, by its first presentation, a `decided_to` of `told_by` (ms) tells
        as well that it is settled, since its date is believed."""
        if first in self._dead:
            self._dead.discard(first)
            self._late.append((told_by, first))

    def found_readable(self, first: int) -> None:
        """One that could not be read, by its first presentation, is read and decided as any other."""
        self._dead.discard(first)

    def acknowledged(self, offset: int) -> None:
        """The dead letter of a record is written."""
        late_by = self._unacknowledged.pop(offset, None)
        self._unreadable.discard(offset)
        if late_by is not None:
            self._late.append((late_by, offset * self._unit))
            del self._late[: -self.MOST_LATE]

    def dead(self) -> frozenset[int]:
        """Those given up for a reason that no `decided_to` tells: each by the offset of its first presentation."""
        return frozenset(self._dead)

    def unreadable(self) -> frozenset[int]:
        """Of those the ones that cannot be read, and are not settled. A restart may have a reader that is mended."""
        return frozenset(offset * self._unit for offset in self._unreadable)

    def late(self, decided_to: int) -> list[int]:
        """The same of those that were late, as far as this `decided_to` (ms) does not tell it.

        First stand those that `decided_to` comes to last: where some find no room in a commit, these are needed most.
        """
        return [first for late_by, first in sorted(self._late, reverse=True) if late_by > decided_to]

    def unacknowledged(self) -> frozenset[int]:
        """All that may be in records whose dead letters are not written."""
        unit = self._unit
        return frozenset(one for offset in self._unacknowledged for one in range(offset * unit, (offset + 1) * unit))

    def forget(self, below: int) -> None:
        """Drop what stands below this offset, and is never read again."""
        self._dead = {first for first in self._dead if first >= below * self._unit}
        self._late = [one for one in self._late if one[1] >= below * self._unit]
