"""Serves what people and machines ask of a run; nothing that is asked here changes anything.

    /livez, /readyz     what `Health` says
    /metrics            what `collector` does
    /                   the page: what waits, why, since when, and what to do
    /status             the same as JSON
    /manual/            the manual of this version

uvicorn and starlette serve it, as they serve the API emulator: Python's own http.server is not for production by
its own word, and aiohttp's server has to be stopped from within its loop, where uvicorn takes a flag.

A connection carries one request and lives for some seconds, whatever is said on it, and there are not more of them
than a bound: whoever connects and says nothing takes no file descriptor for long, and none from a probe.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import StartError
from ..manual import INDEX
from ..settings import ServerSettings
from .collector import Exposition
from .frame import policy
from .fresh import Fresh
from .health import Health, HealthStatus
from .latest import Latest
from .manual_page import manual_page
from .problems import Pulse
from .status import Status, document, status_of
from .status_page import status_page

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
        settings: where, and whether customers' ids are shown.
        health: says whether it is live and ready.
        latest: what the run is doing.

    Raises:
        StartError: the address cannot be listened at.
    """
    if settings.port == 0:
        yield
        return
    server = uvicorn.Server(
        uvicorn.Config(
            _application(settings, health, latest),
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


def _application(settings: ServerSettings, health: Health, latest: Latest) -> Starlette:
    def status() -> Status:
        now = time.time_ns() // 1_000_000
        hour = latest.history.hour(now)
        return status_of(latest.snapshot, Pulse.of(health), hour, now, show_ids=settings.show_ids)

    async def livez(_: Request) -> Response:
        return _respond(health.live())

    async def readyz(_: Request) -> Response:
        return _respond(health.ready())

    exposition = Exposition(latest)

    def metrics(request: Request) -> Response:  # no coroutine: it takes milliseconds, in which a probe is answered
        body, content_type = exposition.answer(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    # Nor these: what they take, and a page of the manual the first time, is time in which a probe would wait.

    # Half of a character, which JSON can spell, has no bytes in UTF-8: it is written as a reference, or as JSON has it.
    html = Fresh(lambda: status_page(status()).encode("utf-8", "xmlcharrefreplace"))
    as_text = Fresh(lambda: json.dumps(document(status())))

    def page(_: Request) -> Response:
        return HTMLResponse(html.get(latest.snapshot))

    def as_json(_: Request) -> Response:
        return Response(as_text.get(latest.snapshot), media_type="application/json")

    def manual(request: Request) -> Response:
        try:
            return HTMLResponse(manual_page(request.path_params.get("name", INDEX)))
        except LookupError:
            return PlainTextResponse("There is no such page; /manual/ lists those there are.\n", status_code=404)

    def to_manual(_: Request) -> Response:
        return RedirectResponse(
            "manual/"
        )  # as the browser sees it: what stands before us may have put a path before it

    app = Starlette(
        routes=[
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/", page),
            Route("/status", as_json),
            Route("/manual", to_manual),
            Route("/manual/", manual),
            Route("/manual/{name}", manual),
        ],
        middleware=[Middleware(_Guard, only_by_address=_is_loopback(settings.host))],
    )
    # It would send a browser to whatever host the request names.
    app.router.redirect_slashes = False
    return app


class _Guard:
    """Says with each answer what a browser may do with it, and refuses a page of another site.

    A site may have its name resolve to 127.0.0.1 once its page is loaded, and a browser then lets that page read what
    is served here (DNS rebinding). Such a request names that site as its host. So where only this machine is listened
    to, the host has to be an address or `localhost`. Where others may connect, they do so by whatever name they know
    the instance by, and who may reach it is for the network to say.
    """

    def __init__(self, app: ASGIApp, *, only_by_address: bool) -> None:
        self._app = app
        self._only_by_address = only_by_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS | {"content-security-policy": policy()})
            await send(message)

        app = self._app
        if self._only_by_address and not _is_address(Headers(scope=scope).get("host", "")):
            app = _WRONG_HOST
        await app(scope, receive, send_guarded)


_HEADERS = {
    "connection": "close",  # one request a connection: nobody's next one meets its end
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}

_WRONG_HOST = PlainTextResponse(
    "Only this machine is listened to: ask by its address or as localhost. Set server.host to be asked by a name.\n",
    status_code=421,
)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback)


def _is_address(host: str) -> bool:
    """Whether a host, with a port or without, is an address or this machine's own name for itself."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _respond(answer: HealthStatus) -> Response:
    return JSONResponse({"ok": answer.ok, "reason": answer.reason}, status_code=200 if answer.ok else 503)
