"""One input with a registry's ids: what is read, and that each error names the id."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.builders import CODEC

from consumer.codecs import registry
from consumer.codecs.codec import UNDECODABLE, no_headers
from consumer.codecs.framing import HEADER, SchemaId, framed
from consumer.codecs.registry import RegistryReader
from consumer.codecs.resolution import Read
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


def test_the_payload_of_a_record_of_ours_is_given_once_its_schema_is_known() -> None:
    reader = RegistryReader(KnownSchemas(), OFFER_PRESENTED)
    assert reader.payload_of_ours(framed(7, PAYLOAD), no_headers) is None
    reader.read(framed(7, PAYLOAD), no_headers)
    assert reader.payload_of_ours(framed(7, PAYLOAD), no_headers) == PAYLOAD
    assert reader.payload_of_ours(PAYLOAD, lambda: [(HEADER, framed(7, b""))]) == PAYLOAD
    for schema_id in (8, 9):
        with pytest.raises(DecodeError):
            reader.read(framed(schema_id, PAYLOAD), no_headers)
        assert reader.payload_of_ours(framed(schema_id, PAYLOAD), no_headers) is None
    whole = RegistryReader(KnownSchemas(), None)
    whole.read(framed(7, PAYLOAD), no_headers)
    assert whole.payload_of_ours(framed(7, PAYLOAD), no_headers) is None, "whoever reads it whole maps it"


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


class OtherSchemas:
    """What is parsed to something that nobody has thought of."""

    def __init__(self, written: object) -> None:
        self.written = written
        self.asked = 0

    def get(self, schema_id: SchemaId) -> Any:
        self.asked += 1
        return self.written


@pytest.mark.parametrize("name", [OFFER_PRESENTED, None])
def test_a_schema_that_nobody_has_thought_of_makes_its_records_undecodable(name: str | None) -> None:
    schemas = OtherSchemas(WrittenSchema(({"type": "record"},), False, {}))
    reader = RegistryReader(schemas, name)
    for _ in range(2):
        with pytest.raises(
            DecodeError, match=r"^schema id 7: (resolving it|reading it) fails by KeyError: '\w+'"
        ) as caught:
            reader.read(framed(7, PAYLOAD), no_headers)
        assert caught.value.reason == UNDECODABLE
    assert schemas.asked == 1


def test_a_record_that_its_reader_fails_on_is_undecodable_and_the_next_one_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures = [AttributeError("no decode"), RecursionError("too\ndeep")]

    def resolved(*_: object) -> Read:
        def read(payload: bytes) -> dict[str, Any]:
            if failures:
                raise failures.pop(0)
            return {"payload": payload}

        return read

    monkeypatch.setattr(registry, "resolve", resolved)
    reader = RegistryReader(KnownSchemas(), OFFER_PRESENTED)
    for words in ("AttributeError: no decode$", "RecursionError: too deep$"):
        with pytest.raises(DecodeError, match="^schema id 7: reading it fails by " + words):
            reader.read(framed(7, PAYLOAD), no_headers)
    assert reader.read(framed(7, PAYLOAD), no_headers) == {"payload": PAYLOAD}


def test_what_is_no_fault_of_a_record_is_not_taken_for_one() -> None:
    reader = RegistryReader(OtherSchemas(WrittenSchema((OutOfMemory(),), False, {})), None)
    with pytest.raises(MemoryError):
        reader.read(framed(7, PAYLOAD), no_headers)


class OutOfMemory:
    def __str__(self) -> str:
        raise MemoryError
