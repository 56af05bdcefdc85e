"""The delivery on an event loop and a thread of its own, beside the thread that polls Kafka."""

from __future__ import annotations

import asyncio
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from random import Random
from typing import Any, Protocol, TypeAlias

from ..calls import CallOwner, CallResult, OptOutCall
from ..errors import StopError
from ..settings import DeliverySettings
from ..telling import Telling
from .doing import NOTHING_YET, DeliverySnapshot
from .gate import Condition
from .queue import Caller, Delivery

BATCH = 5_000
"""So many submitted calls are taken over in one step of the loop, lest the calls in flight wait for them."""


SNAPSHOT_EVERY = 0.5
"""Seconds between two looks at what the delivery is doing: whoever asks is told what the last one has found."""


class Connection(Caller, Protocol):
    """A caller with connections, which are closed at the end."""

    def credential_of(self, partner_code: str) -> Hashable:
        """What rate limit and Retry-After count by for this partner."""

    async def aclose(self) -> None:
        """Close all connections."""


Connect: TypeAlias = Callable[[int], Connection]
"""Connects; is given the most connections that may be open at a time."""


class Deliveries(Protocol):
    """Whoever makes the calls, as the poll thread knows it; see `DeliveryThread` for what each does."""

    @property
    def results(self) -> queue.SimpleQueue[CallResult]:
        """What became of the calls."""

    def start(self) -> None:
        """Take calls from now on."""

    def submit(self, calls: Iterable[OptOutCall]) -> None:
        """Take over calls; each gets exactly one result."""

    def retry_refused(self, call: OptOutCall) -> None:
        """Take over a call that was refused and cannot be dead-lettered."""

    def cancel(self, owners: Collection[CallOwner]) -> None:
        """No new calls for these owners."""

    def withdraw(self, owner: CallOwner, chain_starts: Collection[int]) -> None:
        """No new tries of the owner's calls of these chains."""

    def release(self, offers: Mapping[tuple[str, str], str]) -> None:
        """No new calls for these offers."""

    def set_share(self, fraction: float) -> None:
        """Use this part of the deployment's rate limit."""

    def snapshot(self) -> DeliverySnapshot:
        """What they are doing, as of about now."""

    def check(self) -> None:
        """Raises:
        StopError: it has failed.
        """

    def stop(self, timeout: float) -> None:
        """No new calls; wait up to `timeout` seconds for those in flight, then end."""


