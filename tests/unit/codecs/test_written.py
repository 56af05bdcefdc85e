"""What is taken for a writer's schema, and what is refused since reading by it could end the process."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_reader, schemaless_writer

from consumer.codecs.codec import UNDECODABLE
from consumer.codecs.written import MOST_DEPTH, kind_of, parse_texts
from consumer.errors import DecodeError


def record(*fields: Any, name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": f"f{n}", "type": one} for n, one in enumerate(fields)]}


def read(schema: Any, value: Any) -> Any:
    """What is read of a value that a producer has written by this schema."""
    stream = BytesIO()
    schemaless_writer(stream, schema, value)
    return schemaless_reader(BytesIO(stream.getvalue()), parse_texts(json.dumps(schema)).types[0], None)


def refused(schema: Any, *references: Any) -> str:
    with pytest.raises(DecodeError) as caught:
        parse_texts(schema if isinstance(schema, str) else json.dumps(schema), [json.dumps(one) for one in references])
    assert caught.value.reason == UNDECODABLE
    return str(caught.value)


@pytest.mark.parametrize(
    ("logical", "written", "ms"),
    [
        ("timestamp-millis", 1_500, 1_500),
        ("timestamp-micros", 1_500_999, 1_500),
        ("timestamp-micros", -1, -1),
        ("local-timestamp-millis", 1_500, 1_500),
        ("local-timestamp-micros", 1_500_999, 1_500),
        ("timestamp-nanos", 1_500_999_999, 1_500),
        ("local-timestamp-nanos", 1_500_999_999, 1_500),
        ("unheard-of", 1_500, 1_500),
        ({"not": "a name"}, 1_500, 1_500),
    ],
)
def test_times_come_in_ms(logical: Any, written: int, ms: int) -> None:
    plain = record("long", ["null", "int", "long"], {"type": "array", "items": "long"})
    stream = BytesIO()
    schemaless_writer(stream, plain, {"f0": written, "f1": written * 2**31, "f2": [written]})
    time = {"type": "long", "logicalType": logical}
    schema = record(time, ["null", "int", time], {"type": "array", "items": time})
    found = schemaless_reader(BytesIO(stream.getvalue()), parse_texts(json.dumps(schema)).types[0], None)
    assert (found["f0"], found["f2"]) == (ms, [ms])


def test_an_int_in_a_union_with_a_time_stays_as_it_is() -> None:
    schema = record(["int", {"type": "long", "logicalType": "timestamp-micros"}])
    assert read(schema, {"f0": 1_500}) == {"f0": 1_500}


def test_no_logical_type_makes_an_object() -> None:
    types = [
        {"type": "int", "logicalType": "date"},
        {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
        {"type": "string", "logicalType": "uuid"},
        {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"},
    ]
    bare = record("int", "bytes", "string", {"type": "fixed", "name": "D", "size": 12})
    value = {"f0": 20_000, "f1": b"\x04\xd2", "f2": "6ba7b810", "f3": b"x" * 12}
    stream = BytesIO()
    schemaless_writer(stream, bare, value)
    parsed = parse_texts(json.dumps(record(*types))).types[0]
    found = schemaless_reader(BytesIO(stream.getvalue()), parsed, None)
    assert found == {**value, "f1": "12.34"}, "a decimal is a text"


def test_types_are_found_in_references_from_a_record_a_union_and_a_name_alone() -> None:
    inner = record("string", name="a.Inner")
    outer = record("a.Inner", name="a.Outer")
    for text, value, payload in (
        (outer, {"f0": {"f0": "x"}}, b"\x02x"),
        (["null", "a.Inner", outer], {"f0": {"f0": "x"}}, b"\x02x"),
        (["null", outer, "a.Inner"], {"f0": "x"}, b"\x02x"),
        ("a.Inner", {"f0": "x"}, b"\x02x"),
    ):
        written = parse_texts(json.dumps(text), [json.dumps(inner)])
        assert written.is_union == isinstance(text, list)
        assert kind_of(written.types[-1]) == "record"
        assert schemaless_reader(BytesIO(payload), written.types[-1], None) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1]", "12", "null", '"unheard.Of"', '{"type": "record"}', "[" * 5_000),
        *('syntax = "proto3"; message M {}', '{"$schema": "http://json-schema.org/schema#", "type": "object"}'),
        *('{"type": "fixed", "name": "F", "size": -1}', '{"type": "fixed", "name": "F", "size": "many"}'),
        *('{"type": "record", "name": "R", "fields": [{"name": "f"}]}', '{"type": "enum", "name": "E", "symbols": 5}'),
    ],
)
def test_what_is_no_avro_schema_is_undecodable(text: str) -> None:
    assert "is no Avro schema" in refused(text)


def test_a_text_cannot_say_that_it_was_parsed_already() -> None:
    text = {**record("string"), "__fastavro_parsed": True, "__named_schemas": {"R": {}}}
    assert read(record("string"), {"f0": "x"}) == {"f0": "x"}
    assert parse_texts(json.dumps(text)).types == parse_texts(json.dumps(record("string"))).types


def test_a_type_that_holds_itself_is_refused_since_reading_it_could_end_the_process() -> None:
    assert "its type R holds itself" in refused(record(["null", "R"]))
    assert "its type R holds itself" in refused(record({"type": "array", "items": ["null", "R"]}))
    inner = record({"type": "map", "values": record(["null", "a.B"], name="a.A")}, name="a.B")
    assert "its type a.B holds itself" in refused(record("a.B"), inner)


def test_items_that_take_no_bytes_are_refused_since_they_can_be_counted_by_the_billion() -> None:
    empty = {"type": "fixed", "name": "F", "size": 0}
    for items in ("null", record("null", name="I"), empty, record(name="I"), record(empty, name="I")):
        assert "items that take no bytes" in refused(record({"type": "array", "items": items}))
    for items in (["null"], record("float", name="I"), {"type": "array", "items": "string"}):
        parse_texts(json.dumps(record({"type": "array", "items": items})))


def test_types_within_types_are_bounded_be_they_nested_or_named() -> None:
    def chain(length: int) -> list[Any]:
        return [record("string", name="R0"), *(record(f"R{n}", name=f"R{n + 1}") for n in range(length))]

    parse_texts(json.dumps(chain(MOST_DEPTH - 3)))
    for length in (MOST_DEPTH, 5_000):
        assert f"{MOST_DEPTH} types within types" in refused(chain(length))
    nested: Any = "string"
    for _ in range(MOST_DEPTH):
        nested = {"type": "array", "items": nested}
    assert "types within types" in refused(record(nested))


def test_values_that_double_by_each_name_are_bounded() -> None:
    doubling = [record("null", name="R0"), *(record(f"R{n}", f"R{n}", name=f"R{n + 1}") for n in range(40))]
    assert "10000 values" in refused(doubling)


def test_the_symbols_of_an_enum_are_bounded_as_texts_are() -> None:
    def enum(symbol: str) -> Any:
        return record({"type": "enum", "name": "E", "symbols": ["A", symbol]})

    parse_texts(json.dumps(enum("x" * 1_000)))
    assert "a symbol of over 1000 bytes" in refused(enum("x" * 1_001))
