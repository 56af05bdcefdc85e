"""Draws a seed's scenario: the settings, the events of its sessions, and the order in which their records come."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from random import Random
from typing import Any

from simulation.workload.draft import UNREADABLE, Draft
from simulation.workload.kinds import ON, Kind, source_of
from simulation.workload.other_kinds import OtherKinds
from simulation.workload.scenario import CHECKOUTS, CODEC, FAR_AHEAD, OFFERS, START, TOPICS, Scenario, Written
from simulation.workload.wrong_schema import WrongSchema

from consumer.core.rules import DecisionRules
from consumer.events import CheckoutCompleted, OfferPresented

PARTNERS = ("ada", "bob", "eve")
MOST_MISDATED = 8
"""Offers of a seed; a mass of them is kept back until a person acts."""


def draw(seed: int, kinds: frozenset[Kind] = ON) -> Scenario:
    """The scenario of a seed, with these kinds of events besides the usual ones."""
    random = Random(seed)
    window = 4_000
    rules = DecisionRules(
        window=window,
        checkout_grace=random.choice((0, 500, window)),
        lookback=random.choice((window, 8_000, 12_000)),
        lateness=random.choice((1_000, 3_000)),
        max_skew=2_000,
        call_abandoned=random.random() < 0.8,
    )
    settings = [rules]
    if random.random() < 0.12:
        settings += [_other(rules, random) for _ in range(random.randint(1, 2))]
    scenario = Scenario(
        seed=seed,
        partitions=random.randint(1, 3),
        instances=random.randint(1, 3),
        span=random.choice((10_000, 30_000, 60_000)),
        settings=settings,
        checkout_silence=random.choice((0, 0, 10_000, 1_800_000)),
        unmatched_limit=random.choice((0, 3, 50)),
        max_unsettled=1_000,
        commit_interval=random.choice((0.3, 2.0, 5.0)),
        group_protocol="consumer" if random.random() < 0.3 else "classic",
        rejected=random.choice(("hold", "dead-letter")),
        metadata_limit=random.choice((4_096, 4_096, 225, 200)),
        loses_metadata=random.random() < 0.06,
    )
    if scenario.unmatched_limit == 0:
        # Held for that reason with no room to read on, no offer is read that could match: it takes a person.
        scenario.max_unsettled = random.choice((5, 1_000))
    _Drawing(scenario, random, kinds).draw()
    return scenario


def _other(rules: DecisionRules, random: Random) -> DecisionRules:
    window = random.choice((2_000, 4_000, 6_000))
    grace = random.choice((0, 500, 1_500))
    lookback = max(window, random.choice((4_000, 8_000, 12_000)))
    return DecisionRules(window, grace, lookback, rules.lateness, rules.max_skew, random.random() < 0.8)


class _Drawing:
    """Draws events, then records of them with all that may be wrong with a record."""

    def __init__(self, scenario: Scenario, random: Random, kinds: frozenset[Kind]) -> None:
        self.scenario, self.random, self.rules, self.kinds = scenario, random, scenario.rules, kinds
        self.late = random.random() < 0.3
        self.gaps = random.choice((0.1, 0.1, 0.6))
        self.doubtful = random.random() < 0.5
        self.names = [f"s{number}" for number in range(random.choice((3, 10, 25)))]
        self.drafts: list[Draft] = []
        self.odd_time, self.oddity = self._draw_odd_time()
        self.distances = [0, 1, self.rules.window, self.rules.checkout_grace, self.rules.lookback, self.rules.lateness]

    def draw(self) -> None:
        scenario, random = self.scenario, self.random
        self.known: list[tuple[str, str]] = []
        for name in self.names:
            self._session(name)
        self._draw_kinds()
        self._closing()
        scenario.unknown = frozenset(o for _, o in self.known if random.random() < 0.1)
        scenario.refused = frozenset(o for o in self.known if random.random() < 0.05)
        ends: dict[tuple[str, int], int] = {}
        newest: dict[tuple[str, int], int] = {}
        others = OtherKinds(scenario, self.names, self._partition) if Kind.OTHER_KINDS in self.kinds else None
        for d in sorted(self.drafts, key=lambda d: d.at):
            place = d.topic, d.partition
            if others is not None:
                others.stand_before(d.at, place, ends)
            offset = ends.get(place, 0) + (random.choice((1, 3, 20_000)) if random.random() < self.gaps else 0)
            ends[place] = offset + 1
            event = None if d.make is None else d.make(offset)
            scenario.records.append(
                Written(
                    d.at, *place, offset, d.stamp, d.key, d.value, event, d.on_time, d.sessions, d.happened, d.bought
                )
            )
            if event is not None and d.on_time:
                dated = event.presented_at if d.topic == OFFERS else event.completed_at
                self._count("comes behind a newer one", dated < newest.get(place, 0))
                newest[place] = max(newest.get(place, 0), dated if dated <= d.at else 0)
        if others is not None:
            others.stand_at_the_end(ends)

    def _draw_odd_time(self) -> tuple[range, str]:
        """A time in which something is wrong with all checkouts, or with all presentations."""
        length = self.random.choice((12_000, 25_000))
        begin = START * 1000 + self.random.randint(0, max(0, self.scenario.span - length))
        what = ("silence of offers", "silence of checkouts", "checkouts kept back", "booking ids instead of offer ids")
        oddity = self.random.choice(what) if self.random.random() < 0.4 else ""
        if oddity:
            self.scenario.kinds[oddity] += 1
        if oddity.startswith("booking"):
            self.scenario.unmatched_limit, self.scenario.max_unsettled = 3, 1_000
        return range(begin, begin + length), oddity

    def _session(self, session: str) -> None:
        random = self.random
        begin = START * 1000 + random.randint(0, self.scenario.span)
        partner = random.choice(PARTNERS)
        offers = [f"{session}-o{n}" for n in range(random.choice((1, 1, 2, 3)))]
        self.known += [(partner, offer) for offer in offers]
        moments = [begin]
        for offer in offers:
            for _ in range(random.choice((1, 1, 1, 2, 4))):
                at = self._near(moments)
                moments.append(at)
                self._offer(session, partner, offer, at)
        for number in range(random.choice((0, 1, 1, 2))):
            at = self._near(moments)
            moments.append(at)
            bought = [o for o in [*offers, "booking"] if random.random() < 0.35]
            checkout = f"{session}-c{number}"
            named = bought
            if self._is_odd(at, "booking ids instead of offer ids"):
                named = [f"{checkout}-booking{n}" for n in range(random.choice((1, 2, 3)))]
            self._checkout(session, checkout, at, named, bought)

    def _draw_kinds(self) -> None:
        """What is drawn besides, each by a random source of its own."""
        draws = {
            Kind.BOUGHT_WHILE_WAITING: self._bought_while_waiting,
            Kind.WRONG_ROUTE: self._few_answers_tell_a_wrong_route,
            Kind.FAST_CLOCKS: self._fast_clocks,
            Kind.DELAYED_PRODUCERS: self._delayed_producers,
            Kind.MISDATED_PRODUCERS: self._misdated_producers,
            Kind.WRONG_SCHEMA: self._wrong_schema,
        }
        usual = self.random
        for kind, draws_it in draws.items():
            if kind in self.kinds:
                self.random = source_of(kind, self.scenario.seed)
                draws_it()
        self.random = usual

    def _bought_while_waiting(self) -> None:
        """Offers are bought after their decision, some of them shown once more before. Calls are slow meanwhile."""
        scenario, random, rules = self.scenario, self.random, self.rules
        if random.random() < 0.5:
            return
        scenario.rate_limit = random.choice((0.0, 0.3, 1.0))
        scenario.kinds["calls are slow"] += scenario.rate_limit > 0
        for partner, offer in self.known:
            if random.random() < 0.6:
                continue
            session, _, _ = offer.rpartition("-")
            shown = max((d.happened for d in self.drafts if d.topic == OFFERS and d.key == session.encode()), default=0)
            if not shown:
                continue
            at = shown + rules.window + rules.checkout_grace + rules.lateness + random.randint(0, 40_000)
            if again := random.random() < 0.4:
                at += rules.lookback
                self._offer(session, partner, offer, at, plain=True)
                at += random.randint(1, rules.window)
            self._checkout(session, f"{offer}-afterwards", at, [offer], plain=True)
            scenario.kinds["an offer is shown and bought again later" if again else "an offer is bought later"] += 1

    def _few_answers_tell_a_wrong_route(self) -> None:
        """A seed has few offers: fewer 404s have to do."""
        self.scenario.not_found_limit = self.random.choice((3, 5, 20))

    def _fast_clocks(self) -> None:
        """The producers of some sessions' offers, checkouts or both are ahead; some stamp their records by that too."""
        random, most = self.random, self.rules.max_skew
        if random.random() < 0.5:
            return
        ahead = {(t, name): random.choice((0, 0, most, random.randint(1, most))) for name in self.names for t in TOPICS}
        stamps_too = random.random() < 0.5
        for number, draft in enumerate(self.drafts):
            error = ahead.get((draft.topic, draft.key.decode()), 0)
            if not error or draft.write is None or draft.make is None:
                continue
            value, make = draft.write(draft.happened + error)
            stamp = draft.stamp + error if stamps_too else draft.stamp
            self.drafts[number] = draft._replace(value=value, make=make, stamp=stamp)
            self._count("is dated ahead, and believed")

    def _delayed_producers(self) -> None:
        """What was to be written while the brokers were away lands after them, within lateness or a little later."""
        scenario, random, lateness = self.scenario, self.random, self.rules.lateness
        if random.random() < 0.5:
            return
        begin = START * 1000 + random.randint(0, scenario.span)
        end = begin + random.choice((lateness // 2, lateness, lateness, 3 * lateness))
        scenario.outage = begin / 1000 - START, end / 1000 - START
        for number, draft in enumerate(self.drafts):
            if not begin <= draft.at < end:
                continue
            # As each producer comes round to it: what is written now may be there before.
            at = end + random.choice((0, 0, random.randint(0, 500)))
            at = max(end, min(at, draft.happened + lateness)) if draft.on_time else at
            on_time = draft.on_time and at - draft.happened <= lateness
            self.drafts[number] = draft._replace(at=at, on_time=on_time)
            self._count("waits for the brokers")
            self._count("comes late", draft.on_time and not on_time)

    def _misdated_producers(self) -> None:
        """The producers of some sessions' offers or checkouts date wrongly, and some stamp their records so too."""
        random, rules, scenario = self.random, self.rules, self.scenario
        if random.random() < 0.5:
            return
        longest = max(r.lookback for r in scenario.settings)
        release = START * 1000 + random.choice((0, 0, random.randint(0, scenario.span)))
        still = START * 1000 - random.choice((0, rules.lookback, 4 * longest))
        shift = random.choice((longest + 1, 2 * longest, 5 * longest))
        errors: dict[str, Callable[[int], int]] = {
            "in seconds": lambda at: at // 1000,
            "in minutes": lambda at: at // 60_000,
            "in microseconds": lambda at: at * 1000,
            "in a zone behind": lambda at: at - shift,
            "a little behind": lambda at: at - rules.lookback,
            "in a zone ahead": lambda at: at + shift,
            "by a clock that stands still": lambda at: still,
        }
        for topic, names in ((CHECKOUTS, list(errors)), (OFFERS, ["in seconds", "in minutes", "in a zone behind"])):
            if random.random() < 0.3:
                continue
            what = random.choice(names)
            stamps_too = topic == CHECKOUTS and random.random() < 0.3
            whose = {name for name in self.names if random.random() < random.choice((0.2, 0.2, 1.0))}
            for number, draft in enumerate(self.drafts):
                if draft.topic != topic or draft.key.decode() not in whose or draft.happened < release:
                    continue
                if draft.write is None or draft.make is None:
                    continue
                if topic == OFFERS and scenario.kinds[f"a record of {topic} is dated {what}"] >= MOST_MISDATED:
                    break
                dated = errors[what](draft.happened)
                value, make = draft.write(dated)
                # A stamp in the future is another error.
                stamp = dated if stamps_too and dated < draft.at else draft.stamp
                believed = stamp - longest <= dated <= stamp + rules.max_skew  # by some of the settings
                on_time = draft.on_time and not (believed and draft.at - dated > rules.lateness)
                self.drafts[number] = draft._replace(value=value, make=make, stamp=stamp, on_time=on_time, write=None)
                self._count(f"of {topic} is dated {what}")

    def _wrong_schema(self) -> None:
        """A row of records of one topic cannot be read."""
        WrongSchema(self.scenario, self.random, self._partition).spoil(self.drafts)

    def _is_odd(self, at: int, how: str) -> bool:
        return self.oddity == how and at in self.odd_time

    def _near(self, moments: list[int]) -> int:
        random = self.random
        sign = random.choice((1, 1, 1, -1))
        at = random.choice(moments) + sign * random.choice(self.distances) + random.choice((-1, 0, 0, 1, 300, 1_500))
        return max(START * 1000, at)

    def _closing(self) -> None:
        """At the end, and after the last fault, something is shown and bought in every partition, so that no guard has
        a reason to hold."""
        last = max((draft.happened for draft in self.drafts), default=0)
        end = max(START * 1000 + self.scenario.span + 4 * self.rules.lookback + 90_000, last + self.rules.lookback)
        for partition in range(self.scenario.partitions):
            session = next(s for n in range(1_000) if self._partition(s := f"end{n}") == partition)
            self._offer(session, "ada", f"{session}-o", end, plain=True)
            self._checkout(session, f"{session}-c", end + 100, [f"{session}-o"], plain=True)
            for partner in PARTNERS:
                # A 204 at last, or a partner's 404s would not be believed.
                self._offer(session, partner, f"{session}-{partner}", end, plain=True)

    def _offer(self, session: str, partner: str, offer: str, at: int, *, plain: bool = False) -> None:
        fields = {"event_id": "e", "session_id": session, "partner_code": partner, "offer_id": offer}

        def write(dated: int) -> tuple[bytes, Callable[[int], OfferPresented]]:
            value = CODEC.encode_offer({**fields, "presented_at": dated})
            return value, lambda offset: OfferPresented(session, partner, offer, dated, offset)

        self._write(OFFERS, session, at, write, plain=plain)

    def _checkout(
        self,
        session: str,
        checkout: str,
        at: int,
        named: list[str],
        bought: list[str] | None = None,
        *,
        plain: bool = False,
    ) -> None:
        """`named` are the ids that the record names, `bought` what the customer bought, if that is something else."""
        fields = {"event_id": "e", "session_id": session, "checkout_id": checkout, "purchased_offer_ids": named}

        def write(dated: int) -> tuple[bytes, Callable[[int], CheckoutCompleted]]:
            value = CODEC.encode_checkout({**fields, "completed_at": dated})
            return value, lambda offset: CheckoutCompleted(session, checkout, dated, offset, tuple(named))

        self._write(CHECKOUTS, session, at, write, plain=plain, bought=tuple(named if bought is None else bought))

    # --- what may be wrong with a record

    def _write(
        self,
        topic: str,
        session: str,
        at: int,
        write: Callable[[int], tuple[bytes, Any]],
        *,
        plain: bool,
        bought: tuple[str, ...] = (),
    ) -> None:
        random, rules = self.random, self.rules
        if not plain and self._is_odd(at, f"silence of {topic}"):
            self.scenario.unwritten.update(bought)
            return
        partition, key = self._partition(session), session.encode()
        value, make = write(at)
        delay = 0 if plain else random.choice((0, 0, random.randint(0, rules.lateness), rules.lateness))
        if self.late and not plain and random.random() < 0.12:
            delay = random.randint(rules.lateness, 3 * (rules.window + rules.lookback))
        if not plain and topic == CHECKOUTS and self._is_odd(at, "checkouts kept back"):
            delay = self.odd_time.stop - at
        on_time = delay <= rules.lateness
        stamp = random.choice((at, at + delay))
        draft = Draft(
            at + delay, topic, partition, stamp, key, value, make, on_time, happened=at, bought=bought, write=write
        )
        if plain:
            self.drafts.append(draft)
            return
        luck = random.random()
        if luck < 0.02:
            self.drafts.append(draft._replace(value=None, make=None, on_time=True))  # and what it should have said
        elif luck < 0.05:
            again = at + random.randint(delay, max(delay, rules.lateness))
            self.drafts.append(draft._replace(at=again, stamp=random.choice((at, again))))
        elif luck < (0.09 if topic == OFFERS or self.doubtful else 0.05):
            draft = self._unusable(draft)
        elif luck < (0.13 if topic == OFFERS or self.doubtful else 0.05):
            draft = self._misdated(draft, at, write)
        self._count("comes late", not draft.on_time)
        self.drafts.append(draft)

    def _unusable(self, draft: Draft) -> Draft:
        """It cannot be read, or its key is another session's."""
        # Such a record lies about nothing but itself: if it were late too, nobody could tell.
        own = draft.key.decode()
        draft = draft._replace(at=min(draft.at, draft.stamp + self.rules.lateness), make=None, on_time=True)
        if self.random.random() < 0.6:
            self._count("cannot be read")
            return draft._replace(value=UNREADABLE, sessions=(own,))
        self._count("has a foreign key")
        foreign = self.random.choice([*self.names, "nobody"])
        if foreign == own:
            return draft._replace(value=UNREADABLE, sessions=(own,))
        return draft._replace(key=foreign.encode(), partition=self._partition(foreign), sessions=(foreign, own))

    def _misdated(self, draft: Draft, at: int, write: Callable[[int], tuple[bytes, Any]]) -> Draft:
        """Its date is ahead of its record, or both are ahead of every clock: it is not to be believed."""
        self._count("is dated ahead")
        draft = draft._replace(at=at, stamp=at, on_time=True)
        ahead = self.random.choice((self.rules.max_skew + 1, 10_000, FAR_AHEAD))
        value, make = write(at + ahead)
        stamp = at + ahead if ahead == FAR_AHEAD and self.random.random() < 0.5 else at
        return draft._replace(value=value, make=make, stamp=stamp, write=None)

    def _count(self, what: str, happens: bool = True) -> None:
        self.scenario.kinds[f"a record {what}"] += happens

    def _partition(self, session: str) -> int:
        return zlib.crc32(session.encode()) % self.scenario.partitions
