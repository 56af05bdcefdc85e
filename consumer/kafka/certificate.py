"""When the client's certificate ends: the client does not tell, and brokers refuse one that is out of date."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

# RFC 5280 has each time written in one way: two digits of the year up to 2049, and four from then on.
_TIME = rb"(?:\x17\x0d(\d{12})|\x18\x0f(\d{14}))Z"
_VALIDITY = re.compile(rb"\x30[\x1e\x20\x22]" + _TIME + _TIME)

_LAST_PART = 0.05
"""Of a certificate's life: whoever renews it in time has done so before. 18 days of a year, an hour of a day."""


class Validity(NamedTuple):
    """From when until when a certificate is good."""

    begins: datetime
    ends: datetime

    def is_nearly_over(self, now: datetime) -> bool:
        """Whether it should have been renewed by now."""
        return self.ends - now < _LAST_PART * (self.ends - self.begins)


def validity_of(file: Path) -> Validity | None:
    """That of the first certificate in a PEM file, which is the client's own; None if there is none to be read."""
    try:
        return validity_in(file.read_text("latin-1"))
    except (OSError, ValueError):  # ValueError: a NUL in its name
        return None


def validity_in(pem: str) -> Validity | None:
    """That of the first certificate in a text; None if there is none to be read."""
    try:
        found = _PEM.search(pem)
        within = None if found is None else _VALIDITY.search(ssl.PEM_cert_to_DER_cert(found[0]))
        if within is None:
            return None
        begins, ends = (_moment(short, long) for short, long in (within.group(1, 2), within.group(3, 4)))
    except ValueError:
        return None
    return Validity(begins, ends)


def _moment(short: bytes | None, long: bytes | None) -> datetime:
    digits = long.decode() if long else (short or b"").decode()
    if long is None:
        digits = ("20" if digits < "5" else "19") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
