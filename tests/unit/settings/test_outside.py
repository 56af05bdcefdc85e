"""Variables of others: which of them is in force, what it does, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.certificates import AUTHORITY

from consumer.errors import SettingsError
from consumer.settings import ApiSettings, load
from consumer.settings.outside import OutsideVariable, outside_variables, proxy_of, proxy_secrets, tls_context
from consumer.settings.table import document

HTTP = ApiSettings(base_url="http://api.example:8080/x", auth="none")
HTTPS = ApiSettings(base_url="https://api.example/x")
PROXY = "http://proxy:3128"


def effects(api: ApiSettings, environ: dict[str, str]) -> dict[str, str]:
    return {variable.name: variable.effect for variable in outside_variables(api, environ)}


def wrong(api: ApiSettings, environ: dict[str, str]) -> list[str]:
    return [variable.name for variable in outside_variables(api, environ) if variable.is_wrong]


@pytest.mark.parametrize(
    ("api", "environ", "proxy"),
    [
        (HTTP, {}, None),
        (HTTP, {"http_proxy": PROXY}, PROXY),
        (HTTP, {"HTTP_PROXY": PROXY}, PROXY),
        (HTTP, {"https_proxy": PROXY}, None),
        (HTTPS, {"https_proxy": PROXY}, PROXY),
        (HTTPS, {"HTTPS_PROXY": PROXY}, PROXY),
        (HTTPS, {"http_proxy": PROXY}, None),
        (HTTPS, {"all_proxy": PROXY}, PROXY),
        (HTTPS, {"ALL_PROXY": PROXY}, PROXY),
        (HTTPS, {"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}, PROXY),
        (HTTPS, {"https_proxy": PROXY, "all_proxy": "http://other"}, PROXY),
        (HTTPS, {"https_proxy": "", "HTTPS_PROXY": PROXY}, None),
        (HTTPS, {"https_proxy": "", "all_proxy": PROXY}, PROXY),
        (HTTPS, {"https_proxy": PROXY, "no_proxy": "api.example"}, None),
        (HTTPS, {"https_proxy": PROXY, "NO_PROXY": "api.example"}, None),
        (HTTPS, {"https_proxy": PROXY, "no_proxy": "", "NO_PROXY": "api.example"}, PROXY),
    ],
)
def test_which_proxy_is_in_force(api: ApiSettings, environ: dict[str, str], proxy: str | None) -> None:
    assert proxy_of(api, environ) == proxy
    assert ("calls go through this proxy" in effects(api, environ).values()) is (proxy is not None)


@pytest.mark.parametrize(
    ("entry", "excluded"),
    [
        ("*", True),
        ("x.example,*", True),
        ("api.example", True),
        ("API.Example.", True),
        ("example", True),
        (".example", True),
        ("*.example", True),
        (".api.example", True),
        ("api.example:443", True),
        ("api.example:8080", False),
        ("pi.example", False),
        ("x.api.example", False),
        ("10.0.0.0/8", False),
        ("::1", False),
        ("other,  api.example", True),
        ("other api.example", True),
        (",", False),
        ("/var/run/docker.sock,localhost", False),
        ("10.*", False),
        ("10.*,api.*", True),
        ("*api.example", True),
        ("*i.exam*", True),
        ("ap?.example", True),
        ("api.?", False),
        ("192.168.", False),
        ("<local>", False),
        ("https://api.example", True),
        ("https://api.example:443/", True),
        ("http://api.example", False),
        ("all://*.example", True),
        ("bücher.example", False),
    ],
)
def test_what_no_proxy_names(entry: str, excluded: bool) -> None:
    environ = {"https_proxy": PROXY, "no_proxy": entry}
    assert (proxy_of(HTTPS, environ) is None) is excluded
    assert wrong(HTTPS, environ) == []


@pytest.mark.parametrize(
    ("host", "entry", "excluded"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:444", "10.1.2.3:444", True),
        ("10.1.2.3:444", "10.1.2.3:443", False),
        ("10.1.2.3", "11.0.0.0/8", False),
        ("10.1.2.3", "2.3", False),
        ("10.1.2.3", "10.*", True),
        ("10.1.2.3", "10.1.*.*", True),
        ("10.1.2.3:444", "10.*:443", False),
        ("10.1.2.3", "1.*", False),
        ("10.1.2.3", "10.", True),
        ("10.1.2.3", "10.1.2.", True),
        ("10.1.2.3", "1.", False),
        ("10.1.2.3", "10.1", False),
        ("10.1.2.3", "<local>", False),
        ("[2001:db8::1]", "<local>", False),
        ("api", "<local>", True),
        ("10.example", "10.", False),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("[2001:db8::1]", "[2001:db8::1]", True),
        ("[2001:db8::1]:444", "[2001:db8::1]:444", True),
        ("[2001:db8::1]:444", "[2001:db8::1]:443", False),
        ("[2001:db8::1]", "2001:db8::/32", True),
        ("[2001:db8::1]", "10.0.0.0/8", False),
    ],
)
def test_what_no_proxy_names_of_addresses(host: str, entry: str, excluded: bool) -> None:
    api = ApiSettings(base_url=f"https://{host}/x")
    assert (proxy_of(api, {"https_proxy": PROXY, "no_proxy": entry}) is None) is excluded


@pytest.mark.parametrize("entry", ["https://", "<all>", "'api.example'", "a b,api$", "10.0.0.0/40", "a:b"])
def test_an_entry_of_no_proxy_that_cannot_be_read_is_refused(entry: str) -> None:
    assert wrong(HTTPS, {"https_proxy": PROXY, "no_proxy": entry}) == ["no_proxy"]
    assert wrong(HTTPS, {"https_proxy": PROXY, "NO_PROXY": f"*,{entry}"}) == ["NO_PROXY"]
    assert wrong(HTTPS, {"no_proxy": entry}) == [], "without a proxy it changes nothing"


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.sampled_from((PROXY, "x", "http://"))
)
def test_whatever_is_in_the_variables_they_are_used_or_refused_by_name(text: str, proxy: str) -> None:
    for environ in ({"https_proxy": proxy, "no_proxy": text}, {"HTTPS_PROXY": text, "NO_PROXY": "other"}):
        refused = wrong(HTTPS, environ)
        try:
            proxy_of(HTTPS, environ)
        except ValueError:
            assert refused
        else:
            assert not refused


@pytest.mark.parametrize("value", ["proxy:3128", "socks5://proxy:1080", "http://"])
def test_a_wrong_proxy_is_refused_by_the_name_of_its_variable_if_it_is_in_force(value: str) -> None:
    with pytest.raises(SettingsError, match="HTTPS_PROXY in the environment is"):
        load(None, {"HTTPS_PROXY": value})
    load(None, {"http_proxy": value})
    load(None, {"HTTPS_PROXY": value, "OPT_OUT_API__PROXY": "none"})


def test_our_setting_comes_before_the_variables() -> None:
    environ = {"https_proxy": "http://other", "no_proxy": "*"}
    own = ApiSettings(proxy="http://own:1")  # type: ignore[arg-type]
    assert proxy_of(own, environ) == "http://own:1"
    assert proxy_of(ApiSettings(proxy="none"), environ) is None  # type: ignore[arg-type]
    assert set(effects(own, environ).values()) == {"not used: api.proxy is set"}


def test_passwords_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"https_proxy": "http://u:hush@proxy:3128", "HTTP_PROXY": "u:hush@proxy", "ALL_PROXY": "http://u:hush@a"}
    loaded = load(None, environ)
    assert "hush" not in str(loaded.outside)
    values = {variable.name: variable.value for variable in loaded.outside}
    assert (values["https_proxy"], values["HTTP_PROXY"]) == ("http://(hidden)@proxy:3128", "(hidden)@proxy")
    with pytest.raises(SettingsError) as caught:
        load(None, {"https_proxy": "u:hush@proxy:3128"})
    assert "hush" not in str(caught.value)
    monkeypatch.setenv("https_proxy", "http://u:hu%73h@proxy:3128")
    assert list(proxy_secrets(HTTPS)) == ["u", "hush"]


def test_what_is_held_against_a_file_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    good.write_text(AUTHORITY)
    bad.write_text("x")
    assert wrong(HTTPS, {"SSL_CERT_FILE": str(good)}) == []
    assert wrong(HTTPS, {"SSL_CERT_FILE": str(bad)}) == ["SSL_CERT_FILE"]
    assert wrong(HTTPS, {"SSL_CERT_FILE": str(tmp_path / "missing")}) == ["SSL_CERT_FILE"]
    assert wrong(HTTPS, {"SSL_CERT_DIR": str(tmp_path)}) == ["SSL_CERT_DIR"]
    assert wrong(HTTPS, {"SSL_CERT_FILE": str(good), "SSL_CERT_DIR": str(tmp_path)}) == []
    assert wrong(ApiSettings(ca_file=good), {"SSL_CERT_FILE": str(bad)}) == []
    assert effects(HTTPS, {"REQUESTS_CA_BUNDLE": str(bad)}) == {"REQUESTS_CA_BUNDLE": "not read: set api.ca_file"}
    with pytest.raises(
        SettingsError, match=r"SSL_CERT_FILE in the environment is '.*bad.pem': it holds no certificate"
    ):
        load(None, {"SSL_CERT_FILE": str(bad)})


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_what_is_in_force_for_tls_alone_is_not_refused_without(name: str) -> None:
    gone = {name: "/gone"}
    (told,) = outside_variables(HTTP, gone)
    assert (told.is_wrong, "no TLS" in told.effect) == (False, True)
    assert tls_context(HTTP, gone).cert_store_stats()["x509"] > 50
    load(None, gone | {"OPT_OUT_API__BASE_URL": HTTP.base_url, "OPT_OUT_API__AUTH": "none"})
    assert wrong(HTTP, gone | {"http_proxy": "https://proxy"}) == [name], "the proxy has a certificate too"
    assert wrong(HTTP, gone | {"http_proxy": "https://proxy", "no_proxy": "*"}) == []
    assert wrong(HTTP, gone | {"http_proxy": "proxy"}) == ["http_proxy"]


def test_several_folders_are_taken_as_openssl_takes_them(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "0123abcd.0").write_text(AUTHORITY)
    folders = f"{tmp_path / 'missing'}{os.pathsep}{tmp_path / 'certs'}"
    assert wrong(HTTPS, {"SSL_CERT_DIR": folders}) == []
    assert wrong(HTTPS, {"SSL_CERT_DIR": f"{tmp_path / 'missing'}{os.pathsep}{tmp_path}"}) == ["SSL_CERT_DIR"]


def test_a_log_of_tls_keys_is_told_and_tried(tmp_path: Path) -> None:
    (told,) = outside_variables(HTTPS, {"SSLKEYLOGFILE": str(tmp_path / "keys")})
    assert (told.is_wrong, "whoever reads it can read the calls" in told.effect) == (False, True)
    assert wrong(HTTPS, {"SSLKEYLOGFILE": str(tmp_path / "missing" / "keys")}) == ["SSLKEYLOGFILE"]


def test_the_context_trusts_what_is_named_alone(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(AUTHORITY)
    assert tls_context(ApiSettings(ca_file=file), {}).cert_store_stats()["x509"] == 1
    assert tls_context(HTTPS, {"SSL_CERT_FILE": str(file)}).cert_store_stats()["x509"] == 1
    assert tls_context(HTTPS, {}).cert_store_stats()["x509"] > 50
    assert tls_context(HTTPS, {"SSL_CERT_DIR": str(tmp_path)}).cert_store_stats()["x509"] == 0


def test_the_table_is_shown_only_if_there_is_something_to_show() -> None:
    assert list(document(load(None, {})).tables) == ["settings"]
    loaded = load(None, {"https_proxy": PROXY})
    assert loaded.outside == (OutsideVariable("https_proxy", PROXY, "calls go through this proxy"),)
    assert document(loaded).tables["variables"].rows == [("https_proxy", PROXY, "calls go through this proxy")]
