"""An outcome as a row: the names of the schema's fields, in any framing."""

from __future__ import annotations

import pytest
from support.builders import CODEC

from consumer.codecs.framing import framed
from consumer.codecs.schemas import OFFER_OUTCOME, load_schema
from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef
from consumer.evidence.outcome_rows import COLUMNS, PRESENTED_AT, OutcomeRows
from consumer.manual import text_of

TOLD = OfferOutcome(
    offer_id="o",
    partner_code="P",
    session_id="s",
    outcome=Outcome.OPTED_OUT,
    reason=Reason.DECLINED,
    checkout_id="c",
    presented_at=1_767_225_600_123,
    decided_at=1_767_225_660_456,
    settled_at=1_767_225_960_789,
    status_code=204,
    attempts=2,
    details=Details("travel", "DE", None, "12.50"),
    source=RecordRef("offers", 3, 42),
    mode=Mode.BACKFILL,
    note="é",
)
ROW = {
    "offer_id": "o",
    "partner_code": "P",
    "session_id": "s",
    "outcome": "OPTED_OUT",
    "reason": "DECLINED",
    "checkout_id": "c",
    "presented_at": 1_767_225_600_123,
    "decided_at": 1_767_225_660_456,
    "settled_at": 1_767_225_960_789,
    "status_code": 204,
    "attempts": 2,
    "product_code": "travel",
    "country": "DE",
    "currency": None,
    "price": "12.50",
    "mode": "BACKFILL",
    "note": "é",
    "source_topic": "offers",
    "source_partition": 3,
    "source_offset": 42,
    "outcome_partition": 5,
    "outcome_offset": 7,
}


@pytest.mark.parametrize("value", [CODEC.encode_outcome(TOLD), framed(9, CODEC.encode_outcome(TOLD))])
def test_each_value_stands_in_the_column_of_its_name(value: bytes) -> None:
    row = OutcomeRows().row(value, 5, 7)
    assert dict(zip((column.name for column in COLUMNS), row, strict=True)) == ROW
    assert row[PRESENTED_AT] == TOLD.presented_at


@pytest.mark.parametrize("value", [b"", b"\x00", b"\x00\x00\x00\x00\x07", CODEC.encode_outcome(TOLD) + b"x"])
def test_what_is_no_outcome_raises(value: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - of any class, as it says
        OutcomeRows().row(value, 0, 0)


def test_no_field_of_the_schema_is_left_out() -> None:
    fields = {field["name"] for field in load_schema(OFFER_OUTCOME)["fields"]} - {"source"}
    assert fields <= {column.name for column in COLUMNS}


def test_the_manual_describes_each_column() -> None:
    page = text_of("evidence#export")
    described = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert described == [*(column.name for column in COLUMNS), "counts", "day"]
