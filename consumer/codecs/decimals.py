"""Avro's decimals, as the plain text that our schemas have for a price: `12.50`, with the places that the scale says.

fastavro makes objects of them, which are slow and are neither a text nor JSON. So they get a logical type of our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastavro.read import LOGICAL_READERS
from fastavro.write import LOGICAL_WRITERS

LOGICAL_TYPE = "opt-out-decimal"

MOST_SCALE = 100
"""Places behind the point. A price has two to six; with a scale of a billion a byte would take all memory as text."""

MOST_DECIMAL_BYTES = 64
"""150 digits: so that the text is far below what any text of ours may have, whatever the record's size."""


def decimal_type(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """What makes fastavro give such a type's values as text; None if it is no decimal that is read."""
    scale = schema.get("scale", 0)
    if schema.get("logicalType") != "decimal" or type(scale) is not int or not 0 <= scale <= MOST_SCALE:
        return None
    return {"logicalType": LOGICAL_TYPE, "scale": scale}


def is_decimal(schema: Any) -> bool:
    """Whether values of this type come as such a text."""
    return isinstance(schema, dict) and schema.get("logicalType") == LOGICAL_TYPE


def text_of(data: bytes, schema: Any, *_: object) -> str:
    """The number that these bytes are, big-endian and in two's complement, at the scale of its type.

    Raises:
        ValueError: there are too many.
    """
    if len(data) > MOST_DECIMAL_BYTES:
        raise ValueError(f"a decimal has {len(data)} bytes, and {MOST_DECIMAL_BYTES} is the most that is read")
    number, scale = int.from_bytes(data, "big", signed=True), schema["scale"]
    digits = str(abs(number)).rjust(scale + 1, "0")
    point = len(digits) - scale
    return ("-" if number < 0 else "") + digits[:point] + ("." + digits[point:] if scale else "")


def bytes_of(text: str, schema: Any, *_: object) -> bytes:
    """The other direction, in as few bytes as there can be, or in all of a fixed size: records are written again where
    something may be hidden in them."""
    number = int(text.replace(".", ""))
    least = (8 + (number + (number < 0)).bit_length()) // 8
    return number.to_bytes(schema.get("size", least), "big", signed=True)


for _kind in ("bytes", "fixed"):
    LOGICAL_READERS[f"{_kind}-{LOGICAL_TYPE}"] = text_of
    LOGICAL_WRITERS[f"{_kind}-{LOGICAL_TYPE}"] = bytes_of
