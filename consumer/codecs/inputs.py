"""The codec that the settings ask for: each input has a format of its own, and may be mapped."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from typing import Any, NamedTuple, TypeAlias

from ..events import CheckoutCompleted, OfferOutcome, OfferPresented
from ..settings import InputSettings, Settings
from .builder import EventBuilder
from .codec import MOST_BYTES, Codec, Headers, no_headers
from .json import read_json
from .mapping import FieldMapping
from .plain import PlainCodec
from .registered import outcome_schema_id
from .registry import RegistryReader
from .registry_client import Registry
from .schema_source import AskingSource, Schemas, SchemaSource
from .schemas import CHECKOUT_COMPLETED, OFFER_PRESENTED
from .shapes import EventShape

FieldsOf: TypeAlias = Callable[[bytes | None, bytes, Headers], dict[str, Any] | None]
"""Reads a record's key, value and headers: the fields of an event by our names, or None where it is of another kind."""

UNMAPPED = frozenset({"event_id"})
"""Fields that a mapped record may lack, though the schema requires them: nothing is decided by them."""

_ANY_SIZE = MOST_BYTES + 1
"""A text may be longer than the value that it was made of: it may be the key's, or put together."""


def _nothing() -> None:
    pass


class InputReader(NamedTuple):
    """How an input is read that is no plain Avro.

    Attributes:
        fields_of: see `FieldsOf`.
        any_size: whether a text of it may be longer than its record.
    """

    fields_of: FieldsOf
    any_size: bool = True


class InputsCodec:
    """Reads each input in its own format.

    Args:
        plain: reads what is plain Avro, and writes the outcomes.
        offers, checkouts: read what is not; None: that input is plain Avro.
        metadata_keys: see `EventBuilder`.
        close: closes what they read by.
    """

    def __init__(
        self,
        plain: PlainCodec,
        offers: InputReader | None,
        checkouts: InputReader | None,
        metadata_keys: Collection[str] = (),
        close: Callable[[], None] = _nothing,
    ) -> None:
        self._plain = plain
        self._close = close
        self._offers = offers
        self._checkouts = checkouts
        self._build = EventBuilder(metadata_keys)

    def decode_offer(
        self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers
    ) -> OfferPresented | None:
        """See `Codec`."""
        reader = self._offers
        if reader is None:
            return self._plain.decode_offer(key, value, offset)
        fields = reader.fields_of(key, value, headers)
        return (
            None
            if fields is None
            else self._build.offer(key, fields, offset, _ANY_SIZE if reader.any_size else len(value))
        )

    def decode_checkout(
        self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers
    ) -> CheckoutCompleted | None:
        """See `Codec`."""
        reader = self._checkouts
        if reader is None:
            return self._plain.decode_checkout(key, value, offset)
        fields = reader.fields_of(key, value, headers)
        return (
            None
            if fields is None
            else self._build.checkout(key, fields, offset, _ANY_SIZE if reader.any_size else len(value))
        )

    def encode_outcome(self, outcome: OfferOutcome) -> bytes:
        """See `Codec`."""
        return self._plain.encode_outcome(outcome)

    def close(self) -> None:
        """See `Codec`."""
        self._close()


def codec_of(settings: Settings, *, at_once: bool = False) -> Codec:
    """The codec for these settings.

    `at_once`: for a command that reads and writes nothing: who reads waits for the schema registry. Where that tells
    nothing a `StartError` is raised; a `SchemaWaitError` means that it does not know the id.

    Raises:
        SettingsError: see `Registry`.
        StartError: see `outcome_schema_id`.
    """
    keys, inputs = settings.api.metadata_keys, settings.input
    outcome_id: int | None = None
    if settings.avro.outcome_format == "registry" and not at_once:
        with closing(Registry(settings.avro)) as registry:
            outcome_id = outcome_schema_id(registry, settings.kafka.outcome_topic)
    plain = PlainCodec(keys, outcome_id)
    schemas: Schemas | None = None
    close = _nothing
    if any(map(settings.has_ids, (inputs.offers, inputs.checkouts))):
        schemas, close = _schemas_of(settings, at_once)
    offers = _reader_of(inputs.offers, OFFER_PRESENTED, schemas if settings.has_ids(inputs.offers) else None)
    checkouts = _reader_of(
        inputs.checkouts, CHECKOUT_COMPLETED, schemas if settings.has_ids(inputs.checkouts) else None
    )
    if offers is None and checkouts is None:
        return plain
    return InputsCodec(plain, offers, checkouts, keys, close)


def _schemas_of(settings: Settings, at_once: bool) -> tuple[Schemas, Callable[[], None]]:
    """The registry's schemas, and what closes them."""
    registry = Registry(settings.avro)
    if at_once:
        return AskingSource(registry.schema), registry.close
    source = SchemaSource(registry.schema)

    def close() -> None:
        source.stop()
        registry.close()

    return source, close


def _reader_of(given: InputSettings, schema: str, schemas: Schemas | None) -> InputReader | None:
    """None: it is plain Avro. `schemas`: those of the registry, where its records have the registry's ids."""
    read: Callable[[bytes, Headers], dict[str, Any]] = read_json
    if schemas is not None:
        if not given.maps:
            return InputReader(RegistryReader(schemas, schema).fields_of, any_size=False)
        read = RegistryReader(schemas, None).read
    elif given.format == "avro":
        return None
    optional = UNMAPPED - given.fields.keys() if given.fields else frozenset[str]()
    shape = EventShape(schema, given.time, optional)
    if not (given.fields or given.when):
        return InputReader(lambda key, value, headers: shape.take(read(value, headers)))
    mapping = FieldMapping(given, shape)
    return InputReader(lambda key, value, headers: mapping.apply(read(value, headers), key, headers))
