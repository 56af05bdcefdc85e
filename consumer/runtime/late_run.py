"""Tells stragglers from a mass of presentations that come late or are dated implausibly, for one task.

A straggler is dead-lettered: nobody can know whether it was bought. A mass of them is the end of an outage, or a clock
that is wrong, and dead-lettering it would lose its opt-outs. So the first of them, and all that follows it, is kept
back until the records behind it tell:

- More than `limit` of the SPAN records from the first one on are late or ahead, or BURST of any BURST_SPAN of them: the
  offers of this partition are suspended. Nothing of what is kept back is dead-lettered, applied or committed, and no
  more is read.
- Else, once SPAN offsets are read or HELD seconds have passed, they are stragglers, and the task goes on. That is said
  of those alone which were found late or ahead: what is late only by an offer that stood between is kept back in turn.

So it is a function of the log from the first of them on. Whoever reads on after a restart or a rebalance finds the same
first one, since nothing behind it is committed, and suspends again. Stragglers are counted for SPAN records, as long as
this task lives: where too many come so slowly, or make one another late, it suspends then too, the first ones lost. The
next task counts anew, so that each loses less than BURST where all are late.

An on-time presentation does not disprove a mass: behind a link that was down for two hours, those of others come in
between, and its own last ones are on time. For a late one nothing does, since the watermark never falls. One that is
ahead is plausible once a clock was put right. Hence all is judged anew each REMINDER seconds.

Records of another kind, which `input.offers.when` passes over, are none of these: in a topic of page events, of which
one in twenty presents an offer, a mass is one of the offers.

Checkouts are read on, up to a window ahead of the offers, as always when one input is behind: a purchase still takes
back a call that waits, and memory stays bounded.
"""

from __future__ import annotations

from collections import deque

from confluent_kafka import Message
from structlog.typing import FilteringBoundLogger

from ..core.task import Task
from ..core.watermark import Side
from ..errors import DecodeError, SchemaWaitError
from ..events import OfferPresented
from .edges import Edges
from .suspension import when

SPAN = 1_000
"""Records that tell what the first of them is; to keep them in memory, offsets."""

BURST = 20
"""As many late or implausible ones of BURST_SPAN offsets are a mass too, however high the limit. The backlog of an
outage is written at once, so that it stands one behind the other; spread over many partitions it is short in each. 20
are more than one shopper's device sends that was off for hours, all of it in one partition."""

BURST_SPAN = 2 * BURST
"""Records. A mass is at least half of them: on-time offers come in between, and transactions take offsets too. A slow
producer of one offer in ten, which the default limit of 100 in SPAN bears, has 20 of 40 by chance never."""

HELD = 10.0
"""Seconds that a straggler may hold up its partition. What was kept back by an outage comes faster than that."""

REMINDER = 60.0
"""Seconds after which what is suspended is judged anew, and told again."""

_WHAT_TO_DO = (
    "offers are kept back: too many of them come late or are dated implausibly. None of them is dead-lettered, and "
    "nothing from the first one on is committed; the other partitions go on. Mend the producer's clock, or raise "
    "join.lateness and go back by `opt-out positions --reset-to TIME`, or have them dead-lettered by "
    "dead_letter.late_run = 0"
)


