"""Offers that an operator lets go: who named them, and why, in `delivery.release_file`; see `settings.release_file`.

An entry is about the offer, for as long as it stands in the file: every chain of the offer that is decided and not
settled, or is decided later, is settled as RELEASED instead of being called. Not about one chain, since the insurer is
told of offers: what cannot be told of one chain cannot be told of the next.

It is read at the start, before any call is made: what was released and not committed before a crash is released
again. So a file that is named and cannot be read stops the start. While running, a file that is gone or wrong is
no statement about any offer: the last good one stays in force, and that is said once for each change.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog

from ..calls import OptOutCall
from ..core.chain import Chain
from ..settings.release_file import Offer, content_of, read, read_release_file

log = structlog.get_logger(__name__)

INTERVAL = 1.0
"""Seconds between two looks at the file."""


class Releases:
    """The offers let go, by the last good state of the file. Without a file there are none.

    Raises:
        SettingsError: the file cannot be read, or is wrong; every mistake is named.

    Attributes:
        notes: what to write of each offer let go: who did it, and why.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._next_look = 0.0
        self._seen: bytes | str = b""
        self.notes: Mapping[Offer, str] = {}
        if path is not None:
            self._seen, self.notes = read_release_file(path)
            log.info("release file read", file=str(path), entries=len(self.notes))

    def note_of(self, offer: Chain | OptOutCall) -> str | None:
        """Who let this one go, and why; None: nobody did. May be asked by any thread."""
        notes = self.notes
        return notes.get((offer.partner_code, offer.offer_id)) if notes else None

    def changed(self, now: float) -> bool:
        """Whether the file says something else than before. Looks at most once a second; `now` is monotonic (s)."""
        if self._path is None or now < self._next_look:
            return False
        self._next_look = now + INTERVAL
        # Not by its time and size: a copy may keep both, and clocks of file systems are coarse.
        content = content_of(self._path)
        if content == self._seen:
            return False
        self._seen = content
        try:
            self.notes = read(content)
        except ValueError as error:
            log.warning(
                "release file not taken over: what it said before stays in force; a start would refuse it",
                file=str(self._path),
                error=str(error),
                entries=len(self.notes),
            )
            return False
        return True
