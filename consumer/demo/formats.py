"""The formats that the demo's customers may write, each with the settings by which the service reads it.

Each reads back what it wrote by itself, for the judge: none of the service's reading is in that.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, TypeAlias

import fastavro

from ..audit.reading import read_plain
from ..codecs.framing import framed
from ..codecs.plain import PlainCodec
from ..codecs.registry_client import Registry
from ..codecs.schemas import CHECKOUT_COMPLETED, OFFER_OUTCOME, OFFER_PRESENTED, load_schema, schema_text
from ..settings import AvroSettings
from .generator import Event
from .registry_stand_in import registry_stand_in

FormatName: TypeAlias = Literal["avro", "registry", "json"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DemoFormat(Protocol):
    """How customers write.

    Attributes:
        says: what it is, for the person who looks on.
        settings: of the service, by their names in the environment.
    """

    says: str
    settings: Mapping[str, str]

    def values(self, event: Event, moment: int) -> Sequence[bytes]:
        """The record of an event that happened at this time (ms), behind those of other kinds that come with it."""

    def read(self, is_checkout: bool, value: bytes) -> Mapping[str, Any] | None:
        """The fields of a record, times as datetimes; None: of another kind. Raises if it is no record of ours."""


@contextmanager
def format_called(name: FormatName) -> Iterator[DemoFormat]:
    """A format, for as long as the context lasts.

    Raises:
        SettingsError: the client of a registry is not installed.
    """
    if name == "registry":
        schemas = {1: json.dumps(_shop_schema()), 2: schema_text(CHECKOUT_COMPLETED), 3: schema_text(OFFER_OUTCOME)}
        with registry_stand_in(schemas) as url:
            Registry(AvroSettings(registry_url=url)).close()  # to say at once if there is no client
            yield RegistryFormat(url)
    else:
        yield JsonFormat() if name == "json" else PlainFormat()


class PlainFormat:
    """Avro by the schemas in schemas/, without any framing."""

    says = "customers write plain Avro"
    settings: Mapping[str, str] = {}

    def __init__(self) -> None:
        self._codec = PlainCodec()

    def values(self, event: Event, moment: int) -> Sequence[bytes]:
        """See `DemoFormat`."""
        encode = self._codec.encode_checkout if event.is_checkout else self._codec.encode_offer
        return [encode(_dated(event, moment))]

    def read(self, is_checkout: bool, value: bytes) -> Mapping[str, Any] | None:
        """See `DemoFormat`."""
        return read_plain(is_checkout, value)


class RegistryFormat:
    """Avro with a registry's ids. The offers have a schema of the shop's own, which resolves to ours.

    Args:
        url: of the registry that knows the offers' schema by 1, the checkouts' by 2 and the outcomes' by 3.
    """

    def __init__(self, url: str) -> None:
        self.says = f"customers write Avro with a schema registry's ids; a stand-in for a registry answers at {url}"
        self.settings: Mapping[str, str] = {
            "OPT_OUT_AVRO__FORMAT": "registry",
            "OPT_OUT_AVRO__REGISTRY_URL": url,
            "OPT_OUT_AVRO__OUTCOME_FORMAT": "registry",
        }
        self._schemas = (fastavro.parse_schema(_shop_schema()), fastavro.parse_schema(load_schema(CHECKOUT_COMPLETED)))

    def values(self, event: Event, moment: int) -> Sequence[bytes]:
        """See `DemoFormat`."""
        fields = _dated(event, _at(moment))
        if not event.is_checkout:
            fields = {**fields, "quote_id": fields["offer_id"], "channel": "app"}
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, self._schemas[event.is_checkout], fields)
        return [framed(1 + event.is_checkout, stream.getvalue())]

    def read(self, is_checkout: bool, value: bytes) -> Mapping[str, Any] | None:
        """See `DemoFormat`."""
        if value[:5] != bytes([0, 0, 0, 0, 1 + is_checkout]):
            raise ValueError("it has another schema")
        stream = io.BytesIO(value[5:])
        fields: Any = fastavro.schemaless_reader(stream, self._schemas[is_checkout], None)
        return fields if is_checkout else {**fields, "offer_id": fields["quote_id"]}


class JsonFormat:
    """JSON of another shape than ours, with records of another kind between the offers."""

    says = "customers write JSON of another shape, with page views between the offers; it is mapped by settings"

    def __init__(self) -> None:
        self.settings: Mapping[str, str] = {
            "OPT_OUT_INPUT__OFFERS__FORMAT": "json",
            "OPT_OUT_INPUT__OFFERS__WHEN": "eventType == 'OFFER_SHOWN'",
            "OPT_OUT_INPUT__OFFERS__TIME": "iso8601",
            "OPT_OUT_INPUT__OFFERS__FIELDS": json.dumps(
                {
                    "session_id": "$key",
                    "partner_code": "tenant",
                    "offer_id": "offer.id",
                    "presented_at": "occurredAt",
                    "product_code": "offer.kind",
                    "country": "market",
                    "currency": "offer.premium.currency",
                    "price": "to_string(offer.premium.amount)",
                }
            ),
            "OPT_OUT_INPUT__CHECKOUTS__FORMAT": "json",
            "OPT_OUT_INPUT__CHECKOUTS__FIELDS": json.dumps(
                {
                    "session_id": "$key",
                    "checkout_id": "order.number",
                    "completed_at": "order.at",
                    "purchased_offer_ids": "order.items[?type=='insurance'].offerId",
                }
            ),
        }
        self._written = 0

    def values(self, event: Event, moment: int) -> Sequence[bytes]:
        """See `DemoFormat`."""
        fields = event.fields
        if event.is_checkout:
            bought = [{"type": "insurance", "offerId": one} for one in fields["purchased_offer_ids"]]
            order = {"number": fields["checkout_id"], "at": moment, "items": [{"type": "flight"}, *bought]}
            return [_json({"session": event.key, "order": order})]
        page = {"eventType": "PAGE_VIEWED", "occurredAt": _at(moment).isoformat(), "page": "/checkout"}
        premium = {"amount": float(fields["price"]), "currency": fields["currency"]}
        shown = {
            "eventType": "OFFER_SHOWN",
            "occurredAt": _at(moment).isoformat(timespec="milliseconds"),
            "session": event.key,
            "tenant": fields["partner_code"],
            "market": fields["country"],
            "offer": {"id": fields["offer_id"], "kind": fields["product_code"], "premium": premium},
        }
        self._written += 1
        return [_json(page), _json(shown)] if self._written % 4 == 0 else [_json(shown)]

    def read(self, is_checkout: bool, value: bytes) -> Mapping[str, Any] | None:
        """See `DemoFormat`."""
        found = json.loads(value)
        if is_checkout:
            order = found["order"]
            bought = [item["offerId"] for item in order["items"] if item["type"] == "insurance"]
            return {
                "session_id": found["session"],
                "checkout_id": order["number"],
                "completed_at": _at(order["at"]),
                "purchased_offer_ids": bought,
            }
        if found["eventType"] != "OFFER_SHOWN":
            return None
        return {
            "session_id": found["session"],
            "partner_code": found["tenant"],
            "offer_id": found["offer"]["id"],
            "presented_at": datetime.fromisoformat(found["occurredAt"]),
        }


def _shop_schema() -> dict[str, Any]:
    """An offer as another team might write it: another namespace, microseconds, a field more, and one renamed."""
    schema = load_schema(OFFER_PRESENTED)
    fields = {field["name"]: field for field in schema["fields"]}
    fields["presented_at"]["type"] = {"type": "long", "logicalType": "timestamp-micros"}
    fields["offer_id"] |= {"name": "quote_id", "aliases": ["offer_id"]}
    channel = {"name": "channel", "type": "string"}
    return {**schema, "namespace": "com.shop", "fields": [channel, *fields.values()]}


def _dated(event: Event, moment: int | datetime) -> dict[str, Any]:
    return {**event.fields, "completed_at" if event.is_checkout else "presented_at": moment}


def _at(moment: int) -> datetime:
    """Exactly: float seconds could be off by one."""
    return _EPOCH + timedelta(milliseconds=moment)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()
