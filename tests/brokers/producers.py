"""How tests write records whose order matters, which is all of them."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Producer

from consumer.kafka.config import in_order


def ordered_producer(bootstrap: str, **properties: Any) -> Producer:
    """A producer whose records stand in each partition once and in the order of the calls, however slow the broker is.

    Args:
        bootstrap: the broker's address.
        properties: more librdkafka settings, with `_` for each dot: `linger_ms=50`.
    """
    usual = {
        "bootstrap.servers": bootstrap,
        # The partitioner of Java's client; librdkafka's own default would put keys elsewhere.
        "partitioner": "murmur2_random",
        "linger.ms": 5,
        # What it says of a broker that a test stops is no news.
        "log_level": 0,
    }
    return Producer(in_order(usual | {name.replace("_", "."): value for name, value in properties.items()}))
