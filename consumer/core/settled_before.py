"""What was settled by other settings, before a restart: what is shown of an offer behind it begins a chain of its own.

By the settings of now both may be one chain for whoever reads them again. So the next chain's start is to be remembered
as a split, in each commit, for as long as it is open or unsettled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from ..events import OfferPresented
from .chain import Chain
from .rules import DecisionRules

Name: TypeAlias = tuple[str, str, str]
"""An offer's session_id, partner_code and offer_id."""


class SettledBefore:
    """The chains of one task that were settled so, by the names of their offers.

    Args:
        rules: as set now.
        chains: they.
    """

    def __init__(self, rules: DecisionRules, chains: Iterable[Chain] = ()) -> None:
        self._reach = rules.late_after
        self._last: dict[Name, OfferPresented] = {}
        for chain in sorted(chains, key=lambda chain: chain.last.presented_at):
            self._last[chain.session_id, chain.partner_code, chain.offer_id] = chain.last

    def __iter__(self) -> Iterator[Name]:
        return iter(self._last)

    def precedes(self, first: OfferPresented) -> bool:
        """Whether a chain that begins with this presentation may be taken for the rest of one that was settled."""
        last = self._last.get((first.session_id, first.partner_code, first.offer_id)) if self._last else None
        return last is not None and last.presented_at < first.presented_at <= last.presented_at + self._reach

    def forget(self, below: int) -> None:
        """Drop what ends below this offset, and is never read again."""
        self._last = {name: last for name, last in self._last.items() if last.offset >= below}
