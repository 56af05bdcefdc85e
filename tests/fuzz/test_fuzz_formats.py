"""Records of every format at its edges: each has its stated fate, and whatever comes, nothing else is raised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryError
from fuzz.fuzzing import fuzz, spoilt
from hypothesis import example, given
from hypothesis import strategies as st
from support.builders import CHECKOUT_FIELDS, OFFER_FIELDS

from consumer.codecs import registry_client
from consumer.codecs.codec import EMPTY_ID, KEY_MISMATCH, TOO_LARGE, UNDECODABLE, Codec, no_headers
from consumer.codecs.framing import HEADER, framed
from consumer.codecs.inputs import codec_of
from consumer.codecs.plain import PlainCodec
from consumer.codecs.registry import RegistryReader
from consumer.codecs.schemas import CHECKOUT_COMPLETED, OFFER_PRESENTED, load_schema, schema_text
from consumer.codecs.written import WrittenSchema, parse_texts
from consumer.errors import DecodeError, SchemaWaitError
from consumer.settings import Settings

READ, LEFT_OUT, WAITS = "read", "left out", "waits"
FATES = {READ, LEFT_OUT, WAITS, UNDECODABLE, KEY_MISMATCH, EMPTY_ID, TOO_LARGE}
KEY = OFFER_FIELDS["session_id"].encode()
AVRO = PlainCodec()
OFFER, CHECKOUT = AVRO.encode_offer(OFFER_FIELDS), AVRO.encode_checkout(CHECKOUT_FIELDS)

OFFERS, CHECKOUTS, GONE, UNKNOWN, PROTOBUF, JSON_SCHEMA, LARGE, DEEP, NONSENSE, ITSELF = range(1, 11)
"""Ids that the registry is asked for."""

ITSELF_TEXT = '{"type": "record", "name": "R", "fields": [{"name": "r", "type": "R"}]}'
SCHEMAS = {
    OFFERS: Schema(schema_text(OFFER_PRESENTED), "AVRO"),
    CHECKOUTS: Schema(schema_text(CHECKOUT_COMPLETED), "AVRO"),
    PROTOBUF: Schema('syntax = "proto3"; message M { string a = 1; }', "PROTOBUF"),
    JSON_SCHEMA: Schema('{"type": "object"}', "JSON"),
    LARGE: Schema(json.dumps({"type": "string", "doc": "x" * 10_000_000}), "AVRO"),
    DEEP: Schema('{"type":"array","items":' * 20_000 + '"int"' + "}" * 20_000, "AVRO"),
    NONSENSE: Schema("nonsense", "AVRO"),
    ITSELF: Schema(ITSELF_TEXT, "AVRO"),
}


class SchemasClient:
    """The registry's client, as far as it is asked here."""

    def get_schema(self, schema_id: int) -> Schema:
        if schema_id == UNKNOWN or schema_id not in SCHEMAS:
            raise SchemaRegistryError(404, 40403, "Schema not found")
        return SCHEMAS[schema_id]

    def get_schema_by_guid(self, guid: str) -> Schema:
        raise SchemaRegistryError(404, 40403, "Schema not found")


MAPPED = {
    "offers": {
        "format": "json",
        "when": "kind == 'shown'",
        "time": "s",
        "fields": {
            "session_id": "session.id",
            "partner_code": "tenant",
            "offer_id": "offer.id",
            "presented_at": "at",
            "price": "to_string(offer.price)",
        },
    },
    "checkouts": {
        "format": "json",
        "fields": {"session_id": "$key", "purchased_offer_ids": "items[?kind=='insurance'].offer"},
    },
}
SHOWN = {
    "kind": "shown",
    "session": {"id": OFFER_FIELDS["session_id"]},
    "tenant": "P",
    "offer": {"id": "o1", "price": 12.5},
    "at": 1_767_225_600.5,
}
ORDER = {"checkout_id": "c1", "completed_at": 1, "items": [{"kind": "insurance", "offer": "o1"}, {"kind": "flight"}]}


