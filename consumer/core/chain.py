"""A chain: what a decision is about, and what one call tells the insurer of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..events import CheckoutCompleted, OfferPresented, Reason


@dataclass(slots=True, eq=False)
class Chain:
    """Presentations of one offer that share one fate: one call, one outcome.

    Attributes:
        presentations: in order of event time; equal times are one presentation, and all its records are here.
        decide_at: when it was due (ms, event time).
        reason: PURCHASED, DECLINED, ABANDONED or CHECKOUT_UNREADABLE.
        checkout: the one that bought it, else the one that declined it.
        least_due: when it is due at the earliest for whoever reads all again: a checkout that came after the decision
            may end it, or a part of it, sooner.
        split: it follows on a chain that ended only because it had lasted for `lookback`.
        bought_by: a checkout that names the offer and does not count for the decision, since it lies before or after
            its time, or was read after it: the decision stands, but the call is not to be made.
        quarantined: the same of a checkout of its session that cannot be read: it may name the offer.
        told: it is settled, and the insurer was told of it, or may have been.
        decided_at: when this process decided it (ms, wall clock); as `decide_at` for what was decided before the start.
        before: the chain of the same session and offer_id, of any partner, that `PendingChains` knew before this one.
    """

    presentations: list[OfferPresented]
    decide_at: int
    reason: Reason
    checkout: CheckoutCompleted | None
    split: bool
    bought_by: CheckoutCompleted | None = None
    quarantined: bool = False
    told: bool = False
    before: Chain | None = None
    least_due: int = 0
    decided_at: int = 0

    def __post_init__(self) -> None:
        self.least_due = self.decide_at

    @property
    def is_withheld(self) -> bool:
        """Whether its call is not to be made, although it was decided to be."""
        return self.quarantined or self.bought_by is not None

    @property
    def partner_code(self) -> str:
        """Whose offer it is."""
        return self.presentations[0].partner_code

    @property
    def offer_id(self) -> str:
        """The insurer's id of the offer."""
        return self.presentations[0].offer_id

    @property
    def session_id(self) -> str:
        """The session it was presented in."""
        return self.presentations[0].session_id

    @property
    def start(self) -> int:
        """The offset of the earliest presentation, which tells the chain from every other of its partition."""
        return self.presentations[0].offset

    @property
    def begin(self) -> int:
        """The earliest presented_at (ms)."""
        return self.presentations[0].presented_at

    @property
    def last(self) -> OfferPresented:
        """See `last_of`."""
        return last_of(self.presentations)


def last_of(presentations: Sequence[OfferPresented]) -> OfferPresented:
    """The last presentation, by which a chain is told; among records of the same time the one that was written first.

    `presentations`: in the order of their time.
    """
    last = presentations[-1]
    if len(presentations) == 1:
        return last
    latest = last.presented_at
    return min((p for p in presentations if p.presented_at == latest), key=lambda p: p.offset)


class Listed(NamedTuple):
    """Presentations of one offer that are undecided, and that a commit has to list all the same.

    Attributes:
        least_due: when a restart may find the first of them due at the earliest (ms).
        presentations: in order of event time.
    """

    least_due: int
    presentations: list[OfferPresented]


class ChainFate(NamedTuple):
    """What was decided, by which checkout, and by which one the offer is known to be bought all the same.

    `quarantined`: it may be, by one that cannot be read.
    """

    reason: Reason
    checkout: CheckoutCompleted | None
    bought_by: CheckoutCompleted | None = None
    quarantined: bool = False
