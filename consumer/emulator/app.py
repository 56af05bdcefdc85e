"""The API emulator's answers: one ASGI application, as strict about the request as the documents are."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from .call_log import Call, CallLog
from .scenario import HTML_404, UNANSWERED, Lost, Scenario, ScenarioError

RETRY_AFTER_S = 1
CONTROL_PATH = "/_scenario"
ELSEWHERE_PATH = "/_elsewhere"
"""Where a 3xx points to. Answers 204, so a client that follows redirects takes it for a success."""

_AUTHORIZATION = re.compile(r'Signature keyId="([^"]*)",algorithm="hmac-sha512",signature="([^"]*)"')
_IMF_FIXDATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")


class EmulatorApp:
    """The ASGI application.

    Args:
        scenario: what to answer; replaced by a PUT to `/_scenario`.
        credentials: secret by API key; None: signatures are not checked (and logged as right).
        prefix: of the path, as in `/x`, without a slash at its end.
        log: where calls are logged.
    """

    def __init__(self, scenario: Scenario, credentials: Mapping[str, str] | None, prefix: str, log: CallLog) -> None:
        self.scenario = scenario
        self._credentials = credentials
        self._log = log
        # On the raw path: an id's %2F must stay inside the id.
        self._route = re.compile(re.escape(prefix.rstrip("/")) + r"/partners/([^/]+)/offers/([^/]+)/opt_out/")
        # Where offers are created, by POST. Known of it is that a bad signature is refused.
        self._offers = re.compile(re.escape(prefix.rstrip("/")) + r"/partners/[^/]+/offers/")
        self._attempts: Counter[tuple[str, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        raw_path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        if raw_path == CONTROL_PATH:
            response = await self._control(request)
        elif raw_path == ELSEWHERE_PATH:
            response = Response(status_code=204)
        elif self._offers.fullmatch(raw_path) is not None:
            response = _not_allowed(request) if self._authentic(request) else _problem(403, *_PROBLEMS[403])
        elif (match := self._route.fullmatch(raw_path)) is None:
            response = _html_404()
        elif request.method != "POST":
            response = _not_allowed(request)
        else:
            body = await request.body()
            answer = self._opt_out(request, unquote(match[1]), unquote(match[2]), body)
            if isinstance(answer, Lost):
                if answer.cut:
                    _cut(send)
                # Never answered: the connection is held until it is gone.
                while (await receive())["type"] != "http.disconnect":
                    pass
                return
            response = answer
        await response(scope, receive, send)

    def _opt_out(self, request: Request, partner_code: str, offer_id: str, body: bytes) -> Response | Lost:
        self._attempts[partner_code, offer_id] += 1
        attempt = self._attempts[partner_code, offer_id]
        authentic = self._authentic(request)
        payload, refusal = _read_body(body)
        answer: Response | Lost
        if not authentic:
            answer = _problem(403, "auth_error", "You do not have permission to access this url")
        elif refusal is not None:
            answer = refusal
        else:
            answer = _respond(self.scenario.answer(partner_code, offer_id, attempt))
        status = None if isinstance(answer, Lost) else answer.status_code
        metadata = payload.get("partner_metadata")
        reason = metadata.get("reason") if isinstance(metadata, dict) else None
        self._log.write(
            Call(
                time_ms=time.time_ns() // 1_000_000,
                partner_code=partner_code,
                offer_id=offer_id,
                status=status,
                attempt=attempt,
                signature_ok=authentic,
                terminal=authentic and not isinstance(answer, Lost) and _is_terminal(answer),
                reason=reason if isinstance(reason, str) else None,
                recorded=answer.recorded if isinstance(answer, Lost) else status == 204,
            )
        )
        return answer

    def _authentic(self, request: Request) -> bool:
        """Whether the request carries a key we know and the signature of its own Date by that key's secret."""
        if self._credentials is None:
            return True
        date = request.headers.get("date", "")
        match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if match is None or not _is_imf_fixdate(date):
            return False
        key, signature = match[1], unquote(match[2])
        secret = self._credentials.get(key)
        if secret is None or request.headers.get("x-api-key") != key:
            return False
        try:
            given = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, hmac.digest(secret.encode(), f"date: {date}".encode(), hashlib.sha512))

    async def _control(self, request: Request) -> Response:
        client = request.client.host if request.client is not None else ""
        if not _is_loopback(client):
            return _problem(403, "auth_error", f"{CONTROL_PATH} answers to the machine itself only, not to {client}")
        if request.method == "PUT":
            text = (await request.body()).decode("utf-8", errors="replace")
            try:
                self.scenario = Scenario.parse(text, self.scenario.seed)
            except ScenarioError as error:
                return _problem(422, "validation_error", str(error))
        return JSONResponse({"scenario": self.scenario.text, "seed": self.scenario.seed})


_PROBLEMS = {
    401: ("auth_error", "You do not have permission to access this url"),
    403: ("auth_error", "You do not have permission to access this url"),
    404: ("api_error", "Quote package does not exist"),
    429: ("api_error", f"Request was throttled. Expected available in {RETRY_AFTER_S} second."),
}


def _respond(answer: str) -> Response | Lost:
    if answer in UNANSWERED:
        return UNANSWERED[answer]
    if answer == HTML_404:
        return _html_404()
    status = int(answer)
    if status < 300:
        return Response(status_code=status)
    if status < 400:
        return Response(status_code=status, headers={"Location": ELSEWHERE_PATH})
    kind, message = _PROBLEMS.get(status, ("api_error", "An API error occurred."))
    return _problem(status, kind, message, {"Retry-After": str(RETRY_AFTER_S)} if status == 429 else None)


def _cut(send: Send) -> None:
    """Reset the connection. ASGI has no word for it; the server's `send` is a method of what holds the transport."""
    transport: asyncio.Transport = send.__self__.transport  # type: ignore[attr-defined]
    transport.abort()


def _read_body(body: bytes) -> tuple[dict[str, Any], Response | None]:
    """The body as an object, and the refusal if it is none or names a key that the API does not know."""
    if not body:
        return {}, None
    try:
        payload = json.loads(body)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        return {}, _problem(400, "validation_error", "The body must be a JSON object.")
    unknown = payload.keys() - {"partner_metadata"}
    if unknown:
        errors = dict.fromkeys(sorted(unknown), "Unexpected field")
        return payload, JSONResponse(
            {"type": "validation_error", "message": "An API error occurred.", "errors": errors}, status_code=422
        )
    return payload, None


def _problem(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"type": kind, "message": message}, status_code=status, headers=headers)


def _not_allowed(request: Request) -> Response:
    return _problem(405, "api_error", f'Method "{request.method}" not allowed.')


def _html_404() -> Response:
    return HTMLResponse("<html><body><h1>404 Not Found</h1></body></html>", status_code=404)


def _is_terminal(response: Response) -> bool:
    """Recorded, or no such offer; a 404 in HTML comes from a gateway and says nothing of the offer."""
    return response.status_code == 204 or (response.status_code == 404 and isinstance(response, JSONResponse))


def _is_imf_fixdate(date: str) -> bool:
    if not _IMF_FIXDATE.fullmatch(date):
        return False
    try:
        return parsedate_to_datetime(date).strftime("%a") == date[:3]
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