@pytest.fixture(scope="module")
def codecs() -> Iterator[dict[str, Codec]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry_client, "_client", lambda _: SchemasClient())
        yield {
            "plain": codec_of(Settings()),
            "registry": codec_of(Settings(avro={"format": "registry"}), at_once=True),
            "json": codec_of(Settings(input={"offers": {"format": "json"}, "checkouts": {"format": "json"}})),
            "mapped": codec_of(Settings(input=MAPPED)),
        }


def fate(
    codec: Codec, value: bytes, *, is_checkout: bool = False, key: bytes | None = KEY, header: bytes | None = None
) -> str:
    """What becomes of a record. Whatever else is raised fails the test."""
    decode = codec.decode_checkout if is_checkout else codec.decode_offer
    headers = [] if header is None else [(HEADER, header)]
    try:
        return LEFT_OUT if decode(key, value, 7, lambda: headers) is None else READ
    except DecodeError as error:
        str(error).encode()  # it goes into a header
        return error.reason
    except SchemaWaitError:
        return WAITS


def text(**changes: Any) -> bytes:
    return json.dumps({**OFFER_FIELDS, **changes}).encode()


def shown(**changes: Any) -> bytes:
    return json.dumps({**SHOWN, **changes}).encode()


def deep(before: str, after: str, levels: int = 20_000) -> bytes:
    return f"{before}{'[' * levels}{']' * levels}{after}".encode()


