"""From the schema that a record was written with to our fields: compared once, and then read as fast as plain Avro.

fastavro resolves a writer's schema to a reader's by itself, but at each record anew, which takes 2.2 times as long as
plain decoding. So records are read by the writer's schema alone. What differs from ours is found once, and only that
costs something per record: a field to be taken from another name, a default, items that have to be looked at.

The rules are Avro's, with these differences: a field may have our name as an alias in the writer's schema, a text may
be an enum's symbol or a decimal, and times come in milliseconds whatever their unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import BytesIO
from typing import Any, TypeAlias

from fastavro import schemaless_writer

from ..errors import DecodeError
from .codec import UNDECODABLE
from .decimals import is_decimal
from .plain import NO_COUNT, read_record
from .schemas import load_schema, schema_text
from .written import LOGICAL, WrittenSchema, kind_of, parse_texts

Read: TypeAlias = Callable[[bytes], dict[str, Any]]
"""From a record's bytes, without their frame, to its fields. It raises `DecodeError`."""

_Convert: TypeAlias = Callable[[Any], Any]
"""From a value as the writer has it to ours. It raises `_MismatchError`. None in its place: they are the same."""

_PYTHON = {"null": type(None), "boolean": bool, "int": int, "long": int, "float": float, "double": float}
_PYTHON |= {"bytes": bytes, "fixed": bytes, "string": str, "enum": str, "array": list, "map": dict, "record": dict}
_PYTHON |= {"error": dict}
"""What fastavro makes of each kind of type: all that tells which branch of a union a value had."""


class _MismatchError(Exception):
    """What is written is nothing of ours. The message goes on where a sentence begins with the field's name."""


def resolve(written: WrittenSchema, name: str) -> Read:
    """How records of a writer's schema are read as records of ours.

    `name`: of our schema, as `load_schema` takes it.

    Raises:
        DecodeError: no record of this schema is one of ours. It says why.
    """
    ours = load_schema(name)
    return _reader(written, lambda record: _resolve_record(record, ours, written.named))


def is_ours(written: WrittenSchema, name: str) -> bool:
    """Whether a writer's schema has the fields of ours, in our order and of our types: its bytes are as ours then."""
    (ours,) = parse_texts(schema_text(name)).types
    return not written.is_union and _layout_of(written.types[0]) == _layout_of(ours)


def read_whole(written: WrittenSchema) -> Read:
    """How records of a writer's schema are read as they are, by their own names; times are in ms.

    Raises:
        DecodeError: none of its types is a record.
    """

    def whole(record: Any) -> Read:
        _see_that_it_is_a_record(record, "a record")
        return partial(_read, record)

    return _reader(written, whole)


def _reader(written: WrittenSchema, reader_of: Callable[[Any], Read]) -> Read:
    if not written.is_union:
        return reader_of(written.types[0])
    reads: list[Read | DecodeError] = []
    for one in written.types:
        try:
            reads.append(reader_of(one))
        except DecodeError as error:
            reads.append(error)
    refusals = [one for one in reads if isinstance(one, DecodeError)]
    if len(refusals) == len(reads):
        raise refusals[0] if refusals else DecodeError(UNDECODABLE, "is a union of no types")

    def read(payload: bytes) -> dict[str, Any]:
        number, size = _first_number(payload)
        if not 0 <= number < len(reads):
            raise DecodeError(UNDECODABLE, f"has {len(reads)} types, and the record says that it has type {number}")
        one = reads[number]
        if isinstance(one, DecodeError):
            raise DecodeError(one.reason, str(one))
        return one(payload[size:])

    return read


def _first_number(payload: bytes) -> tuple[int, int]:
    """The number that a value begins with, and the bytes that it takes."""
    number = 0
    for at, byte in enumerate(payload[:10]):
        number |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + 1
    raise DecodeError(UNDECODABLE, "is a union, and the record does not begin with the number of a type")


def _see_that_it_is_a_record(schema: Any, read: str, names: Sequence[str] = ()) -> None:
    is_record = kind_of(schema) == "record"
    if is_record and (not names or any(name in names for name in _names_of(schema))):
        return
    found = f"the record {schema['name']}" if is_record else f"no record but {kind_of(schema)}"
    hint = "; map it to ours by the setting input.offers.fields or input.checkouts.fields" if is_record else ""
    raise DecodeError(UNDECODABLE, f"writes {found}, and {read} is read{hint}")


def _names_of(record: Mapping[str, Any]) -> set[str]:
    """Its names without their namespaces: an alias is as good as its own."""
    return {name.rpartition(".")[2] for name in (record["name"], *_aliases_of(record))}


def _aliases_of(named: Mapping[str, Any]) -> list[str]:
    """Of a record or a field. Whatever else a tool writes there, such as null, is none."""
    aliases = named.get("aliases")
    return [name for name in aliases if isinstance(name, str)] if isinstance(aliases, list) else []


