"""What is secret is found by its value, in every form that it may have in somebody's words.

That the notes of answers are made so is held by integration/test_notes_hide_secrets.py.
"""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.hiding import IN_USE, KEPT, Hider, hide, passwords_in, secrets_in

KEY = "live+key/7f3a=="
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"])
VALUES = st.text(CHARACTERS, min_size=4, max_size=60).filter(lambda text: text.strip() == text and "*" not in text)

SPELLINGS: list[Callable[[str], str]] = [
    str,
    lambda text: text.encode().upper().decode(),
    quote,
    quote_plus,
    html.escape,
    repr,
    json.dumps,
    lambda text: quote(quote(text, safe=""), safe=""),
]
"""How a secret may be spelt in a text."""


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


ODD = "Pä\"ss<w>&r/1+%2'="
BY_CHARACTER: dict[str, Callable[[str], str]] = {
    "percent": lambda c: "".join(f"%{byte:02x}" for byte in c.encode()),
    "percent, of Latin-1": lambda c: f"%{ord(c):02X}",
    "percent, of JavaScript": lambda c: f"%u{ord(c):04x}",
    "HTML": lambda c: f"&#{ord(c)};",
    "HTML, with zeros": lambda c: f"&#X{ord(c):06x};",
    "HTML, without its end": lambda c: f"&#x{ord(c):02x}",
    "JSON": lambda c: f"\\u{ord(c):04X}",
    "JavaScript": lambda c: f"\\u{{{ord(c):x}}}",
    "C": lambda c: "".join(f"\\{byte:03o}" for byte in c.encode()),
    "a shell": lambda c: c if c.isalnum() else f"\\{c}",
}
AS_A_WHOLE: dict[str, Callable[[str], bytes]] = {
    "UTF-8": str.encode,
    "Latin-1": lambda text: text.encode("latin-1"),
    "in JSON": lambda text: json.dumps(text)[1:-1].encode(),
    "in a URL": lambda text: quote(text, safe="").encode(),
}


@pytest.mark.parametrize("secret", [KEY, ODD])
@pytest.mark.parametrize("spelling", BY_CHARACTER)
def test_a_value_is_hidden_whatever_each_of_its_characters_was_made(spelling: str, secret: str) -> None:
    spelt = "".join(map(BY_CHARACTER[spelling], secret))
    assert Hider([secret])(f"<{spelt}>") == "<***>"
    assert Hider([secret])(f"<{json.dumps(spelt)}>") == '<"***">'


@pytest.mark.parametrize("secret", [KEY, ODD])
@pytest.mark.parametrize("kind", AS_A_WHOLE)
@pytest.mark.parametrize("padded", [True, False])
def test_a_value_is_hidden_in_base64_and_in_hexadecimal_whatever_it_was_made_before(
    kind: str, secret: str, padded: bool
) -> None:
    data = AS_A_WHOLE[kind](secret)
    for coded in (
        base64.b64encode(data),
        base64.urlsafe_b64encode(data),
        data.hex().encode(),
        data.hex().upper().encode(),
    ):
        spelt = coded.decode() if padded else coded.decode().rstrip("=")
        hidden = Hider([secret])(f"<{spelt}>")
        assert len(hidden) <= len("<***xx==>"), "of the last byte some bits are with the padding"


def test_a_value_whose_bytes_were_taken_for_latin_1_is_hidden() -> None:
    assert Hider([ODD])(f"<{ODD.encode().decode('latin-1')}>") == "<***>"


def in_json(text: str) -> str:
    return json.dumps(text)


def in_a_list(text: str) -> str:
    return f"{[text]}"


def by_code(text: str) -> str:
    return "".join(f"&#{ord(c)};" for c in text)


FORMS = [str, quote, quote_plus, in_json, in_a_list, html.escape, by_code, str.encode]


