"""The opt-out call: what is sent, and what an answer means. The transport below it is exchangeable.

The insurer documents 204, 403 and 404 for this call. What else an answer may mean is settled here so that no
answer is ever taken for a success, or for "no such offer", that was not one.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Hashable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NoReturn
from urllib.parse import quote

import httpx

from ..calls import RECORDED, Answer, AnswerKind, OptOutCall
from ..hiding import Hider
from ..settings import ApiSettings
from .api_clock import OnTime, time_of
from .auth import Credentials, signature_in
from .transport import MAX_BODY, AiohttpTransport

RETRY_AFTER_MIN_S = 1.0
"""A server that says 0, or a date that its clock or ours puts in the past, still wants some rest."""
RETRY_AFTER_MAX_S = 300.0
"""One wrong header must not silence a key for a year; after five minutes the server is asked, and may say it again."""
NOTE_LENGTH = 200
"""How much of an answer's own words is kept, in characters: enough for the API's message, not for an HTML page."""

TIME_EVERY_S = 1.0
"""So often the Date of an answer is looked at: it has no fractions, and a call is to cost no more by it."""

_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
_PACKED = b"[its body cannot be unpacked]"
"""In the place of such a body: its status counts all the same, and a 404 is not the API's own."""

_TRANSIENT = frozenset({408, 423, 425, 429})
_JSON = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "offer-opt-out"}


class OptOutApi:
    """Makes one opt-out call and classifies its answer; safe to use from many tasks of one event loop."""

    def __init__(
        self,
        settings: ApiSettings,
        credentials: Credentials,
        transport: httpx.AsyncBaseTransport,
        wall_clock: Callable[[], float],
        on_time: OnTime | None = None,
    ) -> None:
        """`on_time` is told what time the API has, by an answer a second at the most."""
        self._credentials = credentials
        self._hide = Hider(credentials.secrets())
        self._transport = transport
        self._wall_clock = wall_clock
        self._on_time = on_time
        self._next_time = float("-inf")
        self._url = settings.base_url.rstrip("/") + "/" + settings.path.lstrip("/")
        self._with_metadata = settings.body == "metadata"

    async def __call__(self, call: OptOutCall) -> Answer:
        """Make the call once. Never raises for what the network or the server does."""
        headers = self._credentials.headers(call.partner_code)
        if headers is None:
            return Answer(
                AnswerKind.CREDENTIALS,
                note="no credentials for this partner_code: set api.credentials or api.key, and restart",
            )
        if not (_fits_in_a_path(call.partner_code) and _fits_in_a_path(call.offer_id)):
            return Answer(AnswerKind.REFUSED, note="not sent: an id that is empty, '.' or '..' would change the path")

        def note(words: str) -> str:
            # The API may quote what it refuses: our headers, and metadata's values.
            metadata = call.metadata.values()
            return _shortened(self._hide(words, [signature_in(headers), *metadata], always=metadata))

        try:
            request = httpx.Request("POST", self.url(call), headers={**_JSON, **headers}, content=self.body(call))
        except (httpx.InvalidURL, UnicodeError) as error:
            return Answer(AnswerKind.REFUSED, note=note(f"not sent: no URL can be made of its ids: {error}"))
        return await self._send(request, note)

    async def _send(self, request: httpx.Request, note: Callable[[str], str]) -> Answer:
        try:
            # Not through httpx.AsyncClient: it would add cookies, redirects and its own time-outs, of which a
            # call needs none, at half of the throughput.
            sent = time.monotonic()
            response = await self._transport.handle_async_request(request)
            self._tell_time(response, sent)
            if response.status_code == 204:
                return RECORDED
            body = await _unpacked(response)
        except httpx.RequestError as error:
            return Answer(AnswerKind.TRANSIENT, note=note(f"{type(error).__name__}: {error}"))
        except Exception as error:
            # Nobody further out knows what is to be hidden. A call must not be lost to a mistake of ours.
            return Answer(AnswerKind.UNEXPECTED, note=note(f"the call could not be made: {error!r}"))
        return classify(response.status_code, response.headers.get("Retry-After"), body, self._wall_clock(), note)

    def _tell_time(self, response: httpx.Response, sent: float) -> None:
        received = time.monotonic()
        if self._on_time is not None and received >= self._next_time:
            self._next_time = received + TIME_EVERY_S
            self._on_time(time_of(response.headers), sent, received)

    def credential_of(self, partner_code: str) -> Hashable:
        """See `Credentials.credential_of`."""
        return self._credentials.credential_of(partner_code)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    def url(self, call: OptOutCall) -> str:
        """Where the call goes. The ids are data: percent-encoded whole, slashes too, they cannot change the path."""
        return self._url.replace("{partner_code}", quote(call.partner_code, safe="")).replace(
            "{offer_id}", quote(call.offer_id, safe="")
        )

    def body(self, call: OptOutCall) -> bytes:
        """The body, JSON. Metadata goes to a third party, so only keys somebody chose are in the call."""
        if not self._with_metadata:
            return b"{}"
        return json.dumps({"partner_metadata": {**call.metadata, "reason": call.reason.value}}).encode()


