"""Questions to the API that change nothing, by the way that calls go: its proxy, certificates and signature.

HEAD and GET are safe (RFC 9110, 9.2.1). HEAD goes to `api.base_url`. GET goes to where a partner's offers are made,
which is `api.path` up to the id of the offer: `/partners/ACME/offers/`. An offer is created there by POST, and none is
named in it, so no opt-out can come of it. Bad signatures were seen to be answered by 403 there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

import aiohttp
import httpx

from ..settings import ApiSettings
from .api_clock import time_of
from .auth import USER_AGENT, Credentials
from .transport import AiohttpTransport

_HEADERS = {"User-Agent": USER_AGENT, "Accept": "application/json", "Cache-Control": "no-cache"}

AT_ONCE = 4
"""Questions at a time: testing keys are given two calls a second."""

WITHIN = 8.0
"""Seconds for all questions of `ask_for_partners` together: what was answered by then is told."""


class Unreached(Enum):
    """Why there is no answer."""

    NAME = "the name leads nowhere"
    CERTIFICATE = "the certificate is not believed"
    TLS = "there is no TLS to be agreed upon"
    PROXY = "the proxy does not let us through"
    CONNECTION = "there is no connection"
    SILENCE = "there is no answer in time"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a question.

    Attributes:
        status: of the answer; None if there is none.
        trouble: why there is none; None if there is.
        words: what the transport says of the trouble.
        date: the API's time by the answer, in seconds since the epoch; None if it does not tell.
        sent, received: the wall clock when it was asked and when it had answered, in seconds.
    """

    status: int | None = None
    trouble: Unreached | None = None
    words: str = ""
    date: float | None = None
    sent: float = 0.0
    received: float = 0.0


@dataclass(frozen=True, slots=True)
class PartnerReplies:
    """What came of the questions about partners.

    Attributes:
        url: where the one without a signature went.
        unsigned: its reply; of silence, if it was not answered in time.
        signed: by partner code; None for one that has no credentials.
        unasked: partners about whom nothing was answered in time.
    """

    url: str
    unsigned: Reply
    signed: Mapping[str, Reply | None]
    unasked: Collection[str]


def ask_base_url(settings: ApiSettings) -> Reply:
    """A HEAD of `api.base_url`, without credentials. Never raises for what the network or the server does."""

    async def ask() -> Reply:
        transport = AiohttpTransport(settings, 1)
        try:
            return await _ask(transport, "HEAD", settings.base_url, {})
        finally:
            await transport.aclose()

    return asyncio.run(ask())


def ask_for_partners(settings: ApiSettings, partners: Collection[str]) -> PartnerReplies:
    """A signed GET of where each partner's offers are made, and one without a signature, to compare. Never raises."""
    return asyncio.run(_ask_for_partners(settings, list(partners)))


def url_of_offers(settings: ApiSettings, partner_code: str) -> str:
    """Where the offers of a partner are made: `api.path` up to the id of the offer."""
    before = settings.path[: settings.path.index("{offer_id}")]
    path = before[: before.rindex("/") + 1].replace("{partner_code}", quote(partner_code, safe=""))
    return settings.base_url.rstrip("/") + path


async def _ask_for_partners(settings: ApiSettings, partners: list[str]) -> PartnerReplies:
    credentials = Credentials(settings, time.time)
    transport = AiohttpTransport(settings, AT_ONCE)
    free = asyncio.Semaphore(AT_ONCE)
    url = url_of_offers(settings, partners[0])
    unsigned = Reply(trouble=Unreached.SILENCE, words=f"there was no answer within {WITHIN:g} s")
    signed: dict[str, Reply | None] = {}

    async def ask_unsigned() -> None:
        nonlocal unsigned
        async with free:
            unsigned = await _ask(transport, "GET", url, {})

    async def ask(partner: str) -> None:
        if credentials.sign(partner) is None:
            signed[partner] = None
            return
        async with free:
            # Signed anew, since it may have waited: a signature is good for its second.
            now = credentials.sign(partner)
            headers = {} if now is None else now.headers
            signed[partner] = await _ask(transport, "GET", url_of_offers(settings, partner), headers)

    try:
        # All within one bound, the one without a signature too: what a check is cut with is lost.
        asked = [asyncio.create_task(one) for one in (ask_unsigned(), *map(ask, partners))]
        _, late = await asyncio.wait(asked, timeout=WITHIN)
        for task in late:
            task.cancel()
        return PartnerReplies(url, unsigned, dict(signed), [partner for partner in partners if partner not in signed])
    finally:
        await transport.aclose()


async def _ask(transport: AiohttpTransport, method: str, url: str, headers: Mapping[str, str]) -> Reply:
    sent = time.time()
    try:
        response = await transport.handle_async_request(httpx.Request(method, url, headers={**_HEADERS, **headers}))
    except httpx.RequestError as error:
        return Reply(trouble=_trouble_of(error), words=str(error))
    # A proxy's own answer tells its own time.
    date = time_of(response.headers) if response.status_code != 407 else None
    return Reply(response.status_code, date=date, sent=sent, received=time.time())


def _trouble_of(error: httpx.RequestError) -> Unreached:
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return Unreached.CERTIFICATE
    if isinstance(error, httpx.ProxyError):
        return Unreached.PROXY
    match cause:
        case aiohttp.ClientConnectorDNSError():
            return Unreached.NAME
        case aiohttp.ClientSSLError():
            return Unreached.TLS
        case TimeoutError():
            return Unreached.SILENCE
    return Unreached.CONNECTION
