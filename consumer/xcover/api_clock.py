"""What time the API has: by the `Date` of any answer, and by a question of its own where no calls are made."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TypeAlias

import httpx
import structlog

from ..settings import ApiSettings
from ..settings.outside import proxy_of, tls_context
from .auth import USER_AGENT

log = structlog.get_logger(__name__)

_HEADERS = {"User-Agent": USER_AGENT, "Cache-Control": "no-cache"}

OnTime: TypeAlias = Callable[[float | None, float, float], None]
"""Is told of an answer: its Date in seconds since the epoch, None if it has none; when the request was sent and when
its answer came, by the monotonic clock."""


def time_of(headers: Mapping[str, str]) -> float | None:
    """When an answer was made, in seconds since the epoch, to the second; None if it does not tell.

    An answer out of a cache, which has an `Age`, tells of another time.
    """
    date = headers.get("Date")
    if date is None or "Age" in headers:
        return None
    try:
        when = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


class ApiClock:
    """Asks the API for the time, by a HEAD request to `api.base_url`, on a thread that lives for the question.

    HEAD is safe (RFC 9110, 9.2.1): it is no call, and changes nothing. It has no credentials; redirects are not
    followed; any status will do, since only the Date counts.
    """

    def __init__(self, settings: ApiSettings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._url = settings.base_url
        connect, whole = settings.connect_timeout.total_seconds(), settings.timeout.total_seconds()
        self._timeout = httpx.Timeout(whole, connect=connect)
        # The client's own bounds are those of one read each, and there is no end to an answer that comes byte by byte.
        self._in_all = connect + whole
        self._monotonic = monotonic
        self._asking = threading.Lock()

    def ask(self, on_time: OnTime) -> None:
        """Ask without waiting. `on_time` is told of the answer on another thread, or never if none comes."""
        if self._asking.acquire(blocking=False):
            threading.Thread(target=self._ask, args=(on_time,), name="api clock", daemon=True).start()

    def _ask(self, on_time: OnTime) -> None:
        try:
            told, sent, received = asyncio.run(self._head())
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            log.info("the API does not tell the time", error=f"{type(error).__name__}: {error}")
        else:
            on_time(told, sent, received)
        finally:
            self._asking.release()

    async def _head(self) -> tuple[float | None, float, float]:
        """One question, and what `OnTime` is told of its answer. A TimeoutError is an OSError."""
        # By the same way as the calls, and not by what httpx makes of the environment.
        proxy, verify = proxy_of(self._settings), tls_context(self._settings)
        client = httpx.AsyncClient(timeout=self._timeout, proxy=proxy, verify=verify, trust_env=False)
        async with asyncio.timeout(self._in_all), client:
            sent = self._monotonic()
            response = await client.head(self._url, headers=_HEADERS)
            # Of this status the Date is the proxy's.
            told = time_of(response.headers) if response.status_code != 407 else None
            return told, sent, self._monotonic()
