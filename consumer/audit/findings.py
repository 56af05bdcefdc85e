"""What a reconciliation comes to: how many chains have which fate, and what is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from .reading import Place


class Flaw(StrEnum):
    """What is wrong. The gravest comes first; a chain is listed once, by its gravest."""

    CALLED_THOUGH_BOUGHT = "called-though-bought"
    TWO_OUTCOMES = "two-outcomes"
    NO_OUTCOME = "no-outcome"
    OTHER_FATE = "other-fate"
    UNKNOWN_CHAIN = "unknown-chain"
    BOUGHT_AFTER_CALL = "bought-after-call"
    BOUGHT_LONG_BEFORE = "bought-long-before"
    TWO_SESSIONS = "two-sessions"
    NO_DEAD_LETTER = "no-dead-letter"


class Discrepancy(NamedTuple):
    """One exception.

    Attributes:
        presented_at: of the chain's last presentation (ms).
        places: of the records that show it: presentations, checkouts, outcomes.
        words: what is wrong.
        by_the_rules: the service may have done all that its rules ask for, and still the insurer's figures are wrong:
            what it had to know came later, or a call was repeated after a crash.
    """

    kind: Flaw
    session_id: str
    partner_code: str
    offer_id: str
    presented_at: int
    places: tuple[Place, ...]
    words: str
    by_the_rules: bool = False


class Scope(NamedTuple):
    """What is judged: chains of one partition that were presented last from `begin` to `end` (ms, without it).

    Attributes:
        topics: of the offers, of the checkouts, of the outcomes.
        unit: by how much the offsets of presentations of two neighbouring records differ.
    """

    begin: int
    end: int
    topics: tuple[str, str, str]
    partition: int
    unit: int = 1

    def holds(self, moment: int) -> bool:
        """Whether the time lies in the range."""
        return self.begin <= moment < self.end


@dataclass(slots=True)
class Reconciliation:
    """What was found, of one partition or of several.

    `presented` is the sum of `fates`, `waiting`, `undecided`, `without_outcome`, `unknown` and `unreadable`.

    Attributes:
        presented: chains, and single presentations that joined none.
        fates: chains by the outcome that they have.
        undecided, waiting: chains that are open: not decided by what is committed, or decided and not settled.
        without_outcome: those that must have an outcome and have none.
        unknown: those without an outcome of which retention leaves open whether there was one.
        unreadable: records of the offers' topic that are no events, or were none when they were read: they are
            dead-lettered, and have no outcome.
        oldest_open: when the first of the open chains was presented last (ms).
        not_judged: what does not fit the decision and is no exception, by the reason.
        repeated, replaced: outcomes beyond one a chain that say the same; dead-lettered or released chains that a
            backfill has called since.
        exceptions: how many, by kind.
        listed: those of them that are told, up to `most` of a kind.
    """

    most: int = 1_000
    presented: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    undecided: int = 0
    waiting: int = 0
    without_outcome: int = 0
    unknown: int = 0
    unreadable: int = 0
    oldest_open: int | None = None
    not_judged: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    replaced: int = 0
    exceptions: Counter[Flaw] = field(default_factory=Counter)
    listed: defaultdict[Flaw, list[Discrepancy]] = field(default_factory=lambda: defaultdict(list))

    @property
    def open(self) -> int:
        """Chains that are open."""
        return self.undecided + self.waiting

    @property
    def adds_up(self) -> bool:
        """Whether each chain is accounted for."""
        return self.presented == self.fates.total() + self.open + self.without_outcome + self.unknown + self.unreadable

    @property
    def holds(self) -> bool:
        """Whether there is no exception."""
        return not self.exceptions

    @property
    def is_whole(self) -> bool:
        """Whether all could be judged."""
        return not (self.unknown or self.not_judged)

    def add(self, part: Reconciliation) -> None:
        """Take in what is counted of a part; its exceptions are told apart."""
        self.presented += part.presented
        self.fates += part.fates
        self.undecided += part.undecided
        self.waiting += part.waiting
        self.without_outcome += part.without_outcome
        self.unknown += part.unknown
        self.unreadable += part.unreadable
        self.not_judged += part.not_judged
        self.repeated += part.repeated
        self.replaced += part.replaced
        if part.oldest_open is not None:
            self.oldest_open = part.oldest_open if self.oldest_open is None else min(self.oldest_open, part.oldest_open)

    def object(self, found: Discrepancy) -> None:
        """Take in one exception."""
        self.exceptions[found.kind] += 1
        if len(self.listed[found.kind]) < self.most:
            self.listed[found.kind].append(found)


ARRIVED_LATE = "a record of the session came later than join.lateness allows"
CHAIN_CUT = "the offer was shown again and again since before what was read"
CHECKOUTS_GONE = "retention has deleted checkouts that may have decided it"
OFFERS_GONE = "retention has deleted its presentation"
OUTCOMES_GONE = "retention has deleted the outcomes of that time"
