"""What can go wrong while the demo is kept: one fault for each alarm that a newcomer should have seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """Which faults begin, once the customers have been served for a while.

    Attributes:
        api_down: the API answers 503 to every call.
        forbid: the API answers 403 to the calls of this partner.
        silence_checkouts: offers are presented, and no checkout comes any more.
    """

    api_down: bool = False
    forbid: str | None = None
    silence_checkouts: bool = False

    def scenario(self, before: str) -> str:
        """What the API answers with these faults; `before`: what it did without."""
        others = "503" if self.api_down else before
        return others if self.forbid is None else f"{self.forbid}:403; {others}"

    def in_words(self) -> Iterator[tuple[str, str]]:
        """Each fault, and the entry of the runbook that it leads to."""
        if self.api_down:
            yield "the API answers 503 to every call", "breaker-opened"
        if self.forbid is not None:
            yield f"the API answers 403 to the calls of {self.forbid}", "credentials-refused"
        if self.silence_checkouts:
            yield "no checkout is written any more", "no-checkouts-come"
