"""A receiver of spans: real HTTP, and it reads the protobuf that OTLP has."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support.http_handlers import QuietHandler, served


class OtlpReceiver:
    """Takes spans at any path.

    Attributes:
        status: what it answers; None: it takes the request and never answers.
        spans: of the requests that it answered with 200.
        resources: the attributes of those who sent them.
        asked: is set with each request, whatever becomes of it.
    """

    def __init__(self) -> None:
        self.status: int | None = 200
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.tokens: list[str | None] = []
        self.asked = threading.Event()
        self.endpoint = ""
        self._ended = threading.Event()

    def take(self, path: str, token: str | None, body: bytes) -> int | None:
        """The status for a request."""
        self.paths.append(path)
        self.tokens.append(token)
        self.asked.set()
        if self.status == 200:
            for of_one in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(values(of_one.resource))
                self.spans += [span for scope in of_one.scope_spans for span in scope.spans]
        return self.status

    @contextmanager
    def serving(self) -> Iterator[OtlpReceiver]:
        """Serve, on a free port of this machine, until the context ends."""
        receiver = self

        class Handler(QuietHandler):
            def on_post(self, body: bytes) -> None:
                status = receiver.take(self.path, self.headers.get("Authorization"), body)
                if status is None:
                    receiver._ended.wait()
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        with served(Handler) as self.endpoint:
            try:
                yield self
            finally:
                self._ended.set()


def values(holder: Any) -> dict[str, Any]:
    """The attributes of a span or a resource."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in holder.attributes}
