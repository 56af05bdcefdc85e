"""A service's health by a clock that the test sets."""

from __future__ import annotations

from consumer.server.health import Health

BOUND = 95.0


class Told(Health):
    """With a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0
        super().__init__(BOUND, lambda: self.now)

    def turn(self, *, tasks: tuple[int, ...] = (0,), restoring: tuple[int, ...] = (), **more: bool) -> None:
        self.turned(tasks=tasks, restoring=restoring, **({"assigned": True, "stopping": False} | more))
