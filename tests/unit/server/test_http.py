"""The health endpoints, the status page and the manual over real HTTP."""

from __future__ import annotations

import html
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import pytest
from brokers.base import free_port
from support.deployment import until
from support.health import BOUND, Told
from support.run_states import NOW, OFFER, a_partner, a_snapshot, denied, shifted, well
from support.snapshots import FULL

from consumer import manual
from consumer.errors import StartError
from consumer.server import http
from consumer.server.health import Health
from consumer.server.http import serving
from consumer.server.latest import Latest
from consumer.settings import ServerSettings
from consumer.snapshot import Snapshot


@pytest.fixture
def health() -> Told:
    return Told()


@contextmanager
def served(health: Health, latest: Latest | None = None, **changes: Any) -> Iterator[str]:
    settings = ServerSettings(port=free_port(), **changes)
    with serving(settings, health, latest or Latest()):
        yield f"http://127.0.0.1:{settings.port}"


def test_the_endpoints_answer_200_or_503_with_the_reason(health: Told) -> None:
    with served(health) as url:
        found = httpx.get(f"{url}/livez")
        assert (found.status_code, found.json()["ok"]) == (200, True)
        assert found.headers["content-type"] == "application/json"
        found = httpx.get(f"{url}/readyz")
        assert (found.status_code, found.json()) == (503, {"ok": False, "reason": health.ready().reason})
        health.turn()
        found = httpx.get(f"{url}/readyz")
        assert (found.status_code, found.json()) == (200, {"ok": True, "reason": "running partitions 0"})
        health.now += BOUND + 1
        assert [httpx.get(url + path).status_code for path in ("/livez", "/readyz")] == [503, 503]


def test_nothing_else_is_served_and_nothing_can_be_written(health: Told) -> None:
    with served(health) as url:
        nowhere = ("/live", "/metric", "/status/", "/favicon.ico")
        assert {httpx.get(url + path).status_code for path in nowhere} == {404}
        for path in ("/livez", "/metrics", "/", "/status", "/manual/", "/manual/runbook"):
            others = [httpx.request(method, url + path).status_code for method in ("POST", "PUT", "DELETE", "PATCH")]
            assert others == [405] * 4
            assert httpx.head(url + path).status_code == 200


def test_a_caller_that_says_nothing_hinders_neither_the_others_nor_the_end(health: Told) -> None:
    with served(health) as url, socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
        assert httpx.get(f"{url}/livez").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/livez")


def test_two_hundred_callers_that_say_nothing_are_bounded_in_number_and_hinder_no_probe(health: Told) -> None:
    with served(health) as url, ExitStack() as callers:
        port = int(url.rpartition(":")[2])
        silent = [callers.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(200)]
        for caller in silent[::2]:
            with suppress(OSError):  # it may be cut already
                caller.sendall(b"GET /livez HT")
        assert httpx.get(f"{url}/livez", timeout=5).status_code == 200
        until(lambda: sum(not is_cut(c) for c in silent) < http.MOST_CONNECTIONS, within=5, what="the oldest to be cut")
        assert [is_cut(caller) for caller in silent[-8:]] == [False] * 8, "the newest have their time"


def test_a_caller_is_cut_after_its_time_whatever_it_says(health: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LIFETIME", 0.3)
    with served(health) as url, ExitStack() as callers:
        port = int(url.rpartition(":")[2])
        silent, slow = (callers.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(2))

        def both_are_cut() -> bool:
            with suppress(OSError):
                slow.sendall(b"G")
            return is_cut(silent) and is_cut(slow)

        until(both_are_cut, within=5, what="both to be cut")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5_000_000,
        b"GET /" + b"x" * 5_000_000,
        bytes(range(256)) * 10,
        b"GET /\0 HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ],
    ids=["head without end", "path without end", "no HTTP", "NUL", "upgrade", "path upwards"],
)
def test_what_is_no_request_is_refused_or_answered_at_once_and_fills_no_log(
    health: Told, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with served(health) as url, socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5) as caller:
        answer = b""
        with suppress(ConnectionError):  # it stops reading
            caller.sendall(request_)
        with suppress(ConnectionError):
            while part := caller.recv(65_536):
                answer += part
        assert answer.split(b"\r\n")[0] in (
            b"",
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 400 Bad Request",
            b"HTTP/1.1 404 Not Found",
        )
        assert b"root:" not in answer
        assert httpx.get(f"{url}/livez").status_code == 200
    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_a_connection_carries_one_request(health: Told) -> None:
    with served(health) as url:
        found = httpx.get(f"{url}/livez")
        assert (found.status_code, found.headers["connection"]) == (200, "close")


def is_cut(caller: socket.socket) -> bool:
    """Whether the server has closed the connection."""
    caller.setblocking(False)
    try:
        return caller.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


# --- the page, its JSON and the manual


