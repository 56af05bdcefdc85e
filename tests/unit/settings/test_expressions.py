"""The expressions by which fields are found: read once, and refused at the start if they are none."""

from __future__ import annotations

import pytest

from consumer.settings.expressions import parse_expression


def test_a_path_asks_for_nothing_beside_the_value() -> None:
    found = parse_expression("offer.id")
    assert (found.text, found.beside) == ("offer.id", False)


@pytest.mark.parametrize("text", ["$key", "$headers.kind", "$headers.\"ce-type\" == 'shown'", "starts_with($key, 'a')"])
def test_the_key_and_the_headers_are_names_at_the_top(text: str) -> None:
    found = parse_expression(text)
    assert found.beside
    assert found.text == text


@pytest.mark.parametrize(("text", "beside"), [("$record.id", False), ("$record.$key", True), ("'$record'", False)])
def test_the_record_around_an_element_is_a_name_as_well(text: str, beside: bool) -> None:
    found = parse_expression(text)
    assert (found.of_record, found.beside) == ("'" not in text, beside)
    assert not parse_expression("$key").of_record


@pytest.mark.parametrize("text", ["kind == '$key'", 'kind == `"$key"`', '"$key"', r"kind == 'it\'s $key'"])
def test_what_is_quoted_is_taken_as_it_stands(text: str) -> None:
    assert not parse_expression(text).beside


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "cannot be empty"),
        ("offer.", "column 6"),
        ("items[?kind", "Incomplete expression"),
        ("$keys", "Unknown token $"),
        ("'shown", "Unclosed"),
        ("items[?only(kind)].id", "no function only()"),
        ("sort_by(items, &price(@))", "no function price()"),
    ],
)
def test_what_is_no_expression_is_refused_in_one_line(text: str, what: str) -> None:
    with pytest.raises(ValueError, match="JMESPath") as caught:
        parse_expression(text)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("literal", ["True", "insurance", "NaN", "-Infinity", "'x'", "01", '{"a": 1, "a": 2'])
def test_a_literal_that_is_no_json_is_refused_and_named(literal: str) -> None:
    with pytest.raises(ValueError, match="is no JSON") as caught:
        parse_expression(f"items[?kind==`{literal}`].id")
    assert f"`{literal}`" in str(caught.value)


@pytest.mark.parametrize("literal", ["true", "null", " 3 ", '"insurance"', "[]", '{"a": "\\`"}', "1e3"])
def test_a_literal_is_json(literal: str) -> None:
    assert parse_expression(f"items[?kind==`{literal}`].id || '`x`'").tree
