"""What a rehearsal finds: what would happen, how that differs from what was done, or from other rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from ..events import OfferOutcome, OfferPresented, Outcome
from ..output import Column, TableShown
from .told import KnownFate, Told, is_cut_off, is_given_up, key_of

OPEN = "open"
NOTHING = "nothing"
"""What stands for a chain that one side does not have."""

_GROUPS = (
    Column("partner_code", "partner"),
    Column("product_code", "product"),
    Column("fate", "fate"),
    Column("chains", "offers", is_number=True),
    Column("new", "not told yet", is_number=True),
)


class FateGroup(NamedTuple):
    """What chains are counted by."""

    partner_code: str
    product_code: str | None
    fate: str


class _GivenUp(NamedTuple):
    """A presentation that joined no chain: what it is counted by, and what the other side says of it."""

    group: FateGroup
    told: KnownFate | None
    is_cut_off: bool


class Comparison:
    """Takes in the fates of one rehearsal, and holds each against what another one, or the outcome topic, says.

    Args:
        others: what that is.
        on_call: is told of each chain that would be called, with what the other side says of it.

    Attributes:
        fates: of all chains, for a comparison with another rehearsal.
        groups: chains by what they are shown by, and those of them of which the other side knows nothing.
        differences: chains by (what it is here, what it is there), where these differ.
        same: chains that both have alike.
        calls: chains that would be called.
        cut_off: chains that a run would give up, or has given up, since a part of the log is gone.
    """

    def __init__(
        self, others: Told, on_call: Callable[[OfferOutcome, str], None] = lambda outcome, other: None
    ) -> None:
        self.fates = Told()
        self.groups: Counter[FateGroup] = Counter()
        self.new: Counter[FateGroup] = Counter()
        self.differences: Counter[tuple[str, str]] = Counter()
        self.same = self.calls = self.cut_off = 0
        self._others = others
        self._on_call = on_call
        self._given_up: dict[int, _GivenUp] = {}

    def add(self, outcome: OfferOutcome) -> None:
        """A chain would have this fate, or a presentation that joins none."""
        fate, key = KnownFate(outcome.outcome, outcome.reason), key_of(outcome)
        group = FateGroup(outcome.partner_code, outcome.details.product_code, fate_in_words(fate))
        told = self._others.of(outcome)
        if is_given_up(outcome):
            self.fates.add(outcome)
            cut_off = is_cut_off(outcome) and (told is None or key in self._others.cut_off)
            self._given_up.setdefault(key, _GivenUp(group, told, cut_off))
            return
        if key in self.fates.fates and not fate.is_call:
            return
        self.fates.add(outcome)
        there = self._compare(key, group, told)
        if fate.is_call:
            self.calls += 1
            self._on_call(outcome, there)

    def add_open(self, shown: OfferPresented) -> None:
        """A chain is not decided by the end of the log."""
        key = key_of(shown)
        self.fates.open.add(key)
        group = FateGroup(shown.partner_code, shown.details.product_code, OPEN)
        self._compare(key, group, self._others.of(shown))

    def finish(self, *, interrupted: bool = False) -> None:
        """All is added: what the other side has besides is not here, unless a part was `interrupted`.

        Two presentations of one time are one chain, also if one of them joined none: what was given up counts where no
        chain has that time, whichever of them was told first.
        """
        others, here = self._others, self.fates
        for key, (group, told, cut_off) in self._given_up.items():
            if key not in here.fates and key not in here.open:
                self._compare(key, group, told)
                self.cut_off += cut_off
        if interrupted:
            return
        for key in others.open:
            if not here.has(key):
                self.differences[NOTHING, OPEN] += 1
        for key, fate in others.fates.items():
            if not here.has(key):
                self.differences[NOTHING, fate_in_words(fate)] += 1
        for key, given_up in others.given_up.items():
            if key not in others.fates and not here.has(key):
                self.differences[NOTHING, fate_in_words(given_up.fate)] += 1

    def _compare(self, key: int, group: FateGroup, told: KnownFate | None) -> str:
        here = group.fate
        without = OPEN if key in self._others.open else NOTHING
        there = without if told is None else fate_in_words(told)
        self.groups[group] += 1
        if told is None:
            self.new[group] += 1
        if here == there:
            self.same += 1
        elif not (here == OPEN and there == NOTHING):
            self.differences[here, there] += 1
        return there


def fate_in_words(fate: KnownFate) -> str:
    """A fate for people. Whether a call was answered 204 or 404 is the insurer's, and no difference."""
    if fate.is_call:
        return f"called: {fate.reason.lower()}"
    if fate.outcome in {Outcome.PURCHASED, Outcome.IGNORED, Outcome.RELEASED}:
        return {"PURCHASED": "bought", "IGNORED": "ignored", "RELEASED": "released"}[fate.outcome]
    return f"dead-lettered: {fate.reason.lower()}"


def groups_table(found: Comparison) -> TableShown:
    """What would happen, by partner, product and reason."""
    rows = [
        [group.partner_code, group.product_code, group.fate, count, found.new[group]]
        for group, count in sorted(found.groups.items(), key=lambda item: [str(part) for part in item[0]])
    ]
    return TableShown("What would happen", _GROUPS, rows)


def differences_table(found: Comparison, title: str, here: str, there: str) -> TableShown:
    """The chains whose fates differ. `here` and `there` are the headings of the two sides."""
    columns = (Column("here", here), Column("there", there), Column("chains", "offers", is_number=True))
    rows = [[one, other, count] for (one, other), count in sorted(found.differences.items())]
    return TableShown(title, columns, rows)
