"""`opt-out positions`: what the group has committed, in words, and whether a start would go on from it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from rich.table import Table

from ..codecs.plain import PlainCodec
from ..core.checkpoint import OfferCheckpoint
from ..core.provenance import Provenance
from ..core.rules import MIN_TIME, DecisionRules
from ..errors import PositionsError, StartError
from ..kafka.causes import Causes
from ..kafka.config import admin_config, consumer_config, record_reader_config
from ..kafka.end_offsets import bounds
from ..kafka.history import GroupHistory, find_provenance
from ..kafka.position_changes import Change, PositionChanges
from ..kafka.positions import CommittedPosition, Positions, check_partition_count, refusal
from ..kafka.start_offsets import StartOffsets, readable
from ..settings import Settings
from .topics import inspect_topics


@dataclass(frozen=True, slots=True)
class PositionsReport:
    """What was found.

    Attributes:
        table: each partition, for a terminal.
        lines: what should be known, in words.
        refused: why a start would be refused; empty if it would go on.
    """

    table: Table
    lines: tuple[str, ...]
    refused: str


class PositionsCommand:
    """The clients and facts that all forms of the command need. `close` it.

    Args:
        rules: as `run` takes them from the settings.
        causes: is told what the clients say.

    Raises:
        TopicsError: the topics do not fit.
        StartError: the broker does not answer.
    """

    def __init__(self, settings: Settings, rules: DecisionRules, causes: Causes) -> None:
        kafka = settings.kafka
        self._group = kafka.group_id
        self._topics = kafka.offer_topic, kafka.checkout_topic
        self._admin = causes.attend(AdminClient(admin_config(kafka, causes)))
        self._partitions = inspect_topics(self._admin, settings).partitions
        self._provenance = find_provenance(self._admin, settings)
        self._reader = partial(Consumer, record_reader_config(kafka, causes))
        history = GroupHistory(self._admin, self._reader, kafka, PlainCodec().decode_outcome)
        self._starts = StartOffsets(kafka, rules, self._partitions, self._provenance, history)
        self._rules = rules
        self._consumer = Consumer(consumer_config(kafka, causes, on_error=causes.heard))

    def close(self) -> None:
        """End the clients."""
        self._consumer.close()

    def show(self) -> PositionsReport:
        """What is committed, and whether a start would go on."""
        try:
            return self._show()
        except KafkaException as error:
            raise StartError(f"the broker did not answer: {error.args[0].str()}. Check it, and ask again.") from error

    def accept(self) -> list[Change]:
        """See `PositionChanges.accept`."""
        return self._changes().accept(_now())

    def reset_to(self, moment: int) -> list[Change]:
        """See `PositionChanges.reset_to`; `moment` in ms."""
        return self._changes().reset_to(moment, _now())

    def _changes(self) -> PositionChanges:
        return PositionChanges(
            self._consumer,
            self._admin,
            self._reader,
            self._starts,
            group=self._group,
            provenance=self._provenance,
            rules=self._rules,
            partitions=self._partitions,
        )

    def _show(self) -> PositionsReport:
        positions = self._starts.positions(self._consumer)
        logs = {
            place: bounds(self._consumer, TopicPartition(found.topic, found.partition))
            for place, found in positions.by_place.items()
        }
        shown = Table(title=f"Positions of group {self._group}")
        for heading in ("topic", "p", "offset", "log", "behind", "ours", "committed", "decided to", "unsettled"):
            shown.add_column(heading, justify="right" if heading in _NUMBERS else "left")
        for place, found in positions.by_place.items():
            shown.add_row(*_row(found, *logs[place]))
        lines = list(_whose({found.provenance for found in positions.by_place.values() if found.provenance}))
        lines.append(f"now: {_words(self._provenance)}")
        if positions.none_at_all:
            try:
                self._starts.check_really_new()
            except PositionsError as error:
                return PositionsReport(shown, tuple(lines), str(error))
            return PositionsReport(shown, (*lines, "nothing is committed: a start begins at kafka.start_from"), "")
        try:
            check_partition_count(self._group, positions, self._partitions)
        except StartError as error:
            return PositionsReport(shown, tuple(lines), str(error))
        if doubts := list(positions.doubts(self._provenance, logs)):
            return PositionsReport(shown, tuple(lines), refusal(self._group, doubts))
        return PositionsReport(shown, tuple(lines), _ahead(positions))


def changes_table(changes: list[Change]) -> Table:
    """What was changed, for a terminal."""
    shown = Table(title="Positions that were changed")
    for heading in ("topic", "p", "was", "now", "what that means"):
        shown.add_column(heading, justify="right" if heading in {"p", "was", "now"} else "left")
    for one in changes:
        was = str(one.was) if one.was >= 0 else "none"
        shown.add_row(one.topic, str(one.partition), was, str(one.offset), one.what)
    return shown


def _ahead(positions: Positions) -> str:
    """Why a start would be refused for a time that is still to come; empty if it would not be."""
    now = _now()
    ahead = [
        f"{found.topic}[{found.partition}]"
        for found in positions.by_place.values()
        if isinstance(found.checkpoint, OfferCheckpoint) and found.checkpoint.decided_to > now
    ]
    if not ahead:
        return ""
    return (
        f"{', '.join(ahead)}: decided to a time that is ahead of this machine's clock ({readable(now)}). If this clock "
        "is right, go back to before the other one went wrong: `opt-out positions --reset-to TIME`."
    )


_NUMBERS = frozenset({"p", "offset", "behind", "unsettled"})


def _row(found: CommittedPosition, low: int, high: int) -> list[str]:
    row = [found.topic, str(found.partition)]
    row += [str(found.offset) if found.offset >= 0 else "none", f"{low} to {high}"]
    row += [str(max(0, high - max(found.offset, low))), "yes" if found.doubt is None else _SHORT[found.doubt.name]]
    checkpoint = found.checkpoint
    if not isinstance(checkpoint, OfferCheckpoint):
        return [*row, "", "", ""]
    whose = checkpoint.provenance
    return [
        *row,
        "?" if whose.committed_at == MIN_TIME else readable(whose.committed_at),
        "nothing yet" if checkpoint.decided_to == MIN_TIME else readable(checkpoint.decided_to),
        str(len(checkpoint.unsettled)),
    ]


_SHORT = {"MISSING": "nothing is committed", "UNMARKED": "no: no metadata", "FOREIGN": "no: not ours, or changed"}


def _whose(provenances: set[Provenance]) -> list[str]:
    return sorted({f"committed for: {_words(one)}" for one in provenances})


def _words(whose: Provenance) -> str:
    def known(text: str) -> str:
        return text or "not known"

    return (
        f"cluster {known(whose.cluster)}, {known(whose.offer_topic)} (id {known(whose.offer_topic_id)}), "
        f"{known(whose.checkout_topic)} (id {known(whose.checkout_topic_id)}), API {known(whose.base_url)}"
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