class DeliveryThread:
    """Runs a `Delivery` with its connection. Every method may be called from any thread."""

    def __init__(
        self,
        connect: Connect,
        settings: DeliverySettings,
        *,
        random: Random | None = None,
        max_refused_run: int = 100,
        conditions: Sequence[Condition] = (),
    ) -> None:
        """`connect` is called on the thread's loop. `max_refused_run`, `conditions`: see `Delivery`."""
        self.results: queue.SimpleQueue[CallResult] = queue.SimpleQueue()
        self._connect, self._settings = connect, settings
        self._max_refused_run = max_refused_run
        self._conditions = conditions
        self._random = random or Random()  # noqa: S311 - spreads retries, guards nothing
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._started = threading.Event()
        self._inbox: deque[Callable[[Delivery], None]] = deque()
        """What is to be done with the delivery on its loop, in this order."""
        self._scheduled = threading.Lock()
        self._stopping = False
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._delivery: Delivery | None = None
        self._snapshot = NOTHING_YET
        """Made on the loop, which alone may look into the delivery, and swapped as a whole."""
        self._telling = Telling()
        self._stop: asyncio.Future[float] | None = None

    def start(self) -> None:
        """Start the thread; returns when it takes calls. Raises StopError if it could not be started."""
        self._thread.start()
        self._started.wait()
        self.check()

    def submit(self, calls: Iterable[OptOutCall]) -> None:
        """Take over calls; each gets exactly one result in `results`."""
        rest = iter(calls)
        while batch := list(islice(rest, BATCH)):
            self._send(partial(Delivery.submit, calls=batch))

    def retry_refused(self, call: OptOutCall) -> None:
        """Take over a call that was refused and cannot be dead-lettered: it is tried again for as long as it is."""
        self._send(partial(Delivery.submit, calls=[call], retry_refused=True))

    def cancel(self, owners: Collection[CallOwner]) -> None:
        """No new calls for these owners; see `Delivery.cancel`."""
        self._send(partial(Delivery.cancel, owners=frozenset(owners)))

    def withdraw(self, owner: CallOwner, chain_starts: Collection[int]) -> None:
        """No new tries of the owner's calls of these chains; see `Delivery.withdraw`."""
        self._send(partial(Delivery.withdraw, owner=owner, chain_starts=frozenset(chain_starts)))

    def release(self, offers: Mapping[tuple[str, str], str]) -> None:
        """No new calls for these offers; see `Delivery.release`."""
        self._send(partial(Delivery.release, offers=offers))

    def set_share(self, fraction: float) -> None:
        """Use this part of the deployment's rate limit; see `Delivery.set_share`."""
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"a share of the rate limit is between 0 and 1, not {fraction}")
        self._send(partial(Delivery.set_share, fraction=fraction))

    def snapshot(self) -> DeliverySnapshot:
        """What the delivery was doing less than a moment (`SNAPSHOT_EVERY`) ago."""
        return self._snapshot

    def check(self) -> None:
        """Raise StopError if the thread has died, or something in it has failed that must not."""
        if self._error is not None:
            raise StopError(
                f"the calls to the insurer have failed in a way that is a fault of this program, not of the network: "
                f"{self._error!r}; restart, and report it with the log"
            ) from self._error
        if self._started.is_set() and not self._stopping and not self._thread.is_alive():
            raise StopError("the thread that makes the calls to the insurer has ended by itself; restart")

    def stop(self, timeout: float) -> None:
        """No new calls; waits up to `timeout` seconds for those in flight, then cancels them and ends the thread."""
        self._stopping = True
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._call(self._set_stop, timeout)
            # Closing connections takes a moment more; the thread is a daemon, so it can't hold the process.
            self._thread.join(timeout + 2.0)

    def _send(self, action: Callable[[Delivery], None]) -> None:
        """Have this done with the delivery, on its loop."""
        self.check()
        self._inbox.append(action)
        # One wake-up for whatever has come in until it is served.
        if self._scheduled.acquire(blocking=False):
            self._call(self._serve)

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        assert self._loop is not None, "start() comes first"  # noqa: S101 - a mistake in the calling code
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            # The loop is closed: after stop() there is nothing left to do, otherwise it died.
            self.check()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # surfaces in check()
            self._error = self._error or error
        finally:
            self._started.set()

    async def _main(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        stop = self._stop = loop.create_future()
        connection = self._connect(self._settings.concurrency)
        self._delivery = Delivery(
            connection,
            self._settings,
            self.results.put,
            credential_of=connection.credential_of,
            random=self._random,
            max_refused_run=self._max_refused_run,
            conditions=self._conditions,
        )
        self._look(self._delivery)
        self._started.set()
        try:
            await self._delivery.close(await stop)
            self._take_snapshot(self._delivery)
        finally:
            await connection.aclose()

    def _look(self, delivery: Delivery) -> None:
        """Look at what the delivery is doing, time and again."""
        self._take_snapshot(delivery)
        asyncio.get_running_loop().call_later(SNAPSHOT_EVERY, self._look, delivery)

    def _take_snapshot(self, delivery: Delivery) -> None:
        with self._telling:
            self._snapshot = delivery.snapshot()

    def _set_stop(self, timeout: float) -> None:
        while self._inbox:
            self._take()
        if self._stop is not None and not self._stop.done():
            self._stop.set_result(timeout)

    def _serve(self) -> None:
        """Do one thing, and come back for the next one when the loop has seen to everything else."""
        self._take()
        if self._inbox:
            asyncio.get_running_loop().call_soon(self._serve)
            return
        self._scheduled.release()
        # Something may have come in between the look and the release, and found the wake-up still pending.
        if self._inbox and self._scheduled.acquire(blocking=False):
            asyncio.get_running_loop().call_soon(self._serve)

    def _take(self) -> None:
        if self._inbox and self._delivery is not None:
            self._inbox.popleft()(self._delivery)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and _passed_through_us(error):
            self._error = self._error or error
        loop.default_exception_handler(context)


def _passed_through_us(error: BaseException) -> bool:
    """Whether our code was running; what a connection's own callbacks raise costs no more than that connection."""
    return any(
        str(frame.f_globals.get("__name__")).startswith(f"{__name__.partition('.')[0]}.")
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )
