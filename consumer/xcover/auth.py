"""Who we are to the insurer: the signature that each call carries, and which credential a partner's calls use."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from email.utils import formatdate
from typing import NamedTuple
from urllib.parse import quote_plus

import structlog

from .. import __version__
from ..calls import Answer
from ..hiding import IN_USE
from ..settings import ApiSettings
from .rotation import RotatingCredential
from .secret_files import SecretFiles

log = structlog.get_logger(__name__)

USER_AGENT = f"offer-opt-out/{__version__}"
"""So that the insurer, and whatever stands between, can tell which version made a call."""

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


class Signed(NamedTuple):
    """What authenticates one try of a call: its headers, and for `Credentials.answered` whose they are."""

    headers: Mapping[str, str]
    signer: Signer | None = None
    credential: RotatingCredential[Signer] | None = None


class Credentials:
    """Finds the credential of a partner: its own if it has one, else the default, else none; and which of its versions.

    The one place that knows which credentials count now, on the event loop that makes the calls. `sign` looks at the
    files first, so that a change counts from the next call on; whoever makes a call gives each answer to `answered`.
    """

    def __init__(
        self,
        settings: ApiSettings,
        wall_clock: Callable[[], float],
        files: SecretFiles | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`files`: those that may change; `clock`: monotonic, in seconds."""
        self._wall_clock = wall_clock
        self._unsigned = settings.auth == "none"
        self._files = files if not self._unsigned else None
        self._clock = clock
        self._own = {
            partner: self._credential(partner, Signer(credential.key, credential.secret.get_secret_value()))
            for partner, credential in settings.credentials.items()
        }
        self._default: RotatingCredential[Signer] | None = None
        if settings.key is not None and settings.secret is not None:
            self._default = self._credential(None, Signer(settings.key, settings.secret.get_secret_value()))

    def secrets(self) -> Iterator[str]:
        """Every key and every secret in force."""
        for credential in self._all():
            if credential.in_force is not None:
                yield from credential.in_force.secrets()

    def sign(self, partner_code: str) -> Signed | None:
        """What authenticates a call for the partner now; None when it has no credentials."""
        if self._unsigned:
            return Signed(NO_HEADERS)
        if self._files is not None and (changed := self._files.look(self._clock())) is not None:
            self._take(changed)
        credential = self._own.get(partner_code, self._default)
        return self._signed(credential, credential.choose()) if credential is not None else None

    def answered(self, signed: Signed, answer: Answer) -> Signed | None:
        """What authenticates the same call once more, after this answer; None: the answer stands."""
        if signed.credential is None or signed.signer is None:
            return None
        return self._signed(signed.credential, signed.credential.answered(signed.signer, answer))

    def credential_of(self, partner_code: str) -> Hashable:
        """What the insurer's rate limit counts by: equal for partners that share a key, whatever their secrets."""
        if self._unsigned:
            return UNSIGNED
        credential = self._own.get(partner_code, self._default)
        return credential.counts_by if credential is not None else ("no key", partner_code)

    def _all(self) -> Iterator[RotatingCredential[Signer]]:
        yield from self._own.values()
        if self._default is not None:
            yield self._default

    def _signed(self, credential: RotatingCredential[Signer], signer: Signer | None) -> Signed | None:
        return Signed(signer.headers(self._wall_clock()), signer, credential) if signer is not None else None

    def _credential(self, partner: str | None, signer: Signer) -> RotatingCredential[Signer]:
        return RotatingCredential(partner, signer, ("key", signer.key), self._clock)

    def _take(self, changed: ApiSettings) -> None:
        """The files have these now. A partner that is no longer among them keeps what it has."""
        if self._default is not None and changed.key is not None and changed.secret is not None:
            self._default.offer(Signer(changed.key, changed.secret.get_secret_value()))
        for partner, given in changed.credentials.items():
            new = Signer(given.key, given.secret.get_secret_value())
            if partner not in self._own:
                before = self._default.in_force if self._default is not None else None
                shared = (credential.counts_by for credential in self._all() if credential.uses(new.key))
                counts_by = next(shared, ("key", new.key))
                self._own[partner] = RotatingCredential(partner, before, counts_by, self._clock)
            self._own[partner].offer(new)
        if kept := sorted(self._own.keys() - changed.credentials.keys()):
            log.info("partners that are no longer in the file keep their credentials until a restart", partners=kept)
