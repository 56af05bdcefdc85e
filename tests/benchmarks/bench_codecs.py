"""How fast records are read in each format and outcomes written: records a second, and the ratio to plain Avro.

    make bench, or .venv/bin/python tests/benchmarks/bench_codecs.py [--events N]

Each format is measured in turn, several times, and the best of each counts: what disturbs a machine only makes it
slower. The client's message is a stand-in, so Kafka takes no part. The last format is JSON of another shape, whose
fields are found by six paths, with `when` and `time = iso8601`. Below them stand what fastavro takes to read the plain
offers into dicts, a checkout that bought one offer, and an outcome with its key, by us and from a dict by fastavro.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer

sys.path.insert(0, str(Path(__file__).parents[2]))

from consumer.codecs.codec import Codec
from consumer.codecs.framing import SchemaId, framed
from consumer.codecs.inputs import InputReader, InputsCodec, codec_of
from consumer.codecs.plain import PlainCodec
from consumer.codecs.registry import RegistryReader
from consumer.codecs.schemas import OFFER_OUTCOME, OFFER_PRESENTED, load_schema, without_logical_types
from consumer.codecs.written import WrittenSchema, parse_texts
from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef
from consumer.kafka.producer import outcome_key
from consumer.settings import Settings

ROUNDS = 7


def offer(number: int) -> dict[str, Any]:
    """An offer as a shop writes it."""
    return {
        "event_id": f"0b8e4c1e-7f5a-4f6e-9d5e-{number:012}",
        "session_id": f"session-{number // 3:012}",
        "partner_code": "ACME",
        "offer_id": f"offer-{number:012}",
        "presented_at": 1_767_225_600_000 + number,
        "product_code": "travel",
        "country": "DE",
        "currency": "EUR",
        "price": f"{number % 90}.90",
        "metadata": {"channel": "web"},
    }


def evolved() -> dict[str, Any]:
    """Another namespace, microseconds, a field more, one less, and one under another name."""
    schema = load_schema(OFFER_PRESENTED)
    fields = {field["name"]: field for field in schema["fields"]}
    fields["presented_at"]["type"] = {"type": "long", "logicalType": "timestamp-micros"}
    fields["offer_id"].update(name="quote_id", aliases=["offer_id"])
    del fields["country"]
    more = {"name": "channel", "type": "string"}
    return {**schema, "namespace": "com.shop", "fields": [more, *fields.values()]}


class TwoSchemas:
    """Ours as 1, the evolved one as 2."""

    def get(self, schema_id: SchemaId) -> WrittenSchema:
        """See `Schemas`."""
        return parse_texts(json.dumps(load_schema(OFFER_PRESENTED) if schema_id == 1 else evolved()))


def written(events: Sequence[dict[str, Any]]) -> list[bytes]:
    """The events by the evolved schema, framed."""
    schema = parse_schema(without_logical_types(evolved()))
    values = []
    for event in events:
        stream = BytesIO()
        fields = event | {"channel": "web", "quote_id": event["offer_id"], "presented_at": event["presented_at"] * 1000}
        schemaless_writer(stream, schema, fields)
        values.append(framed(2, stream.getvalue()))
    return values


def shaped(event: dict[str, Any]) -> bytes:
    """The event as JSON of another shape."""
    at = datetime.fromtimestamp(event["presented_at"] // 1000, UTC) + timedelta(
        milliseconds=event["presented_at"] % 1000
    )
    document = {
        "eventType": "OFFER_SHOWN",
        "occurredAt": at.isoformat(timespec="milliseconds"),
        "session": {"id": event["session_id"]},
        "tenant": event["partner_code"],
        "offer": {
            "id": event["offer_id"],
            "kind": event["product_code"],
            "premium": {"amount": event["price"], "currency": event["currency"]},
        },
        "country": event["country"],
        "metadata": event["metadata"],
    }
    return json.dumps(document).encode()


MAPPED = {
    "format": "json",
    "when": "eventType == 'OFFER_SHOWN'",
    "time": "iso8601",
    "fields": {
        "session_id": "session.id",
        "partner_code": "tenant",
        "offer_id": "offer.id",
        "presented_at": "occurredAt",
        "product_code": "offer.kind",
        "price": "offer.premium.amount",
    },
}


def formats(count: int) -> dict[str, tuple[Codec, list[bytes], list[bytes]]]:
    """By name: the codec, the records' keys, and their values."""
    events = [offer(number) for number in range(count)]
    keys = [str(event["session_id"]).encode() for event in events]
    plain = PlainCodec()
    payloads = [plain.encode_offer(event) for event in events]
    reader = RegistryReader(TwoSchemas(), OFFER_PRESENTED)
    registry = InputsCodec(plain, InputReader.of_registry(reader), None)
    return {
        "plain": (plain, keys, payloads),
        "registry, identical": (registry, keys, [framed(1, payload) for payload in payloads]),
        "registry, evolved": (registry, keys, written(events)),
        "json": (json_codec(format="json"), keys, [json.dumps(event).encode() for event in events]),
        "json, mapped": (json_codec(**MAPPED), keys, [shaped(event) for event in events]),
    }


