"""What changes how the API is reached, and is no setting of ours: proxies, certificates, and where TLS keys are logged.

Others read these variables each in its own way. Here each is read once, held to what it must be, and shown with what it
does, so that nothing of it is believed unchecked. A setting of ours wins: see `api.proxy` and `api.ca_file`.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from .groups import NO_PROXY_AT_ALL, ApiSettings
from .network import check_authorities, load_client_certificate, read_proxy, without_password

_NOT_READ = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PATTERN = re.compile(r"[\w.*?-]+")
"""A name or an address in NO_PROXY, or a part of one; `*` and `?` stand for what they do in names of files."""
_BEGINNING = re.compile(r"(?:[0-9]{1,3}\.){1,3}")


class OutsideVariable(NamedTuple):
    """A variable that is set. `effect`: what it does, or why it does nothing; `is_wrong`: a start is refused for it."""

    name: str
    value: str
    effect: str
    is_wrong: bool = False


def outside_variables(api: ApiSettings, environ: Mapping[str, str]) -> Iterator[OutsideVariable]:
    """Those that are set, in the order they are shown; passwords in them are hidden."""
    yield from _proxies(api, environ)
    yield from _certificates(api, environ)


def proxy_of(api: ApiSettings, environ: Mapping[str, str] | None = None) -> str | None:
    """The proxy that calls go through, as a URL; None if they go straight.

    Raises:
        ValueError: the variable that names it, or NO_PROXY, cannot be read.
    """
    environ = os.environ if environ is None else environ
    if api.proxy is not None:
        given = api.proxy.get_secret_value()
        return None if given == NO_PROXY_AT_ALL else given
    name = _proxy_variable(api, environ)
    if name is None or _excluded(api, environ):
        return None
    return read_proxy(environ[name])


def proxy_secrets(api: ApiSettings) -> Iterator[str]:
    """What may not be shown of the proxy's URL: its user and its password."""
    url = urlsplit(proxy_of(api) or "")
    yield from (unquote(part) for part in (url.username, url.password) if part)


