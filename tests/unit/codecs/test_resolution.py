"""Records of other schemas than ours: what is read of them, what is refused, and that Avro's own rules say the same."""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st
from support.builders import CHECKOUT_FIELDS, OFFER_FIELDS

from consumer.codecs.codec import UNDECODABLE
from consumer.codecs.resolution import Read, is_ours, read_whole, resolve
from consumer.codecs.schemas import CHECKOUT_COMPLETED, OFFER_PRESENTED, load_schema, without_logical_types
from consumer.codecs.written import parse_texts
from consumer.errors import DecodeError

OFFER = OFFER_FIELDS | {"country": None, "metadata": {"tier": "gold"}}
CHECKOUT = CHECKOUT_FIELDS | {"metadata": {}}
NAMES = {"OfferPresented": OFFER_PRESENTED, "CheckoutCompleted": CHECKOUT_COMPLETED}


def changed(name: str = OFFER_PRESENTED, **types: Any) -> dict[str, Any]:
    """Our schema with fields of other types, or without those whose type is None."""
    schema = load_schema(name)
    fields = {field["name"]: field for field in schema["fields"]}
    for field, given_type in types.items():
        if given_type is None:
            del fields[field]
        else:
            fields[field] = {"name": field, "type": given_type}
    return {**schema, "fields": list(fields.values())}


def renamed(old: str, new: str, aliases: list[str], name: str = OFFER_PRESENTED) -> dict[str, Any]:
    schema = load_schema(name)
    for field in schema["fields"]:
        if field["name"] == old:
            field.update(name=new, aliases=aliases)
    return schema


def written(schema: Any, value: Any) -> bytes:
    stream = BytesIO()
    schemaless_writer(stream, without_logical_types(schema), value)
    return stream.getvalue()


def reader(schema: Any, name: str = OFFER_PRESENTED, *references: Any) -> Read:
    return resolve(parse_texts(json.dumps(schema), [json.dumps(one) for one in references]), name)


def ours(fields: dict[str, Any], name: str = OFFER_PRESENTED) -> dict[str, Any]:
    """Of what was read, the fields that we have."""
    return {field["name"]: fields[field["name"]] for field in load_schema(name)["fields"]}


def read(schema: Any, value: Any, name: str = OFFER_PRESENTED) -> dict[str, Any]:
    return ours(reader(schema, name)(written(schema, value)), name)


def unresolved(schema: Any, name: str = OFFER_PRESENTED) -> str:
    with pytest.raises(DecodeError) as caught:
        reader(schema, name)
    assert caught.value.reason == UNDECODABLE
    return str(caught.value)


def unread(schema: Any, value: Any, name: str = OFFER_PRESENTED) -> DecodeError:
    read = reader(schema, name)
    with pytest.raises(DecodeError) as caught:
        read(written(schema, value))
    assert caught.value.reason == UNDECODABLE
    return caught.value


def test_our_own_schema_is_read_as_it_is() -> None:
    assert reader(load_schema(OFFER_PRESENTED))(written(load_schema(OFFER_PRESENTED), OFFER)) == OFFER


def test_a_schema_is_ours_by_the_fields_their_order_and_their_types() -> None:
    for name in (OFFER_PRESENTED, CHECKOUT_COMPLETED):
        schema = load_schema(name)
        fields = schema["fields"]
        undocumented = [{"name": field["name"], "type": field["type"]} for field in fields]
        plain_times = [field | ({"type": "long"} if field["name"].endswith("_at") else {}) for field in fields]
        for same in (schema, {**schema, "namespace": "com.shop"}, schema | {"fields": undocumented}):
            assert is_ours(parse_texts(json.dumps(same)), name)
        assert is_ours(parse_texts(json.dumps(schema | {"fields": plain_times})), name)
        micros = {"type": "long", "logicalType": "timestamp-micros"}
        for other in (
            fields[::-1],
            fields[1:],
            [*fields, {"name": "more", "type": "null"}],
            [field | ({"type": micros} if field["name"].endswith("_at") else {}) for field in fields],
            [fields[0] | {"type": "bytes"}, *fields[1:]],
            [fields[0] | {"name": "id", "aliases": ["event_id"]}, *fields[1:]],
            [*fields[:-1], fields[-1] | {"type": ["null", fields[-1]["type"]]}],
        ):
            assert not is_ours(parse_texts(json.dumps(schema | {"fields": other})), name)
        assert not is_ours(parse_texts(json.dumps([schema])), name)
        assert not is_ours(parse_texts(json.dumps(["null", schema])), name)
    reversed_union = changed(price=["string", "null"])
    assert not is_ours(parse_texts(json.dumps(reversed_union)), OFFER_PRESENTED)
    assert not is_ours(parse_texts(json.dumps("string")), OFFER_PRESENTED)


