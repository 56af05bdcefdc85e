from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import pytest
from support.builders import CHECKOUT_FIELDS, CODEC, OFFER_FIELDS
from support.traced_calls import SAMPLED, TRACE_ID

from consumer.codecs.codec import Headers
from consumer.codecs.inputs import codec_of
from consumer.codecs.plain import PlainCodec
from consumer.codecs.traced import TracingCodec
from consumer.errors import DecodeError
from consumer.events import CheckoutCompleted, OfferAmongSeveral, OfferPresented
from consumer.settings import InputsSettings, OfferInputSettings, Settings, TraceSettings

OFFER, CHECKOUT = CODEC.encode_offer(OFFER_FIELDS), CODEC.encode_checkout(CHECKOUT_FIELDS)
ON = TraceSettings(enabled=True)
SEVERAL = InputsSettings(
    offers=OfferInputSettings.model_validate(
        {
            "format": "json",
            "each": "offers",
            "time": "ms",
            "fields": {
                "session_id": "$key",
                "partner_code": "p",
                "offer_id": "id",
                "presented_at": "$record.at",
            },
        }
    )
)


def headers(*more: tuple[str, bytes | None]) -> Headers:
    return lambda: [("traceparent", SAMPLED.encode()), *more]


def never() -> NoReturn:
    raise AssertionError("the headers were asked for")


def facts(event: OfferPresented) -> tuple[object, ...]:
    return tuple(getattr(event, name) for name in OfferPresented.__slots__)


def test_off_the_headers_are_not_asked_for_and_the_event_is_the_small_one() -> None:
    codec = codec_of(Settings())
    assert type(codec) is PlainCodec
    shown = codec.decode_offer(b"s1", OFFER, 7, never)
    assert type(shown) is OfferPresented
    assert shown.trace is None
    assert isinstance(codec.decode_checkout(b"s1", CHECKOUT, 7, never), CheckoutCompleted)


def test_who_makes_no_calls_reads_no_traces() -> None:
    assert type(codec_of(Settings(trace=ON), at_once=True)) is PlainCodec


def test_on_an_offer_has_its_trace_and_is_else_the_same() -> None:
    codec = codec_of(Settings(trace=ON))
    plain = CODEC.decode_offer(b"s1", OFFER, 7)
    shown = codec.decode_offer(b"s1", OFFER, 7, headers(("tracestate", b"a=1")))
    assert isinstance(shown, OfferPresented)
    assert shown.trace is not None
    assert (shown.trace.traceparent, shown.trace.tracestate, shown.trace.trace_id) == (SAMPLED, "a=1", TRACE_ID)
    assert facts(shown) == facts(plain)
    assert (shown.record_offset, repr(shown)) == (7, repr(plain))
    assert sys.getsizeof(shown) == sys.getsizeof(plain) + 8


@pytest.mark.parametrize("parent", [None, b"", b"00-x", SAMPLED.upper().encode()])
def test_on_an_offer_without_a_right_trace_is_the_small_one(parent: bytes | None) -> None:
    shown = codec_of(Settings(trace=ON)).decode_offer(b"s1", OFFER, 7, lambda: [("traceparent", parent)])
    assert type(shown) is OfferPresented


def test_each_offer_of_a_record_has_the_trace_of_the_record() -> None:
    codec = codec_of(Settings(trace=ON, input=SEVERAL))
    value = b'{"at": 5, "offers": [{"p": "P", "id": "a"}, {"p": "P", "id": "b"}]}'
    shown = codec.decode_offer(b"s1", value, 10, headers())
    assert isinstance(shown, list)
    assert [(one.offer_id, one.offset, one.record_offset) for one in shown] == [("a", 640, 10), ("b", 641, 10)]
    assert all(isinstance(one, OfferAmongSeveral) for one in shown)
    assert shown[0].trace is shown[1].trace is not None
    assert codec.decode_offer(b"s1", b'{"at": 5, "offers": []}', 10, headers()) == []


def test_what_cannot_be_read_cannot_be_read_with_a_trace_either() -> None:
    codec = TracingCodec(PlainCodec())
    with pytest.raises(DecodeError):
        codec.decode_offer(b"s1", OFFER + b"x", 7, headers())
    with pytest.raises(DecodeError):
        codec.decode_checkout(b"s1", CHECKOUT + b"x", 7, headers())
    assert isinstance(codec.decode_checkout(b"s1", CHECKOUT, 7, never), CheckoutCompleted)


def test_the_modules_of_opentelemetry_are_not_imported_by_propagation() -> None:
    """Where it is on: they would take half a second of each start."""
    source = Path(sys.modules["consumer.codecs.traced"].__file__ or "").read_text()
    assert "opentelemetry" not in source
