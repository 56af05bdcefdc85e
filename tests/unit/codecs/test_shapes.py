"""The fields of an event by their names and types, whatever format they come in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.builders import CHECKOUT_FIELDS, OFFER_FIELDS

from consumer.codecs.plain import PlainCodec
from consumer.codecs.schemas import CHECKOUT_COMPLETED, OFFER_PRESENTED
from consumer.codecs.shapes import EventShape, TimeForm
from consumer.errors import DecodeError

REQUIRED = ("event_id", "session_id", "partner_code", "offer_id", "presented_at")
OFFER = {name: OFFER_FIELDS[name] for name in REQUIRED}
CHECKOUT = CHECKOUT_FIELDS | {"purchased_offer_ids": ["o1"]}

offers, checkouts = EventShape(OFFER_PRESENTED), EventShape(CHECKOUT_COMPLETED)


def refusal(shape: EventShape, document: dict[str, Any]) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        shape.take(document)
    assert caught.value.reason == "undecodable"
    return caught.value


def test_what_is_missing_has_the_default_of_the_schema_and_what_is_more_is_left_out() -> None:
    optional = {"product_code": None, "country": None, "currency": None, "price": None, "metadata": {}}
    assert offers.take({**OFFER, "shop": {"id": 7}}) == OFFER | optional
    assert offers.take({**OFFER, "country": None, "metadata": None}) == OFFER | optional


@pytest.mark.parametrize("name", OFFER)
def test_what_an_offer_must_have_is_missed(name: str) -> None:
    assert f"it has no {name}" in str(refusal(offers, {**OFFER, name: None}))
    assert f"it has no {name}" in str(refusal(offers, {key: OFFER[key] for key in OFFER if key != name}))


@pytest.mark.parametrize("name", CHECKOUT)
def test_what_a_checkout_must_have_is_missed_what_it_bought_too(name: str) -> None:
    assert f"it has no {name}" in str(refusal(checkouts, {**CHECKOUT, name: None}))


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("purchased_offer_ids", "o1", "must be a list of texts"),
        ("purchased_offer_ids", {"id": "o1"}, "is an object, and must be a list"),
        ("purchased_offer_ids", ["o1", None], "[1] is None, and must be a text"),
        ("purchased_offer_ids", ["o1", 7], "[1] is 7"),
        ("purchased_offer_ids", [["o1"]], "[0] is a list"),
        ("checkout_id", 7, "is 7, and must be a text"),
        ("checkout_id", "\ud800", "half of a character"),
        ("metadata", {"a": 1}, "'a' is 1"),
        ("metadata", [], "must be an object"),
        ("completed_at", "1767225700456", "must be a whole number"),
        ("completed_at", True, "must be a whole number"),
        ("completed_at", 1767225700456.0, "must be a whole number"),
        ("completed_at", 2**63, "beyond all times"),
        ("completed_at", float("inf"), "must be a whole number"),
    ],
)
def test_a_wrong_type_is_named_and_so_is_the_session(name: str, value: Any, what: str) -> None:
    error = refusal(checkouts, {**CHECKOUT, name: value})
    assert str(error).startswith(f"not a CheckoutCompleted: {name} ")
    assert what in str(error)
    assert error.session_id == "s1"


def test_a_session_that_is_no_text_is_not_named() -> None:
    assert refusal(checkouts, {**CHECKOUT, "session_id": 7}).session_id is None


def test_a_null_in_the_metadata_is_nothing() -> None:
    assert offers.take({**OFFER, "metadata": {"a": "b", "c": None}})["metadata"] == {"a": "b"}


@pytest.mark.parametrize(
    ("form", "value", "milliseconds"),
    [
        ("ms", 1_767_225_600_123, 1_767_225_600_123),
        ("us", 1_767_225_600_123_999, 1_767_225_600_123),
        ("us", -1, -1),
        ("s", 1_767_225_600, 1_767_225_600_000),
        ("s", 1_767_225_600.123, 1_767_225_600_123),
        ("iso8601", "2026-01-01T00:00:00.123Z", 1_767_225_600_123),
        ("iso8601", "2026-01-01T01:00:00.123999+01:00", 1_767_225_600_123),
        ("iso8601", "2026-01-01T00:00:00.123456789+0000", 1_767_225_600_123),
        ("iso8601", "2026-01-01 01:00:00,123+01", 1_767_225_600_123),
        ("iso8601", "2026-01-01t00:00:00.1z", 1_767_225_600_100),
        ("iso8601", "2025-12-31T18:30:00-05:30", 1_767_225_600_000),
        ("iso8601", "2026-01-01T00:00Z", 1_767_225_600_000),  # as Java writes a full minute
        ("iso8601", "0001-01-01T00:00:00+14:00", -62_135_647_200_000),
        ("iso8601", "1969-12-31T23:59:59.999Z", -1),
        ("iso8601", "9999-12-31T23:59:59Z", 253_402_300_799_000),
    ],
)
def test_a_time_is_read_in_each_form(form: TimeForm, value: Any, milliseconds: int) -> None:
    assert EventShape(OFFER_PRESENTED, form).take({**OFFER, "presented_at": value})["presented_at"] == milliseconds


@pytest.mark.parametrize(
    ("form", "value", "what"),
    [
        ("iso8601", "2026-01-01T00:00:00", "does not say its zone"),
        ("iso8601", "2026-01-01 00:00:00.5", "does not say its zone"),
        ("iso8601", "2026-01-01", "must be a time such as"),
        # In 12:00.5 the fraction is of the minute, and Python takes it for seconds.
        ("iso8601", "2026-11-01T12:00.5Z", "must be a time such as"),
        ("iso8601", "2026-11-01T12Z", "must be a time such as"),
        ("iso8601", "2026-11-01T1200,5+00:00", "must be a time such as"),
        ("iso8601", "20261101T120000Z", "must be a time such as"),
        ("iso8601", "2026-W44-7T12:00:00Z", "must be a time such as"),
        ("iso8601", "2026-11-01Z12:00:00Z", "must be a time such as"),
        ("iso8601", "2026-11-01é12:00:00Z", "must be a time such as"),
        ("iso8601", "2026-11-01\ud80012:00:00Z", "must be a time such as"),
        ("iso8601", "2026-11-01  12:00:00Z", "must be a time such as"),
        ("iso8601", "2026-11-01T12:00:00 Z", "must be a time such as"),
        ("iso8601", "2026-11-01T12:00:00.Z", "must be a time such as"),
        ("iso8601", "2026-11-01T12:00:00Z\n", "must be a time such as"),
        ("iso8601", "2026-11-01T12:00:00+01:00:30", "must be a time such as"),
        ("iso8601", "2026-11-01T12:00:00+24:00", "must be a time such as"),
        ("iso8601", "2026-11-01T24:00:00Z", "must be a time such as"),
        ("iso8601", "2026-02-29T12:00:00Z", "must be a time such as"),
        ("iso8601", "٢٠٢٦-11-01T12:00:00Z", "must be a time such as"),
        ("iso8601", "yesterday", "must be a time such as"),
        ("iso8601", 1_767_225_600_123, "must be a time such as"),
        ("s", "1767225600", "must be a whole number"),
        ("s", float("nan"), "must be a whole number"),
        ("s", 1e30, "beyond all times"),
        ("s", 9.3e15, "beyond all times"),
        ("s", -1e308, "beyond all times"),
        ("s", 1e306, "beyond all times"),
        ("s", 1.7976931348623157e308, "beyond all times"),
        ("us", 1.5, "must be a whole number"),
        pytest.param("ms", 10**5000, "beyond all times", id="ms-digits"),
    ],
)
def test_a_time_in_another_form_is_refused(form: TimeForm, value: Any, what: str) -> None:
    shape = EventShape(OFFER_PRESENTED, form)
    assert what in str(refusal(shape, {**OFFER, "presented_at": value}))


# The first texts take seconds on a busy machine: a table of all characters is made.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from([*OFFER, "product_code", "price", "metadata", "other"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=4,
        ),
    )
)
def test_whatever_is_taken_can_be_written_by_our_schema(changes: dict[str, Any]) -> None:
    try:
        fields = offers.take(OFFER | changes)
    except DecodeError:
        return
    PlainCodec().encode_offer(fields)