def json_codec(**offers: Any) -> Codec:
    """As the service makes it of these settings."""
    return codec_of(Settings(input={"offers": offers}))


def seconds(codec: Codec, keys: Sequence[bytes], values: Sequence[bytes]) -> float:
    """How long reading them takes, of the processor's time.

    Headers are asked for as a Kafka client gives them where there are none.
    """
    decode = codec.decode_offer

    def headers() -> None: ...

    begin = time.process_time()
    for key, value in zip(keys, values, strict=True):
        if decode(key, value, 0, headers) is None:
            raise RuntimeError("a record is passed over: it would cost less")
    return time.process_time() - begin


def others(count: int) -> dict[str, Callable[[int], object]]:
    """By name, what reads or writes a record by its number."""
    plain = PlainCodec()
    offers = [offer(number) for number in range(count)]
    read, write = (parse_schema(without_logical_types(load_schema(name))) for name in (OFFER_PRESENTED, OFFER_OUTCOME))
    values = [plain.encode_offer(each) for each in offers]
    keys = [str(each["session_id"]).encode() for each in offers]
    checkouts = [
        plain.encode_checkout(
            {
                "event_id": each["event_id"],
                "session_id": each["session_id"],
                "checkout_id": f"order-{number:010}",
                "completed_at": each["presented_at"] + 9_000,
                "purchased_offer_ids": [each["offer_id"]],
            }
        )
        for number, each in enumerate(offers)
    ]
    outcomes = [outcome(number, each) for number, each in enumerate(offers)]
    written = [plain_fields(each) for each in outcomes]
    return {
        "fastavro, into a dict": lambda n: schemaless_reader(BytesIO(values[n]), read, None),
        "checkout, plain": lambda n: plain.decode_checkout(keys[n], checkouts[n], 0),
        "outcome": lambda n: plain.encode_outcome(outcomes[n]),
        "outcome's key": lambda n: outcome_key(outcomes[n].partner_code, outcomes[n].offer_id),
        "fastavro, from a dict": lambda n: schemaless_writer(BytesIO(), write, written[n]),
    }


def outcome(number: int, event: dict[str, Any]) -> OfferOutcome:
    """What became of this offer: it was declined."""
    return OfferOutcome(
        offer_id=event["offer_id"],
        partner_code=event["partner_code"],
        session_id=event["session_id"],
        outcome=Outcome.OPTED_OUT,
        reason=Reason.DECLINED,
        checkout_id=f"order-{number:010}",
        presented_at=event["presented_at"],
        decided_at=event["presented_at"] + 1_200_000,
        settled_at=event["presented_at"] + 1_201_000,
        status_code=204,
        attempts=1,
        details=Details(*(event[name] for name in Details._fields)),
        source=RecordRef("offer.presented", 3, number),
        mode=Mode.LIVE,
        note=None,
    )


def plain_fields(outcome: OfferOutcome) -> dict[str, Any]:
    """The same as fastavro takes it."""
    fields = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    return fields | outcome.details._asdict() | {"source": outcome.source._asdict()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=50_000)
    count = parser.parse_args().events
    found, more = formats(count), others(count)
    best = dict.fromkeys([*found, *more], float("inf"))
    for _ in range(ROUNDS):
        for name, given in found.items():
            best[name] = min(best[name], seconds(*given))
        for name, take in more.items():
            begin = time.process_time()
            for number in range(count):
                take(number)
            best[name] = min(best[name], time.process_time() - begin)
    print(f"{'format':<22}{'of plain':>10}{'events/s':>12}{'us each':>10}")
    for name, taken in best.items():
        ratio = best["plain"] / taken
        print(f"{name:<22}{ratio:>9.0%} {count / taken:>11,.0f}{1e6 * taken / count:>10.2f}")


if __name__ == "__main__":
    main()
