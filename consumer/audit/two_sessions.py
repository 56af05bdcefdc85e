"""Finds offers that were shown in two sessions, over all partitions.

A session's partition tells nothing of where another session is, so this is kept for all of them: 26 bytes an offer of a
session. Offers are told apart by 64 bits of a hash, so that what is found has to be read again to be named.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from hashlib import blake2b

_AT_ONCE = 1_000_000
"""Offers of which a dictionary is made at a time."""


class OfferSessions:
    """Takes each offer of each session once, and where it was shown."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._partitions = array("H")
        self._offsets = array("q")
        """The record's offset; below zero, less one, where its chains lie outside of the range."""

    def add(self, partner_code: str, offer_id: str, partition: int, offset: int, *, in_range: bool) -> None:
        """An offer of a session that was not added before."""
        name = f"{len(partner_code)}:{partner_code}{offer_id}".encode()
        self._hashes.append(int.from_bytes(blake2b(name, digest_size=8).digest(), "big"))
        self._partitions.append(partition)
        self._offsets.append(offset if in_range else ~offset)

    def twice(self) -> Iterator[list[tuple[int, int]]]:
        """The places (partition, offset) of each offer of the range that was shown in several sessions."""
        slices = len(self._hashes) // _AT_ONCE + 1
        for number in range(slices):
            first: dict[int, int] = {}
            more: defaultdict[int, list[int]] = defaultdict(list)
            for index, hashed in enumerate(self._hashes):
                if hashed % slices == number and first.setdefault(hashed, index) != index:
                    more[hashed].append(index)
            for hashed, others in more.items():
                found = [first[hashed], *others]
                if any(self._offsets[index] >= 0 for index in found):
                    yield [(self._partitions[index], self._place(index)) for index in found]

    def _place(self, index: int) -> int:
        offset = self._offsets[index]
        return offset if offset >= 0 else ~offset
