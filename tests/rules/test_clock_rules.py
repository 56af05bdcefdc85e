"""Nothing rests on the clock of this machine alone: it is held against that of the API, and of the brokers.

The loop runs on a clock that the test sets wrong, beside a world whose time is true.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from support.builders import checkout, offer
from support.kafka import Message, partition_end
from support.loop_world import EndsNow, LoopWorld, assign, revoke

from consumer.core.checkpoint import OfferCheckpoint
from consumer.core.guards import SuspendedBy
from consumer.core.watermark import TOLERANCE, Side
from consumer.delivery.gate import Opening
from consumer.errors import ClockError
from consumer.events import Outcome
from consumer.runtime.clock_check import ClockCheck, ClockState
from consumer.runtime.edges import Clock
from consumer.runtime.late_run import HELD
from consumer.runtime.witnesses import DATE_RESOLUTION, STALE

LATENESS, MAX_SKEW, WINDOW, IDLE_AFTER = 300.0, 300.0, 1_800.0, 5.0
T = 1_000_000.0
"""True time at which a test begins, in seconds."""


class ClockWorld(LoopWorld):
    """`true`: what time it is; `wrong`: by how much our clock is ahead of it, both in seconds.

    `witness`: the API answers when it is asked for the time. None: it cannot tell, its answers have no Date.
    """

    def __init__(self, *, wrong: float = 0.0, witness: bool | None = True) -> None:
        self.true, self.wrong, self.witness = T, wrong, witness
        self.questions = 0
        self.written = {"offers": 0, "checkouts": 0}
        self.check = ClockCheck(self.wall, lambda: self.true, max_skew=MAX_SKEW, ask=self.asked)
        super().__init__(
            join={
                "window": timedelta(seconds=WINDOW),
                "checkout_grace": timedelta(seconds=60),
                "lookback": timedelta(hours=2),
                "lateness": timedelta(seconds=LATENESS),
                "max_skew": timedelta(seconds=MAX_SKEW),
                "idle_after": timedelta(seconds=IDLE_AFTER),
                "checkout_silence": timedelta(0),
            },
            clock=Clock(wall=self.wall, monotonic=lambda: self.true),
            ends=EndsNow(self.wall, lambda: {(topic, 0): end for topic, end in self.written.items()}),
            clock_check=self.check,
            kafka={"commit_interval": timedelta(seconds=5)},
        )
        self.begin()
        # Some session has checked out before, so that no guard waits for the first one of all.
        self.buy(999, at=T)

    def wall(self) -> float:
        return self.true + self.wrong

    def asked(self) -> None:
        """The question of what time it is, answered at once or never."""
        self.questions += 1
        if self.witness is not False:
            self.check.api_told(self.true if self.witness else None, self.true, self.true)

    def read(self, *messages: Message) -> None:
        for message in messages:
            self.written[message.topic() or ""] = (message.offset() or 0) + 1
        self.turn([*messages])

    def show(self, number: int, *, at: float | None = None, stamp: float | None = None) -> None:
        """An offer is shown now, by a producer whose clock is right."""
        at = self.true if at is None else at
        shown = offer(number, int(at * 1000), session=f"s{number}", offer_id=f"o{number}")
        shown._timestamp = int((at if stamp is None else stamp) * 1000)
        self.read(shown)

    def buy(self, number: int, *, at: float) -> None:
        """The purchase of that offer arrives now; it was made at `at`."""
        bought = checkout(self.written["checkouts"], int(at * 1000), f"o{number}", session=f"s{number}")
        bought._timestamp = int(at * 1000)
        self.read(bought)

    def go(self, seconds: float) -> None:
        """Let true time pass, a second a turn."""
        until = self.true + seconds
        while self.true < until:
            self.true += 1.0
            self.turn()

    @property
    def called(self) -> list[str]:
        return [call.offer_id for call in self.delivery.calls]

    @property
    def leave(self) -> list[str]:
        """Those of them that the gate would let go now."""
        is_open = self.check.gate().opening is Opening.OPEN
        return [call.offer_id for call in self.delivery.calls if is_open and self.runner.withholds(call) is None]

    @property
    def watermark(self) -> float:
        return self.runner.task.watermark / 1000


DUE = WINDOW + LATENESS
"""Seconds after which an offer that nobody bought is called in a quiet topic."""


def test_a_right_clock_calls_in_a_quiet_topic_and_the_api_is_asked_for_the_time_but_rarely() -> None:
    world = ClockWorld()
    world.show(0)
    world.go(DUE - 1)
    assert world.called == []
    world.go(2 * IDLE_AFTER)
    assert world.called == ["o0"]
    assert world.questions == 1 + int(DUE // 600)


def test_a_clock_that_is_ahead_by_twice_lateness_makes_no_false_call() -> None:
    world = ClockWorld(wrong=2 * LATENESS)
    world.show(0)
    world.go(WINDOW + LATENESS / 2)
    assert world.called == [], "what was bought may still come for half of lateness"
    world.buy(0, at=T + WINDOW)
    world.wrong = 0.0
    world.go(3 * LATENESS)
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.PURCHASED]


@pytest.mark.parametrize("wrong", [-20.0, 20.0])
def test_a_clock_that_differs_by_seconds_gives_no_idle_watermark_and_decisions_by_records_go_on(wrong: float) -> None:
    world = ClockWorld(wrong=wrong)
    world.show(0)
    world.go(DUE + 100)
    assert world.called == []
    assert world.check.gate().opening is Opening.OPEN
    world.show(1)
    world.buy(1, at=world.true)
    world.go(1)
    assert world.called == ["o0"]


def test_a_clock_that_is_known_to_be_ahead_moves_no_watermark_beyond_the_one_that_tells() -> None:
    """Not even with the records of a producer that goes by the same time: max_skew may not eat lateness."""
    world = ClockWorld(wrong=MAX_SKEW - 60)
    world.go(1)
    assert world.check.finding.state is ClockState.DIFFERS
    world.show(0, at=world.wall())
    world.buy(0, at=world.wall())
    assert world.true - LATENESS - 1 <= world.watermark <= world.true - LATENESS + DATE_RESOLUTION
    world.wrong = 0.0
    world.go(1)
    world.show(1, at=world.wall())
    world.buy(1, at=world.wall())
    assert world.watermark == pytest.approx(world.true - LATENESS, abs=DATE_RESOLUTION)


def test_a_clock_that_is_wrong_by_more_than_max_skew_suspends_decisions_and_calls_until_it_is_right() -> None:
    world = ClockWorld()
    world.show(0)
    world.go(IDLE_AFTER + 1)
    with capture_logs() as logs:
        world.wrong = -MAX_SKEW - 60
        world.go(1)
    (line,) = [line for line in logs if line["event"].startswith("decisions are held")]
    assert (line["held_by"], line["ahead_s"], line["witness"]) == ("clock", pytest.approx(-360, abs=2), "the API")
    state = world.check.gate()
    assert (state.opening, "359" in state.reason or "360" in state.reason) == (Opening.CLOSED, True)
    world.true += DUE
    world.show(1)
    world.buy(1, at=world.true)
    world.go(60)
    assert (world.called, world.loop.suspension.by) == ([], SuspendedBy.CLOCK)
    world.wrong = 0.0
    world.go(1)
    assert world.check.gate().opening is Opening.OPEN
    world.show(2)
    world.buy(2, at=world.true)
    assert world.called == ["o0"]


def test_a_clock_that_is_wrong_suspends_what_records_would_decide() -> None:
    world = ClockWorld(wrong=MAX_SKEW + 100)
    world.show(0)
    world.go(DUE + 100)
    for number in (1, 2):
        world.show(number)
        world.buy(number, at=world.true)
    assert (world.called, world.runner.task.watermark >= (T + WINDOW) * 1000) == ([], True)
    world.wrong = 0.0
    world.turn()
    assert world.called == ["o0"]


def test_a_clock_that_was_an_hour_ahead_for_eight_seconds_leaves_nothing_behind() -> None:
    world = ClockWorld()
    world.go(2 * LATENESS)
    world.wrong = 3_600.0
    world.go(8)
    world.wrong = 0.0
    for number in range(150):
        world.show(number)
    world.go(5)
    assert world.sink.dead == []
    assert world.watermark < world.true - LATENESS
    offset = world.consumer.commits[-1]["offers", 0]
    found = OfferCheckpoint.decode(world.consumer.metadata["offers", 0], offset)
    assert found.decided_to < world.true * 1000


@pytest.mark.parametrize("witness", [True, False], ids=["the API tells the time", "the API does not answer"])
def test_a_clock_that_is_six_minutes_behind_dead_letters_nothing(witness: bool) -> None:
    world = ClockWorld(wrong=-360.0, witness=witness)
    for number in range(100):
        world.show(number)
    world.go(60)
    assert (world.sink.dead, world.called) == ([], [])
    world.wrong, world.witness = 0.0, True
    world.go(60)
    assert world.runner.task.undecided == 100
    world.go(DUE + 2 * LATENESS)
    assert len(world.called) == 100


@pytest.mark.parametrize("behind", [0.0, 2.0, 2.9])
def test_a_clock_that_is_behind_and_yet_confirmed_finds_no_record_implausible_that_its_own_stamp_bears_out(
    behind: float,
) -> None:
    world = ClockWorld(wrong=-behind)
    world.check.api_told(float(int(world.true)), world.true, world.true)
    world.turn()
    world.true += 0.9
    world.check.api_told(float(int(world.true)), world.true, world.true)
    world.turn()
    assert world.check.finding.state is ClockState.CONFIRMED
    world.show(0, at=world.true + MAX_SKEW, stamp=world.true)
    assert (world.sink.dead, world.runner.task.undecided) == ([], 1)


@pytest.mark.parametrize("took", [0.1, 5.0, 13.0])
def test_no_watermark_passes_what_an_answer_that_took_long_leaves_possible(took: float) -> None:
    world = ClockWorld(wrong=10.0, witness=False)
    world.show(0)
    world.check.api_told(world.true + took, world.true, world.true + took)
    world.true += took
    # A producer whose clock is as wrong as ours, and a quiet log, would both move it.
    world.show(1, at=world.wall(), stamp=world.wall())
    world.go(3 * IDLE_AFTER)
    assert world.watermark <= world.true - LATENESS + TOLERANCE
    answered = world.questions
    world.witness = True
    world.go(70)
    assert world.questions > answered, "it is asked again"
    assert world.check.finding.state is ClockState.DIFFERS
    world.wrong = 0.0
    world.go(DUE)
    assert world.called == ["o0", "o1"]


def test_an_event_from_2099_is_dead_lettered_once_the_clock_is_confirmed_and_not_before() -> None:
    world = ClockWorld(witness=False)
    far = 4_070_908_800.0
    world.show(0, at=far)
    world.show(1)
    world.go(120)
    assert (world.sink.dead, world.watermark < T, Side.OFFERS in world.runner.pauses()) == ([], True, True)
    world.witness = True
    world.go(60)
    assert world.sink.dead == [(0, "implausible_time")]
    assert world.runner.task.undecided == 1, "what stood behind it is read"


def closes_for_checkouts(check: ClockCheck) -> bool:
    """Whether it is that which closes the gate, and not that nobody has told the time."""
    gate = check.gate()
    return gate.opening is Opening.CLOSED and gate.reason.startswith("checkouts that are dated ahead")


def test_no_call_leaves_while_a_checkout_waits_for_the_clock_since_it_may_be_a_purchase() -> None:
    world = ClockWorld(witness=False)
    world.show(0)
    assert not closes_for_checkouts(world.check)
    world.buy(0, at=world.true + 2 * MAX_SKEW)
    assert world.runner.task.next_offset(Side.CHECKOUTS) == 1, "it is read, and nobody knows yet what it says"
    assert closes_for_checkouts(world.check)
    world.true += 2 * MAX_SKEW
    world.turn()
    assert world.runner.task.next_offset(Side.CHECKOUTS) == 2
    assert not closes_for_checkouts(world.check)


def test_a_task_that_goes_with_its_waiting_checkouts_stops_no_calls_of_others() -> None:
    world = ClockWorld(witness=False)
    world.buy(0, at=world.true + 2 * MAX_SKEW)
    assert closes_for_checkouts(world.check)
    world.turn(revoke)
    assert not closes_for_checkouts(world.check)


def test_an_event_from_2099_whose_own_record_disproves_it_takes_no_clock_to_tell() -> None:
    world = ClockWorld(witness=False)
    world.show(0, at=4_070_908_800.0, stamp=T)
    world.go(2 * HELD)  # for so long it is seen whether many more come
    assert world.sink.dead == [(0, "implausible_time")]


AHEAD = MAX_SKEW + 60


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("stamp", [AHEAD, 100.0, -1_000.0], ids=["both ahead", "dated ahead", "dated far ahead"])
def test_what_only_our_clock_says_is_ahead_waits_and_keeps_its_place(side: Side, stamp: float) -> None:
    world = ClockWorld(witness=False)
    record = offer(0, int((T + AHEAD) * 1000)) if side is Side.OFFERS else checkout(1, int((T + AHEAD) * 1000))
    record._timestamp = int((T + stamp) * 1000)
    before = world.runner.task.next_offset(side)
    world.turn([record])
    for _ in range(1_500):
        world.turn()
    # An offer whose own record disproves it takes no clock. A checkout buys wherever in an interval it may have
    # been made, and that ends with the time at which it is read.
    waits = stamp > AHEAD - MAX_SKEW or side is Side.CHECKOUTS
    assert world.questions == 1, "others are asked, though no topic has been quiet for long"
    if not waits:
        world.go(2 * HELD)  # for so long it is seen whether many more come
    assert (bool(world.runner.waiting), world.runner.task.next_offset(side) == before) == (waits, waits)
    assert world.loop.tasks.bad_records[side].read <= 1 + side, "it counts as read once"
    world.true += AHEAD
    world.turn()
    assert not world.runner.waiting, "the clock has come there"


def test_a_record_that_cannot_be_read_and_is_stamped_ahead_waits_too() -> None:
    world = ClockWorld(witness=False)
    world.turn([Message("checkouts", 0, 1, b"s", b"\xff", timestamp=int((T + AHEAD) * 1000))])
    assert (bool(world.runner.waiting), world.sink.dead) == (True, [])
    world.true += AHEAD
    world.turn()
    assert world.sink.dead == [(1, "undecodable")]


def test_where_nobody_tells_the_time_the_clock_is_believed_and_that_is_said_once() -> None:
    with capture_logs() as logs:
        world = ClockWorld(witness=None)
        world.show(0)
        world.show(1, at=4_070_908_800.0)
        world.go(DUE + 2 * IDLE_AFTER)
    assert world.called == ["o0"]
    assert world.sink.dead == [(1, "implausible_time")]
    assert len([line for line in logs if line["event"].startswith("nobody else tells the time")]) == 1


def test_while_the_api_does_not_answer_a_quiet_topic_waits_and_that_is_said() -> None:
    world = ClockWorld(witness=False)
    with capture_logs() as logs:
        world.show(0)
        world.go(DUE + 2 * IDLE_AFTER)
    assert world.called == []
    said = [line for line in logs if line["event"].startswith("nobody tells the time")]
    assert DUE / 60 - 3 <= len(said) <= DUE / 60 + 1
    assert world.questions <= 10 + DUE / 60, "it is asked less and less often"
    world.witness = True
    world.go(60 + 2 * IDLE_AFTER)
    assert world.called == ["o0"]


def test_tombstones_and_records_of_old_keep_no_quiet_topic_undecided() -> None:
    world = ClockWorld()
    world.show(0)
    for number in range(1, int(DUE // 3) + 5):
        world.go(3)
        world.read(Message("offers", 0, number, b"s", None, timestamp=int(world.true * 1000)))
        world.buy(998, at=T)
    assert world.called == ["o0"]


def test_a_position_that_is_decided_up_to_the_future_stops_the_start_in_words() -> None:
    world = ClockWorld()
    world.show(0)
    world.go(3 * LATENESS)
    ahead = world.watermark
    world.turn(revoke)
    world.true = ahead - 100.0
    with pytest.raises(ClockError, match=r"partition 0: .*100 s ahead.*--reset-to TIME"):
        world.turn(assign)


def test_a_position_is_committed_each_minute_though_nothing_changes_so_that_its_trust_is_fresh() -> None:
    world = ClockWorld(witness=False)  # so that no watermark moves
    world.go(600)
    assert 10 <= len(world.consumer.commits) <= 12
    offset = world.consumer.commits[-1]["offers", 0]
    found = OfferCheckpoint.decode(world.consumer.metadata["offers", 0], offset)
    assert found.trusted_since == T * 1000
    assert 0 <= world.true * 1000 - found.provenance.committed_at <= 120_000


def test_a_partition_end_that_waits_behind_a_record_ahead_of_the_clock_tells_no_end() -> None:
    world = ClockWorld(witness=False)
    world.show(0, at=T + 3_600)
    world.turn([partition_end("offers", 0, 1)])
    assert world.runner.task.next_offset(Side.OFFERS) == 0


def test_what_was_decided_an_hour_too_early_is_not_called_once_the_clock_is_set_right() -> None:
    """This machine and one shop go by a time server that is an hour ahead; the API is down as the service starts."""
    world = ClockWorld(wrong=3_600.0, witness=False)
    ahead = T + 3_600
    world.show(0)
    world.show(1, at=ahead, stamp=ahead)
    world.buy(3, at=ahead)
    world.go(3)
    assert world.called == ["o0"], "it is decided, by the shop's clock and ours"
    assert world.check.gate().opening is Opening.CLOSED, "nobody has told the time"
    world.witness = True
    world.go(60)
    assert (world.check.finding.state, world.leave) == (ClockState.WRONG, [])
    world.wrong = 0.0  # as the line says: have it set right; decisions and calls go on by themselves then
    world.go(5)
    assert (world.check.finding.state, world.true < T + 100) == (ClockState.CONFIRMED, True)
    assert world.leave == [], "it was shown a minute ago, and may be bought for half an hour"


def disproved_by_a_broker(witness: bool | None) -> ClockWorld:
    """An outcome was written, whose topic has the brokers' stamps; our clock is an hour ahead."""
    world = ClockWorld(wrong=3_600.0, witness=witness)
    world.check.broker_told(world.true, world.true - 0.01, world.true)
    return world