GOOD = text().decode()
EDGES = [
    ("plain", "whole", OFFER, READ),
    ("plain", "truncated", OFFER[:-1], UNDECODABLE),
    ("plain", "longer", OFFER + b"\0", UNDECODABLE),
    ("plain", "empty", b"", UNDECODABLE),
    ("plain", "framed", framed(OFFERS, OFFER), UNDECODABLE),
    ("plain", "json", text(), UNDECODABLE),
    ("registry", "whole", framed(OFFERS, OFFER), READ),
    ("registry", "a payload that is truncated", framed(OFFERS, OFFER[:-1]), UNDECODABLE),
    ("registry", "no payload", framed(OFFERS, b""), UNDECODABLE),
    ("registry", "a frame that is truncated", b"\0\0\0", UNDECODABLE),
    ("registry", "a GUID that is truncated", b"\1" + b"x" * 15, UNDECODABLE),
    ("registry", "a GUID that nobody knows", b"\1" + b"x" * 16, WAITS),
    ("registry", "empty", b"", UNDECODABLE),
    ("registry", "id 0", framed(0, OFFER), UNDECODABLE),
    ("registry", "id -1", framed(-1, OFFER), UNDECODABLE),
    ("registry", "an id that nobody knows", framed(UNKNOWN, OFFER), WAITS),
    ("registry", "the id of the other topic", framed(CHECKOUTS, CHECKOUT), UNDECODABLE),
    ("registry", "Protobuf", framed(PROTOBUF, OFFER), UNDECODABLE),
    ("registry", "JSON Schema", framed(JSON_SCHEMA, text()), UNDECODABLE),
    ("registry", "a schema of 10 MB", framed(LARGE, OFFER), UNDECODABLE),
    ("registry", "a schema of 20,000 levels", framed(DEEP, OFFER), UNDECODABLE),
    ("registry", "a schema that is none", framed(NONSENSE, OFFER), UNDECODABLE),
    ("registry", "a type that holds itself", framed(ITSELF, OFFER), UNDECODABLE),
    ("registry", "plain", OFFER, UNDECODABLE),
    ("registry", "json", text(), UNDECODABLE),
    ("json", "whole", text(), READ),
    ("json", "framed", framed(JSON_SCHEMA, text()), READ),
    ("json", "a frame that is truncated", b"\0\0\0", UNDECODABLE),
    ("json", "a mark of its encoding", b"\xef\xbb\xbf" + text(), READ),
    ("json", "two marks", b"\xef\xbb\xbf" * 2 + text(), UNDECODABLE),
    ("json", "UTF-16", GOOD.encode("utf-16"), UNDECODABLE),
    ("json", "invalid UTF-8", text().replace(b'"P', b'"\xff'), UNDECODABLE),
    ("json", "half of a character", text(offer_id="\ud800"), UNDECODABLE),
    ("json", "a field that stands twice", (GOOD[:-1] + ', "offer_id": "o2"}').encode(), UNDECODABLE),
    ("json", "a field of no concern that stands twice", (GOOD[:-1] + ', "x": {"a": 1, "a": 2}}').encode(), UNDECODABLE),
    ("json", "NaN", text(x=float("nan")), UNDECODABLE),
    ("json", "Infinity", text(x=float("inf")), UNDECODABLE),
    ("json", "1e400 where it is of no concern", (GOOD[:-1] + ', "x": 1e400}').encode(), READ),
    ("json", "1e400 as a time", text(presented_at=0).replace(b'_at": 0', b'_at": 1e400'), UNDECODABLE),
    ("json", "5,000 digits", (GOOD[:-1] + ', "x": ' + "9" * 5_000 + "}").encode(), UNDECODABLE),
    ("json", "20,000 levels", deep(GOOD[:-1] + ', "x": ', "}"), UNDECODABLE),
    ("json", "20,000 levels alone", deep("", ""), UNDECODABLE),
    ("json", "no object", b"[]", UNDECODABLE),
    ("json", "null", b"null", UNDECODABLE),
    ("json", "empty", b"", UNDECODABLE),
    ("json", "truncated", text()[:-1], UNDECODABLE),
    ("json", "avro", OFFER, UNDECODABLE),
    ("json", "a number for a text", text(offer_id=5), UNDECODABLE),
    ("json", "a text for a time", text(presented_at="1"), UNDECODABLE),
    ("json", "a time beyond all", text(presented_at=2**63), UNDECODABLE),
    ("json", "another key", text(session_id="another"), KEY_MISMATCH),
    ("json", "an id that is empty", text(offer_id=""), EMPTY_ID),
    ("json", "an id that is too large", text(offer_id="x" * 1_001), TOO_LARGE),
    ("mapped", "whole", shown(), READ),
    ("mapped", "of another kind", shown(kind="hidden"), LEFT_OUT),
    ("mapped", "of no kind", b"{}", UNDECODABLE),
    ("mapped", "a mark of its encoding", b"\xef\xbb\xbf" + shown(), READ),
    ("mapped", "a field that stands twice", shown()[:-1] + b', "tenant": "Q"}', UNDECODABLE),
    ("mapped", "NaN", shown(at=float("nan")), UNDECODABLE),
    ("mapped", "1e400", shown(at=0).replace(b'"at": 0', b'"at": 1e400'), UNDECODABLE),
    ("mapped", "a time beyond all", shown(at=1e300), UNDECODABLE),
    ("mapped", "a time whose milliseconds are beyond all floats", shown(at=1e306), UNDECODABLE),
    ("mapped", "a time before all floats", shown(at=-1.7976931348623157e308), UNDECODABLE),
    ("mapped", "null for its kind", shown(kind=None), UNDECODABLE),
    ("mapped", "a number for its kind", shown(kind=3), UNDECODABLE),
    ("mapped", "true for a time", shown(at=True), UNDECODABLE),
    ("mapped", "a list for a text", shown(tenant=["P"]), UNDECODABLE),
    ("mapped", "an object for a text", shown(tenant={"P": 1}), UNDECODABLE),
    ("mapped", "a number for an object", shown(session=5), UNDECODABLE),
    ("mapped", "a list for an object", shown(offer=[{"id": "o1"}]), UNDECODABLE),
    ("mapped", "null for an id", shown(offer={"id": None, "price": 1}), UNDECODABLE),
    ("mapped", "no price", shown(offer={"id": "o1"}), READ),
    ("mapped", "half of a character", shown(tenant="\ud800"), UNDECODABLE),
    ("mapped", "20,000 levels", deep(shown().decode()[:-1] + ', "x": ', "}"), UNDECODABLE),
]


