"""Two queues by time: what is due and when, and until when something is needed.

Both keep far items unsorted in buckets, each for a span of time, so that an item costs 8 bytes wherever it lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

DUE_BITS = 10
"""A bucket spans 2^10 ms, about a second: small enough to sort when it is opened, and a day has only 84,375 of them."""

EXPIRY_BITS = 14
"""A bucket spans 2^14 ms, about 16 seconds: what expires may stay a little longer, never shorter."""

NEVER = 2**62
"""`queued` of an item that is not in the index."""


class Queued(Protocol):
    """What the index needs of an item: a place to note when it is queued for (ms)."""

    queued: int


Item = TypeVar("Item")
Due = TypeVar("Due", bound=Queued)


class _Buckets(dict[int, list[Item]]):
    """Items by the number of their span of time, without any order within a span.

    `buckets[key].append(item)` puts an item in, and makes its bucket where there is none: no call of Python on the way
    of most records.
    """

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        super().__init__()
        self._keys: list[int] = []

    def __missing__(self, key: int) -> list[Item]:
        heappush(self._keys, key)
        bucket = self[key] = []
        return bucket

    def take(self, last: int) -> Iterator[tuple[int, list[Item]]]:
        """Take out the buckets up to the key `last`, in order. Putting meanwhile is allowed."""
        while self._keys and self._keys[0] <= last:
            key = heappop(self._keys)
            yield key, self.pop(key)


class TimeIndex(Generic[Due]):
    """A calendar queue: only the buckets at hand are sorted.

    An item may be pushed again with an earlier time; the entry it had before is then stale and is passed over, since
    `item.queued` no longer fits it. Times may lie in the past.
    """

    __slots__ = ("_far", "_near", "_opened", "_sequence")

    def __init__(self) -> None:
        self._far: _Buckets[Due] = _Buckets()
        self._near: list[tuple[int, int, Due]] = []
        self._opened = -NEVER
        self._sequence = 0

    def push(self, due: int, item: Due) -> None:
        """Queue the item for `due` (ms)."""
        item.queued = due
        key = due >> DUE_BITS
        if key <= self._opened:
            self._sequence += 1
            heappush(self._near, (due, self._sequence, item))
        else:
            self._far[key].append(item)

    def pop(self, until: int) -> Iterator[tuple[int, Due]]:
        """Take out (time, item), in order of time, up to `until` (ms). Pushing meanwhile is allowed."""
        self._open(until >> DUE_BITS)
        near = self._near
        while near and near[0][0] <= until:
            due, _, item = heappop(near)
            if item.queued == due:
                item.queued = NEVER
                yield due, item

    def earliest(self, until: int) -> int:
        """The time (ms) of the first item queued for `until` or before; `until` + 1 if there is none."""
        self._open(until >> DUE_BITS)
        near = self._near
        while near and near[0][2].queued != near[0][0]:
            heappop(near)
        return min(near[0][0], until + 1) if near else until + 1

    def _open(self, last: int) -> None:
        for key, items in self._far.take(last):
            for item in items:
                if item.queued >> DUE_BITS == key:
                    self._sequence += 1
                    heappush(self._near, (item.queued, self._sequence, item))
        self._opened = max(self._opened, last)


class Expiry(Generic[Item]):
    """Items with the time until which they are needed."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: _Buckets[Item] = _Buckets()

    def add(self, time: int, item: Item) -> None:
        """Keep the item as long as `time` (ms) may be asked for."""
        self._buckets[time >> EXPIRY_BITS].append(item)

    def take(self, before: int) -> Iterator[Item]:
        """Take out items with a time < `before` (ms), whole buckets at a time."""
        for _, items in self._buckets.take((before >> EXPIRY_BITS) - 1):
            yield from items
