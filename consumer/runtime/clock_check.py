"""Holds the wall clock of this machine against the clocks of others, so that nothing rests on it alone.

The watermark of a quiet input is our clock less lateness. A clock that is ahead decides offers before what bought them
has come, and one that is behind takes every record for one out of the future. Others tell the time as well: the API by
the `Date` of any answer, the brokers by the stamp of what they append, where a topic's timestamps are of that kind.
None is believed more than the others: the one that differs most counts, since waiting can be mended and a call cannot.

    UNKNOWN    nobody has told the time lately: no idle watermark, no call; what is dated ahead of our clock waits
    CONFIRMED  all agree
    BELIEVED   nobody can tell: the API's answers have no Date; the clock is believed as if it were confirmed
    DIFFERS    by more than `TOLERANCE`: as UNKNOWN
    WRONG      by more than `join.max_skew`: decisions are suspended as well, and no call leaves
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

import structlog
from confluent_kafka import Message

from ..core.watermark import CLOCK_TOLERANCE, TOLERANCE
from ..delivery.gate import OPEN, GateState, Opening
from ..events import OfferPresented
from .witnesses import PERIOD, Witnesses

log = structlog.get_logger(__name__)

RECHECK = 10.0
"""Seconds after which a clock that differs, or may, is held against the others again: it may have been slewed right."""

FIRST_WAIT, MOST_WAIT = 1.0, 60.0
"""Seconds until an API that did not answer is asked again; twice as many each time, up to the most."""

_MOST_DOUBLINGS = 10
"""More than it takes to come to the most. An API may be down for days, and 2^1024 is no float."""

REMINDER = 60.0
"""Seconds between two lines of the log that say that nobody tells the time, or that our clock differs."""

CALLS_WAIT = 30.0
"""Seconds for which calls wait for somebody to tell the time. Then they leave one at a time: an API that does not
answer our question may answer a call, and that tells the time as well."""

NO_RECORD = 2**63
"""A time (ms) that no record can bear: dates and stamps are longs."""


class ClockState(Enum):
    """What is known of our wall clock; see the head of the module."""

    UNKNOWN = "unknown"
    CONFIRMED = "confirmed"
    BELIEVED = "believed"
    DIFFERS = "differs"
    WRONG = "wrong"


class ClockFinding(NamedTuple):
    """What was found: by how many seconds at least our clock is ahead (negative: behind), and of whose.

    `ahead_of_any`: by how many it is ahead of the one that is furthest behind. Two witnesses may contradict each other,
    and no watermark passes either. One whose answer took long tells little: then by how many it may be ahead, beyond
    `TOLERANCE`. For example: the API answers after 9 s, and the clock is ahead by 8 s. That is not known, and counts.
    `surely_ahead`: the same without what is only possible.
    """

    state: ClockState
    ahead: float = 0.0
    witness: str = ""
    ahead_of_any: float = 0.0
    surely_ahead: float = 0.0

    @property
    def confirmed(self) -> bool:
        """Whether something may rest on our clock."""
        return self.state in {ClockState.CONFIRMED, ClockState.BELIEVED}

    @property
    def words(self) -> str:
        """For people."""
        return f"the clock of this machine is {abs(self.ahead):.1f} s {'ahead of' if self.ahead > 0 else 'behind'} " + (
            self.witness
        )


_UNREAD_CHECKOUTS = GateState(
    Opening.CLOSED,
    "checkouts that are dated ahead of the clock of this machine wait, and may tell that an offer was bought: have the "
    "clock set right, or see why the API does not answer",
)

_NOBODY_TOLD = (
    "nobody has told the time lately, so that what is due may be due by a clock that is ahead: the API is asked for "
    "it; see that it answers"
)

BELIEVED = ClockFinding(ClockState.BELIEVED)
"""What is found where nobody can tell."""


class ClockCheck:
    """Collects what others say of the time, and judges our wall clock by it.

    What tells the time may be called from any thread, `look` and `want` from the poll thread alone.

    Args:
        wall, monotonic: our clocks, in seconds.
        max_skew: seconds, as in the rules.
        ask: asks the API for the time without waiting; the answer comes by `api_told`. None: it does not tell.
        boottime: as `server.health.since_boot`; None: as `monotonic`.

    Attributes:
        finding: what was found by the last `look`.
        waits_beyond: records dated or stamped later than this (ms) are to wait, since only our clock says that they are
            ahead of the time, and that is not confirmed. NO_RECORD: none is.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        *,
        max_skew: float,
        ask: Callable[[], None] | None = None,
        boottime: Callable[[], float] | None = None,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._max_skew = max_skew
        self._ask = ask
        self._witnesses = Witnesses(wall, monotonic, boottime or monotonic)
        self._asked = float("-inf")
        self._unanswered = 0
        self._next_reminder = float("-inf")
        self._wanted = False
        self._calls_wait_since = float("inf")
        self._doubted_at, self._sure_until = float("inf"), float("-inf")
        """When a record waited first since the time was told, and until when no other one has to."""
        self._unread: set[object] = set()
        self._decided_by = float("-inf")
        """What our clock showed at least when something was decided by it (s)."""
        self.finding = self._judge()
        self.waits_beyond = NO_RECORD
        self._told_that_believed = False

    # --- from any thread

    def api_told(self, told: float | None, sent: float, received: float) -> None:
        """See `Witnesses`."""
        self._witnesses.api_told(told, sent, received)

    def broker_told(self, told: float, sent: float, received: float) -> None:
        """See `Witnesses`."""
        self._witnesses.broker_told(told, sent, received)

    def gate(self) -> GateState:
        """A condition of all calls; see `delivery.gate`."""
        finding = self._judge()
        if finding.state is ClockState.WRONG:
            return GateState(Opening.CLOSED, f"{finding.words}, more than join.max_skew: have the clock set right")
        if self._unread:
            return _UNREAD_CHECKOUTS
        if (ahead := self._decided_by - self._wall() + finding.surely_ahead) > TOLERANCE:
            return GateState(
                Opening.CLOSED,
                f"the clock of this machine is ahead, or was and is set back, and calls were decided {ahead:.0f} s "
                "before others have that time: they wait until these have, since what is bought until then counts",
            )
        return self._told_lately() if finding.state is ClockState.UNKNOWN else OPEN

    def _told_lately(self) -> GateState:
        """Nobody has told the time lately, and a call is to leave that was decided by our clock.

        For example: this machine and one producer go by a time server that is ahead, and the other producers do not.
        Then the one's records move the watermark to where our clock allows it, past what the others still deliver.
        """
        self._calls_wait_since = min(self._calls_wait_since, self._monotonic())
        waited = self._monotonic() - self._calls_wait_since
        return GateState(Opening.CLOSED if waited < CALLS_WAIT else Opening.ONE_AT_A_TIME, _NOBODY_TOLD)

    # --- on the poll thread

    def read(self, messages: Sequence[Message]) -> None:
        """Records were read; see `Witnesses`."""
        self._witnesses.read(messages)

    def waits(self, message: Message) -> None:
        """A record waits, since our clock says that it is ahead of the time, and nobody has told the time since.

        What was told before does not do: a virtual machine that was paused is behind by that, and neither of its clocks
        knows. Its stamp goes on telling where the API does not: while it waits, no newer one is read that could.
        """
        self.want()
        self._doubted_at = min(self._doubted_at, self._witnesses.now)
        if not self._witnesses.api_tells:
            self.read((message,))

    def want(self) -> None:
        """Something is about to rest on our clock: if nobody has told the time lately, the API is to be asked."""
        self._wanted = True

    def decided(self, by: float) -> None:
        """Calls are decided that no clock before `by` (s) would have decided. None leaves before our clock shows that,
        and all that ours is known to be ahead of.

        For example: our clock and one producer's are an hour ahead, and nobody tells the time at first. What is decided
        by them waits until somebody does, and our clock is set right: it was decided an hour too early. If they are
        three minutes ahead, it waits for three minutes, though nobody sets them.
        """
        self._decided_by = max(self._decided_by, by)

    def checkouts_wait(self, whose: object, waits: bool) -> None:
        """Whether checkouts of this task are kept back by `waits_beyond`. Any of them may be the purchase of an offer
        that is about to be called, so no call leaves meanwhile."""
        if waits:
            self._unread.add(whose)
        else:
            self._unread.discard(whose)

    def is_misdated(self, shown: OfferPresented, timestamp: int) -> bool:
        """Whether an offer is dated ahead of its own record by more than max_skew: it takes no clock to tell that."""
        return 0 <= timestamp < shown.presented_at - 1000 * self._max_skew

    def look(self) -> bool:
        """Judge the clock, and ask if it is time. To be called once a turn. Returns whether the finding is another."""
        self._witnesses.note_jump()
        before, self.finding = self.finding, self._judge()
        state = self.finding.state
        if state is not ClockState.UNKNOWN:
            self._calls_wait_since = float("inf")
        # What is dated ahead even of a clock that is ahead itself takes no other to disprove it.
        sure = state is ClockState.CONFIRMED and self._is_sure()
        if sure or state is ClockState.BELIEVED or self.finding.ahead > 0:
            self.waits_beyond = NO_RECORD
        else:
            self.waits_beyond = int((self._wall() + self._max_skew) * 1000) + CLOCK_TOLERANCE
        if state is not before.state or (state is ClockState.BELIEVED and not self._told_that_believed):
            self._log_change(before.state)
        elif state is ClockState.DIFFERS and self._wanted:
            self._remind_of_difference()
        self._ask_if_due()
        self._wanted = False
        return state is not before.state

    # --- inside

    def _is_sure(self) -> bool:
        """Whether somebody has told the time since a record waited for that; then none waits for a while. By an answer
        that took longer than max_skew our clock might be so far behind, and a right date would look wrong."""
        now, most = self._monotonic(), max(self._max_skew, TOLERANCE)
        if self._witnesses.told_since(self._doubted_at, most):
            self._doubted_at, self._sure_until = float("inf"), now + RECHECK
        return now < self._sure_until

    def _judge(self) -> ClockFinding:
        drift = self._witnesses.drift
        confirmed, worst, witness, most, sure = False, 0.0, "", 0.0, 0.0
        for name, one, is_fresh in self._witnesses.heard():
            ahead = one.ahead(drift)
            # What was told long ago is wide since clocks drift, and not since its answer took long.
            may_be = drift - one.least - TOLERANCE if is_fresh and one.most < float("inf") else 0.0
            most, sure = max(most, ahead, may_be), max(sure, ahead)
            if abs(ahead) > abs(worst):
                worst, witness = ahead, name
            # A record's stamp may be old: it tells of a clock that is behind, and confirms none.
            confirmed = confirmed or (is_fresh and one.most < float("inf"))
        if abs(worst) > TOLERANCE:
            wrong = abs(worst) > max(self._max_skew, TOLERANCE)
            return ClockFinding(ClockState.WRONG if wrong else ClockState.DIFFERS, worst, witness, most, sure)
        nobody = self._ask is None or self._witnesses.undated
        state = ClockState.CONFIRMED if confirmed else ClockState.BELIEVED if nobody else ClockState.UNKNOWN
        return ClockFinding(state, ahead_of_any=most, surely_ahead=sure)

    def _ask_if_due(self) -> None:
        if self._ask is None:
            return
        now, state = self._monotonic(), self.finding.state
        holds = state in {ClockState.DIFFERS, ClockState.WRONG} or self.finding.ahead_of_any > 0
        at_start = self._witnesses.answered == float("-inf")
        if not (self._wanted or holds or at_start or self._calls_wait_since < float("inf")):
            return
        if self._witnesses.answered >= self._asked:
            self._unanswered = 0
            doubted = self._doubted_at < float("inf")
            due = self._witnesses.answered + (FIRST_WAIT if doubted else RECHECK if holds else PERIOD)
        else:
            due = self._asked + min(FIRST_WAIT * 2 ** min(self._unanswered - 1, _MOST_DOUBLINGS), MOST_WAIT)
        if now < due:
            return
        if self._unanswered and state is ClockState.UNKNOWN and now >= self._next_reminder:
            self._next_reminder = now + REMINDER
            log.warning(
                "nobody tells the time: no idle watermark until the API answers, and what is dated ahead of our clock "
                "waits",
                questions=self._unanswered,
            )
        self._unanswered += 1
        self._asked = now
        self._ask()

    def _log_change(self, before: ClockState) -> None:
        finding = self.finding
        if finding.state is ClockState.DIFFERS:
            self._next_reminder = float("-inf")
            self._remind_of_difference()
        elif finding.state is ClockState.BELIEVED:
            # Without a question to the API that is so from the start on, without a change.
            self._told_that_believed = True
            log.warning(
                "nobody else tells the time: the API's answers have no Date, or api.use_date is off, so the clock of "
                "this machine is believed"
            )
        elif before in {ClockState.DIFFERS, ClockState.WRONG}:
            log.info("the clock of this machine no longer differs", state=finding.state.value)

    def _remind_of_difference(self) -> None:
        """Say that our clock differs, once in a while: a quiet input waits for as long as it does."""
        if self._monotonic() < self._next_reminder:
            return
        self._next_reminder = self._monotonic() + REMINDER
        log.warning(
            "the clock of this machine differs: no idle watermark until it agrees again, and what is dated ahead "
            "of it waits. Have the clock set right",
            ahead_s=round(self.finding.ahead, 1),
            witness=self.finding.witness,
        )
