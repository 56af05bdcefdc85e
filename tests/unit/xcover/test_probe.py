"""Questions that change nothing, to a real server: what is asked, and what is told of each trouble."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.certificates import AUTHORITY, SERVER, SERVER_KEY

from consumer.settings import ApiSettings
from consumer.xcover import probe
from consumer.xcover.auth import sign
from consumer.xcover.probe import Reply, Unreached, ask_base_url, ask_for_partners, url_of_offers

Request = tuple[str, str, dict[str, str]]


@contextmanager
def server(*, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[Request]]]:
    """Answers 403 to what is not signed, else 405. Yields the host with its port, and what was asked."""
    asked: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append((self.command, self.path, dict(self.headers)))
            self.send_response(405 if "Authorization" in self.headers else 403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A handshake that was given up is what some of these are about."""

    with Server(("127.0.0.1", 0), Handler) as http:
        if tls is not None:
            http.socket = tls.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{http.server_address[1]}", asked
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def api(url: str, **more: object) -> ApiSettings:
    return ApiSettings.model_validate({"base_url": url, "key": "k", "secret": "s", "timeout": "1s", **more})


def test_the_base_url_is_asked_by_head_without_credentials_and_tells_the_time() -> None:
    with server() as (host, asked):
        reply = ask_base_url(api(f"http://{host}/x"))
    ((method, path, headers),) = asked
    assert (method, path, reply.status, reply.trouble) == ("HEAD", "/x", 403, None)
    assert not {"Authorization", "X-Api-Key"} & headers.keys()
    assert reply.date is not None
    assert reply.sent - 2 < reply.date < reply.received + 1


def test_each_partner_is_asked_for_by_a_signed_get_where_no_offer_is_named() -> None:
    with server() as (host, asked):
        settings = api(f"http://{host}/x", credentials={"B/C": {"key": "own", "secret": "t"}})
        replies = ask_for_partners(settings, ["ACME", "B/C"])
    assert (replies.unsigned.status, replies.unasked) == (403, [])
    assert {partner: reply and reply.status for partner, reply in replies.signed.items()} == {"ACME": 405, "B/C": 405}
    assert {method for method, _, _ in asked} == {"GET"}
    paths = {path: headers for _, path, headers in asked if "Authorization" in headers}
    assert paths.keys() == {"/x/partners/ACME/offers/", "/x/partners/B%2FC/offers/"}
    for path, key, secret in (("/x/partners/ACME/offers/", "k", "s"), ("/x/partners/B%2FC/offers/", "own", "t")):
        headers = paths[path]
        assert headers["X-Api-Key"] == key
        assert headers["Authorization"] == sign(key, secret, headers["Date"])


def test_a_partner_without_credentials_is_not_asked_for() -> None:
    with server() as (host, asked):
        settings = api(f"http://{host}", key=None, secret=None, credentials={"ACME": {"key": "k", "secret": "s"}})
        replies = ask_for_partners(settings, ["BETA"])
    assert replies.signed == {"BETA": None}
    assert [headers.get("Authorization") for _, _, headers in asked] == [None]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/partners/{partner_code}/offers/{offer_id}/opt_out/", "https://api.test/x/partners/A%2F/offers/"),
        ("/o/{offer_id}/p/{partner_code}", "https://api.test/x/o/"),
        ("/{partner_code}-{offer_id}", "https://api.test/x/"),
    ],
)
def test_the_question_ends_before_the_id_of_the_offer(path: str, asked: str) -> None:
    assert url_of_offers(api("https://api.test/x", path=path), "A/") == asked


def trouble(url: str, **more: object) -> Unreached | None:
    reply = ask_base_url(api(url, **more))
    assert reply.words
    return reply.trouble


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def test_each_trouble_is_told_from_the_others(tmp_path: Path) -> None:
    (tmp_path / "server").write_text(SERVER + SERVER_KEY)
    (tmp_path / "ca").write_text(AUTHORITY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server")
    assert trouble("http://nowhere.invalid", allow_plain_http=True) is Unreached.NAME
    assert trouble(f"http://127.0.0.1:{closed_port()}") is Unreached.CONNECTION
    assert trouble("http://127.0.0.1:1", proxy=f"http://127.0.0.1:{closed_port()}") is Unreached.PROXY
    with server(tls=context) as (host, _):
        assert trouble(f"https://{host}") is Unreached.CERTIFICATE
        port = host.partition(":")[2]
        assert ask_base_url(api(f"https://localhost:{port}", ca_file=tmp_path / "ca")).status == 403
    with server() as (host, _):
        assert trouble(f"https://{host}") is Unreached.TLS
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert trouble(f"http://127.0.0.1:{silent.getsockname()[1]}") is Unreached.SILENCE


def test_partners_about_whom_nothing_comes_in_time_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.xcover.probe.WITHIN", 0.3)
    never = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            # The one without a signature is answered, and what comes then is not.
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            never.wait(30)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        settings = api(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout="5s")
        replies = ask_for_partners(settings, ["ACME"])
        never.set()
        thread.join(10)
    assert replies.unsigned.status == 403
    assert replies.unasked == ["ACME"]


def test_all_questions_about_partners_are_within_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one without a signature is one of them, so that a check, which is cut 2 s later, tells what was answered."""

    async def slow(transport: object, method: str, url: str, headers: dict[str, str]) -> Reply:
        await asyncio.sleep(0.4 if "/P0/" in url and headers else 5)
        return Reply(403)

    monkeypatch.setattr(probe, "_ask", slow)
    monkeypatch.setattr(probe, "WITHIN", 0.6)
    begin = time.monotonic()
    replies = ask_for_partners(api("http://127.0.0.1:1"), [f"P{n}" for n in range(20)])
    assert time.monotonic() - begin < 1.5
    assert replies.signed == {"P0": Reply(403)}, "what was answered is kept"
    assert replies.unasked == [f"P{n}" for n in range(1, 20)]
    assert (replies.unsigned.status, replies.unsigned.trouble) == (None, Unreached.SILENCE)
