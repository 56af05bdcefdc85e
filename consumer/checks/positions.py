"""`opt-out positions`: what the group has committed, in words, and whether a start would go on from it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException, TopicPartition

from ..codecs.plain import PlainCodec
from ..core.checkpoint import OfferCheckpoint, each_of
from ..core.provenance import Provenance
from ..core.rules import MIN_TIME, DecisionRules
from ..core.watermark import Side
from ..errors import PositionsError, StartError
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.end_offsets import bounds
from ..kafka.history import GroupHistory, find_provenance
from ..kafka.leader_epochs import CutLogs
from ..kafka.position_changes import Change, PositionChanges
from ..kafka.positions import CommittedPosition, Positions, check_positions
from ..kafka.settled_since import SettledSince
from ..kafka.start_offsets import StartOffsets, readable
from ..kafka.topics import TopicConfig, look_at_topics
from ..output import Cell, Column, Document, TableShown
from ..settings import Settings
from .topics import inspect_topics


@dataclass(frozen=True, slots=True)
class PositionsReport:
    """What was found.

    Attributes:
        document: each partition, and in words what should be known.
        refused: whether a start would be refused.
    """

    document: Document
    refused: bool


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
        clients = Clients(kafka, causes)
        self._admin = causes.attend(clients.admin())
        self._partitions = inspect_topics(self._admin, settings).partitions
        self._provenance = find_provenance(self._admin, settings)
        self._reader = clients.record_reader
        decode = PlainCodec().decode_outcome
        history = GroupHistory(self._admin, self._reader, kafka, decode)

        def outcomes_kept() -> TopicConfig | None:
            return look_at_topics(self._admin, kafka).configs.get(kafka.outcome_topic)

        self._settled = SettledSince(self._reader, kafka, decode, rules.max_skew, outcomes_kept)
        each = each_of(settings.input.offers.each)
        self._starts = StartOffsets(
            kafka, rules, self._partitions, self._provenance, history, each, CutLogs(clients.epoch_reader)
        )
        self._rules, self._unmatched_limit = rules, settings.join.unmatched_limit
        self._consumer = clients.member(causes.heard)

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
            self._settled,
            group=self._group,
            provenance=self._provenance,
            rules=self._rules,
            partitions=self._partitions,
            unmatched_limit=self._unmatched_limit,
        )

    def _show(self) -> PositionsReport:
        positions = self._starts.positions(self._consumer, with_cuts=True)
        logs = {
            place: bounds(self._consumer, TopicPartition(found.topic, found.partition))
            for place, found in positions.by_place.items()
        }
        rows = [_row(found, *logs[place]) for place, found in positions.by_place.items()]
        shown = TableShown(f"Positions of group {self._group}", COLUMNS, rows)
        lines = list(_whose({found.provenance for found in positions.by_place.values() if found.provenance}))
        lines.append(f"now: {_words(self._provenance)}")
        refused = ""
        if positions.none_at_all:
            try:
                self._starts.check_really_new()
                lines.append("nothing is committed: a start begins at kafka.start_from")
            except PositionsError as error:
                refused = str(error)
        else:
            refused = self._why_refused(positions, logs)
        lines.append(refused or "a start would go on from here")
        facts = {"group": self._group, "goes_on": not refused}
        return PositionsReport(Document({"positions": shown}, facts, lines), bool(refused))

    def _why_refused(self, positions: Positions, logs: Mapping[tuple[Side, int], tuple[int, int]]) -> str:
        """Why a start would be refused; empty if it would go on."""
        try:
            check_positions(self._group, positions, self._provenance, self._partitions, logs)
        except StartError as error:
            return str(error)
        return _ahead(positions)


def changes_document(changes: list[Change]) -> Document:
    """What was changed."""
    columns = [
        Column("topic", "topic"),
        Column("partition", "p", is_number=True),
        Column("was", "was", is_number=True),
        Column("now", "now", is_number=True),
        Column("meaning", "what that means"),
    ]
    rows = [[one.topic, one.partition, _offset(one.was), one.offset, one.what] for one in changes]
    said = "a start goes on from these" if changes else "nothing is in doubt: nothing was changed"
    return Document({"changes": TableShown("Positions that were changed", columns, rows)}, notes=[said])


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


COLUMNS = (
    Column("topic", "topic"),
    Column("partition", "p", is_number=True),
    Column("offset", "offset", is_number=True),
    Column("log", "log"),
    Column("log_start"),
    Column("log_end"),
    Column("behind", "behind", is_number=True),
    Column("ours", "ours"),
    Column("committed", "committed"),
    Column("decided_to", "decided to"),
    Column("unsettled", "unsettled", is_number=True),
)
"""Those of the table of positions."""


def _row(found: CommittedPosition, low: int, high: int) -> list[object]:
    ours = "yes" if found.doubt is None else _SHORT[found.doubt.name]
    behind = max(0, high - max(found.offset, low))
    row: list[object] = [found.topic, found.partition, _offset(found.offset), f"{low} to {high}", low, high]
    row += [behind, ours]
    checkpoint = found.checkpoint
    if not isinstance(checkpoint, OfferCheckpoint):
        return [*row, None, None, None]
    whose = checkpoint.provenance
    return [
        *row,
        Cell("?", None) if whose.committed_at == MIN_TIME else readable(whose.committed_at),
        Cell("nothing yet", None) if checkpoint.decided_to == MIN_TIME else readable(checkpoint.decided_to),
        len(checkpoint.unsettled),
    ]


def _offset(offset: int) -> Cell:
    return Cell(str(offset), offset) if offset >= 0 else Cell("none", None)


_SHORT = {
    "MISSING": "nothing is committed",
    "UNMARKED": "no: no metadata",
    "FOREIGN": "no: not ours, or changed",
    "OTHER_EACH": "no: another input.offers.each",
}


def _whose(provenances: set[Provenance]) -> list[str]:
    return sorted({f"committed for: {_words(one)}" for one in provenances})


def _words(whose: Provenance) -> str:
    def known(text: str) -> str:
        return text or "not known"

    mapped = f", mapping {whose.mapping}" if whose.written_mapping else ""
    return (
        f"cluster {known(whose.cluster)}, {known(whose.offer_topic)} (id {known(whose.offer_topic_id)}), "
        f"{known(whose.checkout_topic)} (id {known(whose.checkout_topic_id)}), API {known(whose.base_url)}{mapped}"
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
