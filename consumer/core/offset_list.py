"""Lists of offsets as text: the gaps between runs and their lengths, in base 85.

A backlog in which nothing is settled is one run, and one in which a call in a hundred failed costs three bytes a call.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable

MOST_LISTED = 10_000_000
"""Offsets that one set may hold when it is read: a few bytes can name so many that no memory holds them. Ten times what
`delivery.max_unsettled` allows by default; a longer list counts as unreadable, and its calls are repeated."""


def encode_offsets(offsets: Collection[int], base: int) -> str:
    """Offsets at or above `base` as text: gap and length of each run."""
    if not offsets:
        return ""
    out = bytearray()
    end = base
    for start, stop in _runs(sorted(offsets)):
        _put(out, start - end)
        _put(out, stop - start - 1)
        end = stop
    return base64.b85encode(bytes(out)).decode("ascii")


def decode_offsets(text: str, base: int, limit: int) -> frozenset[int]:
    """Read what `encode_offsets` wrote; every offset must be below `limit`, and there are at most `MOST_LISTED`.

    Raises:
        ValueError: not such a text.
    """
    data = base64.b85decode(text)
    offsets: set[int] = set()
    position, at = base, 0
    while at < len(data):
        gap, at = _get(data, at)
        more, at = _get(data, at)
        start, position = position + gap, position + gap + more + 1
        if position > limit:
            raise ValueError(f"offset {position - 1} is not below {limit}")
        if len(offsets) + position - start > MOST_LISTED:
            raise ValueError(f"more than {MOST_LISTED} offsets are listed")
        offsets.update(range(start, position))
    return frozenset(offsets)


def _runs(offsets: Iterable[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if runs and runs[-1][1] == offset:
            runs[-1] = (runs[-1][0], offset + 1)
        else:
            runs.append((offset, offset + 1))
    return runs


def _put(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _get(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("cut off in the middle of a number")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
