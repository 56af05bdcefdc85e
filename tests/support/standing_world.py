"""A task whose watermark may stand still, a turn each second, and what the log says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from structlog.testing import capture_logs
from support.builders import NOW
from support.kafka import Message
from support.loop_world import LoopWorld

from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.edges import Clock

LATENESS = 300.0
STANDS = "the watermark stands still: of this partition nothing is decided meanwhile"
MOVES = "the watermark moves again"
UNASSIGNED = "the group has assigned nothing yet: here nothing is read, decided or committed until it has"
ASSIGNED = "the group has assigned"


class TopicEnds:
    """A broker that tells at once where the topics end, unless it is told to keep silent."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {"offers": 0, "checkouts": 0}
        self.silent: set[str] = set()
        self.frozen = False
        self.asked: list[tuple[str, int]] = []
        self.asked_at = 0
        self.world: StandingWorld | None = None

    @property
    def waiting(self) -> bool:
        return bool(self.asked)

    def ask(self, places: Iterable[tuple[str, int]]) -> None:
        assert self.world is not None
        self.asked, self.asked_at = list(places), int(self.world.now * 1000)

    def answers(self) -> tuple[int, Mapping[tuple[str, int], int]] | None:
        if self.frozen or not self.asked:
            return None
        asked, self.asked = self.asked, []
        return self.asked_at, {place: self.told[place[0]] for place in asked if place[0] not in self.silent}


class StandingWorld(LoopWorld):
    """One task, a turn each second, and what the log says of its watermark."""

    def __init__(self, *, witness: bool = False, join: dict[str, Any] | None = None, **more: Any) -> None:
        self.ends = TopicEnds()
        self.ends.world = self
        self.now, self.skipped = NOW / 1000, 0.0
        clock = Clock(wall=lambda: self.now, monotonic=lambda: self.skipped)
        check = ClockCheck(clock.wall, clock.monotonic, max_skew=300.0, ask=(lambda: None) if witness else None)
        rules = {"lateness": timedelta(seconds=LATENESS), "window": timedelta(hours=1), "lookback": timedelta(hours=2)}
        super().__init__(
            join=rules | {"max_skew": timedelta(minutes=5), "checkout_silence": timedelta(0)} | (join or {}),
            ends=self.ends, clock=clock, clock_check=check, **more,
        )  # fmt: skip
        self.now = NOW / 1000
        self.lines: list[Mapping[str, Any]] = []

    def pass_time(self, seconds: int, *messages: Message, step: float = 1.0) -> None:
        for _ in range(seconds):
            self.now += step
            self.skipped += step
            with capture_logs() as logs:
                self.turn(list(messages))
            self.lines += [line for line in logs if line["event"] in {STANDS, MOVES, UNASSIGNED, ASSIGNED}]

    def read(self, *messages: Message) -> None:
        """Read these, and all that was told of the topics before."""
        for message in messages:
            if message.error() is None:
                topic = str(message.topic())
                self.ends.told[topic] = max(self.ends.told[topic], message.offset() + 1)
        self.pass_time(1, *messages)

    def follow_clock(self) -> None:
        """Let lateness pass in quiet topics, so that they are idle from now on."""
        self.pass_time(round(LATENESS + 2 * self.settings.join.idle_after.total_seconds()))
        assert self.runner.task.watermark > 0
        self.lines.clear()

    @property
    def causes(self) -> list[tuple[str, str]]:
        return [(line["input"], line["cause"]) for line in self.lines if line["event"] == STANDS]

    @property
    def ended(self) -> list[Mapping[str, Any]]:
        return [line for line in self.lines if line["event"] == MOVES]
