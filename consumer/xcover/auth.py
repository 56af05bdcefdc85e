"""Who we are to the insurer: the signature that each call carries, and which credential a partner's calls use."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Hashable, Iterator, Mapping
from email.utils import formatdate
from urllib.parse import quote_plus

from ..hiding import IN_USE
from ..settings import ApiSettings

NO_HEADERS: Mapping[str, str] = {}
UNSIGNED = "unsigned"
"""The one credential of every partner when `api.auth = none`: they still share one rate limit."""


def sign(key: str, secret: str, date: str) -> str:
    """The value of the `Authorization` header for the `Date` header `date` (IMF-fixdate, GMT).

    Only the date is signed, as the insurer's authentication page and its PHP SDK do; its Python SDK signs the
    path too unless it is told otherwise. The base64 is the strict one (`+` and `/`), then percent-encoded.
    """
    digest = hmac.new(secret.encode(), f"date: {date}".encode(), hashlib.sha512).digest()
    signature = quote_plus(base64.b64encode(digest))
    return f'Signature keyId="{key}",algorithm="hmac-sha512",signature="{signature}"'


def signature_in(headers: Mapping[str, str]) -> str:
    """The signature in the headers of a call, as it travels; empty where a call is not signed."""
    return headers.get("Authorization", "").rpartition('signature="')[2].removesuffix('"')


class Signer:
    """Signs for one key. A signature is good for the second it names, so each second is signed once."""

    def __init__(self, key: str, secret: str) -> None:
        self.key = key
        self._secret = secret
        self._second = -1
        self._headers: Mapping[str, str] = NO_HEADERS

    def __repr__(self) -> str:
        return "Signer(***)"

    def secrets(self) -> tuple[str, str]:
        """The key and the secret."""
        return self.key, self._secret

    def headers(self, now: float) -> Mapping[str, str]:
        """The headers that authenticate a call made at `now`, in seconds since the epoch."""
        second = int(now)
        if second != self._second:
            date = formatdate(second, usegmt=True)
            authorization = sign(self.key, self._secret, date)
            self._headers = {"X-Api-Key": self.key, "Date": date, "Authorization": authorization}
            self._second = second
            IN_USE.learn_passing(signature_in(self._headers))
        return self._headers


class Credentials:
    """Finds the credential of a partner: its own if it has one, else the default, else none."""

    def __init__(self, settings: ApiSettings, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._unsigned = settings.auth == "none"
        self._own = {
            partner: Signer(credential.key, credential.secret.get_secret_value())
            for partner, credential in settings.credentials.items()
        }
        self._default: Signer | None = None
        if settings.key is not None and settings.secret is not None:
            self._default = Signer(settings.key, settings.secret.get_secret_value())

    def secrets(self) -> Iterator[str]:
        """Every key and every secret."""
        for signer in (*self._own.values(), *filter(None, [self._default])):
            yield from signer.secrets()

    def headers(self, partner_code: str) -> Mapping[str, str] | None:
        """The headers that authenticate a call for the partner now; None when it has no credentials."""
        if self._unsigned:
            return NO_HEADERS
        signer = self._own.get(partner_code, self._default)
        return signer.headers(self._wall_clock()) if signer is not None else None

    def credential_of(self, partner_code: str) -> Hashable:
        """What the insurer's rate limit counts by: equal for partners that share a key, whatever their secrets."""
        if self._unsigned:
            return UNSIGNED
        signer = self._own.get(partner_code, self._default)
        return ("key", signer.key) if signer is not None else ("no key", partner_code)