def test_a_field_added_is_read_over_and_one_of_ours_that_is_missing_has_its_default() -> None:
    schema = changed(metadata=None, price=None, channel="string")
    assert read(schema, {**OFFER, "channel": "web"}) == {**OFFER, "price": None, "metadata": {}}


def test_a_missing_field_without_a_default_resolves_to_nothing_and_is_named() -> None:
    assert "the field purchased_offer_ids is missing" in unresolved(
        changed(CHECKOUT_COMPLETED, purchased_offer_ids=None), CHECKOUT_COMPLETED
    )


def test_another_namespace_is_as_good_and_another_record_is_not() -> None:
    schema = {**load_schema(OFFER_PRESENTED), "namespace": "com.shop"}
    assert read(schema, OFFER) == OFFER
    assert read({**schema, "name": "Shown", "aliases": ["OfferPresented"]}, OFFER) == OFFER
    assert "input.offers.fields" in unresolved({**schema, "name": "Shown"})
    assert "the record com.shop.Shown" in unresolved({**schema, "name": "Shown"})
    assert "no record but string" in unresolved("string")
    assert "CheckoutCompleted" in unresolved(load_schema(CHECKOUT_COMPLETED))


def test_a_renamed_field_is_found_by_its_alias() -> None:
    schema = renamed("offer_id", "quote", ["offer_id", "oid"])
    assert read(schema, {**OFFER, "quote": "q9"}) == {**OFFER, "offer_id": "q9"}
    schema = renamed("purchased_offer_ids", "bought", ["purchased_offer_ids"], CHECKOUT_COMPLETED)
    assert read(schema, {**CHECKOUT, "bought": ["a"]}, CHECKOUT_COMPLETED)["purchased_offer_ids"] == ["a"]


def test_a_field_of_our_name_goes_before_an_alias_and_two_aliases_are_refused() -> None:
    schema = changed(quote="string")
    schema["fields"][-1]["aliases"] = ["offer_id"]
    assert read(schema, {**OFFER, "quote": "q9"}) == OFFER
    schema = renamed("offer_id", "quote", ["offer_id"])
    schema["fields"].append({"name": "number", "type": "string", "aliases": ["offer_id"]})
    assert "alias of both quote and number" in unresolved(schema)


@pytest.mark.parametrize(
    ("logical", "unit"),
    [
        (where + unit, divisor)
        for where in ("", "local-")
        for unit, divisor in (("timestamp-millis", 1), ("timestamp-micros", 1_000), ("timestamp-nanos", 1_000_000))
    ],
)
def test_times_of_any_unit_are_ours(logical: str, unit: int) -> None:
    at = OFFER["presented_at"]
    for time in ({"type": "long", "logicalType": logical}, ["null", {"type": "long", "logicalType": logical}]):
        assert read(changed(presented_at=time), {**OFFER, "presented_at": at * unit + unit - 1}) == OFFER


def test_an_int_is_a_long_and_a_date_or_a_time_of_day_is_none() -> None:
    assert read(changed(presented_at="int"), {**OFFER, "presented_at": 5})["presented_at"] == 5
    for kind, logical in (("int", "date"), ("int", "time-millis"), ("long", "time-micros")):
        words = unresolved(changed(presented_at={"type": kind, "logicalType": logical}))
        assert f"the field presented_at is written as {logical}" in words
    assert "written as double, and read as long" in unresolved(changed(presented_at="double"))


def decimal(scale: object = 2, **fixed: Any) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale, **fixed}


def test_a_decimal_is_a_text_with_the_places_of_its_scale() -> None:
    for number, text in ((1250, "12.50"), (5, "0.05"), (-1250, "-12.50"), (0, "0.00"), (-5, "-0.05")):
        data = number.to_bytes(3, "big", signed=True)
        for kind in (decimal(), ["null", decimal()], decimal(type="fixed", name="Price", size=3)):
            assert read(changed(price=kind), {**OFFER, "price": data})["price"] == text
    assert read(changed(price=decimal(0)), {**OFFER, "price": b"\x07"})["price"] == "7"
    assert read(changed(price=decimal(100)), {**OFFER, "price": b"\x07"})["price"] == f"0.{'7':0>100}"
    assert read(changed(price=decimal()), {**OFFER, "price": b""})["price"] == "0.00"
    assert read(changed(price=[decimal(), "null"]), {**OFFER, "price": None})["price"] is None


