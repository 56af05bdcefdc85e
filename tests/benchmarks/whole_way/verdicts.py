"""The judge of a comparison: what a contender said of each offer, held against the reference decision."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

from fastavro import parse_schema, schemaless_reader

from consumer.audit.decision import Fate
from consumer.audit.reading import read_topic
from consumer.codecs.schemas import OFFER_OUTCOME, load_schema, without_logical_types
from consumer.events import Reason

CALLED, BOUGHT = "OPTED_OUT", "PURCHASED"

Offer = tuple[str, str, str]
"""Session, partner code and offer id."""


class Said(NamedTuple):
    """One verdict: of which offer, its outcome's name, and when the broker took it (ms since 1970)."""

    offer: Offer
    outcome: str
    at: int


@dataclass(slots=True)
class Judged:
    """What a contender got right and wrong, in offers.

    Attributes:
        right: told as they are, each time, and counted once.
        missed: had to be called, and were told as bought.
        false: bought, and called.
        then_bought: of these, those that were told as bought afterwards: a call cannot be taken back.
        odd: told to have another fate, which no offer here has.
        silent: nothing was said of them until the end, though all that decides them stands in the log.
        repeated: calls of offers that had been called before.
        last_at: when the last verdict came that was the first of its offer, ms since 1970.
    """

    right: int = 0
    missed: int = 0
    false: int = 0
    then_bought: int = 0
    odd: int = 0
    silent: int = 0
    repeated: int = 0
    last_at: int = 0

    @property
    def wrong(self) -> int:
        """How many offers were told to have a wrong fate."""
        return self.missed + self.false + self.odd


def judge(expected: Iterable[Fate], said: Iterable[Said]) -> Judged:
    """Hold what was said against the reference decision; what was said of other offers counts for nothing.

    Raises:
        ValueError: an offer has more than one chain: one verdict for each would not be enough.
    """
    verdicts: defaultdict[Offer, list[Said]] = defaultdict(list)
    for one in sorted(said, key=lambda one: one.at):
        verdicts[one.offer].append(one)
    found, seen = Judged(), set[Offer]()
    for fate in expected:
        offer = fate.session_id, fate.partner_code, fate.offer_id
        if offer in seen:
            raise ValueError(f"{offer} has two chains")
        seen.add(offer)
        told = verdicts.get(offer, [])
        _count(found, fate, [one.outcome for one in told])
        if told:
            found.last_at = max(found.last_at, told[0].at)
    return found


def _count(found: Judged, fate: Fate, told: list[str]) -> None:
    calls = told.count(CALLED)
    found.repeated += max(0, calls - 1)
    if not told:
        found.silent += 1
    elif set(told) - {CALLED, BOUGHT}:
        found.odd += 1
    elif fate.reason is Reason.PURCHASED:
        if calls:
            found.false += 1
            # The order of what one broker took within one millisecond in several partitions is not known.
            found.then_bought += BOUGHT in told
        else:
            found.right += 1
    elif calls or fate.may_withhold:
        found.right += 1
    else:
        found.missed += 1


def read_verdicts(bootstrap: str, topic: str) -> list[Said]:
    """What stands in an output topic, all of it."""
    schema: Any = parse_schema(without_logical_types(load_schema(OFFER_OUTCOME)))
    found = []
    for message in read_topic(bootstrap, topic):
        fields: Any = schemaless_reader(BytesIO(message.value() or b""), schema, None)
        offer = fields["session_id"], fields["partner_code"], fields["offer_id"]
        found.append(Said(offer, fields["outcome"], message.timestamp()[1]))
    return found
