"""What carries the calls: httpx's interface over aiohttp's connections.

httpx says what a request, an answer and an error are; what moves the bytes is exchangeable, and its own pool is the
slowest there is: a few hundred calls a second. `tests/benchmarks/bench_calls.py` measures the candidates in one run.
Driven with prepared requests, aiohttp's and pyreqwest's connections are about equally fast, well over ten times the
stock pool, so trust decided: aiohttp is old, widely used and kept by many, while pyreqwest is a beta kept by one
person, follows redirects unless told not to (a 302 to a 204 would look like a success), adds up the parts of a
time-out, and parses URLs by a standard for which `%2E%2E` is `..`.

The adapter is ours, not httpx-aiohttp's, since that one has no time-out for the whole call, lets the URL be
re-written before it is sent, and reports a dropped connection as a connect time-out.
"""

from __future__ import annotations

import aiohttp
import httpx
from yarl import URL

from ..settings import ApiSettings
from ..settings.network import without_password
from ..settings.outside import proxy_of, tls_context
from .body import MAX_BODY, bounded
from .connection import MAX_HEAD, AnswerConnector, WithheldError, arrived_for_this_call, begin_call, is_connected

MAY_LEAVE = "may_leave"
"""An extension of a request: a function that says, when its connection stands, whether it is still to be sent."""

_SOFT_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class NotSentError(httpx.ConnectError):
    """The call was withheld while it waited for its connection (`MAY_LEAVE`): nothing of it was sent."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx requests over aiohttp. It must be made and closed on the event loop that uses it.

    A call takes at most `api.timeout` in all, waiting for a connection included, of which at most
    `api.connect_timeout` for connecting. Redirects are never followed and cookies never kept.
    """

    def __init__(self, settings: ApiSettings, connections: int) -> None:
        """`connections` is the most that are open at a time; at least the number of calls in flight."""
        self._session = aiohttp.ClientSession(
            connector=AnswerConnector(limit=connections, ssl=tls_context(settings)),
            timeout=aiohttp.ClientTimeout(
                total=settings.timeout.total_seconds(), sock_connect=settings.connect_timeout.total_seconds()
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # One bound for the whole head, which the connection watches: see MAX_HEAD.
            max_line_size=MAX_HEAD,
            max_field_size=MAX_HEAD,
            max_headers=MAX_HEAD,
            # What a gateway compresses unasked is unpacked within bounds, once its status is known.
            auto_decompress=False,
            skip_auto_headers=_SOFT_HEADERS,
            # Not trust_env: it would read the environment at every call, which makes it five times as slow, and add
            # credentials out of a .netrc file.
            proxy=URL(proxy) if (proxy := proxy_of(settings)) is not None else None,
        )
        self._proxy = without_password(proxy) if proxy is not None else None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its answer whole. Raises subclasses of httpx.TransportError only.

        An answer that has arrived counts, whatever goes wrong behind it: see `arrived_answer`.
        """
        begin_call(request.extensions.get(MAY_LEAVE))
        try:
            return await self._send(request)
        except Exception as error:
            if (answer := arrived_for_this_call()) is None:
                if self._proxy is not None and not is_connected() and not isinstance(error, WithheldError):
                    raise httpx.ProxyError(f"through the proxy {self._proxy}: {_of_proxy(error)}") from error
                raise _as_httpx_error(error, request) from error
        return httpx.Response(
            answer.status, headers=answer.headers, stream=httpx.ByteStream(bounded(answer.body)), request=request
        )

    async def _send(self, request: httpx.Request) -> httpx.Response:
        response = await self._session.request(
            request.method,
            # "encoded": sent as it stands, so that no second hand decides what the ids in it mean.
            URL(str(request.url), encoded=True),
            data=request.read(),
            # As they are kept: httpx would work out the encoding of all of them once for each.
            headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw],
            allow_redirects=False,
        )
        try:
            body = await _read(response) if response.status != 204 else b""
        finally:
            response.release()
        return httpx.Response(
            response.status, headers=response.raw_headers, stream=httpx.ByteStream(body), request=request
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            response.close()
            break
    return bounded(bytes(body))


def _as_httpx_error(error: Exception, request: httpx.Request) -> httpx.TransportError:
    kind: type[httpx.TransportError]
    match error:  # the narrower kinds first
        case aiohttp.ConnectionTimeoutError():
            kind = httpx.ConnectTimeout
        case TimeoutError():
            return httpx.ReadTimeout(str(error) or "no answer in time", request=request)
        case WithheldError():
            kind = NotSentError
        case aiohttp.ClientConnectorError():
            kind = httpx.ConnectError
        case aiohttp.ClientResponseError():
            kind = httpx.RemoteProtocolError
        case aiohttp.ClientError() | OSError():
            kind = httpx.ReadError
        case _:
            raise error
    return kind(_text(error), request=request)


def _of_proxy(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientHttpProxyError):  # its own words have the URL with the password
        return f"it answered {error.status} {error.message} when asked to connect to the API"
    return _text(error)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
