"""What the demo's customers write is read by the service, by the settings of each format, and by the judge."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, get_args

import pytest

from consumer.audit.reading import to_ms
from consumer.codecs.codec import Codec
from consumer.codecs.inputs import codec_of
from consumer.demo.formats import DemoFormat, FormatName, format_called
from consumer.demo.generator import Event, Plan, generate
from consumer.errors import SettingsError
from consumer.events import CheckoutCompleted, OfferPresented
from consumer.settings import load_settings

T = 1_767_225_600_123
EVENTS = generate(Plan(200, 10_000, 3_000, 500, 6_000, 1_000, seed=3))


@pytest.fixture(params=get_args(FormatName))
def written(request: pytest.FixtureRequest) -> Iterator[DemoFormat]:
    with format_called(request.param) as found:
        yield found


def reader(written: DemoFormat) -> Codec:
    """As the service makes it of these settings."""
    plain = {**written.settings, "OPT_OUT_AVRO__OUTCOME_FORMAT": "plain"}
    return codec_of(load_settings(None, plain, for_kafka=False), at_once=True)


def test_the_service_reads_each_event_as_it_was_made(written: DemoFormat) -> None:
    with closing(reader(written)) as codec:
        records = [(event, written.values(event, T + event.time)) for event in EVENTS]
        events = [(event, [decoded(codec, event, value) for value in values]) for event, values in records]
    for event, (*others, found) in events:
        assert others == [None] * len(others), "they are passed over"
        if isinstance(found, CheckoutCompleted):
            fields = found.session_id, found.checkout_id, found.completed_at, found.purchased
            assert fields == (event.key, event.fields["checkout_id"], T + event.time, bought(event))
        else:
            assert isinstance(found, OfferPresented)
            assert (found.session_id, found.presented_at) == (event.key, T + event.time)
            details = found.details._asdict()
            for name in ("partner_code", "offer_id", "product_code", "country", "currency"):
                assert details.get(name, getattr(found, name, None)) == event.fields[name]
            assert float(details["price"] or "") == float(event.fields["price"])


def test_the_judge_reads_the_same_by_itself(written: DemoFormat) -> None:
    for event in EVENTS:
        *others, value = written.values(event, T + event.time)
        assert [written.read(False, other) for other in others] == [None] * len(others)
        fields = told(written.read(event.is_checkout, value))
        assert fields["session_id"] == event.key
        if event.is_checkout:
            assert to_ms(fields["completed_at"]) == T + event.time
            assert tuple(fields["purchased_offer_ids"]) == bought(event)
        else:
            assert to_ms(fields["presented_at"]) == T + event.time
            assert (fields["partner_code"], fields["offer_id"]) == (
                event.fields["partner_code"],
                event.fields["offer_id"],
            )


def test_what_is_no_record_of_the_format_is_none_to_the_judge(written: DemoFormat) -> None:
    for value in (b"", b"\xff\xff", b"\0\0\0\0\x09x"):
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is: the judge counts it as unreadable
            written.read(False, value)


def test_without_the_client_of_a_registry_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(SettingsError, match=r"pip install 'offer-opt-out\[registry\]'"), format_called("registry"):
        pytest.fail("it has no client")


def test_json_has_records_of_another_kind_between_the_offers() -> None:
    with format_called("json") as written:
        offers = [event for event in EVENTS if not event.is_checkout]
        kinds = [json.loads(value).get("eventType") for event in offers for value in written.values(event, T)]
    assert kinds.count("OFFER_SHOWN") == len(offers)
    assert kinds.count("PAGE_VIEWED") == len(offers) // 4


def decoded(codec: Codec, event: Event, value: bytes) -> OfferPresented | CheckoutCompleted | None:
    decode = codec.decode_checkout if event.is_checkout else codec.decode_offer
    return decode(event.key.encode(), value, 0)


def bought(event: Event) -> tuple[str, ...]:
    return tuple(event.fields["purchased_offer_ids"])


def told(fields: Mapping[str, Any] | None) -> Mapping[str, Any]:
    assert fields is not None
    return fields