def test_a_decimal_is_no_time_and_one_that_is_none_no_text() -> None:
    schema = changed(presented_at=decimal())
    assert "the field presented_at is written as decimal, and read as long" in unresolved(schema)
    for scale in (101, -1, "2", True, None):
        assert "the field price is written as decimal" in unresolved(changed(price=decimal(scale)))
    assert "a decimal has 65 bytes" in str(unread(changed(price=decimal()), {**OFFER, "price": b"\1" * 65}))
    both = ["string", decimal()]
    assert read(changed(price=both), {**OFFER, "price": b"\x04\xe2"})["price"] == "12.50"
    assert read(changed(price=both), {**OFFER, "price": "12.50"})["price"] == "12.50"


def test_a_decimal_is_written_again_as_it_was() -> None:
    # The bytes that are no count, in a record with a list: it is written again to see that nothing is hidden.
    least = decimal(), [b"\x7f" + b"\xff" * 9, b"\x80" + b"\0" * 9 + b"\xff" * 9, b"\xfe" + b"\xff" * 9]
    fixed = decimal(type="fixed", name="Price", size=16), [b"\xff" * 15 + b"\xfb", b"\xff" * 16]
    for kind, values in (least, fixed):
        for note in (kind, ["null", kind]):
            schema = changed(CHECKOUT_COMPLETED, note=note, metadata=None)
            for data in values:
                found = read(schema, {**CHECKOUT, "note": data}, CHECKOUT_COMPLETED)
                assert found["checkout_id"] == CHECKOUT["checkout_id"]


def test_an_enum_and_bytes_may_be_a_text() -> None:
    enum = {"type": "enum", "name": "E", "symbols": ["EUR", "USD"]}
    assert read(changed(currency=enum, price="bytes"), {**OFFER, "price": b"12.50"}) == OFFER
    assert read(changed(currency=["null", enum], price=["bytes", "null"]), {**OFFER, "price": None})["price"] is None
    error = unread(changed(price="bytes"), {**OFFER, "price": b"\xff"})
    assert "the field price is written as bytes that are no text" in str(error)
    assert "written as fixed" in unresolved(changed(price={"type": "fixed", "name": "F", "size": 4}))


@pytest.mark.parametrize("order", [["null", "string"], ["string", "null"]])
def test_null_in_a_field_that_must_be_there_makes_that_record_undecodable(order: list[str]) -> None:
    schema = changed(offer_id=order, price=order)
    assert read(schema, OFFER) == OFFER
    error = unread(schema, {**OFFER, "offer_id": None})
    assert "the field offer_id is written as null, and read as string" in str(error)
    assert error.session_id == "s1"


def test_null_is_not_an_empty_list_of_what_was_bought_and_no_item_is_null() -> None:
    items = {"type": "array", "items": ["null", "string"]}
    schema = changed(CHECKOUT_COMPLETED, purchased_offer_ids=["null", items])
    assert read(schema, CHECKOUT, CHECKOUT_COMPLETED) == CHECKOUT
    for bought in (None, ["o1", None]):
        error = unread(schema, {**CHECKOUT, "purchased_offer_ids": bought}, CHECKOUT_COMPLETED)
        assert "the field purchased_offer_ids is written as null" in str(error)
    assert "is written as string, and read as array" in unresolved(
        changed(CHECKOUT_COMPLETED, purchased_offer_ids="string"), CHECKOUT_COMPLETED
    )
    assert "is written as int, and read as string" in unresolved(
        changed(CHECKOUT_COMPLETED, purchased_offer_ids={"type": "array", "items": "int"}), CHECKOUT_COMPLETED
    )


def test_maps_are_converted_value_by_value() -> None:
    schema = changed(metadata={"type": "map", "values": ["bytes", "string"]})
    assert read(schema, {**OFFER, "metadata": {"a": b"x", "b": "y"}})["metadata"] == {"a": "x", "b": "y"}


def test_a_union_takes_what_resolves_and_refuses_the_rest_by_the_record() -> None:
    schema = changed(offer_id=["long", "string"])
    assert read(schema, OFFER) == OFFER
    assert "the field offer_id is written as long" in str(unread(schema, {**OFFER, "offer_id": 7}))
    assert "is written as int" in unresolved(changed(offer_id=["int", "boolean"]))
    assert "a union of no types" in unresolved(changed(offer_id=[]))
    date = {"type": "int", "logicalType": "date"}
    assert "cannot be told apart" in unresolved(changed(presented_at=[date, "long"]))


