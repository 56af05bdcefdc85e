"""Producers with schemas of their own at a real registry, a real Kafka, and what happens when the registry is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from fastavro import parse_schema, schemaless_writer
from registry import ApicurioRegistry
from support.deployment import AGE, Deployment, deployed, headers, now, read_topic, until

from consumer.codecs.codec import UNDECODABLE
from consumer.codecs.framing import framed, is_framed
from consumer.codecs.registry_client import Registry, RegistryError, Trouble
from consumer.codecs.resolution import resolve
from consumer.codecs.schemas import (
    CHECKOUT_COMPLETED,
    OFFER_OUTCOME,
    OFFER_PRESENTED,
    load_schema,
    schema_text,
    without_logical_types,
)
from consumer.errors import DecodeError
from consumer.events import Outcome, Reason
from consumer.settings import AvroSettings


def evolved() -> dict[str, Any]:
    """An offer in another namespace, in microseconds, with a field more, one renamed, one less, and a reference."""
    schema = load_schema(OFFER_PRESENTED)
    fields = {field["name"]: field for field in schema["fields"]}
    fields["presented_at"]["type"] = {"type": "long", "logicalType": "timestamp-micros"}
    fields["offer_id"].update(name="quote_id", aliases=["offer_id"])
    fields["currency"]["type"] = ["null", "com.shop.Currency"]
    del fields["price"]
    more = {"name": "channel", "type": "string", "default": "web"}
    return {**schema, "namespace": "com.shop", "fields": [more, *fields.values()]}


CURRENCY = {"type": "enum", "name": "com.shop.Currency", "symbols": ["EUR", "USD"]}


@pytest.fixture
def client(apicurio: ApicurioRegistry) -> Iterator[Registry]:
    with closing(Registry(AvroSettings(registry_url=apicurio.url))) as found:
        yield found


def settings(registry: ApicurioRegistry, **more: str) -> dict[str, str]:
    return {"AVRO__FORMAT": "registry", "AVRO__REGISTRY_URL": registry.url, **more}


def offer(session: str, offer_id: str, at: int, **more: Any) -> dict[str, Any]:
    ids = {"event_id": uuid4().hex, "session_id": session, "partner_code": "ACME", "offer_id": offer_id}
    return {**ids, "presented_at": at, "metadata": {}, **more}


class ShopProducer:
    """Writes with the serializer of confluent-kafka, which registers what it writes by."""

    def __init__(self, deployment: Deployment, registry: ApicurioRegistry) -> None:
        self._deployment = deployment
        self._url = registry.url

    def write(self, topic: str, schema: str, event: dict[str, Any], at: int) -> None:
        with SchemaRegistryClient({"url": self._url}) as client:
            value = AvroSerializer(client, schema)(event, SerializationContext(topic, MessageField.VALUE))
        self._deployment.produce(topic, event["session_id"], value, at)


def test_producers_of_any_compatible_schema_are_read_and_outcomes_are_framed(
    real_kafka, apicurio: ApicurioRegistry, client: Registry, tmp_path: Path
) -> None:
    more = settings(apicurio, AVRO__OUTCOME_FORMAT="registry")
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1), settings=more) as deployment:
        refused = deployment.start()
        assert refused.popen.wait(60) == 1
        assert "run `opt-out topics --register`" in refused.text()
        told = deployment.command("topics", "--register")
        assert told.returncode == 0, told.stderr
        lines = [line for line in told.stdout.splitlines() if "has the id" in line]
        assert [line.partition(":")[0] for line in lines] == [
            f"{topic}-value" for topic in (deployment.outcome_topic, deployment.offer_topic, deployment.checkout_topic)
        ]
        assert all(line.endswith(", registered now") for line in lines)
        again = deployment.command("topics", "--register")
        assert again.stdout.count("has the id") == 3
        assert "registered now" not in again.stdout

        apicurio.set_compatibility(f"{deployment.offer_topic}-value", "BACKWARD")
        at, shop = now() - AGE, ShopProducer(deployment, apicurio)
        shop.write(deployment.offer_topic, schema_text(OFFER_PRESENTED), offer("s1", "declined", at), at)
        schema_id = apicurio.register(
            f"shop-{uuid4().hex}",
            evolved(),
            references=[
                {"name": "com.shop.Currency", "subject": subject, "version": 1}
                for subject in [f"currency-{uuid4().hex}"]
                if apicurio.register(subject, CURRENCY)
            ],
        )
        event = {**offer("s2", "", at * 1_000 + 999, currency="EUR"), "quote_id": "bought", "channel": "app"}
        deployment.produce(deployment.offer_topic, "s2", framed(schema_id, written(evolved(), event)), at)
        for session, bought in (("s1", []), ("s2", ["bought"])):
            checkout = {"event_id": "e", "session_id": session, "checkout_id": "c", "completed_at": at + 1_000}
            shop.write(
                deployment.checkout_topic,
                schema_text(CHECKOUT_COMPLETED),
                {**checkout, "purchased_offer_ids": bought},
                at + 1_000,
            )
        for value in (b"\0\0\0", framed(0, b"x"), b"\0\xff\xff\xff\xff", b"\x02e", framed(proto(apicurio), b"x")):
            deployment.produce(deployment.offer_topic, "s3", value, at)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 7, within=60, what="all offers to be settled")
        assert deployment.called() == ["declined"]
        fates = {one.offer_id: (one.outcome, one.reason, one.details.currency) for one in deployment.outcomes()}
        assert fates == {
            "declined": (Outcome.OPTED_OUT, Reason.DECLINED, None),
            "bought": (Outcome.PURCHASED, Reason.PURCHASED, "EUR"),
        }
        values = [message.value() or b"" for message in read_topic(deployment.bootstrap, deployment.outcome_topic)]
        assert all(map(is_framed, values))
        outcome_id = int.from_bytes(values[0][1:5], "big")
        assert client.schema(outcome_id).types[0]["name"] == "optout.events.OfferOutcome"
        dead = [headers(message) for message in deployment.dead_letters()]
        assert [one["reason"] for one in dead] == [UNDECODABLE] * 5
        assert "Protobuf" in dead[-1]["error"]
        assert deployment.dead_letters()[0].value() == b"\0\0\0"
        assert process.terminate() == 0


def written(schema: dict[str, Any], event: dict[str, Any]) -> bytes:
    """The payload by a schema whose reference is `CURRENCY`, times as they are."""
    named: dict[str, Any] = {}
    parse_schema(CURRENCY, named)
    stream = BytesIO()
    schemaless_writer(stream, parse_schema(without_logical_types(schema), named), event)
    return stream.getvalue()


def proto(registry: ApicurioRegistry) -> int:
    return registry.register(f"p-{uuid4().hex}", 'syntax = "proto3"; message M { string a = 1; }', "PROTOBUF")


def test_while_the_registry_is_gone_records_wait_and_all_else_goes_on(
    real_kafka, own_registry: ApicurioRegistry, tmp_path: Path
) -> None:
    newer = {**load_schema(OFFER_PRESENTED), "namespace": "com.shop"}

    def register() -> tuple[int, int]:
        return own_registry.register("old", load_schema(OFFER_PRESENTED)), own_registry.register("new", newer)

    old, new = register()
    more = settings(own_registry, DELIVERY__RATE_LIMIT="2", INPUT__CHECKOUTS__FORMAT="avro", JOIN__CHECKOUT_SILENCE="0")
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(2, 2), settings=more) as deployment:

        def show(schema_id: int, session: str, offer_id: str, ago: int = 0) -> None:
            at = now() - ago
            value = framed(schema_id, deployment.codec.encode_offer(offer(session, offer_id, at)))
            deployment.produce(deployment.offer_topic, session, value, at)

        for number in range(24):
            show(old, f"s{number}", f"o{number}", AGE)
        deployment.flush()
        partition_of = {
            (message.key() or b"").decode(): message.partition()
            for message in read_topic(deployment.bootstrap, deployment.offer_topic)
        }
        here = [session for session, partition in partition_of.items() if partition == 0]
        elsewhere = next(session for session, partition in partition_of.items() if partition == 1)
        process = deployment.start(patience=3.0)
        until(lambda: len(deployment.called()) > 2, within=60, what="the first calls, with others that wait")
        own_registry.stop()
        show(new, here[0], "waits")
        show(old, here[0], "behind it")
        deployment.flush()
        event = "a schema is not known: the records that were written with it wait, and those behind them"
        (line,) = until(lambda: process.lines(event), within=30, what="the wait to be told")
        assert (line["schema_id"], line["level"]) == (str(new), "warning")
        assert "the registry does not answer" in line["what"]
        assert line["runbook"] == "opt-out manual runbook#a-schema-is-not-known"
        assert len(deployment.called()) < 24, "calls that were decided still wait for their turn"
        show(old, elsewhere, "elsewhere")
        deployment.flush()
        until(lambda: len(deployment.called()) == 25, within=60, what="all others to be called")
        assert {"waits", "behind it"} & set(deployment.called()) == set()
        standing = until(
            lambda: [one for one in process.lines() if one.get("cause") == "schema"], within=30, what="the standstill"
        )
        assert f"schema id {new}" in standing[0]["schema"]
        until(lambda: deployment.committed_total() == 25, within=30, what="all that is settled to be committed")
        assert process.running
        own_registry.start()
        assert register() == (old, new)
        until(lambda: deployment.committed_total() == 27, within=90, what="those that waited to be settled")
        assert sorted(deployment.called()[-2:]) == ["behind it", "waits"]
        assert deployment.dead_letters() == []
        assert len(process.lines(event)) <= 2, "once a cause"
        assert process.terminate() == 0


# --- what is asked of the registry itself


def test_an_id_that_the_registry_does_not_know_may_be_known_later(apicurio: ApicurioRegistry, client: Registry) -> None:
    with pytest.raises(RegistryError) as caught:
        client.schema(2_000_000)
    assert caught.value.trouble is Trouble.UNKNOWN
    wrong = AvroSettings(registry_url=apicurio.url.replace("v7", "v99"))
    with closing(Registry(wrong)) as registry, pytest.raises(RegistryError) as caught:
        registry.schema(1)
    assert caught.value.trouble is Trouble.FAULTY


def test_schemas_that_cannot_be_read_by_say_why(apicurio: ApicurioRegistry, client: Registry) -> None:
    large = {"type": "record", "name": "Large", "fields": [{"name": "f", "type": "string", "doc": "x" * 10_000_000}]}
    draft = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}
    for schema, kind, words in (
        (large, "AVRO", "more than 4000000 bytes"),
        (draft, "JSON", "is a JSON schema and no Avro"),
    ):
        schema_id = apicurio.register(f"bad-{uuid4().hex}", schema, kind)
        with pytest.raises(DecodeError, match=words):
            client.schema(schema_id)
    with pytest.raises(DecodeError, match="is a Protobuf schema"):
        client.schema(proto(apicurio))
    fields = [field for field in load_schema(OFFER_PRESENTED)["fields"] if field["name"] != "offer_id"]
    schema_id = apicurio.register(f"less-{uuid4().hex}", {**load_schema(OFFER_PRESENTED), "fields": fields})
    less = client.schema(schema_id)
    with pytest.raises(DecodeError, match="the field offer_id is missing"):
        resolve(less, OFFER_PRESENTED)


def test_our_schemas_are_found_as_they_were_registered_and_an_incompatible_one_is_refused(
    apicurio: ApicurioRegistry, client: Registry
) -> None:
    subject = f"ours-{uuid4().hex}-value"
    assert client.find(subject, schema_text(OFFER_OUTCOME)) is None
    schema_id = client.register(subject, schema_text(OFFER_OUTCOME))
    assert client.find(subject, schema_text(OFFER_OUTCOME)) == schema_id
    assert client.find(subject, schema_text(OFFER_PRESENTED)) is None
    apicurio.set_compatibility(subject, "BACKWARD")
    fields = [*load_schema(OFFER_OUTCOME)["fields"], {"name": "more", "type": "string"}]
    with pytest.raises(RegistryError) as caught:
        client.register(subject, json.dumps({**load_schema(OFFER_OUTCOME), "fields": fields}))
    assert caught.value.trouble is Trouble.INCOMPATIBLE
