"""A refused record is fetched again: the real reader's promise, on the process's own loop."""

from __future__ import annotations

import queue
from typing import Any, Protocol

from simulation.world.broker import Broker
from simulation.world.clients import message
from simulation.world.timeline import Loop

from consumer.events import RecordRef
from consumer.kafka.record import Record


class Process(Protocol):
    """What the reader needs of the process that it lives in."""

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


class InlineRecordReader:
    """An answer comes, however long the broker does not give it."""

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
        self.results.put((token, Record.of(message(place, found[0])) if found else None))
