"""Text of files and of the environment: what is read as it is meant, and what is said of the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.settings.text import MARK, decoded, in_quotes, is_unseen, parsed, plain, strings_in, unseen

UNSEEN = (
    "\ufeff",
    "\0",
    "\x1b",
    "\x7f",
    "\x85",
    "\xa0",
    "\xad",
    "\u2009",
    "\u200b",
    "\u200e",
    "\u2028",
    "\u3000",
    "\ufffd",
    "\udc80",
)
AROUND = st.text(" \t\r\n", max_size=3)
SEEN = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\ufffd\"'`“”„‘’«»"), min_size=1)  # noqa: RUF001


@pytest.mark.parametrize("text", ["", "s3cret", "schlüssel ☃\r\n"])
def test_utf_8_is_read_with_a_mark_or_without(text: str) -> None:
    assert decoded(text.encode()) == decoded(text.encode("utf-8-sig")) == text


@pytest.mark.parametrize(
    ("encoding", "why"),
    [
        ("utf-16", "is in UTF-16, since it begins with the bytes ff fe"),
        ("utf-32", "is in UTF-32, since it begins with the bytes ff fe 00 00"),
        ("utf-16-le", "NUL as byte 2"),
        ("utf-16-be", "NUL as byte 1"),
        ("latin-1", "fc as byte 5, which is not UTF-8"),
    ],
)
def test_another_encoding_is_refused_with_what_was_found_and_where(encoding: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        decoded("schlüssel".encode(encoding))
    assert "save it as UTF-8" in str(caught.value)


def test_a_nul_at_the_end_is_refused_with_its_place() -> None:
    with pytest.raises(ValueError, match="NUL as byte 7"):
        decoded(b"s3cret\0")


@given(AROUND, st.sampled_from(("", MARK)), AROUND, SEEN, AROUND)
def test_a_mark_and_blanks_around_a_value_are_none_of_it(
    before: str, mark: str, more: str, value: str, after: str
) -> None:
    assert plain(before + mark + more + value + after) == value


@given(SEEN, st.sampled_from(UNSEEN), SEEN)
def test_what_nobody_sees_within_a_value_is_refused_with_its_place(before: str, character: str, after: str) -> None:
    with pytest.raises(
        ValueError, match=rf"holds U\+{ord(character):04X} .* at line 1, column {len(before) + 1};"
    ) as caught:
        plain(before + character + after)
    assert before not in str(caught.value).replace(f"U+{ord(character):04X}", "") or len(before) < 3


@given(SEEN, st.sampled_from([character for character in UNSEEN if character != MARK]))
def test_it_is_refused_at_both_ends_too(value: str, character: str) -> None:
    for text in (character + value, value + character, value + character + "\r\n", MARK + character + value):
        with pytest.raises(ValueError, match=f"U\\+{ord(character):04X}"):
            plain(text)


@pytest.mark.parametrize("quotes", ['""', "''", "“”", "„“", "‘’", "«»"])  # noqa: RUF001
def test_quotes_around_a_value_are_refused(quotes: str) -> None:
    with pytest.raises(ValueError, match="is in quotes"):
        plain(f"{quotes[0]}s3cret{quotes[1]}\r\n")
    assert plain(f"s3{quotes[0]}cret") == f"s3{quotes[0]}cret"
    assert in_quotes(quotes[0]) is None


def test_lines_are_allowed_where_they_may_be() -> None:
    assert plain('{"a":\r\n\t1}\n', lines=True) == '{"a":\r\n\t1}'
    for text in ("a\nb", "a\rb", "a\tb"):
        with pytest.raises(ValueError, match="line 1, column 2"):
            plain(text)


def test_a_place_is_told_by_line_and_column() -> None:
    assert unseen("a\nb \xa0c") == "U+00A0 (NO-BREAK SPACE) at line 2, column 3"
    assert unseen("a b\r\n\tc") is None


def test_what_is_written_as_an_escape_is_meant() -> None:
    assert unseen("a\xa0", within='x = "a\\u00a0"') is None
    assert unseen("a\xa0", within='x = "a\xa0"') is not None
    assert in_quotes('"a"', within='x = "\\"a\\""') is None
    assert in_quotes('"a"', within="x = '\"a\"'") == '""'


def test_toml_that_is_none_is_told_with_what_nobody_sees() -> None:
    assert parsed("[a]\r\nb = 1\r\n") == {"a": {"b": 1}}
    with pytest.raises(ValueError, match=r"Invalid value .*; there is U\+00A0 \(NO-BREAK SPACE\) at line 2, column 4"):
        parsed("[a]\nb =\xa01")
    with pytest.raises(ValueError, match=r"^Invalid value \(at line 2, column 5\)$"):
        parsed("[a]\nb = x")


def test_each_text_within_a_value_has_its_place() -> None:
    assert dict(strings_in({"P": {"key": "k", "all": ["a", 1]}})) == {
        "P (the key)": "P",
        "P.key (the key)": "key",
        "P.key": "k",
        "P.all (the key)": "all",
        "P.all[1]": "a",
    }
    assert list(strings_in("x")) == [("", "x")]
    assert list(strings_in(1)) == []


@pytest.mark.parametrize("character", [*"aZ0 -_.ü☃漢", "\U0001f600"])
def test_what_is_seen_is_no_mistake(character: str) -> None:
    assert not is_unseen(character)
