"""The edges of a run: every client that is made for it, its clocks, and what an operator tells it while it runs.

`run.py` makes the real ones. A test or a simulation makes others, and the loop is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from confluent_kafka import Consumer

from ..calls import OptOutCall
from ..codecs.codec import Codec
from ..core.provenance import NOT_KNOWN, Provenance
from ..delivery.thread import Deliveries
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.end_offsets import EndOffsets
from ..kafka.history import GroupHistory
from ..kafka.leader_epochs import CutLogs
from ..kafka.producer import Outputs
from ..kafka.reader import RecordReader
from ..kafka.record import Record
from ..kafka.retention import Retention
from ..kafka.topic_watch import TopicWatch
from ..kafka.writes import Writes
from ..xcover.spans import SpanRecorder
from .clock_check import ClockCheck
from .mode import LIVE, RunMode
from .releases import Releases

OnRecordFetched: TypeAlias = Callable[[Record | None], OptOutCall | None]
"""What to do with the record of a refused call, or with None where it is gone; see `TaskRunner.on_record_fetched`."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The two clocks, in seconds; replaced in tests."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """What a run talks to.

    Attributes:
        consumer: makes a Kafka consumer, given its error handler, and for a look at keys settings of its own.
        ends: makes the asker for end offsets, given what to tell of trouble.
        outputs: where outcomes and dead letters go.
        writes: whether they are recorded, and commits are; the outputs tell it of theirs.
        delivery: makes the calls; the loop starts and stops it.
        codec: reads events, and tells whether a record that was read again is still the same.
        record_reader: reads again the records of refused calls, which are to be dead-lettered; the loop stops it.
        releases: the offers that an operator lets go.
        clock: what time it is.
        clock_check: whether others agree on that; by default nobody is asked, and the clock is believed.
        is_spare, topic_watch: see `GroupConsumer`.
        provenance: whose the commits of this run are.
        history: what is known of the group beside its offsets.
        cut_logs: tells whether logs were cut below what was read of them; None: nobody does.
        retention: how long the inputs are kept; None: nobody is warned of it.
        causes: is told what the clients say of brokers that refuse them.
        clients: makes the clients, and sees to what they log in with; None: it stays as it is.
        mode: what the run is about.
        spans: of the calls; None: nobody records any.
    """

    consumer: Callable[..., Consumer]
    ends: Callable[[Callable[[str], None]], EndOffsets]
    outputs: Outputs
    delivery: Deliveries
    codec: Codec
    record_reader: RecordReader[OnRecordFetched]
    writes: Writes = field(default_factory=lambda: Writes("offer.outcome"))
    releases: Releases = field(default_factory=lambda: Releases(None))
    clock: Clock = field(default_factory=Clock)
    clock_check: ClockCheck = field(default_factory=lambda: ClockCheck(time.time, time.monotonic, max_skew=0.0))
    is_spare: Callable[[str], bool] | None = None
    topic_watch: TopicWatch | None = None
    provenance: Provenance = NOT_KNOWN
    history: GroupHistory | None = None
    cut_logs: CutLogs | None = None
    retention: Retention | None = None
    causes: Causes = field(default_factory=Causes)
    clients: Clients | None = None
    mode: RunMode = LIVE
    spans: SpanRecorder | None = None

    def close(self) -> None:
        """Close what the loop does not stop: the connections that the codec reads by, then the spans."""
        self.codec.close()
        if self.spans is not None:
            self.spans.close()
