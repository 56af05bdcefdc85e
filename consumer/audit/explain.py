"""The life of one offer in one session, in sentences that can be read out to whoever asks.

The logs say what happened, the reference decision says what follows from it, and what the group has committed says
what the offer waits for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..events import Mode, Outcome, Reason
from .calls import ReferenceRules
from .committed import Committed
from .decision import Completed, Fate, fates
from .fitting import CALLED, GIVEN_UP, is_called, objection
from .moments import iso, lasting
from .partition_log import PartitionLog, SessionLog, ShownOffer
from .reading import OutcomeRecord, Place


class TimelineEntry(NamedTuple):
    """Something that happened, or was due, at a time (ms); `place` is the record that says so."""

    at: int
    what: str
    place: Place | None
    words: str


class InputState(NamedTuple):
    """How far an input was read, and where it ends.

    Attributes:
        read_to: the first offset that the service had not read at its last commit; None: not known.
        end: of the partition.
        newest: the timestamp (ms) of its newest record; None: there is none.
    """

    topic: str
    partition: int
    read_to: int | None
    end: int
    newest: int | None


class Whereabouts(NamedTuple):
    """Where the records stand, and what is known of those who read them.

    Attributes:
        committed: None: nothing is known of it.
        is_doubtful: there is a position, and it is not what the service left there.
        other_settings: in words, by which the last commit was made; empty: by those of now, or that is not known.
    """

    topics: tuple[str, str, str]
    partition: int
    unit: int
    committed: Committed | None
    inputs: tuple[InputState, ...]
    now: int
    is_doubtful: bool = False
    other_settings: str = ""


class OfferName(NamedTuple):
    """One offer in one session."""

    session_id: str
    partner_code: str
    offer_id: str


@dataclass(slots=True)
class OfferLife:
    """What is told of one offer in one session. `entries` are in the order of time."""

    offer: OfferName
    entries: list[TimelineEntry] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


def explain(log: PartitionLog, offer: OfferName, where: Whereabouts, stamps: Mapping[Place, int]) -> OfferLife:
    """Tell the life of an offer. `stamps` are the timestamps of the inputs' records."""
    teller = _Teller(log, offer, where, stamps)
    life = OfferLife(offer)
    life.entries = sorted(teller.entries(), key=lambda entry: entry.at)
    life.sentences = list(teller.sentences())
    return life


