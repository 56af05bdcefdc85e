"""The body of an answer: as the API wrote it, and whether the API wrote it."""

from __future__ import annotations

import json
import zlib
from typing import NoReturn

MAX_BODY = 64 * 1024
"""Bytes kept of an answer's body, which is read for a message only. A longer one is cut, and its connection closed."""

_CUT = b"..."
"""At the end of one that was cut: blanks that are left of a page are no empty body, and `{}` no object of the API's."""
_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
_PACKED = b"[its body cannot be unpacked]"
"""In the place of such a body: its status counts all the same, and a 404 is not the API's own."""


def bounded(body: bytes) -> bytes:
    """The body, or as much of a longer one as is kept, so that it is never taken for the whole."""
    return body if len(body) <= MAX_BODY else body[: MAX_BODY - len(_CUT)] + _CUT


def unpacked(body: bytes, coding: str | None) -> bytes:
    """The body as the API wrote it; `coding` is its Content-Encoding.

    Not by httpx: it takes a part of a packed body for the whole, and a part of a few bytes for an empty one, which
    would be terminal with a 404; and what it unpacks has no bounds.
    """
    if not body or (coding or "").strip().lower() not in _CODINGS:
        return body
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # finds out by itself which of the two it is
    try:
        plain = unpacker.decompress(body, MAX_BODY)
    except zlib.error:
        return _PACKED
    # What stands behind is a part of it, too: another member, or a page. Zeros are none.
    return plain if unpacker.eof and not unpacker.unused_data.strip(b"\0") else _PACKED


def is_of_the_api(body: bytes) -> bool:
    """Whether it is as the API's own 404s have it: empty, or a JSON object."""
    if not body.strip():
        return True
    try:
        return isinstance(json.loads(body, parse_constant=_no_json), dict)
    except (ValueError, RecursionError):
        return False


def _no_json(constant: str) -> NoReturn:
    """Python reads NaN and Infinity, which are not JSON: whoever writes them is not the API."""
    raise ValueError(constant)
