"""Judges the calls that reached the API: was every offer called that had to be, and no other, none too early?

It knows two things only: the events as they stand in the two topics, and the API's own log of the calls.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..emulator.call_log import Call, read_calls
from ..events import Reason
from .decision import Fate, fates
from .reading import Checkout, Presentation, ReadFields, read_events, read_plain


class ReferenceRules(NamedTuple):
    """The spans of the decision, in ms, and whether abandoned offers are called.

    `lateness` and `max_skew` decide nothing. They tell which records came too late for a decision that is one of the
    logs alone, and whose dates are not believed.
    """

    window: int
    checkout_grace: int
    lookback: int
    call_abandoned: bool = True
    lateness: int = 0
    max_skew: int = 0


@dataclass(slots=True)
class Judgement:
    """What was found. Lists hold lines that name the offer; numbers count chains, `repeated` counts calls.

    Attributes:
        to_call: chains that had to be called, but for those that are withheld.
        recorded, not_found: chains whose call was answered 204, or 404 for good.
        withheld: chains decided to be called that were not, and of which a purchase is in the log that the decision
            does not count.
        bought_later: those of which there is such a purchase and that were called: before it was read.
        missed: chains to be called of which the log shows no such answer.
        false: offers that were called although no chain of theirs was to be called.
        early: calls that came before the offer's fate could be known.
        misreported: calls that gave another reason than the offer's chains have.
        repeated: settling answers beyond one a chain.
        retried: calls answered neither 204 nor 404 for good.
    """

    sessions: int = 0
    presentations: int = 0
    checkouts: int = 0
    chains: int = 0
    bought: int = 0
    ignored: int = 0
    to_call: int = 0
    recorded: int = 0
    not_found: int = 0
    withheld: int = 0
    bought_later: int = 0
    calls: int = 0
    retried: int = 0
    repeated: int = 0
    unreadable: int = 0
    missed: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    misreported: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every offer met its fate: none missed, none called falsely, too early or for a wrong reason."""
        return not (self.missed or self.false or self.early or self.misreported)


def judge(
    presentations: Sequence[Presentation], checkouts: Sequence[Checkout], calls: Sequence[Call], rules: ReferenceRules
) -> Judgement:
    """Compare what should have become of every offer with the calls that reached the API."""
    found = Judgement(
        sessions=len({event.session_id for event in presentations} | {event.session_id for event in checkouts}),
        presentations=len(presentations),
        checkouts=len(checkouts),
        calls=len(calls),
        retried=sum(not call.terminal for call in calls),
    )
    calls_of: defaultdict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in calls:
        calls_of[call.partner_code, call.offer_id].append(call)
    chains_of: defaultdict[tuple[str, str], list[Fate]] = defaultdict(list)
    for fate in fates(presentations, checkouts, rules):
        chains_of[fate.partner_code, fate.offer_id].append(fate)
    for offer, chains in chains_of.items():
        _judge_offer(found, offer, chains, calls_of.pop(offer, []), rules)
    for offer, strays in calls_of.items():
        found.false.append(f"{_name(offer)} was called {_times(len(strays))} but never presented")
    return found


def judge_from_topics(
    bootstrap: str, topics: tuple[str, str], log: Path, rules: ReferenceRules, read: ReadFields = read_plain
) -> Judgement:
    """Read the offer topic and the checkout topic to their ends, and judge the calls of an emulator's log.

    `read`: how their records are read.

    Raises:
        RuntimeError: a topic could not be read to its end.
    """
    presentations, checkouts, unreadable = read_events(bootstrap, topics, read)
    found = judge(presentations, checkouts, read_calls(log), rules)
    found.unreadable = unreadable
    return found


