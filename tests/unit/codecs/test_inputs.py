"""The codec that the settings ask for."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any, NoReturn

import pytest
from support.builders import CHECKOUT_FIELDS, OFFER_FIELDS

from consumer.codecs.codec import Codec, presentations
from consumer.codecs.framing import SchemaId, framed
from consumer.codecs.inputs import InputReader, InputsCodec, codec_of
from consumer.codecs.plain import PlainCodec
from consumer.codecs.written import WrittenSchema, parse_texts
from consumer.errors import DecodeError, SchemaWaitError, StartError
from consumer.events import CheckoutCompleted, Details, OfferAmongSeveral, OfferPresented
from consumer.settings import Settings

OFFER = OFFER_FIELDS
CHECKOUT = CHECKOUT_FIELDS | {"purchased_offer_ids": ["o1", "o1", "o2"]}
PLAIN = PlainCodec(["tier"])


def of(**inputs: Any) -> Codec:
    return codec_of(Settings(input=inputs, api={"metadata_keys": ("tier",)}))


JSON = of(offers={"format": "json"}, checkouts={"format": "json"})


def value(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


def test_without_a_word_both_are_plain_avro() -> None:
    assert isinstance(codec_of(Settings()), PlainCodec)


def test_json_is_the_same_event_as_avro() -> None:
    one = JSON.decode_offer(b"s1", value(OFFER), 7)
    other = PLAIN.decode_offer(b"s1", PLAIN.encode_offer(OFFER), 7)
    assert one is not None
    for name in OFFER.keys() - {"event_id", *Details._fields} | {"details", "offset"}:
        assert getattr(one, name) == getattr(other, name)
    bought = JSON.decode_checkout(b"s1", value(CHECKOUT), 8)
    same = PLAIN.decode_checkout(b"s1", PLAIN.encode_checkout(CHECKOUT), 8)
    assert bought is not None
    for name in ("session_id", "checkout_id", "completed_at", "purchased", "offset"):
        assert getattr(bought, name) == getattr(same, name)


def test_one_input_may_be_json_and_the_other_avro() -> None:
    codec = of(checkouts={"format": "json"})
    assert codec.decode_offer(b"s1", PLAIN.encode_offer(OFFER), 0) is not None
    assert codec.decode_checkout(b"s1", value(CHECKOUT), 0) is not None
    with pytest.raises(DecodeError):
        codec.decode_offer(b"s1", value(OFFER), 0)


@pytest.mark.parametrize(
    ("fields", "key", "reason"),
    [
        ({**OFFER, "offer_id": ""}, b"s1", "empty_id"),
        (OFFER, b"s2", "key_mismatch"),
        (OFFER, None, "key_mismatch"),
        ({**OFFER, "offer_id": "x" * 1001}, b"s1", "too_large"),
        ({**OFFER, "offer_id": "é" * 501}, b"s1", "too_large"),
        ({**OFFER, "presented_at": "now"}, b"s1", "undecodable"),
    ],
)
def test_the_rules_for_an_offer_are_those_of_avro(fields: dict[str, Any], key: bytes | None, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        JSON.decode_offer(key, value(fields), 0)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"purchased_offer_ids": ["o1", ""]}, "empty_id"), ({"purchased_offer_ids": None}, "undecodable")],
)
def test_the_rules_for_a_checkout_are_those_of_avro(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        JSON.decode_checkout(b"s1", value(CHECKOUT | change), 0)
    assert (caught.value.reason, caught.value.session_id) == (reason, "s1")


def test_a_text_longer_than_the_value_it_was_made_of_is_too_large() -> None:
    codec = of(offers={"format": "json", "fields": {"offer_id": "join('', [a, a, a, a, a, a, a, a, a, a, a])"}})
    fields = {name: OFFER[name] for name in OFFER if name not in {"offer_id", "metadata"}}
    with pytest.raises(DecodeError) as caught:
        codec.decode_offer(b"s1", value({**fields, "a": "x" * 100}), 0)
    assert caught.value.reason == "too_large"


def test_a_mapped_record_needs_no_id_of_the_event_unless_it_is_named() -> None:
    fields = {name: OFFER[name] for name in OFFER if name not in {"event_id", "offer_id"}} | {"id": "o1"}
    codec = of(offers={"format": "json", "fields": {"offer_id": "id"}})
    assert codec.decode_offer(b"s1", value(fields), 0) is not None
    named = of(offers={"format": "json", "fields": {"offer_id": "id", "event_id": "event"}})
    with pytest.raises(DecodeError, match="there is no 'event'"):
        named.decode_offer(b"s1", value(fields), 0)
    with pytest.raises(DecodeError, match="it has no event_id"):
        JSON.decode_offer(b"s1", value({**fields, "offer_id": "o1"}), 0)


def test_a_record_of_another_kind_is_none() -> None:
    codec = of(offers={"format": "json", "when": "kind == 'shown'"}, checkouts={"format": "json", "when": "paid"})
    assert codec.decode_offer(b"s1", value({**OFFER, "kind": "hidden"}), 0) is None
    assert codec.decode_offer(b"s1", value({**OFFER, "kind": "shown"}), 0) is not None
    assert codec.decode_checkout(b"s1", value({**CHECKOUT, "paid": False}), 0) is None


# --- a record that holds several


def several(*offers: dict[str, Any], **page: Any) -> list[OfferAmongSeveral]:
    fields = {"session_id": "sid || $record.sid", "presented_at": "at || $record.at", "partner_code": "$record.shop"}
    codec = of(offers={"format": "json", "each": "offers", "fields": fields})
    found = codec.decode_offer(b"s1", value({"sid": "s1", "at": 5, "shop": "P", "offers": offers, **page}), 7)
    assert isinstance(found, list)
    assert all(isinstance(one, OfferAmongSeveral) for one in found)
    return found


def test_each_has_a_place_in_the_order_of_the_log_and_tells_its_record() -> None:
    found = several({"offer_id": "a"}, {"offer_id": "b"}, {"offer_id": "a"})
    assert [(one.offer_id, one.offset, one.record_offset) for one in found] == [
        ("a", 7 * 64, 7),
        ("b", 7 * 64 + 1, 7),
        ("a", 7 * 64 + 2, 7),
    ]
    assert {(one.session_id, one.partner_code, one.presented_at) for one in found} == {("s1", "P", 5)}
    assert several() == []


@pytest.mark.parametrize(
    ("second", "reason", "what"),
    [
        (
            {"offer_id": "b", "at": 6},
            "undecodable",
            "element 1: it was presented at 6, and element 0 at 5: the offers of",
        ),
        ({"offer_id": "b", "sid": "s2"}, "key_mismatch", "element 1: it has the key b's1', but its session_id is 's2'"),
        ({"offer_id": ""}, "empty_id", "element 1: offer_id is empty"),
        ({"offer_id": "x" * 1_001}, "too_large", "element 1: offer_id has 1001 bytes"),
        ({"offer_id": 5}, "undecodable", "element 1: not a OfferPresented: offer_id is 5"),
    ],
)
def test_all_of_them_are_of_one_time_and_of_the_record_s_session(
    second: dict[str, Any], reason: str, what: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        several({"offer_id": "a"}, second)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(what)


def test_a_page_of_another_kind_is_none_and_one_that_shows_nothing_is_empty() -> None:
    codec = of(offers={"format": "json", "each": "offers", "when": "kind == 'page'"})
    assert codec.decode_offer(b"s1", value({"kind": "x"}), 0) is None
    empty = codec.decode_offer(b"s1", value({"kind": "page", "offers": []}), 0)
    assert empty == []
    assert list(presentations(None)) == list(presentations([])) == []


# --- a registry's ids


class OneSchema:
    """A registry that has one schema, under any id: a basket of micros, whose offers stand in lines."""

    TEXT = json.dumps(
        {
            "type": "record",
            "name": "Basket",
            "fields": [
                {"name": "id", "type": "string"},
                {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
                {"name": "bought", "type": {"type": "array", "items": "string"}},
            ],
        }
    )

    def __init__(self, _: object) -> None: ...

    def close(self) -> None:
        pass

    def schema(self, schema_id: SchemaId) -> WrittenSchema:
        return parse_texts(self.TEXT)


def test_a_record_with_an_id_is_mapped_by_the_names_of_its_own_schema_with_times_in_ms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consumer.codecs.inputs.Registry", OneSchema)
    fields = {"session_id": "$key", "checkout_id": "id", "completed_at": "at", "purchased_offer_ids": "bought"}
    inputs = {"checkouts": {"format": "registry", "fields": fields}}
    codec = codec_of(Settings(input=inputs), at_once=True)
    value = framed(7, b"\x04c1" + b"\xd0\x0f" + b"\x02\x04o1\x00")  # at 1,000 us
    found = codec.decode_checkout(b"s1", value, 3)
    assert isinstance(found, CheckoutCompleted)
    assert (found.session_id, found.checkout_id, found.completed_at, found.purchased) == (
        "s1",
        "c1",
        1,
        ("o1",),
    )


@pytest.mark.parametrize("at_once", [True, False])
def test_what_reads_by_a_registry_closes_it_and_nothing_else_keeps_one_open(
    monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    is_open: list[bool] = []

    class Counted(OneSchema):
        def __init__(self, settings: Any) -> None:
            super().__init__(settings)
            is_open.append(True)
            self._number = len(is_open) - 1

        def find(self, subject: str, text: str) -> int:
            return 12

        def close(self) -> None:
            is_open[self._number] = False

    monkeypatch.setattr("consumer.codecs.inputs.Registry", Counted)
    codec_of(Settings()).close()
    codec_of(Settings(avro={"outcome_format": "registry"}), at_once=at_once).close()
    assert is_open == [False] * (not at_once)
    codec = codec_of(Settings(avro={"format": "registry"}), at_once=at_once)
    assert is_open[-1]
    codec.close()
    assert not any(is_open)


def test_a_decimal_is_mapped_as_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Priced(OneSchema):
        TEXT = json.dumps(
            {
                "type": "record",
                "name": "Shown",
                "fields": [
                    {"name": "id", "type": "string"},
                    {"name": "at", "type": "long"},
                    {"name": "sum", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
                ],
            }
        )

    monkeypatch.setattr("consumer.codecs.inputs.Registry", Priced)
    fields = {"session_id": "$key", "partner_code": "'P'", "offer_id": "id", "presented_at": "at", "price": "sum"}
    with closing(codec_of(Settings(input={"offers": {"format": "registry", "fields": fields}}), at_once=True)) as codec:
        found = codec.decode_offer(b"s1", framed(7, b"\x04o1" + b"\xd0\x0f" + b"\x04\x04\xe2"), 3)
    assert isinstance(found, OfferPresented)
    assert (found.offer_id, found.details.price) == ("o1", "12.50")
    wrong = {**fields, "presented_at": "sum"}
    codec = codec_of(Settings(input={"offers": {"format": "registry", "fields": wrong}}), at_once=True)
    with pytest.raises(DecodeError, match=r"presented_at is '12\.50', and must be a whole number"):
        codec.decode_offer(b"s1", framed(7, b"\x04o1" + b"\xd0\x0f" + b"\x04\x04\xe2"), 3)


def test_a_record_with_an_id_may_hold_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.codecs.inputs.Registry", OneSchema)
    fields = {"session_id": "$key", "partner_code": "$record.id", "presented_at": "$record.at"}
    inputs = {"offers": {"format": "registry", "each": "bought[].{offer_id: @}", "fields": fields}}
    codec = codec_of(Settings(input=inputs), at_once=True)
    found = codec.decode_offer(b"s1", framed(7, b"\x04c1" + b"\xd0\x0f" + b"\x04\x04o1\x04o2\x00"), 3)
    assert [(one.offer_id, one.partner_code, one.presented_at, one.offset) for one in presentations(found)] == [
        ("o1", "c1", 1, 192),
        ("o2", "c1", 1, 193),
    ]


def test_a_record_with_an_id_that_is_not_mapped_has_to_resolve_to_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.codecs.inputs.Registry", OneSchema)
    codec = codec_of(Settings(avro={"format": "registry"}), at_once=True)
    for decode in (codec.decode_offer, codec.decode_checkout):
        with pytest.raises(DecodeError, match=r"schema id 7: writes the record Basket.*input\.\w+\.fields"):
            decode(b"s1", framed(7, b"\x04c1\x02\x00"), 0)


@pytest.mark.parametrize("error", [OverflowError("cannot convert"), KeyError("union"), RecursionError("too\ndeep")])
def test_whatever_a_record_makes_its_reader_raise_it_is_undecodable(error: Exception) -> None:
    codec = failing_with(error)
    for decode in (codec.decode_offer, codec.decode_checkout):
        with pytest.raises(DecodeError, match=f"^reading it fails by {type(error).__name__}: .+$") as caught:
            decode(b"s1", b"{}", 0)
        assert (caught.value.reason, caught.value.__cause__) == ("undecodable", error)


@pytest.mark.parametrize(
    "error", [DecodeError("empty_id", "it is empty", "s1"), SchemaWaitError("7"), StartError("no"), MemoryError()]
)
def test_what_is_told_already_or_is_no_fault_of_the_record_is_raised_as_it_is(error: Exception) -> None:
    codec = failing_with(error)
    for decode in (codec.decode_offer, codec.decode_checkout):
        with pytest.raises(type(error)) as caught:
            decode(b"s1", b"{}", 0)
        assert caught.value is error


def failing_with(error: Exception) -> Codec:
    def fail(*_: object) -> NoReturn:
        raise error

    return InputsCodec(PLAIN, InputReader(fail), InputReader(fail))
