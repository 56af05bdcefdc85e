"""What is secret is found by its value, in every form that it may have in somebody's words.

That the notes of answers are made so is held by integration/test_notes_hide_secrets.py.
"""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.xcover.hiding import KEPT, Hider

KEY = "live+key/7f3a=="
# JSON spells a character beyond these in two halves, which nobody puts into a key.
CHARACTERS = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs", "Cc"])
VALUES = st.text(CHARACTERS, min_size=4, max_size=60).filter(lambda text: text.strip() == text and "*" not in text)


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        KEY.upper(),
        quote(KEY, safe=""),
        quote(KEY, safe="").lower(),
        quote(quote(quote(KEY, safe=""), safe=""), safe=""),
        KEY.replace("+", " "),
        KEY.replace("/", "\\/"),
        KEY.replace("/", "\\u002F"),
        KEY.replace("/", "\\\\u002f"),
        "".join(f"&#{ord(c)};" for c in KEY),
        "".join(f"&#x{ord(c):02X};" for c in KEY),
    ],
)
def test_each_form_of_a_value_is_hidden(form: str) -> None:
    assert Hider([KEY])(f"we got <{form}>, which we do not know") == "we got <***>, which we do not know"


@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_value_within_base64_is_hidden_wherever_it_stands_in_it(before: str, encode: object) -> None:
    assert callable(encode)
    encoded = encode(f"{before}{KEY}:more".encode()).decode()
    hidden = Hider([KEY])(f"Basic {encoded}")
    assert "***" in hidden
    assert not any(encoded[at : at + 8] in hidden for at in range(len(before) + 2, len(before) + len(KEY)))


@given(
    VALUES,
    st.text(CHARACTERS, max_size=40),
    st.text(CHARACTERS, max_size=40),
    st.sampled_from([str, quote_plus, json.dumps]),
)
def test_no_words_around_it_hide_a_value_from_the_search(value: str, before: str, after: str, form: object) -> None:
    assert callable(form)
    shown = form(value)
    hidden = Hider([value])(f"{before}{shown}{after}")
    plain = Hider([])(f"{before}{shown}{after}")
    assert hidden != plain
    assert "***" in hidden


@pytest.mark.parametrize("value", ["k", "s1", "abc"])
def test_a_short_value_is_hidden_where_it_stands_by_itself_and_leaves_other_words_alone(value: str) -> None:
    assert Hider([value])(f'key="{value}" is no known success1 backabcs') == 'key="***" is no known success1 backabcs'


def test_a_value_of_the_metadata_is_hidden_within_words_too() -> None:
    assert Hider([])("xabcx", always=["b"]) == "xa***cx"


def test_a_value_longer_than_what_is_looked_at_is_hidden_up_to_the_end() -> None:
    value = "".join(str(number) for number in range(5_000))
    assert set(Hider([])(f"{value}", always=[value])) == {"*"}
    assert set(Hider([value])(f"{value}")) == {"*"}
    assert Hider([value[:1_000]])(f"<{value[:1_000]}>").strip("<*>") == ""


def test_what_begins_within_the_kept_part_is_found_whole() -> None:
    for before in range(KEPT - len(KEY), KEPT):
        assert Hider([KEY])("." * before + KEY) == "." * before + "***"
    assert Hider([KEY])("." * KEPT + KEY) == "." * KEPT


def test_nothing_is_hidden_that_is_no_value() -> None:
    assert Hider(["", KEY])("the offer has expired: 100 % & more \\ ü") == "the offer has expired: 100 % & more \\ ü"
    assert Hider([])("half of a character: \ud800") == "half of a character: ?"


@pytest.mark.parametrize(
    "spelt", ["Tom&amp;Jerry", "Tom&#38;Jerry", "Tom&#x26;Jerry", "Tom%26Jerry", "Tom\\u0026Jerry"]
)
def test_a_value_with_a_sign_that_is_escaped_is_hidden(spelt: str) -> None:
    assert Hider(["Tom&Jerry"])(f"key {spelt} is not known") == "key *** is not known"


def test_an_escape_that_is_half_of_a_character_hides_nothing_and_harms_nothing() -> None:
    assert Hider(["the-secret"])("&#xD800; \\ud800 the-secret") == "&#xD800; \\ud800 ***"