@given(
    VALUES,
    st.text(CHARACTERS, max_size=40),
    st.text(CHARACTERS, max_size=40),
    st.lists(st.sampled_from(FORMS), min_size=1, max_size=3),
)
@example("00\xa0\\", "", "", [in_json])
@example("live\xa0key", "", "", [in_a_list])
@example("live\xa0key", "", "", [str.encode])
@example("41 live\xa0key", "%", "", [quote_plus])
@example("live\xa0key%", "", "41", [quote_plus])
@example("key \U0001f511", "", "", [in_json])
@example("\u3042\u3044\u3046\u3048", "", "", [by_code])
@example("the <b>key", "", "", [html.escape, html.escape])
@example("a\\u0041b", "", "", [in_json])
@example("a\\%b&c", "", "", [html.escape, html.escape])
@example("a%41b\xe4&c", "", "", [html.escape, html.escape])
def test_no_words_around_it_hide_a_value_from_the_search(
    value: str, before: str, after: str, forms: list[Callable[[str], object]]
) -> None:
    shown = value
    for form in forms:
        shown = str(form(shown))
    hidden = Hider([value])(f"{before}{shown}{after}")
    plain = Hider([])(f"{before}{shown}{after}")
    assert hidden != plain
    assert "***" in hidden


@pytest.mark.parametrize(
    "spelt", ["na\\u00efve\\nkey", "na&iuml;ve&#10;key", "na%C3%AFve%0Akey", "na\\xefve\\nkey", "na\\u00EFve\\u000Akey"]
)
def test_a_value_of_several_lines_is_hidden_however_it_is_spelt(spelt: str) -> None:
    assert Hider([])(f"<{spelt}>", ["na\xefve\nkey"]) == "<***>"


def test_an_escape_of_no_character_harms_nothing() -> None:
    words = "&#x110000; &#9999999; &nosuch; \\ud83d the-secret"
    assert Hider(["the-secret"])(words) == words.replace("the-secret", "***")


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


# --- in use


@given(secret=VALUES, before=st.text(max_size=60), after=st.text(max_size=60), form=st.sampled_from(SPELLINGS))
def test_a_secret_in_use_is_in_no_text_wherever_it_stands(
    secret: str, before: str, after: str, form: Callable[[str], str]
) -> None:
    IN_USE.forget()
    IN_USE.learn([secret])
    spelt = form(secret)
    told = hide(before + spelt + after)
    assert spelt not in told or spelt in before or spelt in after or spelt in "***"
    assert "***" in told


@given(secret=VALUES, most=st.integers(1, 80), before=st.integers(0, 80))
def test_a_text_is_cut_behind_what_is_hidden(secret: str, most: int, before: int) -> None:
    IN_USE.forget()
    IN_USE.learn([secret])
    assert set(IN_USE("." * before + secret, most=most)) <= {".", "*"}
    assert set(hide("." * before + secret)[:most]) <= {".", "*"}


@given(secret=VALUES, other=VALUES)
def test_every_hider_hides_what_is_in_use(secret: str, other: str) -> None:
    IN_USE.forget()
    IN_USE.learn([secret])
    assert secret not in Hider([other])(f"<{secret}>", [other], [other]).replace("***", "")


def test_a_long_text_is_looked_at_whole() -> None:
    IN_USE.learn(["the-secret"])
    text = "a traceback of some length, \\u0041 %41 " * 1_000
    assert hide(f"{text}the-secret{text}") == f"{text}***{text}"


def test_a_secret_of_several_lines_is_hidden_line_by_line_too() -> None:
    lines = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "BKcwggSjAgEAAoIBAQC7"]
    IN_USE.learn(["\n".join(lines)])
    assert hide("\n".join(lines)) == "***"
    assert hide(f"bad line: {lines[1]}") == "bad line: ***"


def test_signatures_are_hidden_until_many_others_have_passed() -> None:
    signatures = [f"{number:086d}==" for number in range(1_000)]
    for signature in signatures:
        IN_USE.learn_passing(signature)
    told = hide(" ".join(signatures[-10:]))
    assert told == " ".join(["***"] * 10)