def connect(settings: ApiSettings, connections: int, on_time: OnTime | None = None) -> OptOutApi:
    """The API over the transport that ships, with at most so many connections; made on the loop that uses it."""
    transport = AiohttpTransport(settings, connections)
    return OptOutApi(settings, Credentials(settings, time.time), transport, time.time, on_time)


def classify(  # noqa: PLR0911 - a table
    status: int, retry_after: str | None, body: bytes, now: float, note: Callable[[str], str] | None = None
) -> Answer:
    """What an answer with this status, `Retry-After` header and body means.

    Args:
        now: seconds since the epoch.
        note: makes a note of the answer's words: hides what is secret in them, and shortens them.
    """
    if status == 204:
        return RECORDED
    words = (note or _shortened)(_words(body)) or None
    if status in {401, 403}:
        return Answer(AnswerKind.CREDENTIALS, status, None, words)
    if status == 404 and _is_empty_or_object(body):
        return Answer(AnswerKind.NOT_FOUND, status, None, words)
    pause = parse_retry_after(retry_after, now)
    if status == 404:
        why = f"404 without the API's own body: a wrong route or a gateway. {words or ''}".rstrip()
        return Answer(AnswerKind.UNEXPECTED, status, pause, why)
    if status in _TRANSIENT or status >= 500:
        return Answer(AnswerKind.TRANSIENT, status, pause, words)
    if status >= 400:
        return Answer(AnswerKind.REFUSED, status, None, words)
    return Answer(AnswerKind.UNEXPECTED, status, pause, words)


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a `Retry-After` header, in either of its forms, clamped; None if absent or unreadable."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # Digits beyond these can only mean "the maximum", and int() of very long text is an error.
        seconds = float(text.lstrip("0")[:12] or 0)
    else:
        try:
            when = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)


async def _unpacked(response: httpx.Response) -> bytes:
    """The body as the API wrote it. Not by httpx: it takes a part of a packed body for the whole, and a part of a few
    bytes for an empty one, which would be terminal with a 404; and what it unpacks has no bounds."""
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - it comes from an asynchronous transport
    body = b"".join([chunk async for chunk in response.stream])
    if not body or response.headers.get("Content-Encoding", "").strip().lower() not in _CODINGS:
        return body
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # finds out by itself which of the two it is
    try:
        unpacked = unpacker.decompress(body, MAX_BODY)
    except zlib.error:
        return _PACKED
    return unpacked if unpacker.eof else _PACKED


def _fits_in_a_path(text: str) -> bool:
    # Percent-encoding does not protect a whole segment of dots: "%2E%2E" is ".." to the URL standard that clients
    # and proxies follow, so the call would arrive at another path.
    return text not in {"", ".", ".."}


def _is_empty_or_object(body: bytes) -> bool:
    if not body.strip():
        return True
    try:
        return isinstance(json.loads(body, parse_constant=_no_json), dict)
    except (ValueError, RecursionError):
        return False


def _no_json(constant: str) -> NoReturn:
    """Python reads NaN and Infinity, which are not JSON: whoever writes them is not the API."""
    raise ValueError(constant)


def _shortened(words: str) -> str:
    # JSON can spell half of a character (a lone surrogate), which can be written nowhere.
    return " ".join(words.encode("utf-8", "replace").decode().split())[:NOTE_LENGTH]


def _words(body: bytes) -> str:
    """The API's message, or whatever came instead; empty for an empty body."""
    try:
        parsed = json.loads(body)
        if isinstance(parsed, dict) and isinstance(message := parsed.get("message"), str):
            errors = parsed.get("errors")
            return f"{message} {errors}" if errors else message
    except (ValueError, RecursionError):
        pass
    return body.decode("utf-8", "replace")
