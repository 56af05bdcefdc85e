"""Whether an address is reached, and until when the certificate there is good.

A client asks any broker of kafka.bootstrap_servers for the others, and from then on goes by the addresses that they
advertise. One that leads nowhere from here keeps the partitions that this broker leads from being read.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from .refusals import trust_of

TIMEOUT = 3.0
"""Seconds to wait for a connection, and for a handshake."""

_AT_ONCE = 32


class Listener(NamedTuple):
    """What was found at an address.

    Attributes:
        address: host:port.
        refused: why there is no connection; None if there is one.
        expires: when the certificate ends, in seconds since the epoch; None without TLS, or if it is not known.
        unknown: why that is not known; None if it is, or without TLS.
    """

    address: str
    refused: str | None = None
    expires: float | None = None
    unknown: str | None = None


def look_at_listeners(addresses: Collection[tuple[str, int]], tls: ssl.SSLContext | None) -> list[Listener]:
    """Connect to each address and hang up; with TLS if certificates are to be held against something."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda address: _look(address, tls), addresses))


def tls_of(properties: Mapping[str, Any]) -> ssl.SSLContext | None:
    """What a client with these properties holds brokers' certificates against; None if it goes without TLS."""
    with_tls = str(properties.get("security.protocol", "")).lower().endswith("ssl")
    return trust_of(properties) if with_tls else None


def _look(place: tuple[str, int], context: ssl.SSLContext | None) -> Listener:
    address = f"{place[0]}:{place[1]}"
    try:
        with socket.create_connection(place, timeout=TIMEOUT) as connection:
            return Listener(address) if context is None else _with_tls(address, place[0], connection, context)
    except OSError as error:
        return Listener(address, refused=error.strerror or str(error))


def _with_tls(address: str, host: str, connection: socket.socket, context: ssl.SSLContext) -> Listener:
    try:
        with context.wrap_socket(connection, server_hostname=host) as secured:
            told = secured.getpeercert() or {}
    except OSError as error:
        # The client may know by other means what to make of it: whether it is let in, its own answers say.
        return Listener(address, unknown=str(error))
    return Listener(address, expires=ssl.cert_time_to_seconds(str(told["notAfter"])))
