"""Holds `offer.outcome` against the reference decision, chain by chain.

A chain is known by its session, its offer and the time of its last presentation. Each chain of the range has its
outcome, or is open, or is an exception. What depends on more than the logs tell is not guessed: a record that came
later than `lateness` allows, records that retention has deleted. What does not fit is counted as not judged then, with
the reason. But what the logs prove stays an exception: two outcomes, or a call for an offer that was bought.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from ..emulator.call_log import Call
from ..events import Mode, Outcome, Reason
from .committed import Committed
from .dead_letters import DeadLetters
from .decision import Completed, Fate, UndatedCheckout, fates
from .findings import (
    ARRIVED_LATE,
    CHAIN_CUT,
    CHECKOUTS_GONE,
    OFFERS_GONE,
    OUTCOMES_GONE,
    Discrepancy,
    Flaw,
    Reconciliation,
    Scope,
)
from .fitting import CALLED, GIVEN_UP, LET_GO, in_words, objection
from .moments import iso
from .partition_log import PartitionLog, SessionLog, ShownOffer
from .reading import OutcomeRecord, Place

MOST_DOUBTS = 4
"""Checkouts without a time in a session of which every combination is tried; beyond, all with the least doubt or all
with the most. Of records that came late too; beyond, a decision may have been any."""

_OF_READABLE = {Reason.LATE.lower(), Reason.IMPLAUSIBLE_TIME.lower(), "rejected"}
"""Reasons of dead letters of presentations that can be read: these have an outcome too."""


def reconcile(
    log: PartitionLog,
    scope: Scope,
    found: Reconciliation,
    committed: Committed | None,
    dead: Callable[[], DeadLetters | None] = lambda: None,
    *,
    all_settled: bool = False,
) -> None:
    """Judge one partition, and add what is found.

    Args:
        committed: None: nothing is known of it, so that a chain without an outcome is open.
        dead: the offers' records that are in the dead-letter topic; None: that is not known. It is asked only where
            that matters.
        all_settled: nothing is open any more: each chain must have its outcome.
    """
    judge = _Judge(log, scope, committed, dead, all_settled=all_settled)
    for session_id, session in log.sessions.items():
        judge.session(session_id, session, found)
    judge.not_joined(found)


@dataclass(slots=True)
class _Verdict:
    """What one way to read the logs of an offer in a session comes to."""

    found: Reconciliation
    objections: list[Discrepancy] = field(default_factory=list)


class _Judge:
    def __init__(
        self,
        log: PartitionLog,
        scope: Scope,
        committed: Committed | None,
        dead: Callable[[], DeadLetters | None],
        *,
        all_settled: bool = False,
    ) -> None:
        self._log, self._scope, self._committed, self._all_settled = log, scope, committed, all_settled
        self._dead = dead
        self._rules = log.rules
        self._lasts = log.rules.window + log.rules.checkout_grace
        """How long after a presentation the next one of its chain may come at the most (ms)."""
        self._given_up = {
            (outcome.source[2], outcome.partner_code, outcome.offer_id)
            for session in log.sessions.values()
            for outcome in session.outcomes
            if outcome.reason in GIVEN_UP
        }

    # --- presentations that joined nothing

    def not_joined(self, found: Reconciliation) -> None:
        """They belong to the range by the timestamps of their records."""
        for one in self._log.not_joined:
            event = one.event
            if not self._scope.holds(one.timestamp):
                continue
            is_settled = self._all_settled or (self._committed is not None and one.offset < self._committed.offset)
            place = (self._offer(one.offset),)
            if event is None:
                found.presented += 1
                found.unreadable += 1
                dead = self._dead() if is_settled else None
                if dead is not None and dead.reason(one.offset, one.timestamp) is None:
                    words = f"the record cannot be read ({one.why}), and is not in the dead-letter topic"
                    found.object(Discrepancy(Flaw.NO_DEAD_LETTER, "", "", "", one.timestamp, place, words))
            elif (one.offset, event.partner_code, event.offer_id) not in self._given_up:
                found.presented += 1
                if is_settled:
                    found.without_outcome += 1
                    offer = event.session_id, event.partner_code, event.offer_id, event.presented_at
                    words = f"{one.why}: it must be dead-lettered, and has no outcome"
                    found.object(Discrepancy(Flaw.NO_OUTCOME, *offer, place, words))
                else:
                    found.undecided += 1

    # --- chains

    def session(self, session_id: str, session: SessionLog, found: Reconciliation) -> None:
        """Judge each offer of a session by itself."""
        shown: defaultdict[tuple[str, str], list[ShownOffer]] = defaultdict(list)
        for event in session.shown:
            shown[event.partner_code, event.offer_id].append(event)
        told: defaultdict[tuple[str, str], list[OutcomeRecord]] = defaultdict(list)
        for outcome in session.outcomes:
            told[outcome.partner_code, outcome.offer_id].append(outcome)
        for offer in {**shown, **told}:
            self._judge_offer((session_id, *offer), shown[offer], told[offer], session, found)

    def _judge_offer(
        self,
        offer: tuple[str, str, str],
        shown: list[ShownOffer],
        told: list[OutcomeRecord],
        session: SessionLog,
        found: Reconciliation,
    ) -> None:
        # What was late for a live run, and was decided by a backfill since, is a chain like any other.
        decided = {outcome.source[2] for outcome in told if outcome.reason not in GIVEN_UP}
        decided &= {event.record_offset for event in shown}
        anew = [outcome for outcome in told if outcome.reason in GIVEN_UP and outcome.source[2] in decided]
        found.replaced += len({outcome.source[2] for outcome in anew if self._belongs(outcome)})
        told = [outcome for outcome in told if outcome not in anew]
        given_up = [outcome for outcome in told if outcome.reason in GIVEN_UP]
        if not given_up:
            for one in self._verdict(offer, shown, told, session, _Verdict(found)).objections:
                found.object(one)
            return
        told = [outcome for outcome in told if outcome.reason not in GIVEN_UP]
        places = {outcome.source[2] for outcome in given_up}
        joined = [event for event in shown if event.record_offset not in places]
        verdict = self._verdict(offer, joined, told, session, _Verdict(Reconciliation()))
        apart = {(o.source[2], o.reason): o for o in given_up if self._belongs(o)}
        if verdict.objections and len(joined) < len(shown):
            # One that was late for a live run may have been on time for another, that read all again.
            other = self._verdict(offer, shown, told, session, _Verdict(Reconciliation()))
            if len(other.objections) < len(verdict.objections):
                verdict, apart = other, {}
                found.replaced += 1
        found.presented += len(apart)
        found.fates[Outcome.DEAD_LETTERED] += len(apart)
        found.repeated += max(0, sum(map(self._belongs, given_up)) - len(apart)) if apart else 0
        found.add(verdict.found)
        for one in verdict.objections:
            found.object(one)
        for told_of in apart.values():
            if self._is_believed(told_of, shown):
                words = f"given up as {told_of.reason}, and by the log its date is believed"
                shows = self._offer(told_of.source[2]), self._place(told_of)
                found.object(Discrepancy(Flaw.OTHER_FATE, *offer, told_of.presented_at, shows, words))

    def _is_believed(self, given_up: OutcomeRecord, shown: Sequence[ShownOffer]) -> bool:
        """Whether it was given up for a date that is believed, and was so when it was given up. Of one that was late
        the log does not tell."""
        ahead = given_up.presented_at - self._rules.max_skew > given_up.settled_at
        by_its_date = given_up.reason == Reason.IMPLAUSIBLE_TIME and not ahead
        return by_its_date and any(event.record_offset == given_up.source[2] for event in shown)

    def _belongs(self, given_up: OutcomeRecord) -> bool:
        """Whether a presentation that was given up belongs to the range: where its date is not believed, by its
        record."""
        if given_up.reason != Reason.IMPLAUSIBLE_TIME:
            return self._scope.holds(given_up.presented_at)
        stamps = [one.timestamp for one in self._log.not_joined if one.offset == given_up.source[2]]
        return self._scope.holds(stamps[0] if stamps else given_up.presented_at)

    def _verdict(
        self,
        offer: tuple[str, str, str],
        shown: list[ShownOffer],
        told: list[OutcomeRecord],
        session: SessionLog,
        verdict: _Verdict,
    ) -> _Verdict:
        outcomes: defaultdict[int, list[OutcomeRecord]] = defaultdict(list)
        for outcome in told:
            outcomes[outcome.presented_at].append(outcome)
        for chain in self._chains(shown, session):
            mine = outcomes.pop(chain[0].last, [])
            if self._scope.holds(chain[0].last):
                self._judge_chain(chain, mine, shown, told, session, verdict)
        unread = self._run_without_begin(shown) if outcomes else 0
        for at, strays in outcomes.items():
            if not self._scope.holds(at):
                continue
            first = strays[0]
            places = tuple(self._place(outcome) for outcome in strays)
            reason = self._why_unknown(first, at, unread, session)
            if reason:
                verdict.found.not_judged[reason] += 1
            else:
                is_shown = any(event.presented_at == at for event in shown)
                why = "the chain goes on after that" if is_shown else "the inputs have no chain of it"
                words = f"{first.outcome} for an offer that was presented last then: by the reference decision {why}"
                verdict.objections.append(Discrepancy(Flaw.UNKNOWN_CHAIN, *offer, at, places, words))
        return verdict

    def _chains(self, shown: Sequence[ShownOffer], session: SessionLog) -> Iterator[list[Fate]]:
        """Each chain, with every fate that it may have by the doubts about undated checkouts."""
        if not shown:
            return
        doubts = session.doubts
        if len(doubts) <= MOST_DOUBTS:
            ways: Iterable[Sequence[UndatedCheckout]] = product(*doubts)
        else:
            ways = ([doubt.least for doubt in doubts], [doubt.most for doubt in doubts])
        # Chains are the same in each, and come in the same order.
        every = [fates(shown, session.checkouts, self._rules, way) for way in ways]
        yield from (list(one) for one in zip(*every, strict=True))

    def _judge_chain(
        self,
        chain: list[Fate],
        mine: list[OutcomeRecord],
        shown: Sequence[ShownOffer],
        told: Sequence[OutcomeRecord],
        session: SessionLog,
        verdict: _Verdict,
    ) -> None:
        fate, found = chain[0], verdict.found
        found.presented += 1
        if not mine:
            self._judge_missing(fate, shown, told, session, verdict)
            return
        kinds = {(outcome.outcome, outcome.reason) for outcome in mine}
        found.repeated += len(mine) - len(kinds)
        if len(kinds) > 1 and any(outcome.mode == Mode.BACKFILL for outcome in mine):
            left = [outcome for outcome in mine if outcome.outcome not in LET_GO]
            if left and len(left) < len(mine):
                mine, kinds = left, {(outcome.outcome, outcome.reason) for outcome in left}
                found.replaced += 1
        why = [min((objection(o, one, shown, session, self._rules) for one in chain), key=len) for o in mine]
        counts = next((outcome for outcome, words in zip(mine, why, strict=True) if not words), mine[0])
        found.fates[counts.outcome] += 1
        called = next((outcome for outcome in mine if outcome.outcome in CALLED), None)
        if len(kinds) == 1 and not any(why) and not (called and fate.may_withhold):
            return  # as nearly all
        places = (*self._presentations(fate), *map(self._place, mine))
        if called and all(one.reason is Reason.PURCHASED for one in chain):
            named = next(c for c in _readable(session) if c.checkout_id == fate.checkout_id)
            words = f"called, and {_bought(named)}, within the time that counts"
            shows = (*places, self._checkout(named.offset))
            may_be = self._may_have_been_called(fate, shown, session)
            self._object(verdict, Flaw.CALLED_THOUGH_BOUGHT, fate, shows, words, by_the_rules=may_be)
        elif len(kinds) > 1:
            words = "the outcomes differ: " + " and ".join(sorted(f"{o}, {reason}" for o, reason in kinds))
            if wrong := next(filter(None, why), ""):
                words = f"{words}; {wrong}"
            may_be = not wrong or bool(self._doubtful(fate, shown, session))  # decided anew with what came late
            self._object(verdict, Flaw.TWO_OUTCOMES, fate, places, words, by_the_rules=may_be)
        elif any(why):
            is_gone = any(outcome.source[2] < self._log.first_offset for outcome in mine)
            if reason := OFFERS_GONE if is_gone else self._doubtful(fate, shown, session):
                found.not_judged[reason] += 1
            else:
                self._object(verdict, Flaw.OTHER_FATE, fate, places, next(filter(None, why)))
        elif called and fate.may_withhold:
            self._object(verdict, *self._bought_besides(fate, session, places), by_the_rules=True)

    def _judge_missing(
        self,
        fate: Fate,
        shown: Sequence[ShownOffer],
        told: Sequence[OutcomeRecord],
        session: SessionLog,
        verdict: _Verdict,
    ) -> None:
        found, committed = verdict.found, self._committed
        if not (self._all_settled or (committed and committed.settles(fate, shown, session.checkouts, self._rules))):
            waits = committed is not None and committed.lists(fate)
            found.waiting += waits
            found.undecided += not waits
            found.oldest_open = fate.last if found.oldest_open is None else min(fate.last, found.oldest_open)
            return
        if fate.decide_at < self._log.outcomes_from:
            found.unknown += 1
            found.not_judged[OUTCOMES_GONE] += 1
            return
        reason = self._doubtful(fate, shown, session)
        if reason and any(0 <= outcome.presented_at - fate.last <= self._rules.lookback for outcome in told):
            # The service made one chain of it and of what was shown later: that one's outcome covers it.
            found.unknown += 1
            found.not_judged[reason] += 1
            return
        if self._was_unreadable({offset // self._scope.unit for offset in fate.offsets}):
            found.unreadable += 1  # when it was read it was no event
            return
        found.without_outcome += 1
        words = f"by the reference decision it is {in_words(fate, self._rules)}, due at {iso(fate.decide_at)}"
        self._object(verdict, Flaw.NO_OUTCOME, fate, self._presentations(fate), words)

    def _was_unreadable(self, records: set[int]) -> bool:
        """Whether all of these are dead letters of what could not be read."""
        if (dead := self._dead()) is None:
            return False
        reasons = (dead.reason(offset, self._log.stamps.get(offset, -1)) for offset in records)
        return all(reason is not None and reason not in _OF_READABLE for reason in reasons)

    def _bought_besides(
        self, fate: Fate, session: SessionLog, places: tuple[Place, ...]
    ) -> tuple[Flaw, Fate, tuple[Place, ...], str]:
        """A purchase that the decision does not count, of an offer that was called."""
        named = [c for c in _readable(session) if fate.offer_id in c.purchased]
        last = max(named, key=lambda c: c.completed_at)
        kind = Flaw.BOUGHT_LONG_BEFORE if last.completed_at < fate.begin else Flaw.BOUGHT_AFTER_CALL
        words = f"called, and {_bought(last)}, outside of the time that counts"
        return kind, fate, (*places, *(self._checkout(c.offset) for c in named)), words

    def _may_have_been_called(self, bought: Fate, shown: Sequence[ShownOffer], session: SessionLog) -> bool:
        """Whether a chain that is bought was none without some of what came late."""
        mine = {id(event) for event in (*shown, *session.checkouts)}
        late = [event for event in session.late if id(event) in mine]
        if max(len(late), len(session.doubts)) > MOST_DOUBTS:
            return session.came_late
        for without in product((False, True), repeat=len(late)):
            unread = {id(event) for event, is_unread in zip(late, without, strict=True) if is_unread}
            known = [event for event in shown if id(event) not in unread]
            read = [event for event in session.checkouts if id(event) not in unread]
            for way in product(*session.doubts):
                for one in fates(known, read, self._rules, way):
                    if one.last == bought.last and one.reason is not Reason.PURCHASED:
                        return True
        return False

    # --- what cannot be judged

    def _doubtful(self, fate: Fate, shown: Sequence[ShownOffer], session: SessionLog) -> str:
        """Why the reference decision may differ from what was right when it was made; empty: it may not."""
        if session.came_late:
            return ARRIVED_LATE
        if fate.begin - self._rules.lookback < self._log.checkouts_from:
            return CHECKOUTS_GONE
        return CHAIN_CUT if fate.begin <= self._run_without_begin(shown) else ""

    def _why_unknown(self, outcome: OutcomeRecord, at: int, unread: int, session: SessionLog) -> str:
        if outcome.source[2] < self._log.first_offset:
            return OFFERS_GONE
        if session.came_late:
            return ARRIVED_LATE
        if at <= unread:
            return CHAIN_CUT
        return CHECKOUTS_GONE if at - self._rules.lookback < self._log.checkouts_from else ""

    def _run_without_begin(self, shown: Sequence[ShownOffer]) -> int:
        """Up to when (ms) it is not known where chains of an offer begin: one before may not have been read."""
        until = self._log.presentations_from - 1
        for event in sorted(shown, key=lambda event: event.presented_at):
            if event.presented_at > until + self._lasts:
                break
            until = event.presented_at
        return until

    # --- places and words

    def _object(
        self,
        verdict: _Verdict,
        kind: Flaw,
        fate: Fate,
        places: tuple[Place, ...],
        words: str,
        *,
        by_the_rules: bool = False,
    ) -> None:
        offer = fate.session_id, fate.partner_code, fate.offer_id, fate.last
        verdict.objections.append(Discrepancy(kind, *offer, places, words, by_the_rules))

    def _offer(self, record_offset: int) -> Place:
        return self._scope.topics[0], self._scope.partition, record_offset

    def _presentations(self, fate: Fate) -> tuple[Place, ...]:
        return tuple(self._offer(offset) for offset in sorted({o // self._scope.unit for o in fate.offsets}))

    def _checkout(self, offset: int) -> Place:
        return self._scope.topics[1], self._scope.partition, offset

    def _place(self, outcome: OutcomeRecord) -> Place:
        return self._scope.topics[2], outcome.partition, outcome.offset


def _readable(session: SessionLog) -> list[Completed]:
    doubtful = (doubt.least.checkout for doubt in session.doubts)
    return [*session.checkouts, *(checkout for checkout in doubtful if checkout is not None)]


def _bought(checkout: Completed) -> str:
    return f"bought by checkout {checkout.checkout_id} at {iso(checkout.completed_at)}"


def beyond_answers(outcomes: Iterable[OutcomeRecord], calls: Iterable[Call]) -> list[str]:
    """Outcomes that tell of more answers than the API's own log has."""
    answers: Counter[tuple[str, str, int | None]] = Counter(
        (call.partner_code, call.offer_id, call.status) for call in calls if call.terminal
    )
    claims: Counter[tuple[str, str, int | None]] = Counter(
        (o.partner_code, o.offer_id, o.status) for o in outcomes if o.status is not None and o.outcome in CALLED
    )
    return [
        f"offer {offer_id} of {partner_code}: {claimed} outcomes say {status} beyond what the API answered"
        for (partner_code, offer_id, status), claimed in (claims - answers).items()
    ]
