"""`opt-out backfill --dry-run`: what a range would bring, by the rules in force and by others, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from ..checks.topics import check_topics
from ..codecs.inputs import codec_of
from ..codecs.plain import PlainCodec
from ..events import OfferOutcome
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.end_offsets import EndOffsets
from ..kafka.history import find_provenance
from ..kafka.reader import RecordReader
from ..row_file import RowColumn, WriteRow, row_file
from ..runtime.edges import Edges
from ..runtime.loop import Loop
from ..runtime.releases import Releases
from ..runtime.run import spare_the_collector
from ..runtime.tasks import rules_of
from ..settings import Settings
from .compare import Comparison
from .deployment import lost_checkouts
from .end import End, Left
from .mode import RehearsalMode
from .plan import Log, range_of
from .progress import Meter, showing
from .rehearsal import NoGroup, NothingWritten, RehearsedCalls
from .run import Order, check_gaps, drive, starting_at
from .scope import BackfillScope
from .tally import FateTally
from .told import Told, ToldReader

ROWS = (
    RowColumn("partner_code", "text"),
    RowColumn("offer_id", "text"),
    RowColumn("session_id", "text"),
    RowColumn("product_code", "text"),
    RowColumn("country", "text"),
    RowColumn("reason", "text"),
    RowColumn("checkout_id", "text"),
    RowColumn("presented_at", "time"),
    RowColumn("decided_at", "time"),
    RowColumn("source_topic", "text"),
    RowColumn("source_partition", "integer"),
    RowColumn("source_offset", "integer"),
    RowColumn("otherwise", "text"),
)
"""What a file of would-be calls says of each. `otherwise` is what `offer.outcome` tells of the chain, or of other rules
what becomes of it by those in force."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a range would bring.

    Attributes:
        found: the fates, held against the other side's.
        left: what would not be settled.
        interrupted: a signal ended it.
    """

    found: Comparison
    left: Left
    interrupted: bool

    @property
    def is_complete(self) -> bool:
        """Whether a run would be complete: see `BackfillReport.is_complete`."""
        return not (self.interrupted or self.left.unfinished or self.left.undecided or self.found.cut_off)


def rehearse(settings: Settings, changed: Settings | None, order: Order, output: Path | None) -> list[Rehearsal]:
    """Decide a range by the settings in force, and if there are `changed` ones by these too; call and write nothing.

    `output`: a file for the would-be calls, of the changed settings if there are some. A signal ends it without one.

    Raises:
        RangeError: the range is none.
        GapError: the log no longer has what the range needs.
        OptOutError: it must not start, or not go on.
    """
    rehearsals: list[Rehearsal] = []
    with suppress(_NotWhole), ExitStack() as ends:
        write = None if output is None else ends.enter_context(row_file(output, ROWS))
        rehearsals.append(_rehearse(settings, order, None, write if changed is None else None))
        if changed is not None and not rehearsals[0].interrupted:
            rehearsals.append(_rehearse(changed, order, rehearsals[0].found.fates, write))
        if rehearsals[-1].interrupted:
            raise _NotWhole  # the file that was there stays
    return rehearsals


class _NotWhole(Exception):  # noqa: N818 - no error: it leaves a block
    """A signal came: the calls of a part are no file of calls."""


def _rehearse(settings: Settings, order: Order, others: Told | None, write: WriteRow | None) -> Rehearsal:
    """`others`: what the fates are held against; None: what the outcome topic tells."""
    # On the `consumer` protocol a client is given partitions by a group alone, and here there is none.
    kafka = settings.kafka.model_copy(update={"group_protocol": "classic", "group_instance_id": None})
    settings = settings.model_copy(update={"kafka": kafka})
    topics, rules = (kafka.offer_topic, kafka.checkout_topic), rules_of(settings.join)
    causes = Causes(kafka)
    clients = Clients(kafka, causes)
    with causes.explained():
        admin = causes.attend(clients.admin())
        partitions = check_topics(admin, settings).partitions
        began = int(time.time() * 1000)
        with closing(clients.record_reader()) as reader, closing(codec_of(settings)) as codec:
            there = Log(reader, topics, partitions, rules, codec)
            scope = BackfillScope(range_of(order.begin, order.end, began, there), rules)
            unknown: list[str] = []
            if others is None:
                others = ToldReader(reader, PlainCodec().decode_outcome).read(kafka, scope.range)
                unknown = [] if order.force else others.unknown
            whose = find_provenance(admin, settings)
            lost = lost_checkouts(clients, admin, settings, partitions, whose, is_new=True)
            check_gaps(there.missing(scope, lost), unknown, allowed=order.allow_gaps)
            ends = there.ends_for(scope)
        found = Comparison(others, _row_writer(write))
        tally = FateTally(NothingWritten(), found.add)
        mode = RehearsalMode(topics, scope, None, lost)
        with closing(codec_of(settings)) as codec:
            edges = Edges(
                consumer=NoGroup(clients.member, partitions).member,
                ends=lambda on_trouble: EndOffsets(admin, time.time, on_trouble),
                outputs=tally,
                delivery=RehearsedCalls(),
                codec=codec,
                record_reader=RecordReader(clients.record_reader),
                releases=Releases(settings.delivery.release_file),
                causes=causes,
                mode=mode,
            )
            loop = Loop(starting_at(settings, there.reads_from(scope)), edges, partitions=partitions)
            end = End(
                loop.tasks,
                mode,
                partitions=partitions,
                began=began,
                lateness=rules.lateness,
                flush=tally.flush,
                on_open=found.add_open,
            )
            spare_the_collector()
            with showing(f"{order.name} (dry run)", bar=order.bar) as show:
                left, interrupted = drive(loop, end, show, Meter(loop.tasks, tally, ends).read)
    found.finish(interrupted=interrupted)
    return Rehearsal(found, left, interrupted)


def _row_writer(write: WriteRow | None) -> Callable[[OfferOutcome, str], None]:
    def on_call(outcome: OfferOutcome, there: str) -> None:
        if write is not None:
            write(
                (
                    outcome.partner_code,
                    outcome.offer_id,
                    outcome.session_id,
                    outcome.details.product_code,
                    outcome.details.country,
                    outcome.reason.value,
                    outcome.checkout_id,
                    outcome.presented_at,
                    outcome.decided_at,
                    *outcome.source,
                    there,
                )
            )

    return on_call
