"""The health endpoints, GET /livez and /readyz, for whoever restarts instances and whoever waits for them.

**Live** is a service whose loop turns, which takes milliseconds, but for as long as calls in flight are waited for.
An API or a broker that is down leaves it live: a restart cures neither, and costs repeated calls. The API's answers
are waited for by another thread; a wait for the brokers, which has no end until they answer, is told to `Health`.

**Ready** is a member of the group that runs what it was given: it has been assigned, and no task is being rebuilt
from the log. What it was given may be nothing: where there are more members than partitions, one is spare, and a
rollout that waits for that one must not wait for ever.

The poll thread swaps in one immutable `Heartbeat` at each turn, and the server's thread reads whichever is there.

uvicorn and starlette serve it, as they serve the API emulator: Python's own http.server is not for production by
its own word, and aiohttp's server has to be stopped from within its loop, where uvicorn takes a flag.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ..errors import StartError
from ..settings import ServerSettings, Settings

log = structlog.get_logger(__name__)

ANSWER = 60.0
"""Seconds for all that a turn does beside waiting for calls.

Twice `kafka.start_offsets.TIMEOUT`, its longest other wait."""

STOP = 2.0
"""Seconds that the end of the process waits for the server's thread."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the poll thread says of its last turn.

    Attributes:
        ended: by the monotonic clock, in seconds.
        assigned: the group has said which tasks are this member's, be it none.
        tasks: their partitions.
        restoring: those of them that read again what had been read before.
        stopping: it was asked to stop.
        waits_for: what it waits for that only a broker can end.
    """

    ended: float
    assigned: bool = False
    tasks: tuple[int, ...] = ()
    restoring: tuple[int, ...] = ()
    stopping: bool = False
    waits_for: str | None = None


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """Whether it is so, and why or why not."""

    ok: bool
    reason: str


class Health:
    """What the endpoints say. The poll thread calls `turned` and `waiting`; any thread the others.

    Args:
        bound: seconds after which a loop that has not turned is stuck; see `bound_of`.
        monotonic: a clock, in seconds.
    """

    def __init__(self, bound: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._bound = bound
        self._monotonic = monotonic
        self._last = Heartbeat(monotonic())

    def turned(self, *, assigned: bool, tasks: tuple[int, ...], restoring: tuple[int, ...], stopping: bool) -> None:
        """A turn has ended; see `Heartbeat`."""
        self._last = Heartbeat(self._monotonic(), assigned, tasks, restoring, stopping)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """For the length of a call that has no time-out of its own and ends when a broker answers."""
        self._last = replace(self._last, waits_for=what)
        try:
            yield
        finally:
            # In one step: what comes after the wait has its whole time.
            self._last = replace(self._last, ended=self._monotonic(), waits_for=None)

    def live(self) -> HealthStatus:
        """Whether the loop turns."""
        last = self._last
        age = max(0.0, self._monotonic() - last.ended)
        if last.waits_for is not None:
            return HealthStatus(True, f"waiting for the brokers: {last.waits_for}; the loop turned {age:.1f} s ago")
        if age > self._bound:
            return HealthStatus(
                False, f"the loop has not turned for {age:.0f} s, and is stuck beyond {self._bound:.0f} s"
            )
        return HealthStatus(True, f"the loop turned {age:.1f} s ago")

    def ready(self) -> HealthStatus:
        """Whether it runs what the group gave it."""
        live, last = self.live(), self._last
        if not live.ok:
            return live
        if last.stopping:
            return HealthStatus(False, "stopping")
        if not last.assigned:
            return HealthStatus(False, "the group has not said yet which partitions are this member's")
        if last.restoring:
            return HealthStatus(False, f"reading again what was read before the start: {_listed(last.restoring)}")
        if not last.tasks:
            return HealthStatus(True, "spare: the group has more members than partitions")
        return HealthStatus(True, f"running {_listed(last.tasks)}")


def bound_of(settings: Settings) -> float:
    """Seconds after which a loop that has not turned is stuck: by default 95.

    Longer than any turn that has a reason, which is one in which partitions are taken away or the service stops; and
    by default well below the five minutes (max.poll.interval.ms) after which the group gives up a member that does
    not poll, so that a restart comes before the tasks go to others who would have to rebuild them.
    """
    waits = settings.kafka.revoke_timeout + settings.delivery.shutdown_timeout
    return ANSWER + waits.total_seconds()


@contextmanager
def serving(settings: ServerSettings, health: Health) -> Iterator[None]:
    """Serve the endpoints for as long as the context lasts, unless the port is 0.

    Raises:
        StartError: the address cannot be listened at.
    """
    if settings.port == 0:
        yield
        return
    server = uvicorn.Server(
        uvicorn.Config(
            _application(health), lifespan="off", ws="none", access_log=False, log_config=None, log_level="warning"
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


def _application(health: Health) -> Starlette:
    async def livez(_: Request) -> JSONResponse:
        return _respond(health.live())

    async def readyz(_: Request) -> JSONResponse:
        return _respond(health.ready())

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz)])


def _respond(answer: HealthStatus) -> JSONResponse:
    return JSONResponse({"ok": answer.ok, "reason": answer.reason}, status_code=200 if answer.ok else 503)


def _listed(partitions: tuple[int, ...]) -> str:
    return f"partitions {', '.join(map(str, sorted(partitions)))}"
