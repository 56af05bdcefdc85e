"""What people and other jobs do to the deployment: the release file, and the reading again of refused records."""

from __future__ import annotations

import queue
from typing import Any, Protocol

from simulation.world.broker import Broker
from simulation.world.clients import Message
from simulation.world.timeline import Clock, Loop

from consumer.events import RecordRef
from consumer.kafka.record import Record

WRONG = b"[[release]]\npartner_code = "


class ReleaseFile:
    """The file of the offers let go, where the service has its path.

    Attributes:
        since: by offer, when it was named, in true time (s).
    """

    def __init__(self, clock: Clock) -> None:
        self.since: dict[str, float] = {}
        self._clock = clock
        self._entries: list[str] = []
        self._spoiled: bytes | None = b""

    def read_bytes(self) -> bytes:
        """As a path does."""
        if self._spoiled is None:
            raise FileNotFoundError(2, "No such file")
        return self._spoiled or "\n".join(self._entries).encode()

    def __str__(self) -> str:
        return "release.toml"

    def release(self, partner: str, offer: str) -> None:
        """Name one more offer."""
        if offer not in self.since:
            self.since[offer] = self._clock.now
            self._entries.append(f'[[release]]\npartner_code = "{partner}"\noffer_id = "{offer}"\nwho = "w"\nwhy = "y"')

    def spoil(self, gone: bool) -> None:
        """It is gone, or half written."""
        self._spoiled = None if gone else WRONG

    def mend(self) -> None:
        """It is right again."""
        self._spoiled = b""


class Process(Protocol):
    """What the rereader needs of its process."""

    loop: Loop
    random: Any


class Answers:
    """The queue of what was read again."""

    def __init__(self) -> None:
        self._answers: list[Any] = []

    def put(self, answer: Any) -> None:
        self._answers.append(answer)

    def empty(self) -> bool:
        return not self._answers

    def get_nowait(self) -> Any:
        if not self._answers:
            raise queue.Empty
        return self._answers.pop(0)


class InlineRereader:
    """The real one's promise on the process's own loop: an answer comes, however long the broker does not give it."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self.results = Answers()
        self._broker, self._process = broker, process

    def ask(self, source: RecordRef, token: Any) -> None:
        self._process.loop.call_later(self._process.random.choice((0.01, 0.3, 2.0)), self._answer, source, token)

    def check(self) -> None: ...

    def stop(self) -> None: ...

    def _answer(self, source: RecordRef, token: Any) -> None:
        place = source.topic, source.partition
        if not self._broker.fetches(place):
            self.ask(source, token)
            return
        log = self._broker.logs[place]
        found = log.between(source.offset, source.offset + 1) if source.offset >= log.start else []
        self.results.put((token, Record.of(Message(place, found[0])) if found else None))