def tls_context(api: ApiSettings, environ: Mapping[str, str] | None = None) -> ssl.SSLContext:
    """What the API's certificate, and that of an https:// proxy, is held against, and what we show of ourselves.

    Raises:
        OSError: a file cannot be read any more.
        ValueError: a file no longer holds what it should.
    """
    import certifi  # noqa: PLC0415 - slow to find, and most settings are loaded without

    environ = os.environ if environ is None else environ
    file, folder = (environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")) if _has_tls(api, environ) else ("", "")
    if api.ca_file is None and not file and folder:
        context = ssl.create_default_context(capath=folder)
    else:
        # Not the machine's: a slim image has none.
        context = ssl.create_default_context(cafile=api.ca_file or file or certifi.where())
    if api.client_certificate is not None:
        load_client_certificate(context, api.client_certificate, api.client_key)
    return context


def _has_tls(api: ApiSettings, environ: Mapping[str, str]) -> bool:
    """Whether anybody on the way to the API shows a certificate: the API, or a proxy.

    Raises:
        ValueError: see `proxy_of`.
    """
    return "https" in (urlsplit(api.base_url).scheme, urlsplit(proxy_of(api, environ) or "").scheme)


def _proxy_variable(api: ApiSettings, environ: Mapping[str, str]) -> str | None:
    """The variable that names the proxy of the API's scheme: small letters first, the scheme's own before all_proxy."""
    for kind in (urlsplit(api.base_url).scheme, "all"):
        # A variable in small letters that is empty turns the other one off, as everywhere.
        for name in (f"{kind}_proxy", f"{kind}_proxy".upper()):
            if name in environ:
                if environ[name]:
                    return name
                break
    return None


def _no_proxy_variable(environ: Mapping[str, str]) -> str:
    return "no_proxy" if "no_proxy" in environ else "NO_PROXY"


def _excluded(api: ApiSettings, environ: Mapping[str, str]) -> bool:
    """Whether NO_PROXY names the API: an entry is read as it is by whoever gives it a meaning.

    There is no standard, and the variable is often set for all that runs in a place. curl, Go and requests know names
    and what ends with them, addresses, networks and ports; Java and browsers `10.*` and `*.internal`; Apache the
    beginning of an address, `192.168.`; httpx a URL; Windows `<local>`, a name without a dot.

    Raises:
        ValueError: an entry is none of these.
    """
    url = urlsplit(api.base_url)
    entries = re.split(r"[,\s]+", environ.get(_no_proxy_variable(environ), ""))
    # Each is looked at: one that cannot be read may be a mistake in the name of the API.
    return True in {_covers(entry, url) for entry in entries}


def _covers(entry: str, url: SplitResult) -> bool:
    if not entry or entry.startswith("/"):  # a path, such as that of Docker's socket, is never the API's
        return False
    scheme, _, entry = entry.rstrip("/").rpartition("://")
    host, port = (url.hostname or "").rstrip("."), url.port or {"http": 80, "https": 443}[url.scheme]
    return _names(entry, host, port) and scheme.lower() in ("", "all", url.scheme)


def _names(entry: str, host: str, port: int) -> bool:
    address = _address(host)
    if entry == "<local>":
        return address is None and "." not in host
    # [::1] and [::1]:443, name:443 and 10.0.0.1:443; an IPv6 address without brackets has no port.
    bracketed = re.fullmatch(r"\[(.*)\](?::([0-9]+))?", entry)
    named = re.fullmatch(r"([^:]*)(?::([0-9]+))?", entry)
    name, its_port = (bracketed or named or re.match(r"(.*)()", entry)).groups()  # type: ignore[union-attr]
    if its_port and int(its_port) != port:
        return False
    try:
        network = ip_network(name, strict=False)
    except ValueError:
        if not _PATTERN.fullmatch(name):
            raise ValueError(
                f"has the entry {entry!r}, which is no *, host, .domain, address or network such as 10.0.0.0/8"
            ) from None
        if address is not None:
            return fnmatchcase(host, f"{name}*" if _BEGINNING.fullmatch(name) else name)
        name = name.lower().removeprefix("*.").strip(".")
        return fnmatchcase(host, name) or fnmatchcase(host, f"*.{name}")
    return address is not None and address in network


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _proxies(api: ApiSettings, environ: Mapping[str, str]) -> Iterator[OutsideVariable]:
    used = _proxy_variable(api, environ) if api.proxy is None else None
    excluding = _no_proxy_variable(environ) if used is not None else None
    excluded, wrong = False, None
    try:
        excluded = excluding is not None and _excluded(api, environ)
    except ValueError as error:
        wrong = str(error)
    for name in (f"{kind}_proxy" for kind in ("http", "https", "all")):
        for variable in filter(environ.get, (name, name.upper())):
            value = environ[variable]
            if variable == used and not excluded:
                yield _judged(variable, value, "calls go through this proxy", partial(read_proxy, value))
            elif variable == used:
                yield OutsideVariable(variable, without_password(value), f"not used: {excluding} names the API")
            else:
                yield OutsideVariable(variable, without_password(value), _why_not_used(api, used))
    for variable in filter(environ.get, ("no_proxy", "NO_PROXY")):
        if variable != excluding:
            yield OutsideVariable(variable, environ[variable], _why_not_used(api, excluding))
        else:
            does = "calls go straight to the API" if excluded else "does not name the API"
            yield OutsideVariable(variable, environ[variable], wrong or does, is_wrong=wrong is not None)


def _why_not_used(api: ApiSettings, instead: str | None) -> str:
    if api.proxy is not None:
        return "not used: api.proxy is set"
    if instead is not None:
        return f"not used: {instead} comes first"
    return f"not used: calls go to {urlsplit(api.base_url).scheme}://, and no proxy is set for these"


def _certificates(api: ApiSettings, environ: Mapping[str, str]) -> Iterator[OutsideVariable]:
    file, folder = environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")
    try:
        instead = None if _has_tls(api, environ) else "there is no TLS on the way to it"
    except ValueError:
        instead = "the proxy is not known"  # and refused by the name of its variable
    if api.ca_file is not None:
        instead = "api.ca_file is set"
    if file and instead:
        yield OutsideVariable("SSL_CERT_FILE", file, f"not used for the API: {instead}")
    elif file:
        right = "the API's certificate is held against this file alone"
        yield _judged("SSL_CERT_FILE", file, right, partial(check_authorities, Path(file)))
        instead = "SSL_CERT_FILE is set"
    if folder and instead:
        yield OutsideVariable("SSL_CERT_DIR", folder, f"not used for the API: {instead}")
    elif folder:
        right = "the API's certificate is held against this folder alone"
        yield _judged("SSL_CERT_DIR", folder, right, partial(check_authorities, folders=folder))
    for name in _NOT_READ:
        if value := environ.get(name):
            yield OutsideVariable(name, value, "not read: set api.ca_file")
    if log := environ.get("SSLKEYLOGFILE"):
        right = "the keys of each TLS connection go into this file: whoever reads it can read the calls"
        yield _judged("SSLKEYLOGFILE", log, right, partial(_check_key_log, log))


def _judged(name: str, value: str, effect: str, check: Callable[[], object]) -> OutsideVariable:
    try:
        check()
    except ValueError as error:
        return OutsideVariable(name, without_password(value), str(error), is_wrong=True)
    return OutsideVariable(name, without_password(value), effect)


def _check_key_log(file: str) -> None:
    try:
        # As each TLS context will do.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = file
    except OSError as error:
        raise ValueError(f"cannot be written: {error.strerror}; unset it, or name a file that can be") from None
