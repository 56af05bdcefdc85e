"""The audit of dependencies believes only who knows the advisories, and says so where nobody does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from brokers.base import free_port
from support.dependency_audit import CLEAN, FOUND, KNOWN_BAD, NOT_AUDITED, audit

LOCK = "h11==0.16.0 --hash=sha256:" + "0" * 64 + "\nidna==3.10 --hash=sha256:" + "1" * 64 + "\n"


@contextmanager
def advisories(*known: str, status: int = 200) -> Iterator[str]:
    """A service that speaks as OSV does and knows one advisory of each of these releases. Yields its URL."""

    class Osv(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            name = asked["package"]["name"]
            there = {
                "id": f"TEST-{name}",
                "summary": "made up",
                "affected": [
                    {
                        "package": {"name": name, "ecosystem": "PyPI"},
                        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
                    }
                ],
            }
            answer = {"vulns": [there]} if f"{name}=={asked['version']}" in known else {}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK, encoding="utf-8")
    return path


def test_all_is_audited_and_nothing_found(lock: Path) -> None:
    with advisories(KNOWN_BAD) as url:
        assert audit(lock, ["--osv-url", url]) == (
            CLEAN,
            "2 packages of requirements.lock audited, none with an advisory",
        )


def test_a_finding_is_named_with_the_version_that_mends_it(lock: Path) -> None:
    with advisories(KNOWN_BAD, "h11==0.16.0") as url:
        code, text = audit(lock, ["--osv-url", url])
    assert code == FOUND
    assert "h11 0.16.0: TEST-h11, mended in 99.1" in text
    assert "idna" not in text


def test_who_does_not_know_a_release_that_is_bad_is_not_believed(lock: Path) -> None:
    with advisories() as url:
        code, text = audit(lock, ["--osv-url", url])
    assert code == NOT_AUDITED
    assert KNOWN_BAD in text


@pytest.mark.parametrize("status", [404, 500])
def test_a_service_that_refuses_leaves_it_unaudited(lock: Path, status: int) -> None:
    with advisories(KNOWN_BAD, status=status) as url:
        assert audit(lock, ["--osv-url", url])[0] == NOT_AUDITED


def test_a_service_that_is_not_reached_leaves_it_unaudited(lock: Path) -> None:
    code, text = audit(lock, ["--osv-url", f"http://127.0.0.1:{free_port()}/v1/query"])
    assert code == NOT_AUDITED
    assert "no advisories were reached" in text


def test_an_empty_list_is_not_audited(lock: Path) -> None:
    lock.write_text("", encoding="utf-8")
    with advisories(KNOWN_BAD) as url:
        assert audit(lock, ["--osv-url", url])[0] == NOT_AUDITED