@pytest.mark.parametrize(
    ("name", "value", "expected"), [(n, v, f) for n, _, v, f in EDGES], ids=[f"{n}: {w}" for n, w, *_ in EDGES]
)
def test_what_stands_at_the_edge_has_its_fate(codecs: dict[str, Codec], name: str, value: bytes, expected: str) -> None:
    assert fate(codecs[name], value) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"\0\0\0\0\1", READ),
        (b"\0\0\0\0", UNDECODABLE),
        (b"", UNDECODABLE),
        (b"\0\0\0\0\0", UNDECODABLE),
        (b"\0\0\0\0\1x", UNDECODABLE),
        (b"\0\0\0\0\4", WAITS),
        (b"\0\0\0\0\5", UNDECODABLE),
    ],
)
def test_an_id_in_a_header_has_the_same_edges(codecs: dict[str, Codec], header: bytes, expected: str) -> None:
    assert fate(codecs["registry"], OFFER, header=header) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, READ),
        ({"items": []}, READ),
        ({"items": None}, UNDECODABLE),
        ({"items": {"kind": "insurance"}}, UNDECODABLE),
        ({"items": "insurance"}, UNDECODABLE),
        ({"items": [{"kind": "insurance"}]}, UNDECODABLE),
        ({"items": [{"kind": "insurance", "offer": None}]}, UNDECODABLE),
        ({"items": [{"kind": "insurance", "offer": 5}]}, UNDECODABLE),
        ({"items": [{"offer": "o1"}]}, UNDECODABLE),
        ({"items": [{"kind": None, "offer": "o1"}]}, UNDECODABLE),
        ({"items": [{"kind": True, "offer": "o1"}]}, UNDECODABLE),
        ({"items": [{"kind": 3, "offer": "o1"}]}, UNDECODABLE),
        ({"items": [{"kind": ["insurance"], "offer": "o1"}]}, UNDECODABLE),
        ({"items": [None]}, UNDECODABLE),
        ({"items": [[[]]]}, UNDECODABLE),
    ],
)
def test_a_list_of_what_was_bought_is_never_empty_by_a_wrong_type(
    codecs: dict[str, Codec], changes: dict[str, Any], expected: str
) -> None:
    value = json.dumps({**ORDER, **changes}).encode()
    assert fate(codecs["mapped"], value, is_checkout=True) == expected


# --- whatever comes

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))
FRAMES = st.builds(
    lambda number, payload: number.to_bytes(4, "big").join((b"\0", payload)),
    st.integers(0, 12) | st.integers(0, 2**32 - 1),
    st.sampled_from([OFFER, CHECKOUT, b""]) | st.binary(max_size=20),
)
KEYS = st.just(KEY) | st.none() | st.binary(max_size=6)


