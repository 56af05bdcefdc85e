"""How many 404s and refused requests have come in a row: remembered of each partner, also when it has no call."""

from __future__ import annotations

import structlog

from ..settings import DeliverySettings
from .not_found import NotFoundGuard
from .rejected_requests import RejectionGuard

MOST_KEPT = 100_000
"""Runs of partners without a call that are kept: some hundred times what an insurer has, in 30 MB and their codes. A
producer may write any number of partner codes."""

log = structlog.get_logger(__name__)


class Runs:
    """What the guards of one partner have counted."""

    __slots__ = ("not_found", "refusals")

    def __init__(self, settings: DeliverySettings, max_refused_run: int) -> None:
        self.not_found = NotFoundGuard(settings.not_found_limit)
        self.refusals = RejectionGuard(max_refused_run if settings.rejected == "dead-letter" else None)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is counted, as of a partner that was never called."""
        return not (self.not_found.run or self.refusals.in_a_row)

    def use_up(self) -> None:
        """Nobody knows what was counted, so it may be all that may be lost: no more is, until a 204 comes."""
        self.not_found.use_up()
        self.refusals.use_up()


class KeptRuns:
    """Keeps what was counted of partners that are forgotten, so that each loses no more than one that never is.

    Runs that nothing is counted in need no place. Once there is none for another, nobody knows any more which
    partners that are not kept had one. Then each of these begins as if it had lost all that it may lose.
    """

    def __init__(self, settings: DeliverySettings, max_refused_run: int) -> None:
        self._settings = settings
        self._max_refused_run = max_refused_run
        self._kept: dict[str, Runs] = {}
        self._some_lost = False

    def take(self, partner_code: str) -> Runs:
        """What is known of this partner, which has a call again, or its first one."""
        runs = self._kept.pop(partner_code, None)
        if runs is None:
            runs = Runs(self._settings, self._max_refused_run)
            if self._some_lost:
                runs.use_up()
        return runs

    def keep(self, partner_code: str, runs: Runs) -> None:
        """The partner is forgotten but for this."""
        if runs.at_rest:
            return
        if len(self._kept) < MOST_KEPT:
            self._kept[partner_code] = runs
        elif not self._some_lost:
            self._some_lost = True
            log.warning(
                "too many partners without a 204: of those that are not remembered, no 404 is believed and no rejected "
                "request is dead-lettered before a 204 of theirs comes; check the partner codes, and restart",
                remembered=MOST_KEPT,
            )
