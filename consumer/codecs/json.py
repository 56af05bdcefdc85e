"""JSON: value bytes that are one object, framed for a schema registry or not.

Nothing is guessed: what parsers commonly let pass and read in different ways is unreadable. Of two fields of one name
nobody knows which counts, and the one that names a purchase must not be lost.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from ..errors import DecodeError
from .codec import UNDECODABLE, Headers
from .framing import is_framed, payload_of


def read_json(value: bytes, headers: Headers) -> dict[str, Any]:
    """The object that these bytes are. A frame before it is passed by: what is in it is checked all the same.

    Raises:
        DecodeError: they are none.
    """
    text = payload_of(value) if is_framed(value) else value
    try:
        # A byte order mark is no part of it. Given bytes, the library would guess at UTF-16 and take half characters.
        document = _DECODER.decode(text.decode("utf-8-sig"))
    except RecursionError:
        raise DecodeError(UNDECODABLE, "not JSON: it is nested too deep") from None
    except ValueError as error:
        raise DecodeError(UNDECODABLE, f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise DecodeError(UNDECODABLE, f"not a JSON object but a {type(document).__name__}")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        # One pass: a record of a megabyte may have a hundred thousand names.
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the field {name[:60]!r} stands in it twice")
            seen.add(name)
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse_constant)
