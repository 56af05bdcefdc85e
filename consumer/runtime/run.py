"""`opt-out run`: wires a live run. Makes the real edges, gives them to the loop, and ends it by a signal."""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from types import FrameType

import structlog
from confluent_kafka.admin import AdminClient

from ..checks.rights import check_rights
from ..checks.topics import check_topics
from ..codecs.inputs import codec_of
from ..codecs.plain import PlainCodec
from ..delivery.thread import DeliveryThread
from ..errors import OutdatedLoginError
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.end_offsets import EndOffsets
from ..kafka.group import Membership
from ..kafka.history import GroupHistory, find_provenance
from ..kafka.leader_epochs import CutLogs
from ..kafka.producer import OutputProducer
from ..kafka.reader import RecordReader
from ..kafka.retention import Retention
from ..kafka.topic_watch import TopicWatch
from ..kafka.writes import Writes
from ..server.health import Health, bound_of, since_boot
from ..server.http import serving
from ..server.latest import Latest
from ..settings import KafkaSettings, Loaded, Settings
from ..xcover.api import connect
from ..xcover.api_clock import ApiClock
from ..xcover.secret_files import SecretFiles
from ..xcover.spans import spans_of
from .clock_check import ClockCheck
from .conditions import attended, recorded, same_topics
from .edges import Edges
from .loop import Loop
from .memory import within_memory
from .releases import Releases
from .watchdog import Watchdog

log = structlog.get_logger(__name__)


def spare_the_collector() -> None:
    """Let Python look for reference cycles less often.

    A million open offers are a million objects that are no garbage, and looking through them took 40 % of the time of
    joining (`tests/benchmarks/bench_join.py`). The join makes no cycles; what libraries make is still found.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def run(loaded: Loaded, read_kafka: Callable[[], KafkaSettings] | None = None) -> int:
    """`opt-out run`: start, work until SIGTERM or SIGINT, return the exit code.

    Args:
        loaded: the settings, and the files that hold secrets: they may change while it runs.
        read_kafka: the settings of Kafka as their sources have them now, asked again and again while it runs.

    Raises:
        OptOutError: it must not start, or not go on.
    """
    # A container's first process has no default for SIGTERM: a stop during the start would be lost.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = loaded.settings
    health = Health(bound_of(settings), boottime=since_boot)
    watchdog = Watchdog(settings.delivery.shutdown_timeout.total_seconds(), health)
    watchdog.start()
    latest = Latest()
    with serving(settings.server, health, latest):
        try:
            secrets = SecretFiles(loaded.files, settings.api)
            return _run(within_memory(settings), secrets, read_kafka, health, watchdog, latest)
        finally:
            watchdog.count_down()


def _run(
    settings: Settings,
    secrets: SecretFiles,
    read_kafka: Callable[[], KafkaSettings] | None,
    health: Health,
    watchdog: Watchdog,
    latest: Latest,
) -> int:
    kafka = settings.kafka
    # First, since a file that is named and wrong stops the start.
    releases = Releases(settings.delivery.release_file)
    causes = Causes(kafka)
    clients = Clients(kafka, causes, read_kafka)
    with causes.explained():
        admin = causes.attend(clients.admin())
        watchdog.ask = lambda: causes.ask(clients.admin)
        topics = check_topics(admin, settings)
        check_rights(admin, kafka)
        edges = live_edges(settings, secrets, admin, clients, causes, releases, health)
        with closing(edges):
            _work(settings, edges, topics.partitions, health, watchdog, latest)
        if clients.outdated:
            raise OutdatedLoginError(
                f"{clients.outdated} of kafka.properties changed, which a client reads once: the service has stopped "
                "in order, and everything settled is committed. Start it again; it takes what is there now."
            )
    return 0


def _work(
    settings: Settings, edges: Edges, partitions: int, health: Health, watchdog: Watchdog, latest: Latest
) -> None:
    """Run the loop until a signal ends it, or the loop itself."""
    loop = Loop(settings, edges, partitions=partitions, health=health, latest=latest, on_end=watchdog.count_down)

    def on_signal(number: int, _: FrameType | None) -> None:
        loop.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    log.info("starting", group=settings.kafka.group_id, partitions=partitions)
    spare_the_collector()
    loop.run()
    log.info("stopped")


def live_edges(
    settings: Settings,
    secrets: SecretFiles,
    admin: AdminClient,
    clients: Clients,
    causes: Causes,
    releases: Releases,
    health: Health,
) -> Edges:
    """The edges of a run that makes calls."""
    kafka = settings.kafka
    codec = codec_of(settings)
    spans = spans_of(settings.trace, settings.api, settings.delivery.shutdown_timeout.total_seconds())
    api_clock = ApiClock(settings.api)
    uses_date = settings.api.use_date
    clock_check = ClockCheck(
        time.time,
        time.monotonic,
        max_skew=settings.join.max_skew.total_seconds(),
        ask=(lambda: api_clock.ask(clock_check.api_told)) if uses_date else None,
        boottime=since_boot,
    )
    provenance = find_provenance(admin, settings)
    writes = Writes(kafka.outcome_topic, kafka.commit_interval.total_seconds())
    topic_watch = TopicWatch(
        admin,
        {
            kafka.offer_topic: provenance.offer_topic_id,
            kafka.checkout_topic: provenance.checkout_topic_id,
        },
    )
    return Edges(
        consumer=clients.member,
        ends=lambda on_trouble: EndOffsets(admin, time.time, on_trouble),
        outputs=OutputProducer(
            clients.producer(),
            kafka.outcome_topic,
            kafka.dead_letter_topic,
            codec,
            writes,
            on_stamp=clock_check.broker_told,
        ),
        writes=writes,
        delivery=DeliveryThread(
            partial(
                connect,
                settings.api,
                on_time=clock_check.api_told if uses_date else None,
                files=secrets,
                spans=spans,
            ),
            settings.delivery,
            max_refused_run=settings.dead_letter.max_run,
            conditions=[clock_check.gate, recorded(writes), attended(health), same_topics(topic_watch)],
        ),
        codec=codec,
        record_reader=RecordReader(clients.record_reader),
        releases=releases,
        clock_check=clock_check,
        retention=Retention(admin, (kafka.offer_topic, kafka.checkout_topic)),
        is_spare=Membership(admin, kafka.group_id).is_spare if kafka.group_protocol == "consumer" else None,
        topic_watch=topic_watch,
        causes=causes,
        clients=clients,
        provenance=provenance,
        history=GroupHistory(admin, clients.record_reader, kafka, PlainCodec().decode_outcome),
        cut_logs=CutLogs(clients.epoch_reader),
        spans=spans,
    )
