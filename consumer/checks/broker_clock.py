"""The brokers' time, as far as it shows before anything is written.

No answer of a broker tells its time. What does is the stamp that it gave to a record (message.timestamp.type =
LogAppendTime, as the outcome topic has it): it is at least so late there. So a clock of ours that is behind theirs
shows; one that is ahead of them shows by the first outcome that is written, and by the API's Date.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, TopicPartition

from ..core.watermark import TOLERANCE
from ..kafka.end_offsets import bounds_within
from ..kafka.reader import LogReader
from ..kafka.start_offsets import readable
from .check import Check

NAME = "broker clock"
"""Of the checks."""

MOST_PARTITIONS = 24
"""That are looked at: the brokers' clocks hardly differ, and each costs a request."""

READ = 5.0
"""Seconds that asking and reading may take together: less than a check may."""


def newest_stamp(
    consumer: Consumer, partitions: Iterable[tuple[str, int]], monotonic: Callable[[], float] = time.monotonic
) -> int | None:
    """The latest stamp (ms) that a broker gave to the last record of any of these partitions; None: it gave none.

    Args:
        consumer: see `LogReader`. It joins no group.

    Raises:
        KafkaException: the brokers do not tell where a partition ends.
    """
    deadline = monotonic() + READ
    places = [TopicPartition(*place) for place in islice(partitions, MOST_PARTITIONS)]
    known = bounds_within(consumer, places, READ / 2, monotonic)
    ranges = {place: (high - 1, high) for place, (low, high) in known.items() if low < high}
    if not ranges:
        return None
    reader = LogReader(consumer, lambda message: None)
    stamps = [
        stamp
        for kind, stamp in (
            message.timestamp() for message in reader.read(ranges, lambda: monotonic() < deadline, round_s=0.2)
        )
        if kind == TIMESTAMP_LOG_APPEND_TIME
    ]
    return max(stamps, default=None)


def judge_stamp(stamp: int | None, now: int, max_skew: int) -> Check:
    """What a broker's stamp tells of the clock of this machine, which shows `now`. All in ms."""
    if stamp is None:
        return Check(
            NAME,
            "ok",
            "no record that was read is stamped by a broker: the first outcome that is written tells their time",
        )
    ahead = (stamp - now) / 1000
    if ahead <= TOLERANCE:
        return Check(
            NAME,
            "ok",
            f"a broker stamped a record at {readable(stamp)}: the clock of this machine is not behind. Whether it is "
            "ahead, the first outcome that is written tells",
        )
    wrong = 1000 * ahead > max(max_skew, 1000 * TOLERANCE)
    what = "no offer would be decided or called" if wrong else "no quiet input's watermark would move"
    return Check(
        NAME,
        "error" if wrong else "warning",
        f"the clock of this machine is {ahead:.1f} s behind that of a broker, which stamped a record at "
        f"{readable(stamp)}: {what}",
        "have both clocks set by a time server",
    )