@pytest.mark.parametrize("witness", [None, False], ids=["answers without a Date", "no answers"])
def test_a_clock_that_a_broker_disproved_stays_disproved_though_nothing_is_written_any_more(
    witness: bool | None,
) -> None:
    """While it is wrong nothing is called, so no outcome is stamped, and the broker tells nothing more."""
    world = disproved_by_a_broker(witness)
    world.go(STALE - 10)
    world.show(1)
    world.go(60)
    assert world.check.finding.state is ClockState.WRONG
    assert (world.called, world.leave) == ([], [])
    world.wrong, world.witness = 0.0, None
    world.go(DUE)
    assert world.called == ["o1"]


def test_nor_is_it_believed_again_where_the_api_is_not_asked() -> None:
    world = disproved_by_a_broker(None)
    world.check._ask = None
    world.go(2 * STALE)
    assert world.check.finding.state is ClockState.WRONG


def test_a_clock_that_jumps_ahead_is_held_against_what_brokers_told_before() -> None:
    world = ClockWorld(witness=None)
    for _ in range(3):
        world.check.broker_told(world.true, world.true - 0.01, world.true)
        world.go(100)
    assert world.check.finding.state is ClockState.CONFIRMED
    world.wrong = 3_600.0
    world.go(LATENESS)
    world.show(1)
    world.go(30)
    assert world.check.finding.state is ClockState.WRONG
    assert (world.called, world.leave) == ([], [])
