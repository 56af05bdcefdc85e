"""One input with a registry's ids: what is read, and that each error names the id."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.builders import CODEC

from consumer.codecs.codec import UNDECODABLE, no_headers
from consumer.codecs.framing import HEADER, SchemaId, framed
from consumer.codecs.registry import RegistryReader
from consumer.codecs.schemas import OFFER_PRESENTED, load_schema
from consumer.codecs.written import WrittenSchema, parse_texts
from consumer.errors import DecodeError, SchemaWaitError

OFFER: dict[str, Any] = {
    "event_id": "e1",
    "session_id": "s1",
    "partner_code": "P1",
    "offer_id": "o1",
    "presented_at": 5,
    "metadata": {},
}
PAYLOAD = CODEC.encode_offer(OFFER)


class KnownSchemas:
    """Ours as 7, one without an offer's id as 8, one that is no Avro as 9; no other."""

    def __init__(self) -> None:
        self.asked: list[SchemaId] = []

    def get(self, schema_id: SchemaId) -> WrittenSchema:
        self.asked.append(schema_id)
        ours = load_schema(OFFER_PRESENTED)
        if schema_id == 7:
            return parse_texts(json.dumps(ours))
        if schema_id == 8:
            fields = [field for field in ours["fields"] if field["name"] != "offer_id"]
            return parse_texts(json.dumps({**ours, "fields": fields}))
        if schema_id == 9:
            raise DecodeError(UNDECODABLE, "is no Avro schema")
        raise SchemaWaitError(f"schema id {schema_id}: it is being asked for")


def test_a_record_is_read_by_the_schema_of_its_id_which_is_looked_up_once() -> None:
    schemas = KnownSchemas()
    reader = RegistryReader(schemas, OFFER_PRESENTED)
    for _ in range(3):
        fields = reader.read(framed(7, PAYLOAD), no_headers)
        assert (fields["offer_id"], fields["presented_at"], fields["price"]) == ("o1", 5, None)
        assert reader.read(PAYLOAD, lambda: [(HEADER, framed(7, b""))]) == fields
    assert schemas.asked == [7]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            framed(8, PAYLOAD),
            "^schema id 8: does not resolve to ours: the field offer_id is missing, and has no",
        ),
        (framed(9, PAYLOAD), "^schema id 9: is no Avro schema$"),
        (framed(7, PAYLOAD + b"x"), "^schema id 7: not a optout.events.OfferPresented: 1 bytes are left over"),
        (b"\x00", "ends within its schema id"),
    ],
)
def test_what_cannot_be_read_names_its_schema(value: bytes, words: str) -> None:
    schemas = KnownSchemas()
    reader = RegistryReader(schemas, OFFER_PRESENTED)
    for _ in range(2):
        with pytest.raises(DecodeError, match=words) as caught:
            reader.read(value, no_headers)
        assert caught.value.reason == UNDECODABLE
    assert len(schemas.asked) <= 1


def test_what_is_not_known_is_asked_for_each_time() -> None:
    schemas = KnownSchemas()
    reader = RegistryReader(schemas, OFFER_PRESENTED)
    for _ in range(2):
        with pytest.raises(SchemaWaitError, match="schema id 5"):
            reader.read(framed(5, PAYLOAD), no_headers)
    assert schemas.asked == [5, 5]


def test_a_record_that_is_mapped_is_read_whole() -> None:
    less = {name: value for name, value in OFFER.items() if name != "offer_id"}
    payload = PAYLOAD.replace(b"\x04o1", b"", 1)
    fields = RegistryReader(KnownSchemas(), None).read(framed(8, payload), no_headers)
    assert {name: fields[name] for name in less} == less
    assert "offer_id" not in fields
