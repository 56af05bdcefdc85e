"""A proxy's URL and files of certificates: what is taken, and what is said of the rest."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from support.certificates import AUTHORITY, CLIENT, CLIENT_KEY, CLIENT_KEY_ENCRYPTED, SERVER_KEY

from consumer.settings.network import check_authorities, load_client_certificate, read_proxy, without_password


@pytest.fixture
def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def written(folder: Path, text: str | bytes, name: str = "file.pem") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    "url", ["http://proxy:3128", "https://proxy", "http://u:p%40ss@10.0.0.1:8080/", "http://[::1]:3128"]
)
def test_a_proxy_is_an_http_or_https_url(url: str) -> None:
    assert read_proxy(url) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("proxy:3128", "put http:// before it"),
        ("10.0.0.1:3128", "put http:// before it"),
        ("u:hush@proxy:3128", "put http:// before it"),
        ("socks5://proxy:1080", "SOCKS"),
        ("ftp://proxy", "http://proxy:3128"),
        ("http://", "http://proxy:3128"),
        ("http://u:hush@proxy:port", "http://proxy:3128"),
        ("http://u:hush@[::1", "http://proxy:3128"),
        ("http://proxy:3128/path", "no path"),
        ("http://proxy:3128\n", "http://proxy:3128"),
        ("", "http://"),
    ],
)
def test_anything_else_is_refused_without_being_quoted(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        read_proxy(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("http://u:hush@proxy:3128", "http://(hidden)@proxy:3128"),
        ("http://u:hu@sh@proxy:3128", "http://(hidden)@proxy:3128"),
        ("u:hush@proxy:3128", "(hidden)@proxy:3128"),
        ("http://u:hu/sh@[bad", "http://(hidden)@[bad"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_a_pem_file_of_certificates_is_taken_whatever_stands_around_them(tmp_path: Path) -> None:
    check_authorities(written(tmp_path, "\ufeff# our own\r\n" + AUTHORITY.replace("\n", "\r\n")))


@pytest.mark.parametrize(
    "text", [b"", b"no pem", CLIENT_KEY.encode(), AUTHORITY.encode("utf-16"), AUTHORITY[:-100].encode(), b"\x30\x82"]
)
def test_a_file_without_certificates_in_pem_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ValueError, match="no certificate in PEM"):
        check_authorities(written(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be read: No such file"):
        check_authorities(tmp_path / "missing.pem")
    with pytest.raises(ValueError, match="cannot be read"):
        check_authorities(tmp_path)
    with pytest.raises(ValueError, match="cannot be read"):
        check_authorities(Path("nul\0"))


def test_a_folder_holds_certificates_by_their_hashes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        check_authorities(folders=str(tmp_path / "missing"))
    written(tmp_path, AUTHORITY)
    with pytest.raises(ValueError, match="openssl rehash"):
        check_authorities(folders=str(tmp_path))
    written(tmp_path, AUTHORITY, "0a1b2c3d.0")
    check_authorities(folders=str(tmp_path))


def test_a_client_certificate_has_its_key_with_it_or_in_a_file_of_its_own(
    tmp_path: Path, context: ssl.SSLContext
) -> None:
    load_client_certificate(context, written(tmp_path, CLIENT + CLIENT_KEY), None)
    load_client_certificate(context, written(tmp_path, CLIENT), written(tmp_path, CLIENT_KEY, "key.pem"))


@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        (CLIENT, None, "one is missing"),
        (CLIENT_KEY, None, "one is missing"),
        ("", None, "one is missing"),
        (CLIENT, SERVER_KEY, "do not belong together"),
        (CLIENT + CLIENT_KEY_ENCRYPTED, None, "encrypted"),
    ],
)
def test_a_client_certificate_without_its_key_is_refused(
    tmp_path: Path, context: ssl.SSLContext, certificate: str, key: str | None, why: str
) -> None:
    file = None if key is None else written(tmp_path, key, "key.pem")
    with pytest.raises(ValueError, match=why):
        load_client_certificate(context, written(tmp_path, certificate), file)


def test_a_client_certificate_that_is_missing_is_named(tmp_path: Path, context: ssl.SSLContext) -> None:
    with pytest.raises(ValueError, match=r"key\.pem cannot be read: No such file"):
        load_client_certificate(context, written(tmp_path, CLIENT), tmp_path / "key.pem")
