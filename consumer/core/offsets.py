"""What of each partition's log is settled, and so how far it may be committed.

One byte an offset between the committed offset and the end of what was read: a partition held for a day by one
call that cannot be settled costs megabytes, not gigabytes.
"""

from __future__ import annotations

from collections import deque

_TRIM = 65_536


class OfferOffsets:
    """Which offsets of the offer partition are open: read and not settled. Offsets may have gaps; a gap is settled.

    A record of several presentations is open until all of them are settled.

    Args:
        start: the first offset to read.
        unit: by how much the offsets of presentations of neighbouring records differ; 1: a record has one.

    Attributes:
        next_offset: the first offset that has not been applied.
    """

    def __init__(self, start: int, unit: int = 1) -> None:
        self.next_offset = start
        self._unit = unit
        self._open_in: dict[int, int] = {}
        """Of each open record with several presentations those that are open, as bits."""
        self._base = start
        self._open = bytearray()
        self._from = 0

    def read(self, offset: int, count: int = 1) -> None:
        """The record at `offset`, of so many presentations, was read and is open. Offsets come in rising order."""
        self._reach(offset)
        self._open.append(1)
        self.next_offset = offset + 1
        if count > 1:
            self._open_in[offset] = (1 << count) - 1

    def skip_to(self, offset: int) -> None:
        """Nothing is open between what was read before and `offset`, which is the next to be read."""
        self._reach(offset)
        self.next_offset = max(self.next_offset, offset)

    def settle(self, presentation: int) -> None:
        """Nothing more will be done for the one of this offset. Doing so twice changes nothing."""
        offset = presentation
        if self._unit > 1:
            offset, place = divmod(presentation, self._unit)
            if left := self._open_in.pop(offset, 0) & ~(1 << place):
                self._open_in[offset] = left
                return
        if offset >= self._base:
            self._open[offset - self._base] = 0

    def lowest_open(self) -> int:
        """The lowest open offset, `next_offset` if none is."""
        found = self._open.find(1, self._from)
        self._from = found if found >= 0 else len(self._open)
        if self._from > _TRIM:
            del self._open[: self._from]
            self._base += self._from
            self._from = 0
        return self._base + self._from

    def _reach(self, offset: int) -> None:
        missing = offset - self._base - len(self._open)
        if missing > 0:
            self._open.extend(bytes(missing))


class EarliestFrom:
    """The earliest time among the records at or after a rising offset.

    Times are cut to whole seconds (1,024 ms), downwards, which keeps it as small as the seconds that it spans, and
    errs towards keeping more.
    """

    def __init__(self) -> None:
        # (second, last offset of which it is the minimum), both rising: later records that are earlier in time
        # make the ones before them irrelevant.
        self._minima: deque[tuple[int, int]] = deque()

    def add(self, offset: int, time: int) -> None:
        """A record; offsets come in rising order."""
        second = time >> 10
        minima = self._minima
        while minima and minima[-1][0] >= second:
            minima.pop()
        minima.append((second, offset))

    def at(self, offset: int) -> int | None:
        """The earliest time (ms) at or after `offset`, which may not fall; None if there is no record."""
        minima = self._minima
        while minima and minima[0][1] < offset:
            minima.popleft()
        return minima[0][0] << 10 if minima else None


class CheckoutOffsets:
    """Which checkouts must be read again after a restart: those completed at or after a rising time.

    `next_offset` is the first offset that has not been applied.
    """

    def __init__(self, start: int) -> None:
        self.next_offset = start
        # (first offset, latest second) of stretches of the log, both rising. A record that is no later than
        # one before it is retained no longer than that one, and stands further back: it needs no entry.
        self._latest: deque[tuple[int, int]] = deque()
        self._kept: dict[int, int] = {}
        self._lowest = start

    def read(self, offset: int, completed_at: int) -> None:
        """A checkout was applied, to be retained as long as this time is. Offsets come in rising order."""
        second = completed_at >> 10
        if not self._latest or second > self._latest[-1][1]:
            self._latest.append((offset, second))
        self.next_offset = offset + 1

    def skip_to(self, offset: int) -> None:
        """Nothing to be retained stands between what was read before and `offset`, which is the next to be read."""
        self.next_offset = max(self.next_offset, offset)

    def keep(self, offset: int, until: int) -> None:
        """One that was applied is to be retained as long as this time is (ms), whatever was said of it before.

        Where it is no longer retained already, that is not taken back: what is committed does not fall.
        """
        if offset >= self._lowest:
            self._kept[offset] = max(until >> 10, self._kept.get(offset, until >> 10))

    def lowest_retained(self, retain_from: int) -> int:
        """The lowest offset of a checkout with completed_at >= `retain_from` (ms, may not fall), else `next_offset`."""
        latest = self._latest
        while latest and latest[0][1] < retain_from >> 10:
            latest.popleft()
        self._lowest = latest[0][0] if latest else self.next_offset
        if self._kept:
            self._kept = {offset: second for offset, second in self._kept.items() if second >= retain_from >> 10}
            self._lowest = min(self._lowest, *self._kept) if self._kept else self._lowest
        return self._lowest
