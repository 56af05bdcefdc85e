"""What the newest records of the inputs tell: whether they can be read, are dated right, and belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from typing import NamedTuple

from ..core.dating import seems
from ..core.rules import DecisionRules
from ..core.watermark import CLOCK_TOLERANCE, InputWatermark
from ..events import CheckoutCompleted, OfferPresented
from ..kafka.partitioners import Agreement, SampledKeys
from ..kafka.record import Record
from ..kafka.start_offsets import readable
from ..settings.types import format_duration
from .check import Check
from .sample import SampledRecord

PARTITIONERS, IDS = "partitioners", "ids"
"""Of the checks."""

FEW = 5
"""Fewer purchases that match no offer may be chance or by hand."""

OLDER = 0.02
"""So small a part of the ids may be of offers that are older than the sample, which begins in the midst of sessions."""

HARDLY_ANY = 0.05
"""If no larger part of the ids matches, the topics do not belong together: no single shop is at fault."""


def judge_records(
    name: str, topic: str, sampled: Sequence[SampledRecord], max_run: int, max_ratio: float
) -> Iterator[Check]:
    """How many of the newest records can be read. `max_run`, `max_ratio`: as in the settings, more stop the service."""
    if not sampled:
        yield Check(
            name, "warning", f"{topic} holds no record: nothing is known of what comes", "ask again when there are some"
        )
        return
    fates = Counter(one.fate for one in sampled)
    if waiting := fates["waits"]:
        yield Check(
            name,
            "warning",
            f"{waiting} of the {len(sampled)} newest records of {topic} wait for their schema",
            "see the check of schemas",
        )
        if waiting == len(sampled):
            return
    found = f"{fates['read']} of the {len(sampled)} newest records of {topic} can be read"
    if others := fates["left out"] + fates["tombstone"]:
        found += f", and {others} are passed over ({fates['left out']} of another kind, {fates['tombstone']} empty)"
    bad = [one for one in sampled if one.error is not None]
    if bad:
        last = bad[-1]
        why = ", ".join(f"{count} {reason}" for reason, count in Counter(one.fate for one in bad).most_common())
        run = _longest_run(sampled)
        in_a_row = f", {run} in a row" if run > max_run else ""
        stops = run > max_run or len(bad) > max_ratio * len(sampled)
        yield Check(
            name,
            "error" if stops or not fates["read"] else "warning",
            f"{found}, but not {len(bad)} ({why}{in_a_row}), such as {_place(last.record)}: {last.error}",
            "see with whoever writes it, or mend input.*.format, .fields and .time. More than dead_letter.max_run of "
            "them in a row, or dead_letter.max_ratio of the last 1,000, stop the service",
        )
    elif not fates["read"] and not waiting:
        yield Check(
            name,
            "error",
            f"{found}",
            "see whether input.*.when and input.offers.each say what was meant, and whose topic this is",
        )
    else:
        yield Check(name, "ok", f"{found}; the newest is from {readable(sampled[-1].record.timestamp)}")


def _longest_run(sampled: Sequence[SampledRecord]) -> int:
    """The longest run of records that cannot be read, as they come to who keeps up: by their stamps; or to who is
    behind: a partition's together."""
    applied = [one for one in sampled if one.waits is None]
    together = sorted(applied, key=lambda one: (one.record.partition, one.record.offset))
    longest = 0
    for order in (applied, together):
        runs = groupby(order, key=lambda one: one.error is not None)
        longest = max([longest, *(len(list(run)) for is_bad, run in runs if is_bad)])
    return longest


def judge_times(
    name: str, topic: str, sampled: Sequence[SampledRecord], rules: DecisionRules, now: int, max_ratio: float
) -> Iterator[Check]:
    """Whether the events are dated as their records are stamped; `now` is the wall clock (ms)."""
    dated = [(one.record, time_of(one.events[0])) for one in sampled if one.events]
    if not dated:
        return
    believed = InputWatermark(rules)
    is_wrong = [not believed.observe(time, record.timestamp, now) for record, time in dated]
    wrong = [one for one, so in zip(dated, is_wrong, strict=True) if so]
    behind = [record.timestamp - time for (record, time), so in zip(dated, is_wrong, strict=True) if not so]
    late = [ms for ms in behind if ms > rules.lateness]
    if wrong:
        record, time = wrong[-1]
        true = record.timestamp if 0 <= record.timestamp <= now + rules.max_skew else now
        yield Check(
            name,
            "error" if len(wrong) > max_ratio * len(dated) else "warning",
            f"{len(wrong)} of {len(dated)} records of {topic} are dated implausibly, such as {_place(record)}: dated "
            f"{readable(time)}, stamped {readable(record.timestamp)}. It seems to be {seems(time, true)}",
            "mend the producer, or input.*.time: a time is milliseconds since 1970 in UTC",
        )
    if late:
        yield Check(
            name,
            "warning",
            f"{len(late)} of {len(dated)} records of {topic} were stamped more than join.lateness "
            f"({_duration(rules.lateness)}) after their event, up to {_duration(max(late))}",
            "raise join.lateness above that, if it is no backlog: what comes later than that is dead-lettered, or its "
            "purchase missed",
        )
    ahead = [record.timestamp - now for record, _ in dated if record.timestamp > now + CLOCK_TOLERANCE]
    if ahead:
        yield Check(
            name,
            "warning",
            f"{len(ahead)} of {len(dated)} records of {topic} are stamped ahead of the clock of this machine, up to "
            f"{_duration(max(ahead))}",
            "have this clock, and those of the producers and brokers, set right",
        )
    if not (wrong or late or ahead):
        most = _duration(max(0, *behind))
        yield Check(name, "ok", f"the events of {topic} are dated at most {most} before their records")