def test_the_page_and_its_json_say_what_the_newest_snapshot_says(health: Told) -> None:
    latest = Latest()
    health.turn()
    with served(health, latest) as url:
        assert "The loop has not turned yet" in httpx.get(url).text
        assert httpx.get(f"{url}/status").json()["run"] is None
        latest.swap_in(moved(well()))
        assert "<h1>All is well</h1>" in httpx.get(url).text
        assert httpx.get(f"{url}/status").json()["verdict"] == "well"
        latest.swap_in(moved(denied()))
        page, told = httpx.get(url), httpx.get(f"{url}/status")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert told.headers["content-type"] == "application/json"
    (problem,) = told.json()["problems"]
    assert html.escape(problem["sentence"].removeprefix("partition"), quote=False) in page.text
    assert f'href="{problem["runbook"]}"' in page.text


@pytest.mark.parametrize("shown", [False, True])
def test_ids_are_shown_only_where_the_setting_says_so_and_never_as_html(health: Told, shown: bool) -> None:
    latest = Latest()
    latest.swap_in(moved(denied()))
    with served(health, latest, show_ids=shown) as url:
        page, told = httpx.get(url).text, httpx.get(f"{url}/status").text
    assert ("5f2c8e" in told, "5f2c8e" in page, html.escape(OFFER) in page) == (shown, shown, shown)
    assert OFFER not in page


def test_every_answer_says_what_a_browser_may_do_with_it(health: Told) -> None:
    with served(health) as url:
        for path in ("/", "/status", "/manual/", "/livez", "/nothing"):
            headers = httpx.get(url + path).headers
            assert headers["content-security-policy"].startswith("default-src 'none'; ")
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store"
            assert headers["connection"] == "close"


def test_the_manual_of_this_version_is_served_page_by_page(health: Told) -> None:
    with served(health) as url:
        assert httpx.get(f"{url}/manual").headers["location"] == "manual/"
        index = httpx.get(f"{url}/manual/")
        assert '<a href="runbook">runbook</a>' in index.text
        for page in manual.pages():
            assert httpx.get(f"{url}/manual/{page.name}").status_code == 200
        for wrong in ("nothing", "..%2fcli", "runbook.md", "%00", "a" * 5_000):
            assert httpx.get(f"{url}/manual/{wrong}").status_code == 404


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("LOCALHOST:9", 200),
        ("[::1]:8080", 200),
        ("10.1.2.3", 200),
        ("evil.example", 421),
        ("evil.example:8080", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("", 421),
    ],
)
def test_where_only_this_machine_is_listened_to_nobody_may_ask_by_a_name(health: Told, host: str, code: int) -> None:
    with served(health) as url:
        for path in ("/", "/status", "/livez"):
            assert httpx.get(url + path, headers={"host": host}).status_code == code


def test_where_others_may_connect_they_may_by_any_name(health: Told) -> None:
    with served(health, host="0.0.0.0") as url:
        assert httpx.get(f"{url}/livez", headers={"host": "opt-out.prod.svc:8080"}).status_code == 200


def moved(snapshot: Snapshot) -> Snapshot:
    """To the present."""
    return shifted(snapshot, time.time_ns() // 1_000_000 - NOW)


def test_a_port_that_is_taken_is_said_with_the_setting(health: Told) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = f"server.port {port}: Address already in use.*OPT_OUT_SERVER__PORT"
        with pytest.raises(StartError, match=words), serving(ServerSettings(port=port), health, Latest()):
            pass


def test_a_host_that_is_not_this_machine_is_said_with_the_setting(health: Told) -> None:
    elsewhere = ServerSettings(host="192.0.2.1")
    with pytest.raises(StartError, match=r"server\.host 192\.0\.2\.1"), serving(elsewhere, health, Latest()):
        pass


def test_port_0_serves_nothing(health: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_server", lambda *_, **__: pytest.fail("it listens"))
    with serving(ServerSettings(port=0), health, Latest()):
        pass


def test_metrics_are_answered_in_the_format_that_is_asked_for(health: Told) -> None:
    latest = Latest()
    with served(health, latest) as url:
        latest.swap_in(FULL)
        found = httpx.get(f"{url}/metrics")
        assert (found.status_code, found.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert found.headers["connection"] == "close"
        assert "opt_out_tasks 1.0" in found.text.splitlines()
        asked = httpx.get(f"{url}/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert asked.headers["content-type"].startswith("application/openmetrics-text")
        head = httpx.head(f"{url}/metrics")
        assert (head.status_code, head.content) == (200, b"")
        assert httpx.post(f"{url}/metrics").status_code == 405


def test_half_a_character_in_a_name_breaks_neither_the_page_nor_its_json(health: Told) -> None:
    latest = Latest()
    latest.swap_in(moved(a_snapshot(partners=(a_partner("half \ud83d"),))))
    with served(health, latest) as url:
        assert httpx.get(url).status_code == 200
        assert httpx.get(f"{url}/status").json()["run"]["partners"][0]["partner_code"] == "half \ud83d"
