"""The schema that a record was written with: parsed, made fit for reading times in ms, and held within bounds.

A schema of some lines can make a few bytes take all memory, or end the process: types that hold themselves are read by
a recursion that nothing bounds, and items that take no bytes can be counted by the billion. Whoever may register a
schema shall not have that power over this service.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fastavro import parse_schema
from fastavro.read import LOGICAL_READERS

from ..errors import DecodeError
from .codec import MOST_BYTES, UNDECODABLE
from .decimals import decimal_type

MOST_DEPTH = 64
"""Types within types. fastavro reads by recursion, and 10,000 levels end the process by a segmentation fault."""

MOST_PARTS = 10_000
"""Values of a record, each item of an array counted once. Ours have ten; a generated schema may have a thousand."""

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

_LEAST_BYTES = {"null": 0, "float": 4, "double": 8}
"""Bytes that a value takes at least, where that is not one."""

_UNITS = {
    "timestamp-millis": 1,
    "timestamp-micros": 1_000,
    "timestamp-nanos": 1_000_000,
    "local-timestamp-millis": 1,
    "local-timestamp-micros": 1_000,
    "local-timestamp-nanos": 1_000_000,
}
"""Logical types of a long that tell a time, and how many of them are a millisecond."""

_KEPT_LOGICAL = frozenset(
    {("int", "date"), ("int", "time-millis"), ("long", "time-micros"), ("long", "time-nanos"), ("bytes", "decimal")}
)
"""Types whose bare value Avro would take for a long or a text of ours, and is none: of the decimals those that are not
read (see `decimals`). Not as `logicalType`: fastavro would make objects of them."""

LOGICAL = "logical"
"""Where the name of such a type is kept."""


def _divided(by: int) -> Callable[..., int]:
    return lambda number, *_: int(number // by)


def _in_ms(unit: int) -> str:
    return f"opt-out-{unit}"


for _unit in sorted(set(_UNITS.values()) - {1}):
    LOGICAL_READERS[f"long-{_in_ms(_unit)}"] = _divided(_unit)


class WrittenSchema(NamedTuple):
    """A writer's schema.

    Attributes:
        types: the types of the union at its top, or the one type that it is; each as fastavro reads by it.
        is_union: whether a value begins with the number of its type.
        named: what its names mean.
    """

    types: tuple[Any, ...]
    is_union: bool
    named: Mapping[str, Any]


def parse_texts(text: str, references: Sequence[str] = ()) -> WrittenSchema:
    """Parse a writer's schema.

    Args:
        text: the schema.
        references: the texts of the schemas whose types it uses, each behind those that it uses itself.

    Raises:
        DecodeError: it is no Avro schema, or is beyond the bounds.
    """
    named: dict[str, Any] = {}
    try:
        for reference in references:
            parse_schema(_prepared(json.loads(reference)), named)
        top = parse_schema(_prepared(json.loads(text)), named)
        types = [_by_itself(one, named) for one in (top if isinstance(top, list) else [top])]
        measure = _Measure(named)
        for one in types:
            measure.of(one)
    except DecodeError:
        raise
    except Exception as error:
        # Whatever makes the parsers raise, it is no schema: ValueError, KeyError, RecursionError, ...
        raise DecodeError(UNDECODABLE, f"is no Avro schema: {type(error).__name__} {str(error)[:200]}") from error
    return WrittenSchema(tuple(types), isinstance(top, list), named)


def kind_of(schema: Any) -> str:
    """What a type is: `record`, `union`, `long`, ...; or the name of a type that is defined elsewhere."""
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _prepared(schema: Any) -> Any:
    """What of a schema the reading needs. A type that tells a time becomes one that fastavro gives in ms."""
    if isinstance(schema, list):
        return [_prepared(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    kind = schema["type"]
    if not isinstance(kind, str):
        return _prepared(kind)
    if kind == "bytes" and (decimal := decimal_type(schema)) is not None:
        return {"type": kind, **decimal}
    if kind in PRIMITIVES:
        return _primitive(kind, schema.get("logicalType"))
    bare = {key: schema[key] for key in ("type", "name", "namespace", "aliases", "symbols", "size") if key in schema}
    if kind == "fixed":
        bare |= decimal_type(schema) or {}
    for key in ("items", "values"):
        if key in schema:
            bare[key] = _prepared(schema[key])
    if "fields" in schema:
        bare["fields"] = [
            {key: field[key] for key in ("name", "aliases") if key in field} | {"type": _prepared(field["type"])}
            for field in schema["fields"]
        ]
    return bare if bare.keys() != {"type"} else kind


def _primitive(kind: str, logical: object) -> Any:
    if not isinstance(logical, str):
        return kind
    if kind == "long" and (unit := _UNITS.get(logical, 1)) > 1:
        return {"type": kind, "logicalType": _in_ms(unit)}
    return {"type": kind, LOGICAL: logical} if (kind, logical) in _KEPT_LOGICAL else kind


def _by_itself(schema: Any, named: dict[str, Any]) -> Any:
    """A type as fastavro has it when it was parsed alone: it is not parsed again by each record."""
    if isinstance(schema, str):
        schema = named.get(schema, schema)
    return {**schema, "__fastavro_parsed": True, "__named_schemas": named} if isinstance(schema, dict) else schema


class _Size(NamedTuple):
    """The bytes that a value takes at least, the values in it, and the types within types."""

    least: int
    parts: int
    depth: int


class _Measure:
    """Measures types, each name once."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._known: dict[str, _Size] = {}
        self._open: list[str] = []

    def of(self, schema: Any) -> _Size:
        """Raises `DecodeError` if it is beyond the bounds."""
        kind = kind_of(schema)
        if kind in PRIMITIVES:
            return _Size(_LEAST_BYTES.get(kind, 1), 1, 1)
        if isinstance(schema, str):
            return self.of(self._named[schema])
        name = schema.get("name") if isinstance(schema, dict) else None
        if name in self._known:
            return self._known[name]
        if name in self._open:
            raise DecodeError(UNDECODABLE, f"cannot be read: its type {name} holds itself, to no bounded depth")
        self._open.append(name or kind)
        size = self._whole(kind, schema)
        self._open.pop()
        if name is not None:
            self._known[name] = size
        if size.parts > MOST_PARTS or len(self._open) + size.depth > MOST_DEPTH:
            raise _beyond_bounds()
        return size

    def _whole(self, kind: str, schema: Any) -> _Size:
        if len(self._open) > MOST_DEPTH:
            raise _beyond_bounds()
        if kind == "fixed":
            if schema["size"] < 0:
                raise ValueError(f"{schema['name']} has the size {schema['size']}")
            return _Size(schema["size"], 1, 1)
        if kind == "enum":
            # A number in the record, so that the record's size would not tell that of the text.
            if max((len(symbol) for symbol in schema["symbols"]), default=0) > MOST_BYTES:
                raise DecodeError(
                    UNDECODABLE, f"cannot be read: {schema['name']} has a symbol of over {MOST_BYTES} bytes"
                )
            return _Size(1, 1, 1)
        if kind == "union":
            sizes = [self.of(branch) for branch in schema] or [_Size(0, 1, 1)]
            return _Size(1 + min(sizes).least, max(size.parts for size in sizes), 1 + max(size.depth for size in sizes))
        if kind in {"array", "map"}:
            inner = self.of(schema["items" if kind == "array" else "values"])
            if kind == "array" and inner.least == 0:
                raise DecodeError(UNDECODABLE, "cannot be read: it has an array of items that take no bytes")
            return _Size(1, 1 + inner.parts, 1 + inner.depth)
        fields = [self.of(field["type"]) for field in schema["fields"]]
        return _Size(
            sum(field.least for field in fields),
            1 + sum(field.parts for field in fields),
            1 + max((field.depth for field in fields), default=0),
        )


def _beyond_bounds() -> DecodeError:
    return DecodeError(
        UNDECODABLE, f"cannot be read: it has more than {MOST_PARTS} values, or {MOST_DEPTH} types within types"
    )