def _resolve_record(written: Any, ours: Mapping[str, Any], named: Mapping[str, Any]) -> Read:
    _see_that_it_is_a_record(written, f"{ours['name']} of the namespace {ours['namespace']}", [ours["name"]])
    # An offer holds no list: what hides in its metadata, or in a field that is not ours, takes part in no decision.
    read = _read if any(kind_of(field["type"]) == "array" for field in ours["fields"]) else read_record
    absent: dict[str, Any] = {}
    changed: list[tuple[str, str, _Convert | None]] = []
    for field in ours["fields"]:
        name = field["name"]
        try:
            source = _source_of(name, written["fields"])
            if source is not None:
                convert = _conversion(source["type"], field["type"], named)
                if convert is not None or source["name"] != name:
                    changed.append((name, source["name"], convert))
            elif "default" in field:
                absent[name] = field["default"]
            else:
                raise _MismatchError("is missing, and has no default")
        except _MismatchError as mismatch:
            raise DecodeError(UNDECODABLE, f"does not resolve to ours: the field {name} {mismatch}") from None

    def read_changed(payload: bytes) -> dict[str, Any]:
        fields = read(written, payload)
        # Beside what was read: a field of the writer may be two of ours.
        found = dict(absent)
        for name, source, convert in changed:
            try:
                found[name] = fields[source] if convert is None else convert(fields[source])
            except _MismatchError as mismatch:
                raise DecodeError(
                    UNDECODABLE, f"does not resolve to ours: the field {name} {mismatch}", _session_of(fields | found)
                ) from None
        fields.update(found)
        return fields

    return read_changed if changed or absent else partial(read, written)


def _layout_of(record: Any) -> list[tuple[str, Any]] | None:
    return [(field["name"], field["type"]) for field in record["fields"]] if kind_of(record) == "record" else None


def _source_of(name: str, fields: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The writer's field that is ours, by its own name or else by an alias."""
    sources = [field for field in fields if field["name"] == name]
    sources = sources or [field for field in fields if name in _aliases_of(field)]
    if len(sources) > 1:
        raise _MismatchError(f"is an alias of both {sources[0]['name']} and {sources[1]['name']}")
    return sources[0] if sources else None


def _conversion(written: Any, ours: Any, named: Mapping[str, Any]) -> _Convert | None:
    """How a value of the writer's type becomes one of ours.

    Raises:
        _MismatchError: none does.
    """
    if isinstance(written, str):
        written = named.get(written, written)
    kind = kind_of(written)
    if kind == "union":
        return _from_union(written, ours, named)
    if isinstance(ours, list):  # of null and another type, in ours
        ours = "null" if kind == "null" else next(branch for branch in ours if branch != "null")
    wanted = kind_of(ours)
    logical = written.get(LOGICAL) if isinstance(written, dict) else None
    if is_decimal(written):
        if wanted == "string":
            return None  # it is read as text
        logical = "decimal"
    if logical is None:
        if kind == wanted and kind in {"array", "map"}:
            of = "items" if kind == "array" else "values"
            return _of_each(_conversion(written[of], ours[of], named), kind)
        if kind == wanted or (kind, wanted) in {("enum", "string"), ("int", "long")}:
            return None
        if (kind, wanted) == ("bytes", "string"):
            return _text
    raise _MismatchError(f"is written as {logical or kind}, and read as {wanted}")


def _of_each(convert: _Convert | None, kind: str) -> _Convert | None:
    if convert is None:
        return None
    if kind == "array":
        return lambda items: [convert(item) for item in items]
    return lambda values: {key: convert(value) for key, value in values.items()}


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _MismatchError("is written as bytes that are no text in UTF-8") from None


def _from_union(branches: Sequence[Any], ours: Any, named: Mapping[str, Any]) -> _Convert | None:
    """A union says by each value anew which of its types that has."""
    by_type: dict[type, _Convert | _MismatchError | None] = {}
    for branch in branches:
        found: _Convert | _MismatchError | None
        try:
            found = _conversion(branch, ours, named)
        except _MismatchError as mismatch:
            found = mismatch
        whole = named.get(branch, branch) if isinstance(branch, str) else branch
        if isinstance(whole, list):  # Avro forbids it, and fastavro parses it
            raise _MismatchError("is written as a union within a union")
        python = str if is_decimal(whole) else _PYTHON[kind_of(whole)]
        before = by_type.setdefault(python, found)
        if before is not found and not (isinstance(before, _MismatchError) and isinstance(found, _MismatchError)):
            raise _MismatchError("is written as a union in which types that differ to us cannot be told apart")
    mismatches = [one for one in by_type.values() if isinstance(one, _MismatchError)]
    if len(mismatches) == len(by_type):
        raise mismatches[0] if mismatches else _MismatchError("is written as a union of no types")
    if all(one is None for one in by_type.values()):
        return None

    def convert(value: Any) -> Any:
        one = by_type[type(value)]
        if isinstance(one, _MismatchError):
            raise _MismatchError(*one.args)
        return value if one is None else one(value)

    return convert


def _read(schema: Any, payload: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = read_record(schema, payload)
    if NO_COUNT in payload and _hides(schema, payload, fields):
        raise DecodeError(UNDECODABLE, "what it bought may be hidden behind a count that is none", _session_of(fields))
    return fields


def _session_of(fields: Mapping[str, Any]) -> str | None:
    session_id = fields.get("session_id")
    return session_id if isinstance(session_id, str) else None


def _hides(schema: Any, payload: bytes, fields: Mapping[str, Any]) -> bool:
    """Whether these bytes are a count somewhere: written again, the record has all of its values, and right counts."""
    stream = BytesIO()
    try:
        schemaless_writer(stream, schema, fields)
    except Exception:  # what cannot be written again was no such record
        return True
    return payload.count(NO_COUNT) > stream.getvalue().count(NO_COUNT)