def judge_partitioners(topics: tuple[str, str], partitions: int, records: Sequence[Sequence[Record]]) -> Check:
    """Whether both topics' producers put a session in the same partition, by these records of each."""
    keys = SampledKeys(topics, partitions)
    for topic, its in enumerate(records):
        for record in its:
            if record.key:
                keys.add(topic, record.key, record.partition, record.offset)
    finding = keys.find()
    if finding.verdict is Agreement.DISAGREE:
        return Check(
            PARTITIONERS,
            "error",
            f"{topics[0]} and {topics[1]} do not put a session in the same partition: {finding.words}",
            "give all producers of both topics one partitioner (Java's default is murmur2; librdkafka's is crc32, and "
            "takes partitioner = murmur2_random)",
        )
    if finding.verdict is Agreement.AGREE:
        return Check(PARTITIONERS, "ok", finding.words)
    few = finding.verdict is Agreement.TOO_FEW
    return Check(
        PARTITIONERS,
        "warning",
        f"{'too few keys to tell' if few else 'neither murmur2 nor crc32, so it cannot be told'}: {finding.words}",
        "ask again when there are more records" if few else "see that both topics' producers have the same one",
    )


def judge_ids(offers: Sequence[OfferPresented], checkouts: Sequence[CheckoutCompleted]) -> Check:
    """Whether what is purchased has the ids of what is presented in the same session, by the newest of each."""
    if not offers or not checkouts:
        missing = "offers" if not offers else "checkouts"
        return Check(IDS, "warning", f"no {missing} could be read, so no ids can be held against each other")
    bought = sum(len(checkout.purchased) for checkout in checkouts)
    if not bought:
        return Check(
            IDS,
            "warning",
            f"none of the {len(checkouts)} newest checkouts bought an offer",
            "see whether that can be, or whether purchased_offer_ids is filled from the wrong field: an offer that is "
            "bought and not named is called",
        )
    found = _purchases(offers, checkouts)
    known = found.matched + len(found.elsewhere) + len(found.strange)
    told = f"{found.matched} of {bought} purchased ids are of the {len(offers)} newest offers"
    wrong: list[str] = []
    remedies: list[str] = []
    if len(found.elsewhere) >= FEW:
        offer_id, session, its_session = found.elsewhere[-1]
        wrong.append(
            f"{len(found.elsewhere)} of {bought} purchased ids are of offers that were presented in another session "
            f"alone: such as {offer_id!r}, bought in the session {session!r} and presented in {its_session!r}"
        )
        remedies.append("have both topics carry the same session_id: a purchase counts in its own session only")
    if len(found.strange) >= max(FEW, OLDER * known):
        offer_id, instead = found.strange[-1]
        wrong.append(
            f"{len(found.strange)} are the id of no offer of their session, though offers of it are known: such as "
            f"{offer_id!r}, where offers are called such as {instead!r}"
        )
        remedies.append("have purchased_offer_ids hold the ids of offers, not of bookings, quotes or products")
    if wrong:
        none = found.matched <= HARDLY_ANY * known
        if not none:
            remedies.append("one of several shops or producers may be at fault")
        return Check(
            IDS,
            "error" if none else "warning",
            f"{'; '.join(wrong)}; {found.matched} of {known} match",
            f"{'; '.join(remedies)}: else what is bought would be called",
        )
    if found.matched:
        return Check(IDS, "ok", told if found.matched == bought else f"{told}; others may be older")
    return Check(
        IDS,
        "warning",
        f"{told}, and only {found.shared} checkouts are of a session in both samples: whether they are ids of offers "
        "cannot be told",
        "see that both topics have the same session_id and the same ids of offers, or ask again later",
    )


class _Purchases(NamedTuple):
    """Purchased ids by whether they name an offer of their session, as the join needs it.

    Attributes:
        matched: how many do.
        elsewhere: the id, its session, and the one that the offer was presented in instead.
        strange: the id, and that of an offer of its session. Where offers of a session are known and none has the id,
            it is no chance.
        shared: checkouts whose session has offers in the sample.
    """

    matched: int
    elsewhere: Sequence[tuple[str, str, str]]
    strange: Sequence[tuple[str, str]]
    shared: int


def _purchases(offers: Sequence[OfferPresented], checkouts: Sequence[CheckoutCompleted]) -> _Purchases:
    presented = {(offer.session_id, offer.offer_id) for offer in offers}
    session_of = {offer.offer_id: offer.session_id for offer in offers}
    offer_of = {offer.session_id: offer.offer_id for offer in offers}
    matched = 0
    elsewhere: list[tuple[str, str, str]] = []
    strange: list[tuple[str, str]] = []
    for session, offer_id in ((one.session_id, offer_id) for one in checkouts for offer_id in one.purchased):
        if (session, offer_id) in presented:
            matched += 1
        elif offer_id in session_of:
            elsewhere.append((offer_id, session, session_of[offer_id]))
        elif session in offer_of:
            strange.append((offer_id, offer_of[session]))
    return _Purchases(matched, elsewhere, strange, sum(one.session_id in offer_of for one in checkouts))


def time_of(event: OfferPresented | CheckoutCompleted) -> int:
    """When it happened, by its own word (ms)."""
    return event.presented_at if isinstance(event, OfferPresented) else event.completed_at


def _place(record: Record) -> str:
    return f"{record.topic}[{record.partition}] offset {record.offset}"


def _duration(ms: int) -> str:
    return format_duration(timedelta(seconds=round(ms / 1000)) if ms >= 1000 else timedelta(milliseconds=ms))
