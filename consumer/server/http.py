"""Serves GET /livez and /readyz, which say what `Health` does, and GET /metrics, which says what `collector` does.

uvicorn and starlette serve it, as they serve the API emulator: Python's own http.server is not for production by
its own word, and aiohttp's server has to be stopped from within its loop, where uvicorn takes a flag.

A connection carries one request and lives for some seconds, whatever is said on it, and there are not more of them
than a bound: whoever connects and says nothing takes no file descriptor for long, and none from a probe.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import StartError
from ..settings import ServerSettings
from .collector import Exposition
from .health import Health, HealthStatus
from .latest import Latest

log = structlog.get_logger(__name__)

STOP = 2.0
"""Seconds that the end of the process waits for the server's thread."""

LIFETIME = 10.0
"""Seconds after which a connection is cut: uvicorn bounds only the time between two requests. A probe asks and is
answered within milliseconds, and gives up by itself after a few seconds."""

MOST_CONNECTIONS = 64
"""Connections at a time; one more cuts the oldest. An orchestrator and a few people have one each for a moment.
uvicorn's own `limit_concurrency` would answer 503 to the newest, which would be the probe."""


@contextmanager
def serving(settings: ServerSettings, health: Health, latest: Latest) -> Iterator[None]:
    """Serve the endpoints for as long as the context lasts, unless the port is 0.

    Args:
        settings: where.
        health: what the probes are told.
        latest: what the run is doing.

    Raises:
        StartError: the address cannot be listened at.
    """
    if settings.port == 0:
        yield
        return
    server = uvicorn.Server(
        uvicorn.Config(
            _application(health, latest),
            http=_ShortConnection,
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            log_level="error",  # what a caller gets wrong would be a warning a request, as many as it likes
        )
    )
    thread = threading.Thread(target=server.run, args=([_listener(settings)],), name="health", daemon=True)
    thread.start()
    log.info("health endpoints", host=settings.host, port=settings.port)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(STOP)


class _ShortConnection(H11Protocol):
    """A connection with an end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        self.opened = time.monotonic()
        self._end = self.loop.call_later(LIFETIME, transport.abort)
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            oldest = min((c for c in self.connections if isinstance(c, _ShortConnection)), key=lambda c: c.opened)
            self.connections.discard(oldest)  # it goes in the loop's next step: until then it would be chosen again
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


def _listener(settings: ServerSettings) -> socket.socket:
    """Made here and not by the server, so that a port that is taken stops the start."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise StartError(
            f"the health endpoints cannot listen at server.host {settings.host}, server.port {settings.port}: "
            f"{error.strerror}. Set OPT_OUT_SERVER__PORT to a port that is free, or to 0 for no endpoints."
        ) from error


def _application(health: Health, latest: Latest) -> Starlette:
    async def livez(_: Request) -> JSONResponse:
        return _respond(health.live())

    async def readyz(_: Request) -> JSONResponse:
        return _respond(health.ready())

    exposition = Exposition(latest)

    def metrics(request: Request) -> Response:  # no coroutine: it takes milliseconds, in which a probe is answered
        body, content_type = exposition.answer(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type, "connection": "close"})

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])


def _respond(answer: HealthStatus) -> JSONResponse:
    return JSONResponse(
        {"ok": answer.ok, "reason": answer.reason},
        status_code=200 if answer.ok else 503,
        headers={"connection": "close"},  # one request a connection: nobody's next one meets its end
    )
