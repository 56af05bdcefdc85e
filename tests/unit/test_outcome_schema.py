"""The schema of the outcomes as others use it: documented, the same to every reader, and the page that shows it."""

from __future__ import annotations

import io
import json
from typing import Any

import avro.io
import avro.schema
import pytest
from support.outcome_fields import SCHEMA, fields, schema, shown, symbols, tables
from support.outcomes import WHOLE
from support.released_schemas import SCHEMAS

from consumer.codecs.plain import PlainCodec
from consumer.events import Mode, Outcome, Reason

TEXT = SCHEMA.read_text(encoding="utf-8")
RELEASED = sorted(SCHEMAS.glob("released/*/offer_outcome.avsc"))


def read_by_avro(value: bytes, writer: str, reader: str) -> dict[str, Any]:
    """As Apache's library reads it, to the last byte."""
    stream = io.BytesIO(value)
    found = avro.io.DatumReader(avro.schema.parse(writer), avro.schema.parse(reader)).read(
        avro.io.BinaryDecoder(stream)
    )
    assert stream.tell() == len(value)
    assert isinstance(found, dict)
    return found


def test_each_field_and_each_symbol_is_documented() -> None:
    for name, _, doc in fields():
        assert len(doc) > 10, name
        assert doc.endswith("."), name
    assert {symbol for name, symbol, _ in symbols() if name == "outcome"} == set(Outcome)
    assert {symbol for name, symbol, _ in symbols() if name == "reason"} == set(Reason)
    assert {symbol for name, symbol, _ in symbols() if name == "mode"} == set(Mode)


def test_a_field_that_may_be_null_says_when() -> None:
    silent = [name for name, kind, doc in fields() if isinstance(kind, list) and "null" not in doc.lower()]
    assert silent == []


def test_the_page_of_outcomes_shows_what_the_schema_says() -> None:
    assert shown() == tables(), "run `make manual`"


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.parent.name)
def test_the_documentation_changes_no_byte_and_no_reader(path: Any) -> None:
    """Readers go by the parsing canonical form, in which no doc stands."""
    ours, theirs = avro.schema.parse(TEXT), avro.schema.parse(path.read_text(encoding="utf-8"))
    assert ours.canonical_form == theirs.canonical_form


def test_no_enum_has_a_default() -> None:
    """A reader would take a fate that it does not know for another one, in silence: it has to fail instead."""
    enums = [kind for _, kind, _ in fields() if isinstance(kind, dict) and kind["type"] == "enum"]
    assert len(enums) == 3
    assert [kind["name"] for kind in enums if "default" in kind] == []


def test_apaches_library_reads_an_outcome_by_the_file_as_it_stands() -> None:
    found = read_by_avro(PlainCodec().encode_outcome(WHOLE), TEXT, TEXT)
    assert found["source"] == {"topic": "offer.presented", "partition": 3, "offset": 812}
    assert (found["outcome"], found["reason"], found["price"], found["note"]) == ("OPTED_OUT", "DECLINED", "9.90", None)
    assert found["settled_at"].isoformat() == "2026-09-21T14:14:21.234000+00:00"


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.parent.name)
def test_a_reader_of_a_released_version_reads_what_is_written_now(path: Any) -> None:
    value = PlainCodec().encode_outcome(WHOLE)
    released = path.read_text(encoding="utf-8")
    assert read_by_avro(value, TEXT, released) == read_by_avro(value, TEXT, TEXT)


def test_a_reader_of_a_later_version_has_the_defaults_of_what_is_not_there() -> None:
    later = schema()
    later["fields"].append({"name": "more", "type": ["null", "string"], "default": None})
    found = read_by_avro(PlainCodec().encode_outcome(WHOLE), TEXT, json.dumps(later))
    assert (found["more"], found["offer_id"]) == (None, "o-1")


def test_a_reader_of_today_passes_over_what_a_later_version_writes_more() -> None:
    """The field stands in the middle, so that a reader that did not skip it would read on in the wrong place."""
    later = schema()
    later["fields"].insert(6, {"name": "more", "type": ["null", "string"], "default": None})
    written = json.dumps(later)
    stream = io.BytesIO()
    value = read_by_avro(PlainCodec().encode_outcome(WHOLE), TEXT, TEXT)
    avro.io.DatumWriter(avro.schema.parse(written)).write({**value, "more": "of it"}, avro.io.BinaryEncoder(stream))
    assert read_by_avro(stream.getvalue(), written, TEXT) == value


def test_a_reader_fails_at_a_symbol_that_it_does_not_know() -> None:
    later = schema()
    outcome = next(field for field in later["fields"] if field["name"] == "outcome")
    outcome["type"]["symbols"].append("FORGOTTEN")
    written = json.dumps(later)
    value = read_by_avro(PlainCodec().encode_outcome(WHOLE), TEXT, TEXT)
    stream = io.BytesIO()
    changed = {**value, "outcome": "FORGOTTEN"}
    avro.io.DatumWriter(avro.schema.parse(written)).write(changed, avro.io.BinaryEncoder(stream))
    with pytest.raises(Exception, match="FORGOTTEN"):
        read_by_avro(stream.getvalue(), written, TEXT)
