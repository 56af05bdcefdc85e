"""What time the API has, asked of a real server."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from consumer import __version__
from consumer.settings import ApiSettings
from consumer.xcover.api_clock import ApiClock, time_of

DATE = 1_795_348_800.0


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"Date": formatdate(DATE, usegmt=True)}, DATE),
        ({"Date": "Mon, 23 Nov 2026 12:00:00"}, 1_795_435_200.0),
        ({}, None),
        ({"Date": "yesterday"}, None),
        ({"Date": "Mon, 23 Nov 99999 12:00:00 GMT"}, None),
        ({"Date": formatdate(DATE, usegmt=True), "Age": "60"}, None),
    ],
    ids=["a Date", "without a zone", "none", "no date", "beyond the calendar", "out of a cache"],
)
def test_an_answer_tells_when_it_was_made(headers: Mapping[str, str], told: float | None) -> None:
    assert time_of(headers) == told


Answer = Mapping[str, str] | int | None


@contextmanager
def server(*answers: Answer) -> Iterator[tuple[str, list[tuple[str, str, Mapping[str, str]]]]]:
    """A server that gives these answers in turn: a status, or headers instead of its own; None: it hangs up."""
    requests: list[tuple[str, str, Mapping[str, str]]] = []
    script = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            requests.append((self.command, self.path, dict(self.headers)))
            answer = script.pop(0)
            if answer is None:
                return
            if isinstance(answer, int):
                self.send_response(answer)
                if 300 <= answer < 400:
                    self.send_header("Location", "/elsewhere")
            else:
                self.send_response_only(200)
                for name, value in answer.items():
                    self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/x", requests
        http.shutdown()


Told = tuple[float | None, float, float]


def clock_of(url: str) -> ApiClock:
    return ApiClock(ApiSettings(base_url=url, key="k", secret="s", timeout="2s", connect_timeout="1s"))  # type: ignore[arg-type]


def ask(clock: ApiClock, told: queue.Queue[Told]) -> None:
    clock.ask(lambda *what: told.put(what))


def finished(clock: ApiClock) -> None:
    """Wait until the question has ended, whether it was answered or not."""
    assert clock._asking.acquire(timeout=10)
    clock._asking.release()


@pytest.mark.parametrize("status", [200, 204, 302, 404, 405, 401, 503])
def test_any_status_tells_the_time_and_nothing_is_followed_or_given_away(status: int) -> None:
    told: queue.Queue[Told] = queue.Queue()
    with server(status) as (url, requests):
        before = time.monotonic()
        ask(clock_of(url), told)
        date, sent, received = told.get(timeout=10)
    assert date is not None
    assert abs(date - time.time()) < 10
    assert before <= sent <= received <= time.monotonic()
    ((command, path, headers),) = requests
    assert (command, path) == ("HEAD", "/x")
    assert not {"authorization", "x-api-key", "cookie"} & {name.lower() for name in headers}
    assert headers["User-Agent"] == f"offer-opt-out/{__version__}"


def test_an_answer_without_a_date_is_told_as_such() -> None:
    told: queue.Queue[Told] = queue.Queue()
    with server({"Server": "clockless"}) as (url, _):
        ask(clock_of(url), told)
        assert told.get(timeout=10)[0] is None


def test_what_does_not_answer_tells_nothing_and_is_asked_again() -> None:
    told: queue.Queue[Told] = queue.Queue()
    with server(None, 404) as (url, requests):
        clock = clock_of(url)
        ask(clock, told)
        finished(clock)
        assert told.empty()
        ask(clock, told)
        assert told.get(timeout=10)[0] is not None
        assert len(requests) == 2
    ask(clock, told)
    finished(clock)
    assert told.empty()


def test_one_question_at_a_time() -> None:
    told: queue.Queue[Told] = queue.Queue()
    with server(404, 404) as (url, requests):
        clock = clock_of(url)
        with clock._asking:
            ask(clock, told)
        ask(clock, told)
        told.get(timeout=10)
        finished(clock)
    assert len(requests) == 1


def test_an_answer_that_never_ends_is_given_up_and_the_api_is_asked_again() -> None:
    """Byte by byte: no single read takes long."""
    told: queue.Queue[Told] = queue.Queue()
    stopped = threading.Event()
    asked: queue.Queue[None] = queue.Queue()

    def trickle(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection = listener.accept()[0]
                asked.put(None)
                with suppress(OSError), connection:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                    while not stopped.wait(0.1):
                        connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=trickle, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        clock = ApiClock(ApiSettings(base_url=url, key="k", secret="s", timeout="500ms", connect_timeout="500ms"))  # type: ignore[arg-type]
        for _ in range(2):
            ask(clock, told)
            asked.get(timeout=10)
            finished(clock)
        stopped.set()
    assert told.empty()
