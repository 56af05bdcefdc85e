"""An address is reached or not, and with TLS it shows until when its certificate is good."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.certificates import AUTHORITY, SERVER, SERVER_KEY

from consumer.kafka.listeners import look_at_listeners, tls_of


@contextmanager
def listening(tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, int]]:
    """One connection is taken, and held to the end of the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                if tls is not None:
                    with suppress(OSError):
                        tls.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[:2]
        thread.join(10)


def closed_port() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return "127.0.0.1", server.getsockname()[1]


def with_certificate(folder: Path) -> ssl.SSLContext:
    (folder / "server").write_text(SERVER + SERVER_KEY)
    (folder / "ca").write_text(AUTHORITY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server")
    return context


def test_an_address_that_nobody_listens_at_is_told_from_one_where_somebody_does() -> None:
    nobody = closed_port()
    with listening() as somebody:
        there, gone = look_at_listeners([somebody, nobody], None)
    assert (there.refused, there.expires, there.unknown) == (None, None, None)
    assert gone.address == f"127.0.0.1:{nobody[1]}"
    assert gone.refused == "Connection refused"


def test_a_certificate_that_is_believed_tells_when_it_ends(tmp_path: Path) -> None:
    tls = with_certificate(tmp_path)
    with listening(tls) as address:
        (found,) = look_at_listeners(
            [address], tls_of({"security.protocol": "SASL_SSL", "ssl.ca.location": str(tmp_path / "ca")})
        )
    assert found.refused is found.unknown is None
    assert found.expires is not None
    assert found.expires > 1_700_000_000


def test_a_certificate_that_is_not_believed_does_not_tell_and_says_why(tmp_path: Path) -> None:
    with listening(with_certificate(tmp_path)) as address:
        (found,) = look_at_listeners([address], tls_of({"security.protocol": "ssl"}))
    assert found.refused is found.expires is None
    assert "certificate verify failed" in (found.unknown or "")


@pytest.mark.parametrize("protocol", ["plaintext", "SASL_PLAINTEXT", ""])
def test_a_client_without_tls_holds_certificates_against_nothing(protocol: str) -> None:
    assert tls_of({"security.protocol": protocol}) is None
