"""How tests find a Kafka broker, one file a way, tried in this order.

1. `TEST_KAFKA=host:port`: a broker that runs already (given.py).
2. A Docker engine: the apache/kafka image (container.py).
3. Java 17 or newer and Maven: Apache Kafka itself, fetched once (apache.py).
4. librdkafka's mock cluster (mock.py): tests that need more are skipped, or fail with `TEST_KAFKA_REQUIRE=1`.

`TEST_KAFKA_WAY=docker|java|mock` asks for one of them and no other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .apache import ApacheBroker, AuthorizingBroker, SecondBroker
from .base import Broker, UnavailableError
from .container import DockerBroker
from .given import GivenBroker
from .logins import LoginsBroker
from .mock import MockBroker
from .secured import SecuredBroker

__all__ = [
    "ApacheBroker",
    "AuthorizingBroker",
    "Broker",
    "LoginsBroker",
    "MockBroker",
    "Search",
    "SecondBroker",
    "SecuredBroker",
    "UnavailableError",
    "search",
]

WAYS: Mapping[str, Callable[[], Broker]] = {
    "docker": DockerBroker,
    "java": ApacheBroker,
    "mock": MockBroker,
}


@dataclass
class Search:
    """The ways that are open on this machine, best first, and why the others are not.

    Attributes:
        open: brokers, none of them started.
        closed: a line for each way that is not open.
    """

    open: list[Broker] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def start(self) -> Broker:
        """Start the best one whose parts can be fetched.

        Raises:
            UnavailableError: there is none, or only the mock where `TEST_KAFKA_REQUIRE=1` asks for more.
            RuntimeError: a broker was there and did not come up.
        """
        for broker in self.open:
            if not broker.is_real and os.environ.get("TEST_KAFKA_REQUIRE", "0") not in ("", "0"):
                break
            try:
                broker.start()
            except UnavailableError as reason:
                self.closed.append(f"{broker.kind}: {reason}")
                continue
            return broker
        raise UnavailableError(f"no real Kafka to test with, and TEST_KAFKA_REQUIRE asks for one. {self}")

    def __str__(self) -> str:
        chosen = self.open[0].description if self.open else "none"
        return f"{chosen} ({'; '.join(self.closed)})" if self.closed else chosen


def search() -> Search:
    """Look which ways are open, without starting anything."""
    found = Search()
    address = os.environ.get("TEST_KAFKA")
    if address:
        found.open.append(GivenBroker(address))
        return found
    wanted = os.environ.get("TEST_KAFKA_WAY")
    if wanted and wanted not in WAYS:
        raise ValueError(f"TEST_KAFKA_WAY={wanted} is none of {', '.join(WAYS)}")
    found.closed.append(f"TEST_KAFKA_WAY={wanted}" if wanted else "TEST_KAFKA is not set")
    for kind, way in WAYS.items():
        if wanted not in (None, "", kind):
            continue
        try:
            found.open.append(way())
        except UnavailableError as reason:
            found.closed.append(f"{kind}: {reason}")
    return found
