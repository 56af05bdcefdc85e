"""The codec that the settings ask for: each input has a format of its own, and may be mapped."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from typing import Any, NamedTuple, TypeAlias

from ..errors import DecodeError
from ..events import MOST_ELEMENTS, CheckoutCompleted, OfferAmongSeveral, OfferOutcome, OfferPresented
from ..settings import InputSettings, OfferInputSettings, Settings
from .builder import EventBuilder
from .codec import MOST_BYTES, UNDECODABLE, Codec, Headers, Shown, no_headers, only_decode_errors
from .json import read_json
from .mapping import ElementMapping, FieldMapping, of_element
from .plain import PlainCodec
from .registered import outcome_schema_id
from .registry import RegistryReader
from .registry_client import Registry
from .schema_source import AskingSource, Schemas, SchemaSource
from .schemas import CHECKOUT_COMPLETED, OFFER_PRESENTED
from .shapes import EventShape
from .traced import TracingCodec
from .usual import UsualReader

FieldsOf: TypeAlias = Callable[[bytes | None, bytes, Headers], dict[str, Any] | None]
"""Reads a record's key, value and headers: the fields of an event by our names, or None where it is of another kind."""

UNMAPPED = frozenset({"event_id"})
"""Fields that a mapped record may lack, though the schema requires them: nothing is decided by them."""

ElementsOf: TypeAlias = Callable[[bytes | None, bytes, Headers], list[dict[str, Any]] | None]
"""The same of a record that holds several: the fields of each."""

_ANY_SIZE = MOST_BYTES + 1
"""A text may be longer than the value that it was made of: it may be the key's, or put together."""


def _nothing() -> None:
    pass


def _none_of_ours(_: bytes, __: Headers) -> None:
    return None


class InputReader(NamedTuple):
    """How an input is read that is no plain Avro.

    Attributes:
        fields_of: see `FieldsOf`.
        any_size: whether a text of it may be longer than its record.
        payload_of_ours: see `RegistryReader`. Of no other format has a record the bytes of our own schema.
    """

    fields_of: FieldsOf
    any_size: bool = True
    payload_of_ours: Callable[[bytes, Headers], bytes | None] = _none_of_ours

    @classmethod
    def of_registry(cls, reader: RegistryReader) -> InputReader:
        """Of Avro with a registry's ids, not mapped."""
        return cls(reader.fields_of, any_size=False, payload_of_ours=reader.payload_of_ours)


class ElementsReader(NamedTuple):
    """How an input is read of which a record holds several presentations; see `ElementsOf`."""

    elements_of: ElementsOf


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
        offers: InputReader | ElementsReader | None,
        checkouts: InputReader | None,
        metadata_keys: Collection[str] = (),
        close: Callable[[], None] = _nothing,
    ) -> None:
        self._plain = plain
        self._close = close
        self._offers = offers
        self._checkouts = checkouts
        self._build = EventBuilder(metadata_keys)
        self._usual = UsualReader(self._build)

    @only_decode_errors
    def decode_offer(self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers) -> Shown:
        """See `Codec`."""
        reader = self._offers
        if reader is None:
            return self._plain.decode_offer(key, value, offset)
        if isinstance(reader, ElementsReader):
            elements = reader.elements_of(key, value, headers)
            return None if elements is None else self._several(key, elements, offset)
        payload = reader.payload_of_ours(value, headers)
        if payload is not None and (event := self._usual.offer(key, payload, offset)) is not None:
            return event
        fields = reader.fields_of(key, value, headers)
        return (
            None
            if fields is None
            else self._build.offer(key, fields, offset, _ANY_SIZE if reader.any_size else len(value))
        )

    @only_decode_errors
    def decode_checkout(
        self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers
    ) -> CheckoutCompleted | None:
        """See `Codec`."""
        reader = self._checkouts
        if reader is None:
            return self._plain.decode_checkout(key, value, offset)
        payload = reader.payload_of_ours(value, headers)
        if payload is not None and (event := self._usual.checkout(key, payload, offset)) is not None:
            return event
        fields = reader.fields_of(key, value, headers)
        return (
            None
            if fields is None
            else self._build.checkout(key, fields, offset, _ANY_SIZE if reader.any_size else len(value))
        )

    def _several(self, key: bytes | None, elements: list[dict[str, Any]], offset: int) -> list[OfferPresented]:
        """The presentations of a record at this offset.

        They are admitted or dead-lettered together, and so they have to be of one time.
        """
        shown: list[OfferPresented] = []
        for place, fields in enumerate(elements):
            with of_element(place):
                one = self._build.offer(key, fields, offset * MOST_ELEMENTS + place, _ANY_SIZE, OfferAmongSeveral)
                if shown and one.presented_at != shown[0].presented_at:
                    raise DecodeError(
                        UNDECODABLE,
                        f"it was presented at {one.presented_at}, and element 0 at {shown[0].presented_at}: the offers "
                        "of a record are shown at once. Map presented_at to one place of the record, such as "
                        "$record.shownAt",
                        one.session_id,
                    )
                shown.append(one)
        return shown

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
    offers = _offers_reader_of(inputs.offers, schemas if settings.has_ids(inputs.offers) else None)
    checkouts = _reader_of(
        inputs.checkouts, CHECKOUT_COMPLETED, schemas if settings.has_ids(inputs.checkouts) else None
    )
    codec: Codec = plain
    if offers is not None or checkouts is not None:
        codec = InputsCodec(plain, offers, checkouts, keys, close)
    # Who reads at once makes no calls.
    return TracingCodec(codec) if settings.trace.enabled and not at_once else codec


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


def _offers_reader_of(given: OfferInputSettings, schemas: Schemas | None) -> InputReader | ElementsReader | None:
    """See `_reader_of`."""
    if given.each is None:
        return _reader_of(given, OFFER_PRESENTED, schemas)
    read = _documents_of(schemas)
    mapping = ElementMapping(given, given.each, _shape_of(given, OFFER_PRESENTED))
    return ElementsReader(lambda key, value, headers: mapping.apply(read(value, headers), key, headers))


def _reader_of(given: InputSettings, schema: str, schemas: Schemas | None) -> InputReader | None:
    """None: it is plain Avro. `schemas`: those of the registry, where its records have the registry's ids."""
    if schemas is not None and not given.maps:
        return InputReader.of_registry(RegistryReader(schemas, schema))
    if schemas is None and given.format == "avro":
        return None
    read, shape = _documents_of(schemas), _shape_of(given, schema)
    if not (given.fields or given.when):
        return InputReader(lambda key, value, headers: shape.take(read(value, headers)))
    mapping = FieldMapping(given, shape)
    return InputReader(lambda key, value, headers: mapping.apply(read(value, headers), key, headers))


def _documents_of(schemas: Schemas | None) -> Callable[[bytes, Headers], dict[str, Any]]:
    """How a record that is mapped is read: by the registry's schemas, or as JSON."""
    return read_json if schemas is None else RegistryReader(schemas, None).read


def _shape_of(given: InputSettings, schema: str) -> EventShape:
    return EventShape(schema, given.time, UNMAPPED - given.fields.keys() if given.fields else frozenset[str]())
