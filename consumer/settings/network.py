"""What settings say of the way to servers: URLs, a proxy, and files of certificates. Each is tried before a start."""

from __future__ import annotations

import os
import re
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from pydantic import ValidationInfo


def check_url(given: str, right: str, credentials: str) -> None:
    """See that this is the http or https URL of a server, with nothing in it but a prefix of paths.

    Args:
        right: what would be right, in words.
        credentials: the settings that a user name in it belongs to.

    Raises:
        ValueError: it is not; the text does not quote it, since it may hold a password.
    """
    try:
        url = urlsplit(given)
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise ValueError(f"{right} ({error})") from None
    if "@" in url.netloc:
        raise ValueError(f"{right}, with no user name in it; see {credentials}")
    if url.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f\x7f]", given):
        raise ValueError(right)
    if "?" in given or "#" in given:
        raise ValueError(f"{right}, with no query and no fragment")
    # Those who will make requests of it read it more strictly than the standard library.
    import httpx  # noqa: PLC0415 - slow to load, and most keep the default
    from yarl import URL  # noqa: PLC0415 - as above

    try:
        URL(given)
        httpx.Request("POST", given)
    except (ValueError, httpx.InvalidURL) as error:
        raise ValueError(f"{right} ({error})") from None


def refuse_plain_text(url: str, what: str, setting: str, allow: str) -> None:
    """See that what is secret goes by TLS, or stays on this machine.

    Args:
        url: where it goes.
        what: what is secret, in words.
        setting: the name of the setting that gives the URL.
        allow: the name of the setting that allows it.

    Raises:
        ValueError: it would be readable on the way.
    """
    host = urlsplit(url).hostname or ""
    if urlsplit(url).scheme == "http" and not is_loopback(host):
        raise ValueError(
            f"{what} would go to {host} in plain text, since {setting} begins with http://. Use https://; or, if the "
            f"way there is safe by other means, such as a proxy that encrypts, set {allow} to true"
        )


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is of this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""How OpenSSL finds a certificate in a folder: by the hash of its subject, as `openssl rehash` names it."""


def read_proxy(given: str) -> str:
    """A proxy's URL, if it is one that we can use.

    Raises:
        ValueError: it is not; the text does not quote it, since it may hold a password.
    """
    right = "must be the URL of an HTTP proxy such as http://proxy:3128"
    try:
        url = urlsplit(given)
        host, _ = url.hostname, url.port
    except ValueError:
        raise ValueError(right) from None
    if "://" not in given:
        raise ValueError(f"{right}: it has no scheme, put http:// before it")
    if url.scheme.startswith("socks"):
        raise ValueError(f"{right}: SOCKS is not supported")
    if url.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f\x7f]", given):
        raise ValueError(right)
    if url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError(f"{right}, with no path, no query and no fragment")
    from yarl import URL  # noqa: PLC0415 - slow to load, and most have no proxy

    try:
        URL(given)
    except ValueError:
        raise ValueError(right) from None
    return given


def without_password(url: str) -> str:
    """The URL for people to read. Also for what is no URL: whatever stands before an @ may be a password."""
    if "@" not in url:
        return url
    rest = url.rpartition("@")[2]
    scheme, found, _ = url.partition("://")
    return f"{scheme}://(hidden)@{rest}" if found else f"(hidden)@{rest}"


def check_authorities(file: Path | None = None, folders: str | None = None) -> None:
    """Try what certificates are to be held against: a PEM file, or folders as OpenSSL reads them, of which one will do.

    Raises:
        ValueError: there are no certificates in it, or it cannot be read.
    """
    if folders is not None:
        names: list[str] = []
        unread: list[str] = []
        for folder in folders.split(os.pathsep):
            try:
                names += os.listdir(folder)
            except (OSError, ValueError) as error:
                unread.append(_why(error))
        if unread and not names:
            raise ValueError(f"cannot be read: {unread[0]}; name a folder of PEM certificates")
        if not any(map(_HASHED.fullmatch, names)):
            raise ValueError("holds no certificate under the name of its hash; run `openssl rehash` on the folder")
        return
    assert file is not None  # noqa: S101 - one of the two
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise ValueError("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {_why(error)}; name a PEM file of certificates") from None
    if not context.cert_store_stats()["x509"]:
        raise ValueError("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")


def load_client_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Have a context show this certificate; its key is in the same PEM file unless it is in one of its own.

    Raises:
        ValueError: a file cannot be read, lacks one of the two, or they do not belong together.
    """
    for file in filter(None, (certificate, key)):
        try:
            with file.open("rb"):
                pass
        except (OSError, ValueError) as error:
            raise ValueError(f"{file} cannot be read: {_why(error)}") from None
    try:
        context.load_cert_chain(certificate, key, password=_refuse_a_password)
    except ssl.SSLError as error:
        of = "and its key" if key is None else f"with the key in {key}"
        why = "they do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else "one is missing or no PEM"
        raise ValueError(f"must be a PEM file of a certificate {of}: {why}") from None


def check_own_certificate(certificate: Path | None, info: ValidationInfo, key_setting: str) -> None:
    """Try the certificate that we show, with the setting before it that may name a file of its key.

    Raises:
        ValueError: see `load_client_certificate`; or there is a key without a certificate.
    """
    name = key_setting.partition(".")[2]
    key = info.data.get(name)
    if certificate is not None and name in info.data:  # else the key was refused already
        load_client_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)
    if certificate is None and key is not None:
        raise ValueError(f"{key_setting} is of no use without it; give both, or the certificate with its key in it")


def _refuse_a_password() -> NoReturn:
    # Without it OpenSSL would ask at the terminal, or wait for ever where there is none.
    raise ValueError("has a key that is encrypted by a password; give one that is not, readable for the service alone")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