def test_a_record_in_a_union_may_be_of_the_type_error() -> None:
    failed = {"type": "error", "name": "Failed", "fields": [{"name": "code", "type": "int"}]}
    schema = changed(price=["null", "string", failed])
    assert read(schema, OFFER) == OFFER
    payload = written(schema, OFFER)
    price = b"\x02\x0a" + OFFER["price"].encode()
    assert price in payload
    with pytest.raises(DecodeError, match="the field price is written as error, and read as string"):
        reader(schema)(payload.replace(price, b"\x04\x02"))


def test_a_union_straight_within_a_union_is_refused() -> None:
    assert "the field price is written as a union within a union" in unresolved(changed(price=["string", ["null"]]))


def test_a_field_that_is_two_of_ours_is_converted_for_each() -> None:
    schema = changed(offer_id=None, session_id="bytes")
    next(field for field in schema["fields"] if field["name"] == "session_id")["aliases"] = ["offer_id"]
    found = read(schema, {**OFFER, "session_id": b"s1"})
    assert (found["session_id"], found["offer_id"]) == ("s1", "s1")
    assert unread(schema, {**OFFER, "session_id": b"\xff"}).session_id is None


@pytest.mark.parametrize("aliases", [None, "offer_id", {"offer_id": 1}, [None, 7]])
def test_aliases_that_are_no_names_are_none(aliases: object) -> None:
    schema = load_schema(OFFER_PRESENTED)
    assert read({**schema, "aliases": aliases}, OFFER) == OFFER
    assert "the record Shown" in unresolved({**schema, "name": "Shown", "namespace": "", "aliases": aliases})
    schema = changed(offer_id=None, quote="string")
    schema["fields"][-1]["aliases"] = aliases
    assert re.search("the field offer_id is missing|aliases must be a list", unresolved(schema))


def test_a_named_type_of_a_reference_is_resolved() -> None:
    enum = {"type": "enum", "name": "a.Currency", "symbols": ["EUR"]}
    schema = changed(currency=["null", "a.Currency"])
    stream = written(changed(currency=["null", enum]), OFFER)
    assert ours(reader(schema, OFFER_PRESENTED, enum)(stream)) == OFFER


def test_of_a_union_at_the_top_each_record_is_resolved_by_itself() -> None:
    other = {"type": "record", "name": "OfferClosed", "fields": [{"name": "id", "type": "string"}]}
    old = {**changed(price=None), "namespace": "old"}
    union = ["null", other, load_schema(OFFER_PRESENTED), old]
    read = reader(union)
    payload = written(load_schema(OFFER_PRESENTED), OFFER)
    assert ours(read(b"\x04" + payload)) == OFFER
    assert ours(read(b"\x06" + written(old, OFFER))) == {**OFFER, "price": None}
    assert ours(read(b"\x84\x00" + payload)) == OFFER
    for bad, words in (
        (b"\x00", "no record but null is written"),
        (b"\x02\x04ab", "the record OfferClosed"),
        (b"\x08", "has type 4"),
        (b"\x03" + payload, "has type -2"),
        (b"", "does not begin with the number"),
        (b"\x80" * 11, "does not begin with the number"),
    ):
        with pytest.raises(DecodeError, match=words.replace("no record but null is written", "no record but null")):
            read(bad)
    assert "OfferClosed" in unresolved([other])
    assert "union of no types" in unresolved([])


def test_bytes_that_are_left_over_or_missing_are_no_record() -> None:
    for schema in (load_schema(OFFER_PRESENTED), changed(price=None, channel="string")):
        payload = written(schema, {**OFFER, "channel": "web"})
        for bad in (payload + b"\x00", payload[:-1], b""):
            with pytest.raises(DecodeError, match="not a "):
                reader(schema)(bad)


def test_items_hidden_behind_a_count_that_is_none_are_refused_and_the_same_bytes_as_a_value_are_not() -> None:
    schema = changed(CHECKOUT_COMPLETED, note="bytes", metadata=None)
    value = {**CHECKOUT, "note": b"\xff" * 9, "completed_at": -(2**63)}
    assert read(schema, value, CHECKOUT_COMPLETED) == {**CHECKOUT, "completed_at": -(2**63)}
    payload = written(schema, {**CHECKOUT, "purchased_offer_ids": [], "note": b""})
    hidden = payload[:-2] + b"\xff" * 9 + b"\x01\x00" + payload[-2:]
    with pytest.raises(DecodeError, match="hidden behind a count") as caught:
        reader(schema, CHECKOUT_COMPLETED)(hidden)
    assert caught.value.session_id == "s1"


