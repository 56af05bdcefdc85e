"""Avro with a schema registry's ids: reads each record by the schema that it was written with."""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

from ..errors import DecodeError
from .codec import Headers, failed
from .framing import SchemaId, unframe
from .resolution import Read, is_ours, read_whole, resolve
from .schema_source import Schemas
from .written import WrittenSchema


class RegistryReader:
    """Reads one input.

    Args:
        schemas: by which records are written.
        name: of our schema, to whose fields records are resolved; None: they are read whole, by their own names.
    """

    def __init__(self, schemas: Schemas, name: str | None) -> None:
        self._schemas = schemas
        self._name = name
        self._reads: dict[SchemaId, Read] = {}
        self._ours: set[SchemaId] = set()

    def read(self, value: bytes, headers: Headers) -> dict[str, Any]:
        """The fields of a record; times are in ms.

        Raises:
            DecodeError: it is none of ours. It names the schema's id.
            SchemaWaitError: its schema is not known yet.
        """
        schema_id, payload = unframe(value, headers)
        try:
            read = self._reads.get(schema_id) or self._learn(schema_id)
            return read(payload)
        except DecodeError as error:
            raise DecodeError(error.reason, f"schema id {schema_id}: {error}", error.session_id) from error
        except Exception as error:
            raise failed(f"schema id {schema_id}: reading it", error) from error

    def fields_of(self, _: bytes | None, value: bytes, headers: Headers) -> dict[str, Any]:
        """As `read`, for whoever has a key too."""
        return self.read(value, headers)

    def payload_of_ours(self, value: bytes, headers: Headers) -> bytes | None:
        """A value without its frame, where it was written with a schema that is known and is ours; None of any other.

        Raises:
            DecodeError: as `read`.
        """
        schema_id, payload = unframe(value, headers)
        return payload if schema_id in self._ours else None

    def _learn(self, schema_id: SchemaId) -> Read:
        try:
            read = self._resolve(schema_id, self._schemas.get(schema_id))
        except DecodeError as error:
            read = partial(_refuse, error.reason, str(error))
        self._reads[schema_id] = read
        return read

    def _resolve(self, schema_id: SchemaId, written: WrittenSchema) -> Read:
        try:
            if self._name is None:
                return read_whole(written)
            read = resolve(written, self._name)
            if is_ours(written, self._name):
                self._ours.add(schema_id)
            return read
        except Exception as error:
            raise failed("resolving it", error) from error


def _refuse(reason: str, words: str, payload: bytes) -> NoReturn:
    raise DecodeError(reason, words)
