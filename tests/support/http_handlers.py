"""Serves a handler of the standard library on this machine: for tests that ask a server from another process."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class QuietHandler(BaseHTTPRequestHandler):
    """Keeps connections, and writes no line for a request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.on_post(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    @abstractmethod
    def on_post(self, body: bytes) -> None:
        """Answer a POST."""

    def log_message(self, *_: Any) -> None: ...


class ApiHandler(QuietHandler):
    """Of an API: a HEAD is answered 404, as whoever asks for the time does."""

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def served(handler: type[QuietHandler]) -> Iterator[str]:
    """Serve by this handler until the context ends, on a free port of this machine. Gives the URL without a path."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()
