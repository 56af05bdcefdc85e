"""What a group has committed of the offers, as an audit takes it."""

from __future__ import annotations

from confluent_kafka import Consumer, TopicPartition

from ..audit.calls import ReferenceRules
from ..audit.committed import Committed
from ..core.checkpoint import OfferCheckpoint, each_of, unit_of
from ..core.rules import MIN_TIME
from ..core.watermark import Side
from ..kafka.group import committed_by
from ..kafka.positions import CommittedPosition, Doubt
from ..settings import Settings


class GroupProgress:
    """By partition. To be asked for before the outcomes are read: what is settled by then has its outcome by then.

    Args:
        consumer: with the group's name. It joins nothing.

    Attributes:
        unit: see `Committed`.
        checkpoints: what is known of each partition.
        doubtful: partitions whose position is not what the service left there.
        other_settings: in words, by which the last commit was made, of partitions where these are not those of now.
        notes: in sentences, why nothing is known of some.

    Raises:
        StartError: the brokers do not tell.
    """

    def __init__(self, consumer: Consumer, settings: Settings, partitions: int, rules: ReferenceRules) -> None:
        kafka, each = settings.kafka, each_of(settings.input.offers.each)
        places = [TopicPartition(kafka.offer_topic, partition) for partition in range(partitions)]
        self.unit = unit_of(each)
        self.checkpoints: dict[int, OfferCheckpoint] = {}
        self.doubtful: set[int] = set()
        self.other_settings: dict[int, str] = {}
        self.notes: list[str] = []
        self._committed: dict[int, Committed] = {}
        none: list[str] = []
        doubtful: list[str] = []
        for place in committed_by(consumer, places):
            found = CommittedPosition.of(Side.OFFERS, place, each)
            name = f"{place.topic}[{place.partition}]"
            if found.doubt is Doubt.MISSING:
                none.append(name)
            elif not isinstance(found.checkpoint, OfferCheckpoint) or found.doubt is not None:
                doubtful.append(name)
                self.doubtful.add(place.partition)
            else:
                self.checkpoints[place.partition] = found.checkpoint
                self._committed[place.partition] = _committed(found.offset, found.checkpoint, rules)
                if found.checkpoint.rules != _key(rules):
                    self.other_settings[place.partition] = _in_words(*found.checkpoint.rules)
        if none:
            self.notes.append(
                f"Group {kafka.group_id} has committed nothing for {_named(none)}: a chain without an outcome counts "
                "as open there."
            )
        if doubtful:
            self.notes.append(
                f"What stands as the position of group {kafka.group_id} for {_named(doubtful)} is not what the service "
                "left there: a chain without an outcome counts as open there. See `opt-out positions`."
            )
        for words in sorted(set(self.other_settings.values())):
            self.notes.append(
                f"The service decided last by {words}; this judges by other settings. Outcomes that were decided by "
                "those may not fit: give this command the settings of then."
            )

    def of(self, partition: int) -> Committed | None:
        """None: nothing is known."""
        return self._committed.get(partition)


def _committed(offset: int, found: OfferCheckpoint, rules: ReferenceRules) -> Committed:
    is_told = found.rules == _key(rules) and found.decided_to != MIN_TIME
    return Committed(
        offset,
        found.next_offset,
        found.next_checkout,
        found.decided_to if is_told else None,
        found.unsettled,
        unit_of(found.each),
    )


def _key(rules: ReferenceRules) -> tuple[int, int, int, bool]:
    return rules.window, rules.checkout_grace, rules.lookback, rules.call_abandoned


def _in_words(window: int, grace: int, lookback: int, calls: bool) -> str:
    return (
        f"window {window} ms, checkout_grace {grace} ms, lookback {lookback} ms, abandoned "
        f"{'opt-out' if calls else 'ignore'}"
    )


def _named(places: list[str]) -> str:
    shown = ", ".join(places[:4])
    return shown if len(places) <= 4 else f"{shown} and {len(places) - 4} more"
