"""Two queues by time: what is due and when, and until when something is needed.

Both keep their items unsorted in buckets of a span of time, so that an item costs 8 bytes wherever it lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

BUCKET_BITS = 10
"""A bucket spans 2^10 ms, about a second: small enough to sort when it is opened, and a day has only 84,375 of them."""

NEVER = 2**62
"""`queued` of an item that is not in the index."""


class Queued(Protocol):
    """What the index needs of an item: a place to note when it is queued for (ms)."""

    queued: int


T = TypeVar("T", bound=Queued)


class TimeIndex(Generic[T]):
    """A calendar queue: far items lie unsorted in buckets, 8 bytes each; only the buckets at hand are sorted.

    An item may be pushed again with an earlier time; the entry it had before is then stale and is passed over, since
    `item.queued` no longer fits it. Times may lie in the past.
    """

    __slots__ = ("_buckets", "_keys", "_near", "_opened", "_sequence")

    def __init__(self) -> None:
        self._buckets: dict[int, list[T]] = {}
        self._keys: list[int] = []
        self._near: list[tuple[int, int, T]] = []
        self._opened = -NEVER
        self._sequence = 0

    def push(self, due: int, item: T) -> None:
        """Queue the item for `due` (ms)."""
        item.queued = due
        key = due >> BUCKET_BITS
        if key <= self._opened:
            self._sequence += 1
            heappush(self._near, (due, self._sequence, item))
            return
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = [item]
            heappush(self._keys, key)
        else:
            bucket.append(item)

    def pop(self, until: int) -> Iterator[tuple[int, T]]:
        """Take out (time, item), in order of time, up to `until` (ms). Pushing meanwhile is allowed."""
        self._open(until >> BUCKET_BITS)
        near = self._near
        while near and near[0][0] <= until:
            due, _, item = heappop(near)
            if item.queued == due:
                item.queued = NEVER
                yield due, item

    def earliest(self, until: int) -> int:
        """The time (ms) of the first item queued for `until` or before; `until` + 1 if there is none."""
        self._open(until >> BUCKET_BITS)
        near = self._near
        while near and near[0][2].queued != near[0][0]:
            heappop(near)
        return min(near[0][0], until + 1) if near else until + 1

    def _open(self, last: int) -> None:
        while self._keys and self._keys[0] <= last:
            key = heappop(self._keys)
            for item in self._buckets.pop(key):
                if item.queued >> BUCKET_BITS == key:
                    self._sequence += 1
                    heappush(self._near, (item.queued, self._sequence, item))
        self._opened = max(self._opened, last)


Kept = TypeVar("Kept")

_EXPIRY_BITS = 14
"""A bucket spans 2^14 ms, about 16 seconds: what expires may stay a little longer, never shorter."""


class Expiry(Generic[Kept]):
    """Items by time, in coarse buckets, 8 bytes an item."""

    __slots__ = ("_buckets", "_keys")

    def __init__(self) -> None:
        self._buckets: dict[int, list[Kept]] = {}
        self._keys: list[int] = []

    def add(self, time: int, item: Kept) -> None:
        """Keep the item as long as `time` (ms) may be asked for."""
        key = time >> _EXPIRY_BITS
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = [item]
            heappush(self._keys, key)
        else:
            bucket.append(item)

    def take(self, before: int) -> Iterator[Kept]:
        """Take out items with a time < `before` (ms), whole buckets at a time."""
        last = before >> _EXPIRY_BITS
        while self._keys and self._keys[0] < last:
            yield from self._buckets.pop(heappop(self._keys))
