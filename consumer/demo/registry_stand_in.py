"""A stand-in for a schema registry, for the demo alone: it knows some schemas by their ids and takes no other.

It answers what the service asks while it runs, by Confluent's API: the schema of an id, and the id of a schema. What a
registry is for, to refuse what is not compatible, it does not do.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_NOT_FOUND = 404, {"error_code": 40403, "message": "Schema not found"}


@contextmanager
def registry_stand_in(schemas: Mapping[int, str]) -> Iterator[str]:
    """Serve these schemas, by their ids, at a free loopback port for as long as the context lasts; gives the URL."""

    class Handler(_Handler):
        known = schemas

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="registry", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    known: Mapping[int, str]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """GET /schemas/ids/{id}."""
        folder, _, name = self.path.partition("?")[0].rpartition("/")
        text = self.known.get(int(name)) if folder == "/schemas/ids" and name.isdecimal() else None
        self._answer(*(_NOT_FOUND if text is None else (200, {"schema": text})))

    def do_POST(self) -> None:
        """POST /subjects/{subject} with a schema: its id."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = [number for number, text in self.known.items() if json.loads(text) == json.loads(body["schema"])]
        subject = self.path.partition("?")[0].removeprefix("/subjects/")
        if not found or not self.path.startswith("/subjects/") or "/" in subject:
            self._answer(*_NOT_FOUND)
        else:
            self._answer(200, {"subject": subject, "id": found[0], "version": 1, "schema": body["schema"]})

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""

    def _answer(self, status: int, document: Mapping[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