def test_hundreds_of_secrets_and_thousands_of_lines_take_a_moment() -> None:
    IN_USE.learn(f"key-{number}-{number:x}" for number in range(400))
    began = time.monotonic()
    for number in range(2_000):
        assert hide(f"line {number} of a log, as they are: topic offers, partition 7").startswith("line")
    assert time.monotonic() - began < 20


# --- what anybody's URL and anybody's header say


USER = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="/?#:@\x7f\x85\xa0"), min_size=1)
PASSWORDS = USER.filter(lambda text: len(text) >= 4 and not text.isdigit())


@given(
    user=USER,
    password=PASSWORDS,
    before=st.text("abc %&\\", max_size=30),
    form=st.sampled_from([str, json.dumps, repr, quote, html.escape]),
)
def test_user_and_password_of_a_url_are_hidden_whosever_they_are(
    user: str, password: str, before: str, form: Callable[[str], str]
) -> None:
    told = hide(before + form(f"x://{user}:{password}@~"))
    assert "***" in told
    assert password not in told.removeprefix(before)
    if form is str:
        assert told == f"{before}x://***@~"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("url='http://user:s3cret@proxy:3128'", "url='http://***@proxy:3128'"),
        ("http://token@proxy/x", "http://***@proxy/x"),
        ("http://user:pa/ss?w#rd@proxy/x", "http://***@proxy/x"),
        ("http://user:p@ss@proxy/x", "http://***@proxy/x"),
        ("SASL_SSL://user:pw@b1:9092", "SASL_SSL://***@b1:9092"),
        ("http%3A%2F%2Fuser%3As3cret%40proxy", "http%3A%2F%2F***%40proxy"),
        ("http:\\/\\/user:s3cret@proxy", "http:\\/\\/***@proxy"),
        ("Proxy-Authorization: Basic dXNlcjpzM2NyZXQ=", "Proxy-Authorization: Basic ***"),
        ('{"authorization": "Bearer eyJhbGciOi.J9"}', '{"authorization": "Bearer ***"}'),
        ("Basic authentication is required", "Basic authentication is required"),
        ("http://proxy:3128/x?mail=a@b", "http://proxy:3128/x?mail=a@b"),
        ("see http://proxy:3128, or write to a@b", "see http://proxy:3128, or write to a@b"),
        ("https://api.xcover.com/x is not reached", "https://api.xcover.com/x is not reached"),
    ],
)
def test_of_a_url_and_of_a_header_the_rest_stays_readable(text: str, told: str) -> None:
    assert hide(text) == told


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("http://user:s3cret@proxy:3128", {"user:s3cret", "s3cret"}),
        ("user:s3cret@proxy:3128", {"user:s3cret", "s3cret"}),
        ("http://user:p%40ss@proxy", {"user:p%40ss", "p%40ss", "user:p@ss", "p@ss"}),
        ("http://user:pa/ss@proxy/x", {"user:pa/ss", "pa/ss"}),
        ("http://user:s3cret/of?x#proxy@proxy/x", {"user:s3cret/of?x#proxy", "s3cret/of?x#proxy", "s3cret", "proxy"}),
        ("http://token@proxy", {"token"}),
        ("http://proxy:3128/x", set()),
        ("", set()),
    ],
)
def test_what_is_secret_in_a_url(url: str, passwords: set[str]) -> None:
    assert set(passwords_in(url)) == passwords


def test_what_is_secret_in_a_table() -> None:
    assert set(secrets_in({"A": {"key": "k", "secret": "s"}, "B": ["x", 7, None, ""]})) == {"k", "s", "x"}


@pytest.mark.parametrize(
    "part", ["://", "://a:", "basic a ", "bearer ", "@://", ":// @", "&#x0", "\\u{0", "\\u{", "&#0"]
)
def test_no_words_of_others_take_longer_than_their_length(part: str) -> None:
    """The time of a regular expression may grow with the square of it: minutes for a record of some 100 kB."""
    started = time.process_time()
    hide(part * (100_000 // len(part)))
    assert time.process_time() - started < 10.0
