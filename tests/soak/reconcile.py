"""Holds `offer.outcome` and the dead-letter topic against the fates recomputed from the inputs, and the API's log.

Reads topics by fastavro alone, as the judge does (`consumer.demo.check`), and shares no code with the service. A
chain is known by its session, its offer and the time of its last presentation.

Late is a record whose event lies more than `lateness` behind the newest event before it in its partition, or that the
broker took more than `lateness` after its event. What becomes of those depends on what was read first, so sessions
with such records are left out, and counted.
"""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import fastavro
from confluent_kafka import Message

from consumer.codecs.schemas import OFFER_OUTCOME, load_schema
from consumer.demo.check import ABANDONED, BOUGHT, DECLINED, Fate
from consumer.demo.reading import read_topic, to_ms
from consumer.emulator.call_log import Call

_FATES = {
    BOUGHT: {("PURCHASED", "PURCHASED", None)},
    DECLINED: {("OPTED_OUT", "DECLINED", 204), ("NOT_FOUND", "DECLINED", 404)},
    ABANDONED: {("OPTED_OUT", "ABANDONED", 204), ("NOT_FOUND", "ABANDONED", 404)},
}
"""Outcome, reason and status code that a fate may have."""

Place = tuple[str, int, int]
ChainKey = tuple[str, str, str, int]


class Outcome(NamedTuple):
    """One record of `offer.outcome`; times in ms, `source` is the chain's last presentation."""

    session_id: str
    partner_code: str
    offer_id: str
    presented_at: int
    decided_at: int
    outcome: str
    reason: str
    status: int | None
    partition: int
    source: Place

    @property
    def chain(self) -> ChainKey:
        """The chain that it tells the fate of."""
        return self.session_id, self.partner_code, self.offer_id, self.presented_at


@dataclass(slots=True)
class Reconciliation:
    """What was found; lists hold lines that name the offer.

    Attributes:
        outcomes, repeated: records, and those beyond one a chain.
        missing: chains without an outcome.
        wrong: outcomes that differ from the fate: in class, reason, status code or time of the decision.
        unfounded: outcomes of chains that there are not, or of calls that the API's log does not have.
        dead: records in the dead-letter topic, or outcomes DEAD_LETTERED, of events that were on time.
    """

    outcomes: int = 0
    repeated: int = 0
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unfounded: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every chain has its one fate in the topic."""
        return not (self.missing or self.wrong or self.unfounded or self.dead)


def reconcile(fates: Iterable[Fate], outcomes: Sequence[Outcome], calls: Iterable[Call]) -> Reconciliation:
    """Compare every outcome with the chain's fate and with the answers that the API gave."""
    found = Reconciliation(outcomes=len(outcomes))
    answers = Counter((call.partner_code, call.offer_id, call.status) for call in calls if call.terminal)
    claims = Counter((o.partner_code, o.offer_id, o.status) for o in outcomes if o.status is not None)
    for (partner_code, offer_id, status), claimed in (claims - answers).items():
        found.unfounded.append(
            f"offer {offer_id} of {partner_code}: {claimed} outcomes say {status} beyond what the API answered"
        )
    told: defaultdict[ChainKey, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        told[outcome.chain].append(outcome)
    for fate in fates:
        of_chain = told.pop((fate.session_id, fate.partner_code, fate.offer_id, fate.last), [])
        if not of_chain:
            found.missing.append(f"offer {fate.offer_id} of {fate.partner_code} was {fate.fate} and has no outcome")
        found.repeated += max(0, len(of_chain) - 1)
        for outcome in of_chain:
            if outcome.outcome == "DEAD_LETTERED":
                found.dead.append(f"{_name(outcome)} was {fate.fate}, and on time")
            elif (outcome.outcome, outcome.reason, outcome.status) not in _FATES[fate.fate]:
                found.wrong.append(f"{_name(outcome)} was {fate.fate}")
            elif outcome.decided_at != fate.decide_at:
                found.wrong.append(f"{_name(outcome)}, decided at {outcome.decided_at} instead of {fate.decide_at}")
            if outcome.partition != outcome.source[1]:
                found.wrong.append(f"{_name(outcome)} stands in partition {outcome.partition} of the outcomes")
    for of_chain in told.values():
        found.unfounded.extend(f"{_name(outcome)}: the inputs have no such chain" for outcome in of_chain)
    return found


def read_outcomes(bootstrap: str, topic: str) -> list[Outcome]:
    """Every outcome. Raises RuntimeError: the topic cannot be read to its end."""
    schema = fastavro.parse_schema(load_schema(OFFER_OUTCOME))
    return [_outcome(schema, message) for message in read_topic(bootstrap, topic)]


def read_dead_letters(bootstrap: str, topic: str) -> list[tuple[Place, str]]:
    """Where each dead letter came from, and the reason that its headers give."""
    found = []
    for message in read_topic(bootstrap, topic):
        headers = {name: bytes(value or b"").decode() for name, value in message.headers() or []}
        place = headers["source.topic"], int(headers["source.partition"]), int(headers["source.offset"])
        found.append((place, headers["reason"]))
    return found


def read_sessions(
    bootstrap: str, topics: Iterable[str], lateness: int, overdue: Collection[Place]
) -> tuple[dict[str, int], dict[Place, str]]:
    """Each session's partition, and the late records with their sessions.

    A record's timestamp is its event's time: that is how the feed writes them.
    """
    partition_of: dict[str, int] = {}
    late: dict[Place, str] = {}
    for topic in topics:
        newest: dict[int, int] = {}
        for message in read_topic(bootstrap, topic):
            partition, at = message.partition() or 0, message.timestamp()[1]
            session_id = bytes(message.key() or b"").decode()
            partition_of[session_id] = partition
            place = topic, partition, message.offset() or 0
            if at < newest.get(partition, at) - lateness or place in overdue:
                late[place] = session_id
            newest[partition] = max(at, newest.get(partition, at))
    return partition_of, late


def _outcome(schema: object, message: Message) -> Outcome:
    fields = fastavro.schemaless_reader(io.BytesIO(message.value() or b""), schema, None)
    source = fields["source"]
    return Outcome(
        fields["session_id"],
        fields["partner_code"],
        fields["offer_id"],
        to_ms(fields["presented_at"]),
        to_ms(fields["decided_at"]),
        fields["outcome"],
        fields["reason"],
        fields["status_code"],
        message.partition() or 0,
        (source["topic"], source["partition"], source["offset"]),
    )


def _name(outcome: Outcome) -> str:
    said = f"{outcome.outcome}/{outcome.reason}/{outcome.status}"
    return f"offer {outcome.offer_id} of {outcome.partner_code} is {said} (source {outcome.source})"
