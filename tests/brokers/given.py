"""A broker that somebody else runs, named by TEST_KAFKA."""

from __future__ import annotations

from .base import Broker, wait_until_it_answers


class GivenBroker(Broker):
    """The broker at an address.

    It must allow topics to be created, and a session time-out as short as the tests use
    (`group.min.session.timeout.ms=1000`, `group.initial.rebalance.delay.ms=0`, `group.consumer.*` as in `SETTINGS`).
    """

    kind = "given"

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    @property
    def can_restart(self) -> bool:
        """It is not ours to stop."""
        return False

    @property
    def description(self) -> str:
        """See `Broker`."""
        return "the broker that TEST_KAFKA names"

    def start(self) -> None:
        """See that it answers."""
        wait_until_it_answers(self.bootstrap_servers, within=15, alive=lambda: True)

    def stop(self) -> None:
        """Nothing: it was there before."""