class _Teller:
    def __init__(self, log: PartitionLog, offer: OfferName, where: Whereabouts, stamps: Mapping[Place, int]) -> None:
        self._rules: ReferenceRules = log.rules
        self._session: SessionLog = log.sessions.get(offer.session_id) or SessionLog()
        self._offer, self._where, self._stamps = offer, where, stamps
        name = offer.partner_code, offer.offer_id
        self._told = [o for o in self._session.outcomes if (o.partner_code, o.offer_id) == name]
        ours = [o for o in self._told if o.source[:2] == (where.topics[0], where.partition)]
        given_up = {o.source[2] for o in ours if o.reason in GIVEN_UP}
        given_up -= {o.source[2] for o in ours if o.reason not in GIVEN_UP}  # a backfill decided it
        shown = [event for event in self._session.shown if (event.partner_code, event.offer_id) == name]
        self._given_up = [event for event in shown if event.record_offset in given_up]
        self._shown = [event for event in shown if event.record_offset not in given_up]
        self._not_joined = [
            one.event
            for one in log.not_joined
            if one.event is not None
            and (one.event.session_id, one.event.partner_code, one.event.offer_id) == tuple(offer)
        ]
        self._undated = [doubt.least for doubt in self._session.doubts]
        self._chains = fates(self._shown, self._session.checkouts, self._rules, self._undated)

    # --- the time line

    def entries(self) -> Iterator[TimelineEntry]:
        """What happened, in any order."""
        for event in (*self._shown, *self._given_up, *self._not_joined):
            place = self._place(0, event.record_offset)
            yield TimelineEntry(
                event.presented_at, "presented", place, f"the offer was shown{self._stamped(event, place)}"
            )
        for checkout in self._readable():
            words = f"checkout {checkout.checkout_id} was completed, and bought {self._bought(checkout)}"
            place = self._place(1, checkout.offset)
            yield TimelineEntry(checkout.completed_at, "checkout", place, words)
        for undated in self._undated:
            if undated.checkout is None:
                words = "a checkout of the session that cannot be read: it may have bought anything"
                yield TimelineEntry(undated.earliest, "checkout", None, words)
        for number, chain in enumerate(self._chains, 1):
            which = f" (chain {number})" if len(self._chains) > 1 else ""
            yield TimelineEntry(chain.decide_at, "due", None, f"from now on no checkout changes its fate{which}")
        for outcome in self._told:
            place = self._where.topics[2], outcome.partition, outcome.offset
            yield TimelineEntry(outcome.settled_at, "outcome", place, self._outcome(outcome))

    def _stamped(self, event: ShownOffer, place: Place) -> str:
        stamp = self._stamps.get(place, event.presented_at)
        apart = stamp - event.presented_at
        return (
            ""
            if abs(apart) < 1_000
            else f"; its record is stamped {lasting(abs(apart))} {'later' if apart > 0 else 'earlier'}"
        )

    def _bought(self, checkout: Completed) -> str:
        if not checkout.purchased:
            return "nothing"
        if self._offer.offer_id in checkout.purchased:
            more = len(checkout.purchased) - 1
            return "this offer" + (f" and {more} more" if more else "")
        return f"{len(checkout.purchased)} other offers" if len(checkout.purchased) > 1 else "another offer"

    @staticmethod
    def _outcome(outcome: OutcomeRecord) -> str:
        times = outcome.attempts
        tries = "" if not times else f" after {times} tries" if times > 1 else " at the first try"
        # A try without an answer may have told the insurer all the same.
        tried = "" if not times else f" after {times} {'tries' if times > 1 else 'try'} without a final answer"
        said = {
            Outcome.PURCHASED: f"settled as bought{tried or ': the insurer is not called'}",
            Outcome.OPTED_OUT: f"the insurer was told that the offer was not bought, and answered 204{tries}",
            Outcome.NOT_FOUND: f"the insurer was told, and answered 404{tries}: it does not know the offer",
            Outcome.IGNORED: "settled without a call, since abandoned offers are ignored by the settings",
            Outcome.DEAD_LETTERED: "given up, and not called",
            Outcome.RELEASED: f"let go by an operator{tried}",
        }[Outcome(outcome.outcome)]
        if outcome.reason == Reason.CHECKOUT_UNREADABLE and tried:
            said = f"given up{tried}"
        if outcome.outcome == Outcome.DEAD_LETTERED and outcome.status is not None:
            said = f"given up: the insurer refused the call with {outcome.status}{tries}"
        mode = " (by a backfill)" if outcome.mode == Mode.BACKFILL else ""
        note = "" if outcome.note is None else f"; note: {outcome.note}"
        why = "" if outcome.reason == outcome.outcome else f", {outcome.reason}"
        return f"{outcome.outcome}{why}: {said}{mode}{note}"

    # --- why

    def sentences(self) -> Iterator[str]:
        """How the rules judge it, and what became of it."""
        yield from self._why_given_up()
        for number, chain in enumerate(self._chains):
            before = self._chains[number - 1] if number else None
            yield from self._why(chain, before)
            yield from self._what_became(chain)
        known = {chain.last for chain in self._chains}
        for outcome in self._told:
            if outcome.reason not in GIVEN_UP and outcome.presented_at not in known:
                yield (
                    f"The outcome {outcome.outcome} is of a presentation at {iso(outcome.presented_at)} "
                    f"({_text(outcome.source)}), which was not found as the last of a chain: retention may have "
                    "deleted it, it came later than join.lateness allows, or it stood in another topic."
                    f"{self._by_others()}"
                )

    def _why_given_up(self) -> Iterator[str]:
        decided = {event.record_offset for event in self._shown}
        here = self._where.topics[0], self._where.partition
        told = {o.source: o for o in self._told if o.reason in GIVEN_UP}
        told = {at: o for at, o in told.items() if at[:2] != here or at[2] not in decided}
        for place, outcome in told.items():
            why = outcome.note or "by its date or its arrival nobody can know whether it was bought"
            yield (
                f"The presentation at {_text(place)} was given up as {outcome.reason}, and not called: {why}. Its "
                "record is in the dead-letter topic."
            )
        for event in self._not_joined:
            if (place := self._place(0, event.record_offset)) not in told:
                yield f"The presentation at {_text(place)} is dated {iso(event.presented_at)}, which is not believed."

    def _why(self, chain: Fate, before: Fate | None) -> Iterator[str]:
        rules = self._rules
        times = len(chain.offsets)
        shown = (
            f"at {iso(chain.last)}" if chain.begin == chain.last else f"from {iso(chain.begin)} to {iso(chain.last)}"
        )
        again = "" if times == 1 else f" {times} times"
        one = "" if times == 1 else " These count as one, since each came before the one before was due."
        yield f"The offer was shown{again} {shown}.{one}{self._why_apart(chain, before)}"
        first = next((c for c in self._in_order() if chain.last <= c.completed_at <= chain.last + rules.window), None)
        if first is None:
            yield (
                f"No checkout of the session came within {lasting(rules.window)} after that (join.window), so it was "
                f"due at {iso(chain.decide_at)}."
            )
        else:
            yield (
                f"The first checkout after that, {first.checkout_id} at {iso(first.completed_at)}, made it due "
                f"{lasting(rules.checkout_grace)} later (join.checkout_grace), at {iso(chain.decide_at)}."
            )
        yield self._verdict(chain)

    def _why_apart(self, chain: Fate, before: Fate | None) -> str:
        if before is None:
            return ""
        if chain.begin > before.decide_at:
            return " It begins a new chain, since the one before was due by then: it is told to the insurer by itself."
        lookback = lasting(self._rules.lookback)
        return f" It begins a new chain, since the one before had lasted for {lookback} (join.lookback)."

    def _verdict(self, chain: Fate) -> str:
        since = iso(chain.begin - self._rules.lookback)
        if chain.reason is Reason.PURCHASED:
            return (
                f"Checkout {chain.checkout_id} names it, between {since} and when it was due: it was bought, and the "
                "insurer is not to be called."
            )
        if chain.reason is Reason.CHECKOUT_UNREADABLE:
            return "A checkout of the session cannot be read and may have bought it: the insurer is not to be called."
        what = "was declined" if chain.reason is Reason.DECLINED else "was abandoned, as the session did not check out"
        called = "is to be told" if is_called(chain, self._rules) else "is not to be told (join.abandoned = ignore)"
        words = f"No checkout between {since} and when it was due names it: it {what}, and the insurer {called}."
        told_of_it = [o for o in self._told if o.presented_at == chain.last]
        was_called = any(o.outcome in CALLED for o in told_of_it)
        was_tried = any(o.attempts for o in told_of_it)
        for checkout in self._in_order():
            if checkout.checkout_id in chain.may_withhold:
                side = "after" if checkout.completed_at > chain.decide_at else "long before"
                told = (
                    "the insurer was told all the same"
                    if was_called
                    else "once that was read, no further call was made"
                    if was_tried
                    else "if that was known before the call, none was made"
                )
                words += (
                    f" Checkout {checkout.checkout_id} bought it {side} that, at {iso(checkout.completed_at)}: {told}."
                )
        return words

    # --- what became of it

    def _what_became(self, chain: Fate) -> Iterator[str]:
        told = [o for o in self._told if o.presented_at == chain.last and o.reason not in GIVEN_UP]
        for outcome in told:
            yield f"At {iso(outcome.settled_at)}: {self._outcome(outcome)}."
            is_ours = outcome.source[0] == self._where.topics[0]
            if is_ours and (why := objection(outcome, chain, self._shown, self._session, self._rules)):
                late = " A record of the session came late, which may be why." if self._session.came_late else ""
                yield f"This does not fit: {why}.{late}{self._by_others()}"
        if not told:
            yield self._waits(chain)

    def _by_others(self) -> str:
        if not self._where.other_settings:
            return ""
        return (
            f" The last commit was made by other settings, {self._where.other_settings}: if it was decided by these, "
            "give this command the settings of then."
        )

    def _waits(self, chain: Fate) -> str:
        where, committed = self._where, self._where.committed
        if committed is None:
            return "It has no outcome, and " + (
                "the group's position in this partition is not what the service left there: see `opt-out positions`."
                if where.is_doubtful
                else "the group has committed nothing for this partition: the service has not worked on it yet, or "
                "runs with another kafka.group_id."
            )
        if committed.settles(chain, self._shown, self._session.checkouts, self._rules):
            return (
                "It has no outcome, though what is committed says that it is settled. Retention may have deleted the "
                "outcome; if not, this is a fault: see `opt-out reconcile`."
            )
        if committed.lists(chain):
            return (
                "It waits for its call: it is decided, and the insurer has not given a final answer yet. The log says "
                "why: see `opt-out manual runbook#an-offset-is-stuck`."
            )
        if where.now < chain.decide_at:
            left = lasting(chain.decide_at - where.now)
            return f"It waits for its time: it is due in {left}, and until then may be bought."
        wanted = chain.decide_at + self._rules.lateness
        if where.now <= wanted:
            return (
                f"It is due, and decided once both topics are read to {iso(wanted)}, which is join.lateness later: "
                "purchases may still come."
            )
        return f"It is due, and waits to be decided: {self._what_holds(chain, wanted)}."

    def _what_holds(self, chain: Fate, wanted: int) -> str:
        unread = [
            f"the service has read {one.topic}[{one.partition}] to offset {one.read_to} of {one.end}"
            for one in self._where.inputs
            if one.read_to is not None and one.read_to < one.end
        ]
        if unread:
            return " and ".join(unread) + ", by its last commit"
        newest = " and ".join(
            f"the newest record of {one.topic}[{one.partition}] is of {iso(one.newest)}"
            if one.newest is not None
            else f"{one.topic}[{one.partition}] is empty"
            for one in self._where.inputs
        )
        return (
            f"both topics have to be read to {iso(wanted)}; {newest}. A quiet topic counts as read once it was found "
            "idle. If that takes longer than a minute the log says what holds it; decisions may be suspended: see "
            "`opt-out manual decision#when-decisions-are-suspended`"
        )

    # --- inside

    def _readable(self) -> list[Completed]:
        return [*self._session.checkouts, *(u.checkout for u in self._undated if u.checkout is not None)]

    def _in_order(self) -> Sequence[Completed]:
        return sorted(self._session.checkouts, key=lambda c: (c.completed_at, c.offset))

    def _place(self, topic: int, offset: int) -> Place:
        return self._where.topics[topic], self._where.partition, offset


def _text(place: Place) -> str:
    topic, partition, offset = place
    return f"{topic}[{partition}]@{offset}"
