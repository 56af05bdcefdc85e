"""`opt-out backfill`: wires a bounded run of the deployment's loop, in a group of its own, and ends it."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import FrameType

import structlog
from confluent_kafka import TopicPartition

from ..checks.rights import check_rights
from ..checks.topics import check_topics
from ..codecs.inputs import codec_of
from ..codecs.plain import PlainCodec
from ..core.provenance import Provenance
from ..errors import GapError, OutdatedLoginError, RangeError
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.group import committed_by
from ..kafka.history import find_provenance
from ..kafka.positions import Positions
from ..runtime.loop import Loop
from ..runtime.memory import within_memory
from ..runtime.releases import Releases
from ..runtime.run import live_edges, spare_the_collector
from ..runtime.tasks import rules_of
from ..runtime.watchdog import Watchdog
from ..server.health import Health, bound_of, since_boot
from ..settings import KafkaSettings, Loaded, Settings
from ..xcover.secret_files import SecretFiles
from .deployment import lost_checkouts
from .end import End, Left
from .mode import BackfillMode
from .plan import Log, Missing, range_of
from .progress import Meter, RangeProgress, Show, showing
from .scope import BackfillScope, Offsets, in_words
from .tally import FateTally
from .told import ToldReader

log = structlog.get_logger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
"""What a backfill may be called: a part of its group's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person wants done.

    Attributes:
        name: of the backfill.
        begin, end: of its range.
        force: chains that have an outcome already are settled once more, but for those that are told to be bought.
        allow_gaps: what is gone from the log is no reason to refuse.
        bar: progress is shown as a bar, and not as lines of the log.
    """

    name: str
    begin: datetime | Offsets
    end: datetime | Offsets
    force: bool = False
    allow_gaps: bool = False
    bar: bool = False


@dataclass(frozen=True, slots=True)
class BackfillReport:
    """What a backfill has done.

    Attributes:
        tally: the fates of the chains that it has settled here.
        skipped: chains that had an outcome already, and were not settled once more.
        cut_off_before: those that a backfill has given up before, since a part of the log is gone.
        left: what could not be settled.
        interrupted: a signal ended it.
    """

    tally: FateTally
    skipped: int
    cut_off_before: int
    left: Left
    interrupted: bool

    @property
    def is_complete(self) -> bool:
        """Whether all of the range is settled, and nothing of it was given up since a part of the log is gone."""
        left = self.left
        return not (self.interrupted or left.unfinished or left.undecided or left.waiting or self.cut_off)

    @property
    def cut_off(self) -> int:
        """Chains that were given up since a part of the log is gone, here and before."""
        return self.tally.cut_off + self.cut_off_before


def settings_of(settings: Settings, name: str, rate: float) -> Settings:
    """Those of the backfill `name`: its own group, and its own rate in calls a second."""
    kafka = settings.kafka.model_copy(
        update={"group_id": f"{settings.kafka.group_id}.backfill.{name}", "group_instance_id": None}
    )
    delivery = settings.delivery.model_copy(update={"rate_limit": rate})
    return settings.model_copy(update={"kafka": kafka, "delivery": delivery})


def starting_at(settings: Settings, offers_from: int) -> Settings:
    """The same, for a new group that reads offers from a time on (ms, by their stamps)."""
    start = datetime.fromtimestamp(max(0, offers_from) / 1000, UTC)
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"start_from": start})})


def run(
    loaded: Loaded, order: Order, rate: float, read_kafka: Callable[[], KafkaSettings] | None = None
) -> BackfillReport:
    """Settle a range, until that is done, the log tells no more, or a signal comes.

    Raises:
        RangeError: the range is none, or the name belongs to another one.
        GapError: the log no longer has what the range needs.
        OptOutError: it must not start, or not go on.
    """
    health = Health(bound_of(loaded.settings), boottime=since_boot)
    watchdog = Watchdog(loaded.settings.delivery.shutdown_timeout.total_seconds(), health)
    watchdog.start()
    try:
        return _run(loaded, order, rate, read_kafka, health, watchdog)
    finally:
        watchdog.count_down()


def _run(
    loaded: Loaded,
    order: Order,
    rate: float,
    read_kafka: Callable[[], KafkaSettings] | None,
    health: Health,
    watchdog: Watchdog,
) -> BackfillReport:
    settings = settings_of(within_memory(loaded.settings), order.name, rate)
    kafka, rules = settings.kafka, rules_of(settings.join)
    releases = Releases(settings.delivery.release_file)
    causes = Causes(kafka)
    clients = Clients(kafka, causes, read_kafka)
    with causes.explained():
        admin = causes.attend(clients.admin())
        watchdog.ask = lambda: causes.ask(clients.admin)
        partitions = check_topics(admin, settings).partitions
        check_rights(admin, kafka)
        began = int(time.time() * 1000)
        topics = kafka.offer_topic, kafka.checkout_topic
        with closing(clients.record_reader()) as reader, closing(codec_of(settings)) as codec:
            there = Log(reader, topics, partitions, rules, codec)
            scope = BackfillScope(range_of(order.begin, order.end, began, there), rules, order.force)
            whose = find_provenance(admin, settings)
            provenance = replace(whose, scope=scope.text())
            new = is_new(clients, settings, partitions, provenance)
            deployment = Clients(loaded.settings.kafka, causes)
            lost = lost_checkouts(deployment, admin, loaded.settings, partitions, whose, is_new=new)
            missing = there.missing(scope, lost) if new else []
            told = ToldReader(reader, PlainCodec().decode_outcome).read(kafka, scope.range, rules.lookback)
            check_gaps(missing, [] if order.force else told.unknown, allowed=order.allow_gaps)
            ends = there.ends_for(scope)
        mode = BackfillMode(topics, scope, told, lost)
        settings = starting_at(settings, there.reads_from(scope))
        edges = live_edges(settings, SecretFiles(loaded.files, settings.api), admin, clients, causes, releases, health)
        tally = FateTally(edges.outputs)
        edges = replace(edges, outputs=tally, mode=mode, provenance=provenance, history=None)
        with closing(edges):
            loop = Loop(settings, edges, partitions=partitions, health=health, on_end=watchdog.count_down)
            end = End(loop.tasks, mode, partitions=partitions, began=began, lateness=rules.lateness, flush=tally.flush)
            log.info("backfill begins", name=order.name, group=kafka.group_id, range=in_words(scope.text()))
            spare_the_collector()
            with showing(order.name, bar=order.bar) as show:
                left, interrupted = drive(loop, end, show, Meter(loop.tasks, tally, ends).read)
        if clients.outdated:
            raise OutdatedLoginError(
                f"{clients.outdated} of kafka.properties changed, which a client reads once: the backfill has "
                "stopped in order, and all that is settled is committed. Give the same command again."
            )
    return BackfillReport(tally, mode.skipped, len(told.cut_off), left, interrupted)


def drive(loop: Loop, end: End, show: Show, ask: Callable[[], RangeProgress]) -> tuple[Left, bool]:
    """Run the loop until its end is reached, or a signal comes. Returns what is left, and whether it was a signal."""
    signals: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        signals.append(number)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    left = Left(0, 0, ())
    try:
        for _ in loop.steps():
            show(ask)
            if signals or end.is_reached():
                left = end.left()
                loop.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return left, bool(signals)


def is_new(clients: Clients, settings: Settings, partitions: int, provenance: Provenance) -> bool:
    """Whether the group of this name has committed nothing.

    Raises:
        RangeError: it was begun with another range, other rules or another mapping of the inputs.
    """
    kafka = settings.kafka
    topics = kafka.offer_topic, kafka.checkout_topic
    places = [TopicPartition(topic, partition) for topic in topics for partition in range(partitions)]
    with closing(clients.member(lambda error: None)) as consumer:
        positions = Positions(topics, committed_by(consumer, places))
    if positions.none_at_all:
        return True
    known = [position.provenance for position in positions.by_place.values() if position.provenance is not None]
    for found in known:
        differs = found.differences(provenance)
        if "mapping" in differs:
            raise RangeError(
                f"group {kafka.group_id} was begun with another mapping of the inputs: input.offers or input.checkouts "
                f"(format, fields, when or time), {found.mapping}, now {provenance.mapping}. Go on with what it was "
                "begun with, or take another name; nothing was called."
            )
        if "scope" in differs:
            raise RangeError(
                f"group {kafka.group_id} was begun with another range or other settings: {in_words(found.scope)}. Now "
                f"it is {in_words(provenance.scope)}. Go on with what it was begun with, or take another name; nothing "
                "was called."
            )
    return False


def check_gaps(missing: Sequence[Missing], unknown: Sequence[str], *, allowed: bool) -> None:
    """Refuse a range of which the log no longer has all, or the outcomes are not all known.

    Both are told at once, since one option lets both pass.

    Raises:
        GapError: something is missing or unknown, and that is not allowed.
    """
    why = []
    if missing:
        named = "\n".join(f"  {one}" for one in missing)
        why.append(
            f"records that this range needs are gone from the log:\n{named}\nWithout them nobody knows what was "
            "bought, nor where chains begin. Take a range that begins later; or go on by --allow-gaps, by which what "
            "cannot be known is dead-lettered as late, and counted."
        )
    if unknown:
        named = "\n".join(f"  {one}" for one in unknown[:_NAMED])
        more = f"\n  and {len(unknown) - _NAMED:,} more" if len(unknown) > _NAMED else ""
        why.append(
            f"outcomes that may be of this range are gone or cannot be read:\n{named}{more}\nTake a range that begins "
            "later; or go on by --allow-gaps, by which what was called by them is called again."
        )
    if why and not allowed:
        raise GapError("\n".join([*why, "Nothing was called."]))
    for one in missing:
        log.warning("a part of the log is gone: what cannot be known is dead-lettered", missing=str(one))


_NAMED = 20
"""How many outcomes that are not known are named."""
