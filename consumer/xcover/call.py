"""One opt-out call to make, and what became of it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..events import Outcome, Reason, Source


@dataclass(frozen=True, slots=True, eq=False)
class OptOutCall:
    """A call to make. Compared by identity, since one offer may be called for two chains.

    `metadata` holds only what `api.metadata_keys` allows. `owner` is the assignment the call belongs to, by which
    it is cancelled; `token` is handed back untouched; `source` is for the logs.
    """

    partner_code: str
    offer_id: str
    session_id: str
    reason: Reason
    metadata: Mapping[str, str]
    source: Source
    owner: Hashable
    token: object = None


class CallResult(NamedTuple):
    """What became of a call; each call that was submitted gets exactly one.

    `outcome` is OPTED_OUT or NOT_FOUND; RELEASED when the offer was let go; DEAD_LETTERED when the request was refused
    and is now to be dead-lettered; None when the call was cancelled before it settled. `status_code` is of the last
    answer, if any came; `note` is in human words, such as the API's message, or who let the offer go.
    """

    call: OptOutCall
    outcome: Outcome | None
    status_code: int | None
    attempts: int
    note: str | None
