"""The configuration of every Kafka client of the service, with the promise behind each line.

What the settings pass through (`kafka.properties`) goes to each client; what a promise rests on is laid over it, so
that no property can undo it. librdkafka ignores a property that belongs to another kind of client, and warns of it at
each start, in a line that looks like a mistake of the operator's: `unless_ignored` leaves that line out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError

from ..settings import KafkaSettings
from .causes import Causes
from .tokens import aws_msk_iam

_CONNECTIONS: Mapping[str, Any] = {
    # Brokers close connections that were idle for ten minutes. The client closes them first, so that a quiet night
    # does not look like an outage.
    "connections.max.idle.ms": 540_000,
}

_READING: Mapping[str, Any] = {
    # Offsets are committed only once the opt-outs are settled, and by nobody but the service.
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # An offset that the broker no longer has is an error: to go on elsewhere would lose opt-outs in silence.
    "auto.offset.reset": "error",
    # An aborted checkout never happened.
    "isolation.level": "read_committed",
    # A partition's end is told even where a transaction's marker stands last: the watermark of a quiet topic rests
    # on it.
    "enable.partition.eof": True,
}

SMALL_FETCHES: Mapping[str, Any] = {
    # A few records are wanted, not what the client would read ahead. A broker gives at least one batch, however large.
    "fetch.message.max.bytes": 65_536,
    "queued.min.messages": 1,
    "fetch.wait.max.ms": 50,
    "fetch.error.backoff.ms": 50,
    # While its queue is full the client asks for nothing, and looks again after a second by default.
    "fetch.queue.backoff.ms": 10,
}
"""Laid over a configuration to look at a few records only."""


def consumer_config(
    settings: KafkaSettings, causes: Causes | None = None, *, on_error: Callable[[KafkaError], None]
) -> dict[str, Any]:
    """The member of the group, which reads both inputs and commits.

    `causes` is told what the client's log says, here and below, and of a client without `on_error` its errors too.
    """
    config: dict[str, Any] = {
        **_CONNECTIONS,
        # How soon a topic that grew is noticed, which stops the service; well within any window.
        "topic.metadata.refresh.interval.ms": 60_000,
        # Per member. Two topics are read at most a window apart, so a deep queue is thrown away at each pause.
        "queued.max.messages.kbytes": 32_768,
        **_given(settings, causes),
        **_READING,
        "bootstrap.servers": settings.bootstrap_servers,
        "group.id": settings.group_id,
        "group.protocol": settings.group_protocol,
        # Partition p of both topics goes to one member.
        "group.remote.assignor" if settings.group_protocol == "consumer" else "partition.assignment.strategy": "range",
        "error_cb": on_error,
        "logger": _logger("consumer", causes),
    }
    if settings.group_instance_id:
        config["group.instance.id"] = settings.group_instance_id
    return config


def record_reader_config(settings: KafkaSettings, causes: Causes | None = None) -> dict[str, Any]:
    """Reads single records again. The group is named for the rights that go with it; it is not joined."""
    return {
        **_CONNECTIONS,
        **_given(settings, causes),
        **_READING,
        **SMALL_FETCHES,
        "bootstrap.servers": settings.bootstrap_servers,
        "group.id": settings.group_id,
        **_told("reader", causes),
    }


def epoch_reader_config(settings: KafkaSettings, causes: Causes | None = None) -> dict[str, Any]:
    """Asks whether logs were cut below what was read of them. See `CutLogs`, which takes no record for one to go by."""
    # It is to go on behind a cut, since what stands there tells that it is one.
    return record_reader_config(settings, causes) | {"auto.offset.reset": "earliest"}


def log_reader_config(settings: KafkaSettings, causes: Causes | None = None) -> dict[str, Any]:
    """Reads long stretches of the log, as `record_reader_config` reads single records."""
    return {
        **_CONNECTIONS,
        # For each process that reads: enough to be ahead of the decoding.
        "queued.max.messages.kbytes": 16_384,
        **_given(settings, causes),
        **_READING,
        "fetch.queue.backoff.ms": 10,
        "bootstrap.servers": settings.bootstrap_servers,
        "group.id": settings.group_id,
        **_told("reader", causes),
    }


BATCH = 65_536
"""Bytes that are written at once, at the most, but for a record that is larger by itself."""

_SMALL_BATCHES: Mapping[str, Any] = {
    # A broker refuses a batch that is larger than the topic's max.message.bytes as a whole, and what is good in it with
    # it. No topic's limit is below this, and a larger record is in a batch of its own.
    "batch.size": BATCH,
}


def producer_config(settings: KafkaSettings, causes: Causes | None = None) -> dict[str, Any]:
    """Writes outcomes and dead letters."""
    config = {
        **_CONNECTIONS,
        # An outage is waited for, since stopping would only repeat calls whose outcomes were still in the queue.
        "message.timeout.ms": 0,
        # A dead letter is as large as its record and some headers. The broker's limit is the one that counts.
        "message.max.bytes": 100_000_000,
        **_given(settings, causes),
        **_SMALL_BATCHES,
        "bootstrap.servers": settings.bootstrap_servers,
        **_told("producer", causes),
    }
    return in_order(config)


TRANSACTION = 60.0
"""Seconds after which the brokers give up a transaction of somebody who is gone. Until then nobody who reads committed
records reads on behind it, and the service is one of them."""


def transactional_config(settings: KafkaSettings, causes: Causes | None, name: str) -> dict[str, Any]:
    """Writes records all together or not at all, as the only one who has this transactional id."""
    return producer_config(settings, causes) | {
        "transactional.id": name,
        "transaction.timeout.ms": int(TRANSACTION * 1000),
        # A person waits for it: what is not written within half of that is given up.
        "message.timeout.ms": int(TRANSACTION * 500),
    }


_IN_ORDER: Mapping[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "max.in.flight.requests.per.connection": 1,
}

_ALIASES = frozenset({"max.in.flight", "request.required.acks"})
"""Other names of these. Of two names of one setting librdkafka takes the one that is given last."""


def in_order(config: Mapping[str, Any]) -> dict[str, Any]:
    """A producer's configuration with which each partition gets every record once, in the order of the calls.

    A record counts as written once all in-sync replicas have it. For the order it takes both idempotence and one
    request at a time. Say that the broker refuses a producer's first batch, since the topic is new and has no leader
    yet, and that the second batch is under way already. A broker takes any sequence number from a producer that it does
    not know, so it takes the second batch. Then

    - a plain producer sends the first one again, behind the second;
    - an idempotent one takes the first for written, since a later number was acknowledged: it reports success, and the
      records are lost. Kafka 4.1 and librdkafka's mock cluster are alike in this;
    - one request at a time without idempotence may still let the second batch pass while the first waits to be
      sent again.

    Args:
        config: librdkafka settings. What order rests on goes over them, whichever of their names they have.
    """
    others = {name: value for name, value in config.items() if name not in _IN_ORDER and name not in _ALIASES}
    return {**others, **_IN_ORDER}


def admin_config(settings: KafkaSettings, causes: Causes | None = None) -> dict[str, Any]:
    """Asks about topics, ends of partitions and members of the group. With `causes`, have them attend the client."""
    # What it cannot reach, its answers say; without anybody to be told, its own log lines would go past the log.
    told = {"log_level": 2} if causes is None else _told("admin", causes)
    return {
        # By default half a minute, when a start has long given up without a cause: see topics.py.
        "socket.connection.setup.timeout.ms": 10_000,
        **_given(settings, causes),
        **told,
        "bootstrap.servers": settings.bootstrap_servers,
        # A broker that was restarted refuses the leader epoch that the client remembers until it asks anew: by
        # default after 15 minutes, in which no quiet topic's watermark would move.
        "metadata.max.age.ms": 5_000,
    }


def unless_ignored(record: logging.LogRecord) -> bool:
    """False for librdkafka's line about a property that this kind of client ignores. A filter of a logger.

    Only these lines tell whose a property is: the client has a table of it and gives it out nowhere. Each one reads
    `Configuration property linger.ms is a producer property and will be ignored by this consumer instance`.
    """
    return " property and will be ignored by this " not in record.getMessage()


def _given(settings: KafkaSettings, causes: Causes | None) -> dict[str, Any]:
    """What the settings pass through, and who gives tokens: each client asks on a thread of its own."""
    if settings.token is None:
        return settings.properties
    return {**settings.properties, "oauth_cb": aws_msk_iam(None if causes is None else causes.told)}


def _told(client: str, causes: Causes | None) -> dict[str, Any]:
    """Who is told of what the client says unasked."""
    return {"logger": _logger(client, causes)} | ({} if causes is None else {"error_cb": causes.heard})


def _logger(client: str, causes: Causes | None) -> logging.Logger:
    """Makes librdkafka's own words lines of the log like all others, but for what is told as a cause."""
    logger = logging.Logger(f"librdkafka.{client}")
    # One of its own for each client, since each run has causes of its own; the levels and handlers are everybody's.
    logger.parent = logging.getLogger("librdkafka")
    logger.addFilter(unless_ignored)
    if causes is not None:
        # Also what the log is not to have, since it may be all that tells a cause.
        logger.setLevel(logging.INFO)
        logger.addFilter(causes.passes)
        logger.addFilter(_is_wanted)
    return logger


def _is_wanted(record: logging.LogRecord) -> bool:
    return logging.getLogger("librdkafka").isEnabledFor(record.levelno)
