"""What the API emulator answers: a pure function of a scenario, an offer and how often it was called before.

A scenario is a text:

    mixed                        mostly 204; some offers unknown (404), some answered 500, 429 or nothing at first
    204, 403, 302, ...           every call is answered this
    404-html                     every call is answered a gateway's 404: HTML, no JSON
    hang                         no call is ever answered
    cut                          every connection is cut in the place of an answer
    204-hang, 204-cut            as these two, but the API had recorded the call: its answer is what is lost
    404=3,500=4,429=0.5,hang=1   per cent of the offers; the others are answered 204
    ACME:403; P2/offer-7:422; 204   a partner, and an offer, with a scenario of their own; the last is for all others

In a mix a 404 is for good, as an offer that does not exist; anything else is for the first one or two calls of the
offer, then it is answered 204.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

HTML_404 = "404-html"
MIXED = "404=5,500=6,429=1,hang=2"


class Lost(NamedTuple):
    """No answer comes: the connection is held, or `cut`; the API has `recorded` the call all the same, or not."""

    cut: bool = False
    recorded: bool = False


UNANSWERED = {
    "hang": Lost(),
    "cut": Lost(cut=True),
    "204-hang": Lost(recorded=True),
    "204-cut": Lost(cut=True, recorded=True),
}
_WORDS = (HTML_404, *UNANSWERED)


class ScenarioError(ValueError):
    """The text is no scenario; the message says what would be one."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A parsed scenario.

    Attributes:
        text: as it was given.
        shares: answer -> per cent of offers that meet it first; empty for a scenario of one answer.
        always: the one answer, if it is such a scenario.
        seed: which offers meet which answer.
        own: partner code, or `partner code/offer id` -> the scenario that it has of its own.
    """

    text: str
    shares: tuple[tuple[str, float], ...] = ()
    always: str | None = None
    seed: int = 0
    own: Mapping[str, Scenario] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Scenario:
        """Read a scenario's text.

        Raises:
            ScenarioError: it is none.
        """
        text = text.strip()
        *named, rest = text.split(";")
        if named:
            own = {}
            for part in named:
                who, colon, inner = part.partition(":")
                if not colon or not who.strip():
                    raise ScenarioError(f"{part!r} in scenario {text!r} must read PARTNER:SCENARIO")
                own[who.strip()] = cls.parse(inner, seed)
            return replace(cls.parse(rest, seed), text=text, own=own)
        if "=" not in text and text != "mixed":
            return cls(text, always=_answer(text), seed=seed)
        shares = []
        for part in (MIXED if text == "mixed" else text).split(","):
            answer, _, share = part.partition("=")
            try:
                shares.append((_answer(answer.strip()), float(share)))
            except ValueError as error:
                raise ScenarioError(f"{part!r} in scenario {text!r} must read ANSWER=PERCENT: {error}") from error
        if not all(0 <= share <= 100 for _, share in shares) or sum(share for _, share in shares) > 100:
            raise ScenarioError(f"the shares of scenario {text!r} must be 0 to 100 and add up to 100 at most")
        return cls(text, shares=tuple(shares), seed=seed)

    def answer(self, partner_code: str, offer_id: str, attempt: int) -> str:
        """The answer to the `attempt`-th call (from 1) of an offer: a status code's digits or a word."""
        own = self.own.get(f"{partner_code}/{offer_id}") or self.own.get(partner_code)
        if own is not None:
            return own.answer(partner_code, offer_id, attempt)
        if self.always is not None:
            return self.always
        digest = hashlib.sha256(f"{self.seed}/{partner_code}/{offer_id}".encode()).digest()
        point = int.from_bytes(digest[:6], "big") / 2**48 * 100
        failures = 1 + digest[6] % 2
        for answer, share in self.shares:
            if point < share:
                return answer if answer == "404" or attempt <= failures else "204"
            point -= share
        return "204"


def _answer(text: str) -> str:
    if text in _WORDS or (text.isdecimal() and len(text) == 3 and 200 <= int(text) <= 599):
        return text
    raise ScenarioError(
        f"{text!r} is no answer: give a status from 200 to 599, {', '.join(_WORDS)}, "
        "a mix such as 404=3,500=4,429=0.5,hang=1, or mixed"
    )
