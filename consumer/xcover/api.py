"""The opt-out call: what is sent, and what an answer means. The transport below it is exchangeable.

The insurer documents 204, 403 and 404 for this call. What else an answer may mean is settled here so that no
answer is ever taken for a success, or for "no such offer", that was not one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

from ..calls import RECORDED, Answer, AnswerKind, OptOutCall
from ..hiding import Hider
from ..settings import ApiSettings
from ..settings.outside import proxy_secrets
from .api_clock import OnTime, time_of
from .auth import USER_AGENT, Credentials, Signer, signature_in
from .body import is_of_the_api, unpacked
from .secret_files import SecretFiles
from .spans import CallSpan, SpanRecorder, headers_of
from .transport import MAY_LEAVE, AiohttpTransport, NotSentError
from .urls import CallUrls

_MOST_HEADERS = 1_000
"""Lengths of a body of which the headers are kept, where nothing is signed and so nothing else ends it."""

RETRY_AFTER_MIN_S = 1.0
"""A server that says 0, or a date that its clock or ours puts in the past, still wants some rest."""
RETRY_AFTER_MAX_S = 300.0
"""One wrong header must not silence a key for a year; after five minutes the server is asked, and may say it again."""
NOTE_LENGTH = 200
"""How much of an answer's own words is kept, in characters: enough for the API's message, not for an HTML page."""

TIME_EVERY_S = 1.0
"""So often the Date of an answer is looked at: it has no fractions, and a call is to cost no more by it."""

_TRANSIENT = frozenset({408, 423, 425, 429})
_JSON = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": USER_AGENT}


class OptOutApi:
    """Makes one opt-out call and classifies its answer; safe to use from many tasks of one event loop."""

    def __init__(
        self,
        settings: ApiSettings,
        credentials: Credentials,
        transport: httpx.AsyncBaseTransport,
        wall_clock: Callable[[], float],
        on_time: OnTime | None = None,
        spans: SpanRecorder | None = None,
    ) -> None:
        """`on_time` is told what time the API has, by an answer a second at the most.

        `spans` records a span of each request of a call that has a trace; None: the trace goes on all the same.
        """
        self._credentials = credentials
        self._hide = Hider([*credentials.secrets(), *proxy_secrets(settings)])
        self._transport = transport
        self._wall_clock = wall_clock
        self._on_time = on_time
        self._spans = spans
        self._next_time = float("-inf")
        self._urls = CallUrls(settings.base_url.rstrip("/") + "/" + settings.path.lstrip("/"))
        self._headers_of: Mapping[str, str] | None = None
        self._headers: dict[tuple[bytes, int], httpx.Headers] = {}
        """Of calls that are signed by `_headers_of`, by host and length of the body: a second's calls share them."""
        self._with_metadata = settings.body == "metadata"

    async def __call__(self, call: OptOutCall, may_leave: Callable[[], bool]) -> Answer:
        """Make the call once; once more if the credentials that signed it are refused and there are others.

        Never raises for what the network or the server does. `may_leave` is asked when its connection stands.
        """
        signed = self._credentials.sign(call.partner_code)
        if signed is None:
            return Answer(
                AnswerKind.CREDENTIALS,
                note="no credentials for this partner_code: set api.credentials or api.key, and restart",
            )
        if not (fits_in_a_path(call.partner_code) and fits_in_a_path(call.offer_id)):
            return Answer(AnswerKind.REFUSED, note="not sent: an id that is empty, '.' or '..' would change the path")
        tried: list[Signer | None] = []
        while True:
            answer = await self._try(call, signed.headers, may_leave)
            tried.append(signed.signer)
            again = self._credentials.answered(signed, answer)
            if again is None or again.signer in tried:
                return answer
            signed = again

    async def _try(self, call: OptOutCall, headers: Mapping[str, str], may_leave: Callable[[], bool]) -> Answer:
        def note(words: str) -> str:
            # The API may quote what it refuses: our headers, and metadata's values.
            metadata = call.metadata.values()
            return _shortened(self._hide(words, [signature_in(headers), *metadata], always=metadata))

        span: CallSpan | None = None
        if call.trace is not None:
            span = None if self._spans is None else self._spans.begin(call.trace)
            headers = {**headers, **(headers_of(call.trace.context) if span is None else span.headers)}
        try:
            request = self._request(call, headers, may_leave)
        except (httpx.InvalidURL, UnicodeError) as error:
            return Answer(AnswerKind.REFUSED, note=note(f"not sent: no URL can be made of its ids: {error}"))
        if call.trace is None:
            return await self._send(request, note)
        try:
            answer = await self._send(request, note, span)
        except asyncio.CancelledError:
            if span is not None:
                span.end(None)
            raise
        if answer.kind is not AnswerKind.WITHHELD:
            call.trace.sent += 1
            if span is not None:
                span.end(answer.status_code)
        return answer

    def _request(self, call: OptOutCall, headers: Mapping[str, str], may_leave: Callable[[], bool]) -> httpx.Request:
        """The request of a call. Made of a URL, headers and a stream, it costs a tenth: httpx takes these as they are.

        Raises:
            httpx.InvalidURL, UnicodeError: no URL can be made of its ids.
        """
        url, body = self._urls.of(call.partner_code, call.offer_id), self.body(call)
        if headers is not self._headers_of or len(self._headers) >= _MOST_HEADERS:
            self._headers_of = headers
            self._headers.clear()
        whole = self._headers.get((url.netloc, len(body)))
        if whole is None:
            given = {"Host": url.netloc.decode("ascii"), **_JSON, **headers, "Content-Length": str(len(body))}
            whole = self._headers[url.netloc, len(body)] = httpx.Headers(given)
        extensions = {MAY_LEAVE: may_leave}
        request = httpx.Request("POST", url, headers=whole, stream=httpx.ByteStream(body), extensions=extensions)
        request.read()
        return request

    async def _send(self, request: httpx.Request, note: Callable[[str], str], span: CallSpan | None = None) -> Answer:
        try:
            # Not through httpx.AsyncClient: it would add cookies, redirects and its own time-outs, of which a
            # call needs none, at half of the throughput.
            sent = time.monotonic()
            response = await self._transport.handle_async_request(request)
            if response.status_code != 407:  # whose Date is the proxy's
                self._tell_time(response, sent)
            if response.status_code == 204:
                return RECORDED
            body = await _body(response)
        except NotSentError:
            return Answer(AnswerKind.WITHHELD)
        except httpx.RequestError as error:
            if span is not None:
                span.error = type(error).__name__
            return Answer(AnswerKind.TRANSIENT, note=note(f"{type(error).__name__}: {error}"))
        except Exception as error:
            # Nobody further out knows what is to be hidden. A call must not be lost to a mistake of ours.
            if span is not None:
                span.error = type(error).__name__
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
        """Where the call goes; see `CallUrls`."""
        return str(self._urls.of(call.partner_code, call.offer_id))

    def body(self, call: OptOutCall) -> bytes:
        """The body, JSON. Metadata goes to a third party, so only keys somebody chose are in the call."""
        if not self._with_metadata:
            return b"{}"
        return json.dumps({"partner_metadata": {**call.metadata, "reason": call.reason.value}}).encode()