class LateRun:
    """What is kept back of one task's offers.

    Args:
        limit: late or implausible presentations in SPAN records that are still stragglers, if they are no burst; 0: all
            are stragglers, and nothing is kept back.
        task: whose presentations they are.
        topic: of the offers.
        edges: for the codec and the clocks.
        log: names the partition.

    Attributes:
        kept: the messages from the first late or implausible one on, in the order of the log.
        suspended: they are more than stragglers.
    """

    def __init__(self, limit: int, task: Task, topic: str, edges: Edges, log: FilteringBoundLogger) -> None:
        self.kept: list[Message] = []
        self.suspended = False
        self._limit = limit
        self._task = task
        self._topic = topic
        self._codec = edges.codec
        self._clock, self._clock_check = edges.clock, edges.clock_check
        self._log = log
        self._judged_below = task.read_before_restart(Side.OFFERS)
        self._judged: frozenset[int] = frozenset()
        """Offsets of those behind that which were found to be stragglers."""
        self._begun_at = 0.0
        self._since: float | None = None
        self._refused: dict[int, int] = {}
        """When those that are kept back were presented (ms), by offset."""
        self._counted: deque[tuple[int, int]] = deque()
        """Places of those and their offsets, behind those of the last SPAN records that were found to be stragglers."""
        self._passed, self._passed_to = 0, -1
        """Records of another kind so far, and the last of them."""
        self._places: dict[int, int] = {}
        """By the offset of what is counted or was, its place: its offset less the records of another kind before it."""

    def keeps(self, offset: int) -> bool:
        """Whether a late or implausible presentation at this offset is to be kept back: it was not judged yet."""
        return self._limit > 0 and offset >= self._judged_below and offset not in self._judged

    def passed_over(self, offset: int) -> None:
        """A record is of another kind. Once those are kept back they are read twice."""
        if offset > self._passed_to:
            self._passed, self._passed_to = self._passed + 1, offset

    def keep(self, message: Message, now: int) -> None:
        """Keep a message back, and see whether it is one too many. `now` is the wall clock (ms)."""
        offset = message.offset() or 0
        if not self.kept:
            self._begun_at = self._clock.monotonic()
            self._uncount(offset)
        self.kept.append(message)
        first = self.kept[0].offset() or 0
        if self.suspended or offset >= first + SPAN or (presented_at := self._refused_at(message, now)) is None:
            return
        self._refused[offset] = presented_at
        place = self._place_of(offset)
        self._counted.append((place, offset))
        while self._counted[0][0] <= place - SPAN:
            self._counted.popleft()
        if len(self._counted) > self._limit or self._is_burst(place):
            self.suspended = True
            self._report(first)

    def take(self) -> list[Message]:
        """What is to be applied again, in order: it is stragglers, or is to be judged anew; empty: it has to wait."""
        if not self.kept:
            if self._since is not None:
                self._since = None
                self._log.warning("offers are no longer kept back", topic=self._topic)
            return []
        first, behind = self.kept[0].offset() or 0, _behind(self.kept[-1])
        waited, is_whole = self._clock.monotonic() - self._begun_at, behind >= first + SPAN
        if waited < REMINDER if self.suspended else (waited < HELD and not is_whole):
            return []
        if self.suspended:
            self._uncount(first)
        self._judged = frozenset() if self.suspended else frozenset((first, *self._refused))
        kept, self.kept, self.suspended = self.kept, [], False
        self._refused.clear()
        return kept

    def _uncount(self, first: int) -> None:
        """Those from offset `first` on are judged once more, and are counted then."""
        while self._counted and self._counted[-1][1] >= first:
            self._counted.pop()

    def _place_of(self, offset: int) -> int:
        """Of one that is counted next. What was on time when it was first read stands behind the others."""
        after = self._counted[-1][0] + 1 if self._counted else 0
        place = self._places.setdefault(offset, max(after, offset - self._passed))
        if len(self._places) > 2 * SPAN:
            self._places = {at: one for at, one in self._places.items() if one > place - SPAN}
        return place

    def _is_burst(self, newest: int) -> bool:
        return len(self._counted) >= BURST and self._counted[-BURST][0] > newest - BURST_SPAN

    def _refused_at(self, message: Message, now: int) -> int | None:
        """When it was presented, if it would be late or implausible; what cannot be read is neither.

        Nor is what only our clock finds ahead, or what was written with a schema that is not known yet: when its turn
        comes it waits until somebody has told the time, or the schema.
        """
        value = message.value()
        if message.error() is not None or value is None:
            return None
        try:
            shown = self._codec.decode_offer(message.key(), value, message.offset() or 0, message.headers)
        except (DecodeError, SchemaWaitError):
            return None
        if not shown:
            self.passed_over(message.offset() or 0)
            return None
        if not isinstance(shown, OfferPresented):
            shown = shown[0]  # the others are of the same time
        timestamp, check = message.timestamp()[1], self._clock_check
        if max(timestamp, shown.presented_at) > check.waits_beyond and not check.is_misdated(shown, timestamp):
            return None
        return shown.presented_at if self._task.would_refuse(shown, timestamp, now) else None

    def _report(self, first: int) -> None:
        self._since = self._clock.wall() if self._since is None else self._since
        self._log.warning(
            _WHAT_TO_DO,
            topic=self._topic,
            from_offset=first,
            late_or_ahead=len(self._counted),
            presented_from=when(min(self._refused.values())),
            presented_to=when(max(self._refused.values())),
            watermark=when(self._task.watermark),
            since=when(round(self._since * 1000)),
        )


def _behind(message: Message) -> int:
    """The first offset behind a record, or that of the partition's end: the record that comes there is not read yet."""
    offset = message.offset() or 0
    return offset if message.error() is not None else offset + 1
