"""JMESPath in which nothing is an error: null, another type, and what has no text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.codecs.strict import NothingFoundError, StrictInterpreter
from consumer.settings.expressions import parse_expression

ITEMS = {
    "items": [
        {"type": "insurance", "id": "o1", "cover": None, "number": 3, "insured": True, "tags": ["a"]},
        {"type": "flight", "id": "o2", "cover": "full", "number": 4, "insured": False, "tags": []},
    ],
    "gone": None,
}


def found(text: str, document: Any = ITEMS) -> Any:
    return StrictInterpreter().visit(parse_expression(text).tree, document)


def refusal(text: str, document: Any = ITEMS) -> str:
    with pytest.raises(NothingFoundError) as caught:
        found(text, document)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("gone", "'gone' is null"),
        ("gone.id", "'gone' is null"),
        ("[gone]", "'gone' is null"),
        ("items[*].cover", "'cover' is null"),
        ("items[?cover].id", "'cover' is null"),
        ("items[?cover=='full'].id", "'cover' is null"),
        ("items[?cover!='full'].id", "'cover' is null"),
        ("items[?'full'==cover].id", "'cover' is null"),
        ("items[?cover < 'z'].id", "'cover' is null"),
        ("items[?type && cover].id", "'cover' is null"),
        ("items[?missing || cover].id", "'cover' is null"),
        ("items[?!(cover=='full')].id", "'cover' is null"),
        ("items[?cover=='full' || type=='insurance'].id", "'cover' is null"),
        ('items[?contains(`["full"]`, cover)].id', "'cover' is null"),
        ("[items[0].cover || gone]", "'gone' is null"),
        ("map(&cover, items)", "'cover' is null"),
        ("not_null(gone, missing)", "not_null() finds nothing"),
        ("items[?to_number(type)].id", "to_number() finds nothing"),
        ("max(items[?type=='hotel'].number)", "max() finds nothing"),
    ],
)
def test_null_is_nothing(text: str, what: str) -> None:
    assert what in refusal(text)


@pytest.mark.parametrize("text", ["[?@]", "[?@=='a']", "[*]", "[]|[*]", "[*].to_string(@)", "map(&to_string(@), @)"])
def test_an_element_that_is_null_is_not_left_out(text: str) -> None:
    refusal(text, ["a", None])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("items[?cover && cover=='full'].id", ["o2"]),
        ("items[?cover || type=='insurance'].id", ["o1", "o2"]),
        ("items[?cover || missing || type=='insurance'].id", ["o1", "o2"]),
        ("items[?(cover && missing) || type=='insurance'].id", ["o1"]),
        ("items[?!cover].id", ["o1"]),
        ("items[?not_null(cover, type)=='insurance'].id", ["o1"]),
        ("gone.id || `[]`", []),
        ("gone || missing || items[].id", ["o1", "o2"]),
        ("(items[?type=='hotel'])[0].ids || `[]`", []),
        ("items[9].ids || `[]`", []),
        ("[`null`, `null`][?@ || `true`]", None),
    ],
)
def test_where_nothing_may_be_found_null_may_stand(text: str, expected: list[str] | None) -> None:
    if expected is None:
        refusal(text)
    else:
        assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("items[?cover != `null`].id", ["o2"]),
        ("items[?cover == `null`].id", ["o1"]),
        ("items[?`null` == cover].id", ["o1"]),
        ("gone == `null`", True),
        ("items[0].cover == `null`", True),
        ("items[0] == `null`", False),
        ("[`null`, `1`][?@ != `null`]", [1]),
    ],
)
def test_to_compare_with_null_is_to_ask_for_it(text: str, expected: object) -> None:
    assert found(text) == expected


@pytest.mark.parametrize("text", ["items[?covr != `null`].id", "missing == `null`", "gone.id == `null`"])
def test_of_what_is_compared_with_null_the_name_has_to_be_there(text: str) -> None:
    refusal(text)


def test_in_an_object_that_is_made_a_value_may_be_null_and_whoever_takes_it_is_told() -> None:
    assert found("items[].{id: id, cover: cover}") == [{"id": "o1", "cover": None}, {"id": "o2", "cover": "full"}]
    assert "'cover' is null" in refusal("items[].{id: id, cover: cover} | [].cover")
    assert "'covr'" in refusal("items[].{id: id, cover: covr}")


@pytest.mark.parametrize(
    "text",
    [
        "items[?insured=='true'].id",
        "items[?insured==`1`].id",
        "items[?`0`!=insured].id",
        "items[?number=='3'].id",
        "items[?type==`3`].id",
        "items[?tags=='a'].id",
        "items[?tags==`{}`].id",
        "items[?tags==`[1]`].id",
        'items[0].{a: number} == `{"a": "3"}`',
        "items[?insured < `1`].id",
        'items[?contains(`["3", "4"]`, number)].id',
        "items[?contains(tags, `1`)].id",
    ],
)
def test_values_of_different_types_are_not_compared(text: str) -> None:
    assert "compare" in refusal(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("items[?insured==`true`].id", ["o1"]),
        ("items[?insured!=`true`].id", ["o2"]),
        ("items[?number==`3.0`].id", ["o1"]),
        ("items[?number!=`0`].id", ["o1", "o2"]),
        ("items[?tags==`[]`].id", ["o2"]),
        ('items[?tags==`["a"]`].id', ["o1"]),
        ('items[0].{a: number} == `{"a": 3}`', True),
        ('items[0].{a: number} == `{"b": 3}`', False),
        ('items[?contains(`["insurance", "other"]`, type)].id', ["o1"]),
        ("items[?contains(tags, 'a')].id", ["o1"]),
        ("items[?contains(type, 'ins')].id", ["o1"]),
    ],
)
def test_values_of_one_type_are(text: str, expected: object) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("(items[?typ=='insurance'])[0].ids || `[]`", "'typ'"),
        ("not_null((items[?typ=='insurance'])[0].ids, `[]`)", "'typ'"),
        ("(items[?typ=='insurance'])[0] && items[].id || `[]`", "'typ'"),
        ("!(items[?typ=='insurance'])[0]", "'typ'"),
        ("(itms[?type=='insurance'])[0].ids || `[]`", "'itms'"),
        ("(items[?cover=='full'])[0].ids || `[]`", "'cover' is null"),
        ("(items[?type=='insurance'].idd)[0] || `[]`", "'idd'"),
        ("items[0].to_string(idd) || `[]`", "'idd'"),
        ("(typ=='insurance') || `true`", "'typ'"),
    ],
)
def test_a_misspelt_name_inside_a_path_that_may_find_nothing_is_an_error(text: str, what: str) -> None:
    assert what in refusal(text)


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("[?type && type=='insurance'].id", ["o1"]),
        ("[?!type].id", [["o1"]]),
        ("[?type || `true`]", [None]),
        ("order | (bought || `[]`)", {"order": [{"bought": ["o1"]}]}),
        ("order.bought || `[]`", {"order": "o1"}),
        ("not_null(order[0].bought, `[]`)", {"order": {"bought": ["o1"]}}),
    ],
)
def test_a_name_is_missing_in_an_object_only_and_an_element_in_a_list(text: str, document: object) -> None:
    refusal(text, document)


@pytest.mark.parametrize("given", [None, True, 1.0, 1.5, [], ["o1"], {"id": "o1"}, b"o1"])
@pytest.mark.parametrize("text", ["items[*].to_string(id)", "map(&to_string(id), items)", "[to_string(items[0].id)]"])
def test_only_a_text_and_a_whole_number_have_one_text(given: object, text: str) -> None:
    refusal(text, {"items": [{"id": given}]})
    assert found(text, {"items": [{"id": 10**20}]}) == [str(10**20)]
    assert found(text, {"items": [{"id": "o1"}]}) == ["o1"]


SCALARS = st.none() | st.booleans() | st.integers(-2, 4) | st.sampled_from([1.0, 2.5]) | st.sampled_from(["", "x", "3"])


@given(st.lists(st.fixed_dictionaries({"id": SCALARS}, optional={"kind": SCALARS}), max_size=4))
def test_what_a_filter_leaves_out_has_another_value_of_the_same_type(items: list[dict[str, Any]]) -> None:
    for text, literal in (("'3'", "3"), ("`3`", 3), ("`true`", True)):
        try:
            chosen = found(f"items[?kind=={text}].{{id: id}}", {"items": items})
        except NothingFoundError:
            continue
        assert [each["id"] for each in chosen] == [each["id"] for each in items if each["kind"] == literal]
        assert all(
            isinstance(each["kind"], bool) == isinstance(literal, bool)
            and isinstance(each["kind"], str) == isinstance(literal, str)
            for each in items
        )
