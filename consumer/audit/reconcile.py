"""Holds `offer.outcome` against the fates that the reference decision gives, and against the API's own log.

A chain is known by its session, its offer and the time of its last presentation.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..emulator.call_log import Call
from ..events import Reason
from .decision import Fate
from .reading import ChainKey, OutcomeRecord

_FATES: Mapping[str, set[tuple[str, str, int | None]]] = {
    Reason.PURCHASED: {("PURCHASED", "PURCHASED", None)},
    Reason.DECLINED: {("OPTED_OUT", "DECLINED", 204), ("NOT_FOUND", "DECLINED", 404)},
    Reason.ABANDONED: {("OPTED_OUT", "ABANDONED", 204), ("NOT_FOUND", "ABANDONED", 404)},
}
"""Outcome, reason and status code that a chain of this reason may have, if its call was not withheld."""


@dataclass(slots=True)
class Reconciliation:
    """What was found; lists hold lines that name the offer.

    Attributes:
        outcomes, repeated: records, and those beyond one a chain.
        missing: chains without an outcome.
        wrong: outcomes that differ from the fate: in class, reason, status code or time of the decision.
        unfounded: outcomes of chains that there are not, or of calls that the API's log does not have.
        dead: records in the dead-letter topic, or outcomes DEAD_LETTERED, of events that were on time.
    """

    outcomes: int = 0
    repeated: int = 0
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unfounded: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every chain has its one fate in the topic."""
        return not (self.missing or self.wrong or self.unfounded or self.dead)


def reconcile(fates: Iterable[Fate], outcomes: Sequence[OutcomeRecord], calls: Iterable[Call]) -> Reconciliation:
    """Compare every outcome with the chain's fate and with the answers that the API gave."""
    found = Reconciliation(outcomes=len(outcomes))
    answers: Counter[tuple[str, str, int | None]] = Counter(
        (call.partner_code, call.offer_id, call.status) for call in calls if call.terminal
    )
    claims: Counter[tuple[str, str, int | None]] = Counter(
        (o.partner_code, o.offer_id, o.status) for o in outcomes if o.status is not None and o.outcome != "PURCHASED"
    )
    for (partner_code, offer_id, status), claimed in (claims - answers).items():
        found.unfounded.append(
            f"offer {offer_id} of {partner_code}: {claimed} outcomes say {status} beyond what the API answered"
        )
    told: defaultdict[ChainKey, list[OutcomeRecord]] = defaultdict(list)
    for outcome in outcomes:
        told[outcome.chain].append(outcome)
    for fate in fates:
        of_chain = told.pop((fate.session_id, fate.partner_code, fate.offer_id, fate.last), [])
        if not of_chain:
            found.missing.append(
                f"offer {fate.offer_id} of {fate.partner_code} was {fate.reason.lower()} and has no outcome"
            )
        found.repeated += max(0, len(of_chain) - 1)
        for outcome in of_chain:
            if outcome.outcome == "DEAD_LETTERED":
                found.dead.append(f"{_name(outcome)} was {fate.reason.lower()}, and on time")
            elif not _fits(outcome, fate):
                found.wrong.append(f"{_name(outcome)} was {fate.reason.lower()}")
            elif outcome.decided_at != fate.decide_at:
                found.wrong.append(f"{_name(outcome)}, decided at {outcome.decided_at} instead of {fate.decide_at}")
            if outcome.partition != outcome.source[1]:
                found.wrong.append(f"{_name(outcome)} stands in partition {outcome.partition} of the outcomes")
    for of_chain in told.values():
        found.unfounded.extend(f"{_name(outcome)}: the inputs have no such chain" for outcome in of_chain)
    return found


def _fits(outcome: OutcomeRecord, fate: Fate) -> bool:
    """Whether this may become of the chain. What was withheld names the purchase, and says so."""
    if (outcome.outcome, outcome.reason, outcome.status) in _FATES[fate.reason]:
        return True
    withheld = outcome.checkout_id in fate.may_withhold and outcome.note is not None
    return (outcome.outcome, outcome.reason) == ("PURCHASED", "PURCHASED") and withheld


def _name(outcome: OutcomeRecord) -> str:
    said = f"{outcome.outcome}/{outcome.reason}/{outcome.status}"
    return f"offer {outcome.offer_id} of {outcome.partner_code} is {said} (source {outcome.source})"
