"""An outcome is written by hand in the bytes that others would write: fastavro, from a dict, and Apache's library."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import avro.io
import avro.schema
import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import example, given
from hypothesis import strategies as st
from support.outcomes import WHOLE

from consumer.codecs import outcome_writer
from consumer.codecs.framing import framed
from consumer.codecs.outcome_writer import OutcomeWriter
from consumer.codecs.plain import PlainCodec
from consumer.codecs.schemas import OFFER_OUTCOME, load_schema, schema_text, without_logical_types
from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef

WRITER = OutcomeWriter()
SCHEMA = parse_schema(without_logical_types(load_schema(OFFER_OUTCOME)))
APACHES = avro.schema.parse(json.dumps(without_logical_types(json.loads(schema_text(OFFER_OUTCOME)))))

TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from([0, 63, 64, 1_000, 1_023, 1_024, 9_000]).map(
    lambda size: "é" * (size // 2) + "x" * (size % 2)
)
MAYBE = st.none() | TEXT
LONGS = (
    st.integers(-(2**63), 2**63 - 1)
    | st.integers(0, 2**43)
    | st.sampled_from([edge + more for power in range(63) for edge in (-(2**power), 2**power) for more in (-1, 0, 1)])
)
INTS = st.integers(-(2**31), 2**31 - 1) | st.integers(0, 1_100)
WHOLES = st.builds(
    OfferOutcome,
    offer_id=TEXT,
    partner_code=TEXT,
    session_id=TEXT,
    outcome=st.sampled_from(Outcome),
    reason=st.sampled_from(Reason),
    checkout_id=MAYBE,
    presented_at=LONGS,
    decided_at=LONGS,
    settled_at=LONGS,
    status_code=st.none() | INTS,
    attempts=INTS,
    details=st.builds(Details, MAYBE, MAYBE, MAYBE, MAYBE),
    source=st.builds(RecordRef, TEXT, INTS, LONGS),
    mode=st.sampled_from(Mode),
    note=MAYBE,
)


def fields_of(outcome: OfferOutcome) -> dict[str, Any]:
    """As those who write from a dict take it."""
    fields = {name: getattr(outcome, name) for name in OfferOutcome.__slots__ if name not in {"details", "source"}}
    named = {name: fields[name].value for name in ("outcome", "reason", "mode")}
    return fields | named | outcome.details._asdict() | {"source": outcome.source._asdict()}


def by_fastavro(outcome: OfferOutcome) -> bytes:
    stream = io.BytesIO()
    schemaless_writer(stream, SCHEMA, fields_of(outcome))
    return stream.getvalue()


@given(WHOLES)
@example(WHOLE)
def test_any_outcome_is_written_in_the_bytes_of_fastavro(outcome: OfferOutcome) -> None:
    for _ in range(2):  # the second time by what was kept of the first
        assert WRITER.write(outcome) == by_fastavro(outcome)


@given(WHOLES)
def test_any_outcome_is_written_in_the_bytes_of_apaches_library(outcome: OfferOutcome) -> None:
    stream = io.BytesIO()
    avro.io.DatumWriter(APACHES).write(fields_of(outcome), avro.io.BinaryEncoder(stream))
    assert WRITER.write(outcome) == stream.getvalue()


@given(WHOLES, st.integers(1, 2**31 - 1))
def test_the_codec_writes_the_same_with_a_frame_and_without(outcome: OfferOutcome, schema_id: int) -> None:
    assert PlainCodec().encode_outcome(outcome) == by_fastavro(outcome)
    assert PlainCodec(outcome_schema_id=schema_id).encode_outcome(outcome) == framed(schema_id, by_fastavro(outcome))


def test_each_fate_and_mode_is_written() -> None:
    for outcome in Outcome:
        for reason in Reason:
            for mode in Mode:
                one = replace(WHOLE, outcome=outcome, reason=reason, mode=mode)
                assert WRITER.write(one) == by_fastavro(one)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_that_is_no_long_is_refused_as_by_fastavro(number: int) -> None:
    outcome = replace(WHOLE, decided_at=number)
    for write in (WRITER.write, by_fastavro):
        with pytest.raises(OverflowError):
            write(outcome)


def test_a_text_that_is_none_is_refused_as_by_fastavro() -> None:
    for write in (WRITER.write, by_fastavro):
        with pytest.raises(UnicodeEncodeError):
            write(replace(WHOLE, offer_id="\ud800"))


@pytest.mark.parametrize("of_source", [False, True])
def test_a_schema_that_is_not_written_by_hand_is_noticed(monkeypatch: pytest.MonkeyPatch, of_source: bool) -> None:
    schema = load_schema(OFFER_OUTCOME)
    fields = schema["fields"]
    if of_source:
        fields = next(field["type"]["fields"] for field in fields if field["name"] == "source")
    fields.reverse()
    monkeypatch.setattr(outcome_writer, "load_schema", lambda _: schema)
    with pytest.raises(ValueError, match=r"offer_outcome\.avsc is not what .* writes by hand"):
        OutcomeWriter()