def in_words(found: Judgement) -> list[tuple[bool, str]]:
    """The judgement for a person: each line with whether it is good."""
    fated = found.bought + found.ignored + found.recorded + found.not_found + found.withheld
    ignored = f", {found.ignored:,} abandoned and ignored" if found.ignored else ""
    lines = [
        (fated == found.chains, f"{fated:,} of {found.chains:,} offers presented have one fate:"),
        (True, f"{found.bought:,} bought, {found.recorded:,} opted out, {found.not_found:,} not found{ignored}"),
        (not found.false, f"{_were(found.false)} called that had been bought"),
        (not found.missed, f"{_were(found.missed)} missed of the {found.to_call:,} to be called"),
        (not found.early, f"{_were(found.early)} called before the fate was certain"),
        (not found.misreported, f"{_were(found.misreported)} called for a wrong reason"),
        (True, f"{found.repeated:,} called again: a hard stop may repeat what was not committed yet"),
    ]
    if found.withheld:
        lines.append((True, f"{found.withheld:,} bought too late for the decision, and not called: known in time"))
    if found.bought_later:
        lines.append(
            (True, f"{found.bought_later:,} bought too late for the decision, and called before that was read")
        )
    if found.unreadable:
        lines.append((True, f"{found.unreadable:,} records that are no events, and not judged"))
    return lines


def _is_called(chain: Fate, rules: ReferenceRules) -> bool:
    return chain.reason is Reason.DECLINED or (chain.reason is Reason.ABANDONED and rules.call_abandoned)


def _judge_offer(
    found: Judgement, offer: tuple[str, str], chains: Sequence[Fate], calls: Sequence[Call], rules: ReferenceRules
) -> None:
    to_call = [chain for chain in chains if _is_called(chain, rules)]
    settled = sorted((call for call in calls if call.terminal), key=lambda call: call.time_ms)
    bought = sum(chain.reason is Reason.PURCHASED for chain in chains)
    found.chains += len(chains)
    found.bought += bought
    found.ignored += len(chains) - bought - len(to_call)
    if not to_call:
        if calls:
            fate = " and ".join(sorted({_word(chain) for chain in chains}))
            found.false.append(f"{_name(offer)} was {fate} but called {_times(len(calls))}")
        return
    found.missed.extend(
        f"{_name(offer)} was {_word(chain)} but never settled ({_times(len(calls))} called)"
        for chain in _count_settled(found, to_call, settled)
    )
    certain_at = min(chain.decide_at for chain in to_call)
    reasons = {_word(chain) for chain in to_call}
    for call in calls:
        if call.time_ms < certain_at:
            found.early.append(f"{_name(offer)} was called {certain_at - call.time_ms} ms before its fate was certain")
        if call.reason is not None and call.reason.lower() not in reasons:
            found.misreported.append(f"{_name(offer)} was {' and '.join(reasons)} but called as {call.reason}")


def _count_settled(found: Judgement, to_call: Sequence[Fate], settled: Sequence[Call]) -> list[Fate]:
    """Count what became of an offer's chains by their settling answers. Returns the chains that were missed."""
    claimed, missed = _claim([chain for chain in to_call if not chain.may_withhold], settled)
    left = [call for call in settled if not any(call is other for other in claimed)]
    bought_later, withheld = _claim([chain for chain in to_call if chain.may_withhold], left)
    statuses = Counter(call.status for call in claimed + bought_later)
    found.recorded += statuses[204]
    found.not_found += statuses[404]
    found.withheld += len(withheld)
    found.bought_later += len(bought_later)
    found.to_call += len(to_call) - len(withheld)
    found.repeated += max(0, len(settled) - len(to_call) + len(withheld))
    return missed


def _claim(to_call: Sequence[Fate], settled: Sequence[Call]) -> tuple[list[Call], list[Fate]]:
    """Which settling answer is whose, and the chains left without one.

    A chain's answer given again after a crash is none for a later chain of the offer, which was not decided yet.
    """
    answers, claimed, missed = iter(settled), [], []
    for place, chain in enumerate(sorted(to_call, key=lambda chain: chain.decide_at)):
        # Whatever the first chain's call was, it is not missing; if it came too early, that is said elsewhere.
        answer = next((call for call in answers if place == 0 or call.time_ms >= chain.decide_at), None)
        if answer is None:
            missed.append(chain)
        else:
            claimed.append(answer)
    return claimed, missed


def _word(chain: Fate) -> str:
    return "bought" if chain.reason is Reason.PURCHASED else chain.reason.lower()


def _were(objections: Sequence[str]) -> str:
    if len(objections) == 1:
        return "1 was"
    return f"{len(objections):,} were" if objections else "none was"


def _name(offer: tuple[str, str]) -> str:
    return f"offer {offer[1]} of {offer[0]}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
