"""Fields found by JMESPath: a path that finds nothing makes the record unreadable, never empty."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jmespath.functions import Functions

from consumer.codecs.codec import no_headers
from consumer.codecs.mapping import ElementMapping, FieldMapping, of_element
from consumer.codecs.schemas import CHECKOUT_COMPLETED, OFFER_PRESENTED
from consumer.codecs.shapes import EventShape
from consumer.errors import DecodeError
from consumer.settings import CheckoutInputSettings, OfferInputSettings

CHECKOUT: dict[str, Any] = {
    "kind": "CHECKOUT_DONE",
    "session_id": "s1",
    "order": {
        "number": "c1",
        "at": "2026-01-01T00:00:00Z",
        "items": [
            {"type": "flight", "offerId": "f1", "price": 100},
            {"type": "insurance", "offerId": "i1", "price": 12},
            {"type": "insurance", "offerId": "i2", "price": 7},
        ],
    },
}
FIELDS = {"checkout_id": "order.number", "completed_at": "order.at"}


def checkout(bought: str, *, document: dict[str, Any] = CHECKOUT, when: str | None = None) -> dict[str, Any] | None:
    settings = CheckoutInputSettings(
        format="json", fields={**FIELDS, "purchased_offer_ids": bought}, time="iso8601", when=when
    )
    shape = EventShape(CHECKOUT_COMPLETED, "iso8601", frozenset({"event_id"}))
    return FieldMapping(settings, shape).apply(document, b"s1", no_headers)


def refusal(bought: str, **more: Any) -> str:
    with pytest.raises(DecodeError) as caught:
        checkout(bought, **more)
    assert caught.value.reason == "undecodable"
    return str(caught.value)


def test_each_field_is_found_by_its_own_path_or_by_its_name() -> None:
    assert checkout("order.items[?type=='insurance'].offerId") == {
        "event_id": "",
        "session_id": "s1",
        "checkout_id": "c1",
        "completed_at": 1_767_225_600_000,
        "purchased_offer_ids": ["i1", "i2"],
        "metadata": {},
    }


@pytest.mark.parametrize(
    ("bought", "expected"),
    [
        ("order.items[?type=='hotel'].offerId", []),
        ("order.items[?price > `10`].offerId", ["f1", "i1"]),
        ("order.items[].offerId", ["f1", "i1", "i2"]),
        ("order.items[*].offerId", ["f1", "i1", "i2"]),
        ("order.items[1:].offerId", ["i1", "i2"]),
        ("[order.items[-1].offerId]", ["i2"]),
        ("map(&offerId, order.items[?type=='insurance'])", ["i1", "i2"]),
        ("order.items[?refunded || type=='insurance'].offerId", ["i1", "i2"]),
        ("order.items[?!refunded && type=='insurance'].offerId", ["i1", "i2"]),
        ("order.items[?not_null(kind, type)=='insurance'].offerId", ["i1", "i2"]),
        ("order.insurances || `[]`", []),
        ("not_null(order.insurances, order.items)[?type=='insurance'].offerId", ["i1", "i2"]),
        ("order.items[?type=='insurance'] | [].offerId", ["i1", "i2"]),
        ("[order, order].items[].offerId | [:2]", None),
    ],
)
def test_what_was_bought_is_what_the_path_finds(bought: str, expected: list[str] | None) -> None:
    if expected is None:
        assert "there is no 'items'" in refusal(bought)
    else:
        found = checkout(bought)
        assert found is not None
        assert found["purchased_offer_ids"] == expected


@pytest.mark.parametrize(
    ("bought", "what"),
    [
        ("order.item[?type=='insurance'].offerId", "there is no 'item'"),
        ("ordr.items[?type=='insurance'].offerId", "there is no 'ordr'"),
        ("order.items[?typ=='insurance'].offerId", "there is no 'typ'"),
        ("order.items[?type=='insurance'].offerID", "there is no 'offerID'"),
        ("order.items[?type=='insurance'].offer.id", "there is no 'offer'"),
        ("order.items[?type=='insurance'].offerId.x", "there is no 'x'"),
        ("order.items[?typ=='hotel' || type=='insurance'].offerId", "there is no 'typ'"),
        ("order.items[?!(typ=='flight')].offerId", "there is no 'typ'"),
        ("order.items[].offerID", "there is no 'offerID'"),
        ("order.items[*].offerID", "there is no 'offerID'"),
        ("order.items.offerId", "there is no 'offerId'"),
        ("order[?type=='insurance'].offerId", "there is no list"),
        ("order[].offerId", "there is no list"),
        ("order.number[*].offerId", "there is no list"),
        ("order.number[0:1]", "there is no list"),
        ("order.items[9].offerId", "there is no element 9"),
        ("order.items.*.offerId", "there is no object"),
        ("order.items[?price > '10'].offerId", "no two numbers, nor two texts"),
        ("order.items[?offerId > `10`].offerId", "no two numbers, nor two texts"),
        ("not_null(order.a, order.b)", "not_null() finds nothing"),
        ("length(order.at, `1`)", "Expected 1 argument"),
        ("keys(order.items)", "keys()"),
        ("order.insurances[]", "there is no 'insurances'"),
        ("map(&offerID, order.items)", "there is no 'offerID'"),
        ("order.items[?starts_with(typ, 'ins')].offerId", "there is no 'typ'"),
    ],
)
def test_a_misspelt_path_is_an_error_and_never_an_empty_list(bought: str, what: str) -> None:
    words = refusal(bought)
    assert words.startswith(f"purchased_offer_ids ({bought}): ")
    assert what in words
    assert "\n" not in words


@pytest.mark.parametrize("broken", [None, 7, {"id": "i1"}])
def test_what_was_bought_and_has_no_name_is_not_left_out(broken: object) -> None:
    items = [{"type": "insurance", "offerId": broken}, {"type": "insurance", "offerId": "i2"}]
    document = {**CHECKOUT, "order": {**CHECKOUT["order"], "items": items}}
    refusal("order.items[?type=='insurance'].offerId", document=document)
    refusal("order.items[].offerId", document=document)
    refusal("order.items[0].offerId", document=document)


def test_a_record_of_another_kind_is_none_before_anything_else_is_asked_of_it() -> None:
    assert checkout("order.items[].offerId", when="kind == 'CHECKOUT_BEGUN'") is None
    assert checkout("no.such.path", when="kind == 'CHECKOUT_BEGUN'") is None
    assert checkout("order.items[].offerId", when="kind == 'CHECKOUT_DONE'") is not None


@pytest.mark.parametrize("when", ["knd == 'CHECKOUT_DONE'", "knd", "!(knd == 'x')", "starts_with(knd, 'C')"])
def test_a_misspelt_condition_leaves_nothing_out(when: str) -> None:
    words = refusal("order.items[].offerId", when=when)
    assert words == f"when ({when}): there is no 'knd'"


@pytest.mark.parametrize("when", ["kind == 'CHECKOUT_DONE'", "kind", "kind != 'CHECKOUT_BEGUN'", "kind == '3'"])
@pytest.mark.parametrize("kind", [None, 3])
def test_a_condition_on_null_or_on_another_type_leaves_nothing_out(when: str, kind: object) -> None:
    document = {**CHECKOUT, "kind": kind}
    if when == "kind" and kind is not None:
        assert checkout("order.items[].offerId", document=document, when=when) is not None
    else:
        assert refusal("order.items[].offerId", document=document, when=when).startswith(f"when ({when}): ")


def test_a_condition_may_say_that_a_field_can_be_missing() -> None:
    assert checkout("order.items[].offerId", when="knd && knd == 'CHECKOUT_DONE'") is None
    assert checkout("order.items[].offerId", when="!knd") is not None


def test_what_cannot_be_read_names_its_session_where_that_was_found() -> None:
    with pytest.raises(DecodeError) as caught:
        checkout("order.item[].offerId")
    assert caught.value.session_id == "s1"


def offer(fields: dict[str, str], document: dict[str, Any], headers: Any = no_headers) -> dict[str, Any] | None:
    settings = OfferInputSettings(format="json", fields=fields)
    shape = EventShape(OFFER_PRESENTED, optional=frozenset({"event_id"}))
    return FieldMapping(settings, shape).apply(document, b"s1", headers)


@pytest.mark.parametrize("given", [None, True, 1.0, ["o1", "o2"], {"id": "o1"}])
def test_an_id_is_not_the_text_of_what_is_no_id(given: object) -> None:
    fields = {"offer_id": "to_string(offer.id)"}
    document = {"session_id": "s1", "partner_code": "P", "presented_at": 1}
    with pytest.raises(DecodeError, match="offer_id"):
        offer(fields, {**document, "offer": {"id": given}})
    found = offer(fields, {**document, "offer": {"id": 17}})
    assert found is not None
    assert found["offer_id"] == "17"


BARE = {"partner_code": "P", "offer_id": "o", "presented_at": 1}


def test_the_key_and_the_headers_are_at_hand() -> None:
    headers = [("tenant", b"old"), ("tenant", b"ACME"), ("trace", b"\xff"), ("none", None)]
    found = offer({"session_id": "$key", "partner_code": "$headers.tenant"}, BARE, lambda: headers)
    assert found is not None
    assert (found["session_id"], found["partner_code"]) == ("s1", "ACME")
    for name in ("trace", "none", "other"):
        with pytest.raises(DecodeError, match=f"there is no '{name}'"):
            offer({"session_id": "$key", "partner_code": f"$headers.{name}"}, BARE, lambda: headers)


def test_headers_that_the_client_does_not_hand_out_are_none() -> None:
    def undecodable() -> list[tuple[str, bytes]]:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a name")

    with pytest.raises(DecodeError, match="there is no 'tenant'"):
        offer({"session_id": "$key", "partner_code": "$headers.tenant"}, BARE, undecodable)


@pytest.mark.parametrize("key", [None, b"\xff"])
def test_a_key_that_is_no_text_is_no_session(key: bytes | None) -> None:
    settings = OfferInputSettings(format="json", fields={"session_id": "$key"})
    mapping = FieldMapping(settings, EventShape(OFFER_PRESENTED))
    with pytest.raises(DecodeError, match=r"'\$key' is null"):
        mapping.apply({"event_id": "e", **BARE}, key, no_headers)


def test_a_field_with_a_default_has_it_where_its_path_finds_nothing() -> None:
    fields = {"country": "shop.country", "metadata": "{campaign: utm.campaign, tier: tier}"}
    found = offer(fields, {"session_id": "s1", "tier": "gold", **BARE})
    assert found is not None
    assert (found["country"], found["metadata"]) == (None, {"tier": "gold"})


def test_a_field_with_a_default_and_a_wrong_type_is_refused_all_the_same() -> None:
    with pytest.raises(DecodeError, match="country is 49, and must be a text"):
        offer({"country": "shop.country"}, {"session_id": "s1", "shop": {"country": 49}, **BARE})
    found = offer({"country": "to_string(shop.country)"}, {"session_id": "s1", "shop": {"country": 49}, **BARE})
    assert found is not None
    assert found["country"] == "49"


def test_the_library_has_no_function_that_would_leave_nothing_found_unsaid() -> None:
    # Each of these was looked at: what it does with an argument that is null, or with an element that is. A new one
    # has to be looked at too.
    assert set(Functions.FUNCTION_TABLE) == {
        "abs", "avg", "ceil", "contains", "ends_with", "floor", "join", "keys", "length", "map", "max", "max_by",
        "merge", "min", "min_by", "not_null", "reverse", "sort", "sort_by", "starts_with", "sum", "to_array",
        "to_number", "to_string", "type", "values",
    }  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(
    JSON, st.sampled_from(["a", "a.b", "a[].b", "a[*].b", "a[?b].c", "a[?b=='x'].c", "a[].b[].c", "a[0].b", "a.*.b"])
)
def test_a_list_of_purchases_has_one_for_each_element_or_is_refused(found: Any, path: str) -> None:
    document = {**CHECKOUT, "a": found}
    try:
        fields = checkout(path, document=document)
    except DecodeError:
        return
    assert fields is not None
    bought = fields["purchased_offer_ids"]
    assert all(isinstance(each, str) for each in bought)
    if path in {"a[].b", "a[*].b"}:
        elements = [each for item in found for each in (item if isinstance(item, list) else [item])]
        assert len(bought) == len(elements if path == "a[].b" else found)


# --- a record that holds several

SHOWN: dict[str, Any] = {
    "at": 7_000,
    "currency": "EUR",
    "offers": [
        {"id": "o1", "partner_code": "P", "price": "1"},
        {"id": "o2", "partner_code": "Q", "currency": "CHF"},
    ],
}
OF_ELEMENT = {"session_id": "$key", "offer_id": "id", "presented_at": "$record.at"}


def elements(
    each: str, document: dict[str, Any] = SHOWN, when: str | None = None, **fields: str
) -> list[dict[str, Any]] | None:
    settings = OfferInputSettings(format="json", each=each, fields={**OF_ELEMENT, **fields}, when=when)
    shape = EventShape(OFFER_PRESENTED, "ms", frozenset({"event_id"}))
    headers = lambda: [("tenant", b"ACME")]  # noqa: E731
    return ElementMapping(settings, each, shape).apply(document, b"s1", headers)


def test_a_path_is_of_an_element_and_reaches_its_record_the_key_and_the_headers() -> None:
    found = elements("offers", product_code="$headers.tenant", currency="currency || $record.currency")
    assert found is not None
    assert [
        (one["offer_id"], one["partner_code"], one["session_id"], one["presented_at"], one["price"], one["currency"])
        for one in found
    ] == [("o1", "P", "s1", 7_000, "1", "EUR"), ("o2", "Q", "s1", 7_000, None, "CHF")]
    assert {one["product_code"] for one in found} == {"ACME"}


def test_what_stands_beside_the_list_is_no_field_of_an_element() -> None:
    """A price of the page is no price of each offer, though it has the name of one."""
    found = elements("offers", {**SHOWN, "price": "9", "country": "DE"})
    assert found is not None
    assert [(one["price"], one["country"], one["currency"]) for one in found] == [
        ("1", None, None),
        (None, None, "CHF"),
    ]
    with pytest.raises(DecodeError, match="element 0: not a OfferPresented: it has no partner_code"):
        elements("offers", {"at": 7, "partner_code": "P", "offers": [{"id": "o1"}]})


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        ("offers[?partner_code=='Q']", ["o2"]),
        ("offers[?partner_code=='R']", []),
        ("pages || `[]`", []),
        ("[offers, offers][]", ["o1", "o2", "o1", "o2"]),
        ("offers[].{id: id, partner_code: $key}", None),
    ],
)
def test_the_elements_are_what_each_gives(each: str, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(DecodeError, match=r"there is no '\$key'"):  # it is a name at the top, and this is within
            elements(each)
    else:
        found = elements(each)
        assert found is not None
        assert [one["offer_id"] for one in found] == expected


def test_when_is_of_the_record() -> None:
    assert elements("offers", when="currency == 'CHF'") is None
    assert elements("offers", when="currency == 'EUR'") is not None
    with pytest.raises(DecodeError, match=r"when \(kind == 'x'\): there is no 'kind'"):
        elements("offers", when="kind == 'x'")
    assert elements("nothing", when="currency == 'CHF'") is None, "of another kind, it need hold none"


@pytest.mark.parametrize(
    ("each", "reason", "what"),
    [
        ("offer", "undecodable", "each (offer): there is no 'offer'"),
        ("offers[?kind=='x']", "undecodable", "each (offers[?kind=='x']): there is no 'kind'"),
        ("currency", "undecodable", "each (currency) gives no list"),
        ("offers[0]", "undecodable", "each (offers[0]) gives no list"),
        ("`null`", "undecodable", "each (`null`) gives no list"),
        ("offers[].id", "undecodable", "element 0: it is no object. Of a list of ids, ids[].{id: @} makes objects"),
        ("offers[].{id: price}", "undecodable", "there is no 'price'"),
        ("[offers, offers]", "undecodable", "element 0: it is no object"),
    ],
)
def test_a_list_that_is_not_found_is_no_empty_one(each: str, reason: str, what: str) -> None:
    with pytest.raises(DecodeError) as caught:
        elements(each)
    assert caught.value.reason == reason
    assert what in str(caught.value)


def test_as_many_elements_as_are_taken_and_no_more() -> None:
    offers = [{"id": str(number), "partner_code": "P"} for number in range(65)]
    found = elements("offers", {"at": 7, "offers": offers[:64]})
    assert found is not None
    assert len(found) == 64
    with pytest.raises(
        DecodeError, match=r"each \(offers\) gives 65 elements, and 64 is the most that is taken"
    ) as caught:
        elements("offers", {"at": 7, "offers": offers})
    assert caught.value.reason == "too_large"


def test_what_is_wrong_with_an_element_keeps_its_reason_and_its_session() -> None:
    with pytest.raises(DecodeError) as caught, of_element(3):
        raise DecodeError("empty_id", "offer_id is empty", "s1")
    assert (caught.value.reason, str(caught.value), caught.value.session_id) == (
        "empty_id",
        "element 3: offer_id is empty",
        "s1",
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(("id", "partner_code", "offers", "at", "x")), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_whatever_stands_in_a_record_all_of_it_is_read_or_none(document: Any) -> None:
    given = document if isinstance(document, dict) else {"offers": document, "at": 7}
    try:
        found = elements("offers", given)
    except DecodeError:
        return
    assert found is not None
    assert len(found) == len(given["offers"])
    assert [one["offer_id"] for one in found] == [one["id"] for one in given["offers"]]
