"""The id of the schema that a value was written with, as a schema registry's serializers put it there.

A frame is a magic byte and the id: 0 and four bytes, or 1 and a GUID of sixteen. It stands before the value, or in the
record's header `__value_schema_id`, and then before nothing: the value is the payload alone. These are the forms that
`confluent_kafka.schema_registry` reads and writes, and a header goes before the value there too.
"""

from __future__ import annotations

from struct import Struct
from typing import TypeAlias
from uuid import UUID

from ..errors import DecodeError
from .codec import UNDECODABLE, Headers, header_of

HEADER = "__value_schema_id"

SchemaId: TypeAlias = int | UUID
"""What a registry knows a schema by: its number, or its GUID."""

MAGIC_ID, MAGIC_GUID = 0, 1
_FRAME = Struct(">bi")
_GUID_END = 17


def unframe(value: bytes, headers: Headers) -> tuple[SchemaId, bytes]:
    """The id of the schema that a value was written with, and the value without its frame.

    Raises:
        DecodeError: there is no id, or none that a registry gives out.
    """
    if (header := header_of(headers, HEADER)) is None:
        if len(value) >= _FRAME.size:  # what nearly every record has, first
            magic, number = _FRAME.unpack_from(value)
            if magic == MAGIC_ID and number > 0:
                return number, value[_FRAME.size :]
        return _split(value, "the value")
    schema_id, more = _split(header, f"the header {HEADER}")
    if more:
        raise DecodeError(UNDECODABLE, f"the header {HEADER} has {len(more)} bytes more than a schema id")
    return schema_id, value


def framed(schema_id: int, payload: bytes) -> bytes:
    """A payload behind its schema's number."""
    return _FRAME.pack(MAGIC_ID, schema_id) + payload


def is_framed(value: bytes) -> bool:
    """Whether an outcome, or JSON, is. Without a frame an outcome begins with the length of its offer_id, which is not
    empty, and JSON never with a 0."""
    return value[:1] == bytes([MAGIC_ID])


def payload_of(value: bytes) -> bytes:
    """What stands behind the number of a schema."""
    return value[_FRAME.size :]


def _split(framed: bytes, what: str) -> tuple[SchemaId, bytes]:
    if framed[:1] == b"\x00" and len(framed) >= _FRAME.size:
        _, schema_id = _FRAME.unpack_from(framed)
        if schema_id > 0:
            return schema_id, framed[_FRAME.size :]
        raise DecodeError(UNDECODABLE, f"{what} has the schema id {schema_id}, which no registry gives out")
    if framed[:1] == b"\x01" and len(framed) >= _GUID_END:
        return UUID(bytes=framed[1:_GUID_END]), framed[_GUID_END:]
    if framed[:1] in {b"\x00", b"\x01"}:
        raise DecodeError(UNDECODABLE, f"{what} ends within its schema id: it has {len(framed)} bytes")
    begin = f"begins with the byte {framed[0]:#04x}" if framed else "is empty"
    raise DecodeError(
        UNDECODABLE,
        f"{what} {begin} and has no schema id of a registry. If this topic is plain Avro, set avro.format to plain",
    )
