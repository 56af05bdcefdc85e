"""The codec: what is written reads back, and no bytes give anything but an event or a DecodeError."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.builders import CHECKOUT_FIELDS, OFFER_FIELDS

from consumer.codecs.plain import PlainCodec
from consumer.errors import DecodeError
from consumer.events import (
    NO_METADATA,
    CheckoutCompleted,
    Details,
    Mode,
    OfferOutcome,
    OfferPresented,
    Outcome,
    Reason,
    RecordRef,
)

CODEC = PlainCodec(metadata_keys=("tier",))

OFFER, CHECKOUT = OFFER_FIELDS, CHECKOUT_FIELDS

longs = st.integers(-(2**63), 2**63 - 1)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
maybe = st.none() | st.text(st.characters(exclude_categories=["Cs"]))


def refused(decode: Any, key: bytes | None, value: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(key, value, 0)
    return caught.value.reason


def test_an_offer_is_decoded_with_its_time_as_a_raw_long_and_its_offset() -> None:
    event = CODEC.decode_offer(b"s1", CODEC.encode_offer(OFFER), 42)
    assert (event.session_id, event.partner_code, event.offer_id) == ("s1", "P1", "o1")
    assert (event.presented_at, event.offset) == (1_767_225_600_123, 42)
    assert type(event.presented_at) is int
    assert event.details == Details("travel", "DE", "EUR", "12.50")


def test_only_the_allowed_metadata_is_kept() -> None:
    value = CODEC.encode_offer(OFFER)
    assert CODEC.decode_offer(b"s1", value, 0).metadata == {"tier": "gold"}
    assert PlainCodec().decode_offer(b"s1", value, 0).metadata is NO_METADATA
    assert PlainCodec(["other"]).decode_offer(b"s1", value, 0).metadata is NO_METADATA
    assert CODEC.decode_offer(b"s1", CODEC.encode_offer({**OFFER, "metadata": {}}), 0).metadata is NO_METADATA


def test_fields_with_a_default_may_be_left_out_by_a_producer() -> None:
    required = {name: OFFER[name] for name in ("event_id", "session_id", "partner_code", "offer_id", "presented_at")}
    assert CODEC.decode_offer(b"s1", CODEC.encode_offer(required), 0).details == Details()


def test_equal_details_and_partner_codes_are_shared() -> None:
    one, other = (CODEC.decode_offer(b"s1", CODEC.encode_offer({**OFFER, "offer_id": o}), 0) for o in "ab")
    assert one.details is other.details
    assert one.partner_code is other.partner_code


def test_a_checkout_is_decoded() -> None:
    event = CODEC.decode_checkout(b"s1", CODEC.encode_checkout(CHECKOUT), 7)
    assert (event.session_id, event.checkout_id, event.completed_at, event.offset) == ("s1", "c1", 1_767_225_700_456, 7)
    assert event.purchased == ("o1", "o2")


@pytest.mark.parametrize("name", ["session_id", "partner_code", "offer_id"])
def test_an_offer_with_an_empty_id_is_refused(name: str) -> None:
    fields = {**OFFER, name: ""}
    assert refused(CODEC.decode_offer, fields["session_id"].encode(), CODEC.encode_offer(fields)) == "empty_id"


@pytest.mark.parametrize("change", [{"session_id": ""}, {"checkout_id": ""}, {"purchased_offer_ids": ["o1", ""]}])
def test_a_checkout_with_an_empty_id_is_refused(change: dict[str, Any]) -> None:
    fields = {**CHECKOUT, **change}
    assert refused(CODEC.decode_checkout, fields["session_id"].encode(), CODEC.encode_checkout(fields)) == "empty_id"


@pytest.mark.parametrize("key", [None, b"", b"s2", b"s1 ", b"S1", b"\xff"])
def test_a_missing_or_foreign_key_is_refused(key: bytes | None) -> None:
    assert refused(CODEC.decode_offer, key, CODEC.encode_offer(OFFER)) == "key_mismatch"
    assert refused(CODEC.decode_checkout, key, CODEC.encode_checkout(CHECKOUT)) == "key_mismatch"


def test_a_refusal_says_which_id_is_empty_or_which_key_was_found() -> None:
    for name in ("session_id", "partner_code", "offer_id"):
        with pytest.raises(DecodeError, match=f"^{name} is empty$"):
            CODEC.decode_offer(b"s1", CODEC.encode_offer({**OFFER, name: ""}), 0)
    value = CODEC.encode_checkout(CHECKOUT)
    with pytest.raises(DecodeError, match=r"^it has no key, but its session_id is 's1': "):
        CODEC.decode_checkout(None, value, 0)
    with pytest.raises(DecodeError, match=rf"^it has the key b'{'k' * 100}', but "):
        CODEC.decode_checkout(b"k" * 101, value, 0)


@pytest.mark.parametrize("change", [{}, {"checkout_id": ""}, {"purchased_offer_ids": [""]}])
def test_a_refused_checkout_names_the_session_of_its_value_where_that_can_be_read(change: dict[str, Any]) -> None:
    with pytest.raises(DecodeError) as caught:
        CODEC.decode_checkout(b"s2", CODEC.encode_checkout({**CHECKOUT, **change}), 0)
    assert caught.value.session_id == CHECKOUT["session_id"]
    with pytest.raises(DecodeError) as caught:
        CODEC.decode_checkout(b"s2", b"\xff\xff", 0)
    assert caught.value.session_id is None


OFFER_TEXTS = ["event_id", "session_id", "partner_code", "offer_id", "product_code", "country", "currency", "price"]


@pytest.mark.parametrize("name", OFFER_TEXTS)
@pytest.mark.parametrize("text", ["x" * 1_001, "é" * 501, "x" * 400_000])
def test_an_offer_with_a_text_over_the_bound_is_too_large(name: str, text: str) -> None:
    event = {**OFFER, name: text}
    assert refused(CODEC.decode_offer, event["session_id"].encode(), CODEC.encode_offer(event)) == "too_large"


@pytest.mark.parametrize("name", ["event_id", "session_id", "checkout_id"])
def test_a_checkout_with_an_id_over_the_bound_is_too_large_and_names_its_session(name: str) -> None:
    event = {**CHECKOUT, name: "x" * 1_001}
    with pytest.raises(DecodeError) as caught:
        CODEC.decode_checkout(event["session_id"].encode(), CODEC.encode_checkout(event), 0)
    assert (caught.value.reason, caught.value.session_id) == ("too_large", event["session_id"])
    assert len(str(caught.value)) < 200


def test_texts_at_the_bound_are_taken_however_large_the_metadata_is() -> None:
    event = {**OFFER, **dict.fromkeys(OFFER_TEXTS, "é" * 500), "metadata": {"other": "x" * 500_000}}
    assert CODEC.decode_offer(("é" * 500).encode(), CODEC.encode_offer(event), 0).offer_id == "é" * 500


def test_a_purchased_id_over_the_bound_is_kept_as_one_that_no_offer_has() -> None:
    bought = ["o1", "x" * 400_000, "é" * 1_000, "é" * 500]
    found = CODEC.decode_checkout(
        b"s1", CODEC.encode_checkout({**CHECKOUT, "purchased_offer_ids": bought}), 0
    ).purchased
    assert (found[0], found[3]) == ("o1", "é" * 500)
    assert [len(offer_id.encode()) > 1_000 for offer_id in found] == [False, True, True, False]
    assert max(map(len, found)) == 1_001


def test_a_key_beyond_ascii_is_compared_as_utf_8() -> None:
    fields = {**OFFER, "session_id": "säß☃"}
    assert CODEC.decode_offer("säß☃".encode(), CODEC.encode_offer(fields), 0).session_id == "säß☃"
    assert refused(CODEC.decode_offer, "säß☃".encode("utf-16"), CODEC.encode_offer(fields)) == "key_mismatch"


def test_leftover_bytes_make_a_record_undecodable() -> None:
    assert refused(CODEC.decode_offer, b"s1", CODEC.encode_offer(OFFER) + b"\x00") == "undecodable"
    assert refused(CODEC.decode_checkout, b"s1", CODEC.encode_checkout(CHECKOUT) + b"\x00") == "undecodable"


def test_registry_framing_is_not_mistaken_for_a_plain_record() -> None:
    assert refused(CODEC.decode_offer, b"s1", b"\x00\x00\x00\x00\x07" + CODEC.encode_offer(OFFER)) == "undecodable"
    assert (
        refused(CODEC.decode_checkout, b"s1", b"\x00\x00\x00\x00\x07" + CODEC.encode_checkout(CHECKOUT))
        == "undecodable"
    )


def test_every_truncation_is_undecodable() -> None:
    for decode, value in (
        (CODEC.decode_offer, CODEC.encode_offer(OFFER)),
        (CODEC.decode_checkout, CODEC.encode_checkout(CHECKOUT)),
    ):
        for length in range(len(value)):
            assert refused(decode, b"s1", value[:length]) == "undecodable"


def test_one_topic_s_records_are_not_read_as_the_other_s() -> None:
    assert refused(CODEC.decode_offer, b"s1", CODEC.encode_checkout(CHECKOUT)) == "undecodable"
    assert refused(CODEC.decode_checkout, b"s1", CODEC.encode_offer(OFFER)) == "undecodable"


@given(st.binary(max_size=200), st.none() | st.binary(max_size=20))
@example(b"\xff" * 12, b"s1")  # a length longer than a long
@example(b"\x02a\x02s\x02p\x02o\x01", b"s")
@example(b"\x02e\x04s1\x04c1\x02\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"s1")  # an array of 2**62 items
@example(b"\x01\x02\x03", b"s1")  # a string of negative length
def test_no_bytes_give_anything_but_an_event_or_a_decode_error(value: bytes, key: bytes | None) -> None:
    for decode, kind in ((CODEC.decode_offer, OfferPresented), (CODEC.decode_checkout, CheckoutCompleted)):
        try:
            event = decode(key, value, 0)
        except DecodeError as error:
            reason = error.reason
            assert reason in ("undecodable", "key_mismatch", "empty_id")
        else:
            assert type(event) is kind
            assert event.session_id.encode() == key


@given(st.data())
def test_a_flipped_byte_gives_an_event_or_a_decode_error(data: st.DataObject) -> None:
    value = bytearray(CODEC.encode_offer(OFFER))
    value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    try:
        event = CODEC.decode_offer(b"s1", bytes(value), 0)
    except DecodeError:
        return
    assert event.session_id == "s1"
    assert event.partner_code
    assert event.offer_id


@given(ids, ids, ids, longs, maybe, maybe, maybe, maybe, st.dictionaries(ids, ids))
def test_any_offer_reads_back(
    session: str,
    partner: str,
    offer: str,
    at: int,
    product: str | None,
    country: str | None,
    currency: str | None,
    price: str | None,
    metadata: dict[str, str],
) -> None:
    codec = PlainCodec(metadata)
    fields = {
        "event_id": "",
        "session_id": session,
        "partner_code": partner,
        "offer_id": offer,
        "presented_at": at,
        "product_code": product,
        "country": country,
        "currency": currency,
        "price": price,
        "metadata": metadata,
    }
    event = codec.decode_offer(session.encode(), codec.encode_offer(fields), 3)
    assert (event.session_id, event.partner_code, event.offer_id) == (session, partner, offer)
    assert (event.presented_at, event.offset) == (at, 3)
    assert event.details == (product, country, currency, price)
    assert event.metadata == metadata


@given(ids, ids, longs, st.lists(ids))
def test_any_checkout_reads_back(session: str, checkout: str, at: int, purchased: list[str]) -> None:
    fields = {
        "event_id": "",
        "session_id": session,
        "checkout_id": checkout,
        "completed_at": at,
        "purchased_offer_ids": purchased,
    }
    event = CODEC.decode_checkout(session.encode(), CODEC.encode_checkout(fields), 3)
    assert (event.session_id, event.checkout_id, event.completed_at) == (session, checkout, at)
    assert event.purchased == tuple(dict.fromkeys(purchased)), "each once"


@given(
    st.builds(
        OfferOutcome,
        offer_id=ids,
        partner_code=ids,
        session_id=ids,
        outcome=st.sampled_from(Outcome),
        reason=st.sampled_from(Reason),
        checkout_id=maybe,
        presented_at=longs,
        decided_at=longs,
        settled_at=longs,
        status_code=st.none() | st.integers(100, 599),
        attempts=st.integers(0, 2**31 - 1),
        details=st.builds(Details, maybe, maybe, maybe, maybe),
        source=st.builds(RecordRef, ids, st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1)),
        mode=st.sampled_from(Mode),
        note=maybe,
    )
)
def test_any_outcome_reads_back(outcome: OfferOutcome) -> None:
    assert CODEC.decode_outcome(CODEC.encode_outcome(outcome)) == outcome
