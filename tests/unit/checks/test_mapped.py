"""What `opt-out map` shows of each record."""

from __future__ import annotations

import json
import re

import pytest

from consumer.checks.mapped import MOST_SHOWN, document
from consumer.checks.sample import SampledRecord
from consumer.core.watermark import Side
from consumer.errors import DecodeError
from consumer.events import CheckoutCompleted, Details, OfferAmongSeveral, OfferPresented
from consumer.kafka.record import Record
from consumer.output import as_json, plain_lines

AT = 1_767_225_600_123


def record(value: bytes | None, key: bytes | None = b"s1", timestamp: int = AT) -> Record:
    return Record("offers", 2, 7, timestamp, key, value)


def line(sampled: SampledRecord) -> str:
    (table,) = document({Side.OFFERS: ("offers", [sampled])}).tables.values()
    _, shown = plain_lines(table)
    return shown


def test_an_offer_is_shown_beside_its_record() -> None:
    event = OfferPresented("s1", "P", "o1", AT, 7, Details(country="DE"), {"tier": "gold"})
    assert re.split(" {2,}", line(SampledRecord(record(b'{"id": 1}'), event))) == [
        "offers[2]@7",
        "2026-01-01T00:00:00.123+00:00",
        "s1",
        '{"id": 1}',
        "read",
        "session_id: s1, partner_code: P, offer_id: o1, presented_at: 2026-01-01T00:00:00.123+00:00, country: DE, "
        "metadata: {'tier': 'gold'}",
    ]


def test_what_a_checkout_bought_is_shown_though_it_is_nothing() -> None:
    event = CheckoutCompleted("s1", "c1", AT, 7, ())
    assert line(SampledRecord(record(b"{}"), event)).endswith("purchased_offer_ids: []")


@pytest.mark.parametrize(
    ("sampled", "fate"),
    [
        (SampledRecord(record(b"{}"), None), "left out"),
        (SampledRecord(record(None), None), "tombstone"),
        (SampledRecord(record(b"{}"), None, DecodeError("empty_id", "offer_id is empty")), "empty_id"),
    ],
)
def test_what_is_no_event_says_what_it_is_and_why(sampled: SampledRecord, fate: str) -> None:
    shown = line(sampled)
    assert f"  {fate}  " in shown
    assert shown.endswith("offer_id is empty" if sampled.error else "-")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\x00\x00\x00\x00\x07\x02a", r"b'\x00\x00\x00\x00\x07\x02a'"),
        (b"\xff", r"b'\xff'"),
        (b"a\nb", r"b'a\nb'"),
        ("säß".encode(), "säß"),
        (b"x" * 1_000, f"{'x' * MOST_SHOWN}… (1000 bytes)"),
    ],
)
def test_bytes_are_shown_as_text_where_they_are_one(value: bytes, shown: str) -> None:
    assert shown in line(SampledRecord(record(value), None))


def test_a_time_beyond_all_calendars_is_a_number() -> None:
    assert str(2**62) in line(SampledRecord(record(b"{}", timestamp=2**62), None))


def test_programs_get_fields_and_counts_in_words() -> None:
    read = SampledRecord(record(b"{}"), CheckoutCompleted("s1", "c1", AT, 7, ("o1",)))
    failed = SampledRecord(record(b"{"), None, DecodeError("undecodable", "not JSON"))
    shown = document({Side.OFFERS: ("offers", []), Side.CHECKOUTS: ("checkouts", [read, read, failed])})
    told = json.loads(as_json(shown))
    assert told["offers"] == []
    assert [row["fate"] for row in told["checkouts"]] == ["read", "read", "undecodable"]
    assert told["checkouts"][0]["event"]["purchased_offer_ids"] == ["o1"]
    assert told["checkouts"][0]["timestamp"] == AT
    assert told["checkouts"][2]["event"] == "not JSON"
    assert told["notes"] == ["offers: has no records", "checkouts: of 3 records 2 read, 1 undecodable"]


def test_all_that_a_record_holds_is_shown_beside_it() -> None:
    several = [OfferAmongSeveral("s1", "P", offer_id, AT, 448 + n) for n, offer_id in enumerate("ab")]
    sampled = SampledRecord(record(b"{}"), several)
    assert [event.offset for event in sampled.events] == [448, 449]
    assert re.search(r"read +session_id: s1, .* offer_id: a, .*; session_id: s1, .* offer_id: b, ", line(sampled))
    told = json.loads(as_json(document({Side.OFFERS: ("offers", [sampled, SampledRecord(record(b"{}"), [])])})))
    assert [[one["offer_id"] for one in row["event"]] for row in told["offers"]] == [["a", "b"], []]
    assert [row["fate"] for row in told["offers"]] == ["read", "left out"]
