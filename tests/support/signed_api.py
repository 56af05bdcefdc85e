"""An API whose owner revokes and issues secrets while calls are made: real HTTP, and it checks each signature."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from support.http_handlers import ApiHandler, served

from consumer.xcover.auth import sign


class SignedCall(NamedTuple):
    """A call that arrived: its offer, which pair signed it, and the status it was answered with."""

    offer_id: str
    pair: tuple[str, str] | None
    status: int


class SignedApi:
    """Answers 204 to calls that are signed by one of the `accepted` pairs of key and secret, and 401 to others.

    `known` are the pairs that it can tell, accepted or not. Both may be changed at any time.
    """

    def __init__(self, *known: tuple[str, str]) -> None:
        self.known = known
        self.accepted: set[tuple[str, str]] = set()
        self.calls: list[SignedCall] = []
        self.base_url = ""

    def of(self, offer_id: str) -> list[tuple[str | None, int]]:
        """The secrets that signed the calls for an offer, and what they were answered."""
        return [(one.pair[1] if one.pair else None, one.status) for one in self.calls if one.offer_id == offer_id]

    def recorded(self) -> set[str]:
        """The offers of which a call was answered 204."""
        return {one.offer_id for one in self.calls if one.status == 204}

    def answer(self, path: str, headers: Any) -> tuple[int, bytes]:
        """The status and the body for a call."""
        date = headers.get("Date", "")
        signed = headers.get("Authorization", "")
        pair = next((pair for pair in self.known if sign(*pair, date) == signed), None)
        status = 204 if pair in self.accepted else 401
        self.calls.append(SignedCall(path.split("/")[5], pair, status))
        body = {"type": "authentication_error", "message": f"who is {signed}?"}
        return status, b"" if status == 204 else json.dumps(body).encode()

    @contextmanager
    def serving(self) -> Iterator[SignedApi]:
        """Serve, on a free port of this machine, until the context ends."""
        api = self

        class Handler(ApiHandler):
            def on_post(self, body: bytes) -> None:
                status, answer = api.answer(self.path, self.headers)
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        with served(Handler) as url:
            self.base_url = f"{url}/x"
            yield self
