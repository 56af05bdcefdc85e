"""Remembers until when something is needed, and hands it back when it no longer is."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")

_BITS = 14
"""A bucket spans 2^14 ms, about 16 seconds: what expires may stay a little longer, never shorter."""


class Expiry(Generic[T]):
    """Items by time, in coarse buckets, 8 bytes an item."""

    __slots__ = ("_buckets", "_keys")

    def __init__(self) -> None:
        self._buckets: dict[int, list[T]] = {}
        self._keys: list[int] = []

    def add(self, time: int, item: T) -> None:
        """Keep the item as long as `time` (ms) may be asked for."""
        key = time >> _BITS
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = [item]
            heappush(self._keys, key)
        else:
            bucket.append(item)

    def take(self, before: int) -> Iterator[T]:
        """Take out items with a time < `before` (ms), whole buckets at a time."""
        last = before >> _BITS
        while self._keys and self._keys[0] < last:
            yield from self._buckets.pop(heappop(self._keys))