def connect(
    settings: ApiSettings,
    connections: int,
    on_time: OnTime | None = None,
    files: SecretFiles | None = None,
    spans: SpanRecorder | None = None,
) -> OptOutApi:
    """The API over the transport that ships, with at most so many connections; made on the loop that uses it."""
    transport = AiohttpTransport(settings, connections)
    return OptOutApi(settings, Credentials(settings, time.time, files), transport, time.time, on_time, spans)


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
    if status == 404 and is_of_the_api(body):
        return Answer(AnswerKind.NOT_FOUND, status, None, words)
    pause = parse_retry_after(retry_after, now)
    if status == 407:
        why = (
            f"a proxy on the way to the API asks for a user and a password (407): see api.proxy. {words or ''}".rstrip()
        )
        return Answer(AnswerKind.TRANSIENT, status, pause, why)
    if status == 404:
        why = f"404 without the API's own body: a wrong route or a gateway. {words or ''}".rstrip()
        return Answer(AnswerKind.UNEXPECTED, status, pause, why)
    if status in _TRANSIENT or status >= 500:
        return Answer(AnswerKind.TRANSIENT, status, pause, words)
    if status >= 400:
        # The API says why, as a JSON object. A gateway gives a page, or nothing at all, as with 413 and 431.
        is_of_api = bool(body.strip()) and is_of_the_api(body)
        return Answer(AnswerKind.REFUSED, status, None, words, maybe_of_gateway=not is_of_api)
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


async def _body(response: httpx.Response) -> bytes:
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - it comes from an asynchronous transport
    body = b"".join([chunk async for chunk in response.stream])
    return unpacked(body, response.headers.get("Content-Encoding"))


def fits_in_a_path(text: str) -> bool:
    """Whether an id can be a part of a call's path."""
    # Percent-encoding does not protect a whole segment of dots: "%2E%2E" is ".." to the URL standard that clients
    # and proxies follow, so the call would arrive at another path.
    return text not in {"", ".", ".."}


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