@st.composite
def with_other_values(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    """The document with some of its fields' values replaced by anything that JSON has."""
    names = draw(st.lists(st.sampled_from(sorted(good)), max_size=3))
    return json.dumps({**good, **{name: draw(JSON) for name in names}}).encode("utf-8", "surrogatepass")


VALUES = st.one_of(
    spoilt(OFFER),
    spoilt(framed(OFFERS, OFFER)),
    spoilt(text()),
    spoilt(shown()),
    FRAMES,
    FRAMES.flatmap(spoilt),
    with_other_values(dict(OFFER_FIELDS)),
    with_other_values(dict(CHECKOUT_FIELDS)),
    with_other_values(SHOWN),
    with_other_values(ORDER),
    JSON.map(lambda document: json.dumps(document).encode()),
    st.binary(max_size=60),
)


@pytest.mark.parametrize("name", ["plain", "registry", "json", "mapped"])
@fuzz(300)
@given(VALUES, KEYS, st.booleans(), st.none() | st.binary(max_size=20))
def test_nothing_is_raised_but_what_is_dead_lettered_or_waits(
    codecs: dict[str, Codec], name: str, value: bytes, key: bytes | None, is_checkout: bool, header: bytes | None
) -> None:
    assert fate(codecs[name], value, is_checkout=is_checkout, key=key, header=header) in FATES


@fuzz(150)
@given(st.lists(st.fixed_dictionaries({}, optional={"kind": SCALARS | st.just("insurance"), "offer": SCALARS})))
def test_an_item_is_left_out_by_another_kind_and_by_nothing_else(
    codecs: dict[str, Codec], items: list[dict[str, Any]]
) -> None:
    value = json.dumps({**ORDER, "items": items}).encode()
    try:
        event = codecs["mapped"].decode_checkout(KEY, value, 7)
    except DecodeError:
        kinds, bought = [item.get("kind") for item in items], [item.get("offer") for item in items]
        assert not all(isinstance(one, str) for one in kinds) or not all(
            isinstance(one, str) and one for kind, one in zip(kinds, bought, strict=True) if kind == "insurance"
        )
        return
    assert event is not None
    assert set(event.purchased) == {item["offer"] for item in items if item["kind"] == "insurance"}
    assert all(isinstance(item["kind"], str) for item in items)


ODD = st.sampled_from([None, 0, True, "", "string", "record", [], [None], {}, ["null"], -1])
NAMES = st.sampled_from(["string", "null", "bytes", "long", "error", "union", "request", "R", "optout.events.R"])
TYPES = st.recursive(
    NAMES | ODD,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries(
            {"type": st.sampled_from(["array", "map", "error", "record", "enum", "fixed", "string"]) | inner},
            optional={
                "name": st.sampled_from(["R", "E", "offer_id"]) | ODD,
                "items": inner,
                "values": inner,
                "aliases": st.just(["offer_id"]) | ODD,
                "symbols": st.just(["A"]) | ODD,
                "size": st.integers(-1, 3) | ODD,
                "logicalType": st.sampled_from(["decimal", "timestamp-micros", "date"]) | ODD,
                "precision": ODD,
                "fields": st.lists(st.fixed_dictionaries({"name": st.sampled_from("ab"), "type": inner}), max_size=2)
                | ODD,
            },
        )
    ),
    max_leaves=5,
)


class OneText:
    """A registry that has this schema by each id."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get(self, _: object) -> WrittenSchema:
        return parse_texts(self._text)


@pytest.mark.parametrize("ours", [OFFER_PRESENTED, None])
@fuzz(150)
@given(
    st.dictionaries(
        st.sampled_from(["session_id", "offer_id", "price", "metadata", "more"]),
        st.fixed_dictionaries({}, optional={"type": TYPES, "aliases": st.just(["offer_id"]) | ODD}),
        max_size=2,
    ),
    st.fixed_dictionaries({}, optional={"aliases": ODD, "namespace": ODD}),
    st.just(OFFER) | spoilt(OFFER),
)
@example({"price": {"type": ["string", {"type": "error", "name": "E", "fields": []}]}}, {}, OFFER)
@example({"price": {"type": ["string", ["null"]]}}, {}, OFFER)
@example({"session_id": {"type": "bytes", "aliases": ["offer_id"]}, "offer_id": {"name": "more"}}, {}, OFFER)
@example({}, {"aliases": None}, OFFER)
def test_whatever_schema_is_registered_its_records_are_read_or_undecodable(
    ours: str | None, changes: dict[str, dict[str, Any]], more: dict[str, Any], payload: bytes
) -> None:
    schema = load_schema(OFFER_PRESENTED)
    names = [field["name"] for field in schema["fields"]]
    fields = [field | changes.get(field["name"], {}) for field in schema["fields"]]
    fields += [{"name": name, "type": "null", **change} for name, change in changes.items() if name not in names]
    reader = RegistryReader(OneText(json.dumps({**schema, "fields": fields, **more})), ours)
    words = ""
    try:
        reader.read(framed(7, payload), no_headers)
    except DecodeError as error:
        words = str(error)
    # By the last catch. It is there for what nobody has thought of, and this was.
    assert " fails by " not in words
