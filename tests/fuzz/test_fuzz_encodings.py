"""The bytes of an encoding, and what a copy brings along, in each place where people hand text over.

A value is the one that was meant, or the start is refused; what was found is named by its place, and never by a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz.fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import SettingsError
from consumer.runtime.releases import Releases
from consumer.settings import Settings, load_settings

SECRET = "s3cret+/="
UNSEEN = st.sampled_from("\ufeff\x1b\x7f\x85\xa0\xad\u2009\u200b\u200e\u2028\u3000\ufffd")
"""But NUL, which an environment cannot hold."""

Place = Callable[[Path, str, str], Settings]
"""Settings whose secret is handed over in one way: with a folder, the secret, and the encoding of what is a file."""


def by_environment(_: Path, secret: str, __: str) -> Settings:
    return load_settings(None, {"OPT_OUT_API__KEY": "k", "OPT_OUT_API__SECRET": secret})


def by_file(folder: Path, secret: str, encoding: str) -> Settings:
    file = folder / "secret"
    file.write_bytes(secret.encode(encoding))
    return load_settings(None, {"OPT_OUT_API__KEY": "k", "OPT_OUT_API__SECRET_FILE": str(file)})


def by_toml(folder: Path, secret: str, encoding: str) -> Settings:
    file = folder / "opt-out.toml"
    file.write_bytes(f"[api]\r\nkey = 'k'\r\nsecret = '''{secret}'''\r\n".encode(encoding))
    return load_settings(file, {})


def by_json(_: Path, secret: str, __: str) -> Settings:
    given = json.dumps({"P": {"key": "k", "secret": secret}}, ensure_ascii=False)
    return load_settings(None, {"OPT_OUT_API__CREDENTIALS": given})


def by_json_file(folder: Path, secret: str, encoding: str) -> Settings:
    file = folder / "credentials"
    file.write_bytes(json.dumps({"P": {"key": "k", "secret": secret}}, ensure_ascii=False).encode(encoding))
    return load_settings(None, {"OPT_OUT_API__CREDENTIALS_FILE": str(file)})


PLACES = (by_environment, by_file, by_toml, by_json, by_json_file)
FILES = (by_file, by_toml, by_json_file)


def secret_of(settings: Settings) -> str:
    own = settings.api.credentials.get("P")
    secret = own.secret if own is not None else settings.api.secret
    assert secret is not None
    return secret.get_secret_value()


def refusal(place: Place, folder: Path, secret: str, encoding: str = "utf-8") -> str:
    with pytest.raises(SettingsError) as caught:
        place(folder, secret, encoding)
    assert SECRET[:4] not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_the_one_that_was_meant(tmp_path: Path, place: Place) -> None:
    for encoding in ("utf-8", "utf-8-sig"):
        assert secret_of(place(tmp_path, SECRET, encoding)) == SECRET


@pytest.mark.parametrize("place", [by_environment, by_file])
@pytest.mark.parametrize("before", ["", "\ufeff", " ", "\ufeff "])
@pytest.mark.parametrize("after", ["", "\n", "\r\n", "\r", " \r\n\r\n"])
def test_a_mark_before_it_and_line_ends_behind_it_are_none_of_it(
    tmp_path: Path, place: Place, before: str, after: str
) -> None:
    assert secret_of(place(tmp_path, before + SECRET + after, "utf-8")) == SECRET


@pytest.mark.parametrize("place", FILES)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, place: Place, encoding: str) -> None:
    assert re.search("UTF-16|UTF-32", refusal(place, tmp_path, SECRET, encoding))


@pytest.mark.parametrize("place", [by_file, by_toml])
def test_a_nul_is_refused(tmp_path: Path, place: Place) -> None:
    assert "NUL" in refusal(place, tmp_path, SECRET + "\0")


@pytest.mark.parametrize("place", PLACES)
@fuzz(60)
@given(UNSEEN, st.integers(0, len(SECRET)))
def test_what_nobody_sees_is_refused_with_its_place(tmp_path: Path, place: Place, character: str, at: int) -> None:
    if character == "\ufeff" and at == 0 and place in (by_environment, by_file):
        return  # the mark of the encoding
    if character < " " and place in (by_json, by_json_file):
        return  # JSON has it as an escape
    assert f"U+{ord(character):04X}" in refusal(place, tmp_path, SECRET[:at] + character + SECRET[at:])


@pytest.mark.parametrize("place", [by_environment, by_file, by_toml])
@pytest.mark.parametrize("quotes", ['""', "''", "“”", "«»"])
def test_quotes_are_refused(tmp_path: Path, place: Place, quotes: str) -> None:
    if place is by_toml and quotes == "''":
        return  # they would be TOML's own
    assert "quotes" in refusal(place, tmp_path, quotes[0] + SECRET + quotes[1])


@pytest.mark.parametrize(
    "name", ["\ufeffOPT_OUT_API__KEY", " OPT_OUT_API__KEY", '"OPT_OUT_API__KEY', "\xa0OPT_OUT_JOIN__WINDOW"]
)
def test_a_variable_whose_name_is_spoilt_is_not_passed_over(name: str) -> None:
    with pytest.raises(SettingsError, match="is not a setting; did you mean OPT_OUT_"):
        load_settings(None, {name: "k"})


@fuzz(40)
@given(st.sampled_from(("OPT_OUT_JOIN__WINDOW", "OPT_OUT_API__BASE_URL", "OPT_OUT_KAFKA__GROUP_ID")), UNSEEN)
def test_no_other_setting_takes_it_either(variable: str, character: str) -> None:
    value = {"OPT_OUT_JOIN__WINDOW": "20m", "OPT_OUT_API__BASE_URL": "https://a.example/x"}.get(variable, "group")
    with pytest.raises(SettingsError, match=variable):
        load_settings(None, {variable: value + character})
    load_settings(None, {variable: f"\ufeff{value}\r\n"})


# --- the release file


def released(folder: Path, offer_id: str, *, encoding: str = "utf-8", end: str = "\r\n") -> Releases:
    lines = ["[[release]]", "partner_code = 'P'", f"offer_id = {offer_id}", "who = 'a'", "why = 'b\xa0: c'", ""]
    file = folder / "release.toml"
    file.write_bytes(end.join(lines).encode(encoding))
    return Releases(file)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_release_file_is_read_with_a_mark_and_either_end_of_line(tmp_path: Path, encoding: str, end: str) -> None:
    assert set(released(tmp_path, "'o-1'", encoding=encoding, end=end).notes) == {("P", "o-1")}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_release_file_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(SettingsError, match=r"UTF-16|UTF-32"):
        released(tmp_path, "'o-1'", encoding=encoding)


@fuzz(60)
@given(UNSEEN, st.integers(0, 3))
def test_an_id_that_would_match_no_offer_is_refused(tmp_path: Path, character: str, at: int) -> None:
    spoilt = "o-1"[:at] + character + "o-1"[at:]
    with pytest.raises(SettingsError, match=rf"U\+{ord(character):04X}"):
        released(tmp_path, f"'{spoilt}'")
    escaped = "".join(
        f"\\u{ord(each):04x}" if not each.isascii() or each < " " or each == "\x7f" else each for each in spoilt
    )
    assert set(released(tmp_path, f'"{escaped}"').notes) == {("P", spoilt)}, "an escape is meant"


def test_quotes_within_quotes_are_refused_unless_escaped(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="quotes"):
        released(tmp_path, "'\"o-1\"'")
    assert set(released(tmp_path, '"\\"o-1\\""').notes) == {("P", '"o-1"')}