def test_a_record_is_read_whole_by_its_own_names_with_times_in_ms() -> None:
    micros = {"type": "long", "logicalType": "timestamp-micros"}
    line = {"type": "record", "name": "Line", "fields": [{"name": "at", "type": ["null", micros]}]}
    schema = {
        "type": "record",
        "name": "Basket",
        "fields": [{"name": "at", "type": micros}, {"name": "lines", "type": {"type": "array", "items": line}}],
    }
    whole = read_whole(parse_texts(json.dumps(schema)))
    assert whole(written(schema, {"at": 5_000, "lines": [{"at": 7_999}, {"at": None}]})) == {
        "at": 5,
        "lines": [{"at": 7}, {"at": None}],
    }
    union = read_whole(parse_texts(json.dumps(["null", schema])))
    assert union(b"\x02" + written(schema, {"at": 5_000, "lines": []})) == {"at": 5, "lines": []}
    with pytest.raises(DecodeError, match="no record but null"):
        union(b"\x00")
    with pytest.raises(DecodeError, match="no record but string"):
        read_whole(parse_texts('"string"'))


# --- held against fastavro's own resolution

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
ENUM = {"type": "enum", "name": "Symbol", "symbols": ["A", "B"]}
SCALARS = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])


@st.composite
def types(draw: st.DrawFn) -> Any:
    """A type that may be one of ours in another form, or anything else."""
    # Items that take no bytes are refused: see the tests of what is written.
    one = SCALARS | st.fixed_dictionaries({"type": st.just("array"), "items": SCALARS.filter(lambda t: t != "null")})
    one |= st.fixed_dictionaries({"type": st.just("map"), "values": SCALARS})
    # With a text among them: where no type of a union is ours, no record is, be its list empty or not.
    unions = st.sampled_from([["string"], ["null", "string"], ["string", "long"], ["bytes", "string"]])
    one |= st.fixed_dictionaries({"type": st.just("array"), "items": unions})
    if draw(st.booleans()):
        return draw(one)
    return draw(st.lists(one, unique_by=lambda t: t["type"] if isinstance(t, dict) else t, min_size=1, max_size=3))


def values(schema: Any) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.one_of([values(branch) for branch in schema])
    if isinstance(schema, dict):
        if schema["type"] == "array":
            return st.lists(values(schema["items"]), max_size=2)
        return st.dictionaries(TEXTS, values(schema["values"]), max_size=2)
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-5, 5),
        "long": st.integers(2**40, 2**41),
        "float": st.just(1.5),
        "double": st.just(2.5),
        "bytes": TEXTS.map(str.encode),
        "string": TEXTS,
    }[schema]


@st.composite
def writers(draw: st.DrawFn) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """One of our schemas with some fields dropped, added, shuffled and of other types, and a record of it."""
    name = draw(st.sampled_from([OFFER_PRESENTED, CHECKOUT_COMPLETED]))
    schema = without_logical_types(load_schema(name))
    fields = [field for field in schema["fields"] if "default" not in field or draw(st.booleans())]
    if draw(st.integers(0, 5)) == 0:
        fields.pop(draw(st.integers(0, len(fields) - 1)))
    for number in draw(st.lists(st.integers(0, len(fields) - 1), max_size=2)):
        fields[number] = {"name": fields[number]["name"], "type": draw(types())}
    if draw(st.booleans()):
        fields.append({"name": "more", "type": draw(types())})
    fields = draw(st.permutations(fields))
    record = {field["name"]: draw(values(field["type"])) for field in fields}
    return name, {**schema, "fields": [{"name": f["name"], "type": f["type"]} for f in fields]}, record


@given(writers())
def test_what_avros_rules_resolve_gives_the_same_fields_and_what_they_refuse_is_refused(
    drawn: tuple[str, dict[str, Any], dict[str, Any]],
) -> None:
    name, schema, record = drawn
    stream = BytesIO()
    schemaless_writer(stream, schema, record)
    payload = stream.getvalue()
    target = parse_schema(without_logical_types(load_schema(name)))
    theirs: Any
    try:
        theirs = schemaless_reader(BytesIO(payload), schema, target)
    except Exception:
        theirs = None
    try:
        found = ours(reader(schema, name)(payload), name)
    except DecodeError:
        found = None
    assert found == theirs
