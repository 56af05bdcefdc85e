"""What others say of the time: the API by the `Date` of its answers, the brokers by the stamps of what they append.

What is kept of a witness is its time against a clock of ours that is never set, and goes on while the machine is
suspended. So a jump of the wall clock shows in the same moment, and that it was mended too, without asking again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from ..core.watermark import TOLERANCE

PERIOD = 600.0
"""Seconds after which a quiet deployment asks again. A clock that nobody sets drifts by 100 ppm at the most: 0.06 s."""

STALE = 2 * PERIOD
"""Seconds for which an answer counts. Unseen by us a time server slews a clock by 500 ppm, 0.6 s in that time."""

DRIFT = 500e-6
"""Seconds a second by which two clocks drift apart at the most. What a broker told longer ago than `STALE` tells so
much less, and still disproves an hour: while our clock is wrong nothing is called, so it stamps no outcome of ours."""

STAMP_EVERY = 1.0
"""Seconds between two looks at the stamp of a record that was read."""

_LEAST_SLEEP = 0.1
"""Seconds: two clocks that are read one after the other differ by less, if this thread had to wait between the two."""

_MOST_SLEEPS = 100
"""Suspensions that are remembered. What was asked before the first of them is answered, or given up, long since."""

API, BROKER, RECORDS = "the API", "a broker", "the brokers' stamps of records"
"""The witnesses, in words."""

DATE_RESOLUTION, STAMP_RESOLUTION = 1.0, 0.001
"""Seconds: what a Date and a record's stamp cut off."""


class Sample(NamedTuple):
    """What a witness told: its time less that of our clock that is never set lies between two bounds, in seconds.

    `taken`: when, by that clock.
    """

    least: float
    most: float
    taken: float

    @property
    def width(self) -> float:
        """Seconds between the two bounds: how long the answer took, and what it cuts off."""
        return self.most - self.least

    def widened(self, by: float) -> Sample:
        """It tells less, by so many seconds."""
        return self._replace(least=self.least - by, most=self.most + by)

    def ahead(self, drift: float) -> float:
        """By how much at least our clock is ahead; negative: behind. `drift`: the wall clock less the other one."""
        if drift > self.most:
            return drift - self.most
        return min(0.0, drift - self.least)


class Witnesses:
    """Keeps what each witness has told last.

    `api_told` and `broker_told` may be called from any thread, the others from the poll thread, but for `heard`.

    Args:
        wall, monotonic: our clocks, in seconds.
        boottime: seconds that also pass while the machine is suspended, when `monotonic` stands still.

    Attributes:
        answered: when the API last answered (monotonic).
    """

    def __init__(
        self, wall: Callable[[], float], monotonic: Callable[[], float], boottime: Callable[[], float]
    ) -> None:
        self._wall, self._monotonic, self._boottime = wall, monotonic, boottime
        self._samples: dict[str, Sample] = {}
        self.answered = self._undated = float("-inf")
        self._next_stamp = self._jumped_at = float("-inf")
        self._drift = self.drift
        self._stood = boottime() - monotonic()
        """Seconds that the monotonic clock had stood still at the last look, and some constant."""
        self._sleeps: deque[tuple[float, float]] = deque(maxlen=_MOST_SLEEPS)
        """Of each suspension that was noticed: when by the monotonic clock, and what `_stood` was before."""

    def api_told(self, told: float | None, sent: float, received: float) -> None:
        """The API answered: its Date in seconds since the epoch, if it has one; when it was asked and has answered by
        our monotonic clock."""
        self.answered = received
        if told is None:
            self._undated = self._boottime()
        else:
            self._samples[API] = self._sample(told, DATE_RESOLUTION, sent, received)

    def broker_told(self, told: float, sent: float, received: float) -> None:
        """A broker appended a record of ours: the stamp that it gave (s), and when it was sent and acknowledged."""
        self._samples[BROKER] = self._sample(told, STAMP_RESOLUTION, sent, received)

    def read(self, messages: Sequence[Message]) -> None:
        """Records were read. By the clock of a broker that stamped one it is at least so late."""
        now = self.now
        if not messages or now < self._next_stamp:
            return
        self._next_stamp = now + STAMP_EVERY
        kind, stamp = messages[-1].timestamp()
        if kind == TIMESTAMP_LOG_APPEND_TIME:
            before = self._samples.get(RECORDS)
            least = stamp / 1000 - now
            # One that was written long ago takes back nothing of what a newer one has told; but not for ever, since the
            # clock of a broker may have been ahead, and was put right.
            if before is None or least >= before.least or now - before.taken > PERIOD:
                self._samples[RECORDS] = Sample(least, float("inf"), now)

    @property
    def now(self) -> float:
        """By the clock that is never set."""
        return self._boottime()

    @property
    def drift(self) -> float:
        """Our wall clock less that one."""
        return self._wall() - self._boottime()

    @property
    def undated(self) -> bool:
        """Whether the API has lately answered without a Date."""
        return self.now - self._undated <= STALE

    @property
    def api_tells(self) -> bool:
        """Whether the API has told the time lately."""
        return self._tells_since(float("-inf"))

    def told_since(self, moment: float, most: float) -> bool:
        """Whether somebody has told the time since then, to so many seconds at least."""
        return any(one.taken >= moment and one.width <= most for one in self._samples.copy().values())

    def note_jump(self) -> None:
        """If our clock jumps it was set, rightly or not: what was told before is held against it until the API tells.
        For example: it jumps an hour ahead, and only the brokers have told that it was right."""
        stood = self._boottime() - self._monotonic()
        if stood - self._stood > _LEAST_SLEEP:
            self._sleeps.append((self._monotonic(), self._stood))
        self._stood = stood
        drift = self.drift
        if abs(drift - self._drift) > TOLERANCE:
            self._jumped_at = self.now
        self._drift = drift

    def heard(self) -> Iterator[tuple[str, Sample, bool]]:
        """Who is to be heard, what he told, and whether that is fresh.

        What the API disproved it has to take back: it can be asked, unless it has answered without a Date since. A
        broker cannot be asked, and what it told counts until the API tells better.
        """
        now, api_tells = self.now, self._tells_since(self._jumped_at)
        for name, one in self._samples.copy().items():
            age = now - one.taken
            if name == API:
                if age <= STALE or self._undated <= one.taken:
                    yield name, one, age <= STALE
            elif age <= STALE and (one.taken > self._jumped_at or not api_tells):
                yield name, one, True
            elif name == BROKER and not api_tells:
                yield name, one.widened(DRIFT * age), False

    def _sample(self, told: float, resolution: float, sent: float, received: float) -> Sample:
        """`sent` and `received` are monotonic. If the machine was suspended between the two, it told less."""
        stood = self._boottime() - self._monotonic()
        received += stood
        # Whoever was asked before a suspension that was noticed since: as long as that the question was on its way.
        before = next((before for noticed, before in self._sleeps.copy() if sent <= noticed), self._stood)
        return Sample(told - received, told + resolution - sent - min(stood, before), received)

    def _tells_since(self, moment: float) -> bool:
        api = self._samples.get(API)
        return api is not None and api.taken > moment and api.taken >= self.now - STALE
