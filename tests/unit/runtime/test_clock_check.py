"""What others say of the time, and what is found of our clock by it. Times are in seconds; the true time is known."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.builders import offer
from support.kafka import Message
from support.loop_world import LoopWorld

from consumer.core.watermark import CLOCK_TOLERANCE, Side
from consumer.delivery.gate import Opening
from consumer.runtime.clock_check import CALLS_WAIT, MOST_WAIT, RECHECK, TOLERANCE, ClockCheck, ClockState
from consumer.runtime.witnesses import DATE_RESOLUTION, PERIOD, STALE

SKEW = 300.0
LONGEST = 2**63 - 1
"""The highest date or stamp (ms) that a record can bear."""
T = 1_000_000.0


class Clocks:
    """A true time, our wall clock, which is `wrong` by so much, and a check that asks by `ask`."""

    def __init__(self, *, wrong: float = 0.0, ask: bool = True, max_skew: float = SKEW) -> None:
        self.true, self.wrong = T, wrong
        self.suspended = 0.0
        """Seconds for which the machine was suspended, so that its monotonic clock stood still."""
        self.questions: list[float] = []
        asked: Callable[[], None] | None = (lambda: self.questions.append(self.true - T)) if ask else None
        self.check = ClockCheck(
            lambda: self.true + self.wrong,
            lambda: self.mono,
            max_skew=max_skew,
            ask=asked,
            boottime=lambda: self.true - 55.0,
        )

    @property
    def mono(self) -> float:
        return self.true - self.suspended - 77.0

    def api(self, told: float | None = None, *, took: float = 0.0, date: bool = True) -> None:
        """The API answers now what was asked `took` seconds ago, by default with the true time."""
        told = self.true if told is None else told
        self.check.api_told(told if date else None, self.mono - took, self.mono)

    def broker(self, told: float | None = None, *, took: float = 0.01) -> None:
        self.check.broker_told(self.true - took / 2 if told is None else told, self.mono - took, self.mono)

    def record(self, stamped: float, kind: int = 2) -> None:
        message: Any = offer(0, 0)
        message.timestamp = lambda: (kind, int(stamped * 1000))
        self.check.read([message])

    @property
    def state(self) -> ClockState:
        self.check.look()
        return self.check.finding.state

    def go(self, seconds: float, *, want: bool = True) -> None:
        until = self.true + seconds
        while self.true < until:
            self.true += 1.0
            if want:
                self.check.want()
            self.check.look()


def test_that_the_api_is_not_asked_for_the_time_is_told_once_at_the_start() -> None:
    with capture_logs() as logs:
        clocks = Clocks(ask=False)
        clocks.go(100)
    assert [line["event"].partition(":")[0] for line in logs] == ["nobody else tells the time"]
    assert "api.use_date" in logs[0]["event"]


def test_nobody_has_told_the_time_at_the_start() -> None:
    assert Clocks().state is ClockState.UNKNOWN
    assert Clocks(ask=False).state is ClockState.BELIEVED


@pytest.mark.parametrize(
    ("wrong", "state"),
    [
        (0.0, ClockState.CONFIRMED),
        (TOLERANCE + 1.0, ClockState.CONFIRMED),
        (TOLERANCE + 1.1, ClockState.DIFFERS),
        (SKEW + 1.0, ClockState.DIFFERS),
        (SKEW + 1.1, ClockState.WRONG),
        (-TOLERANCE, ClockState.CONFIRMED),
        (-TOLERANCE - 0.1, ClockState.DIFFERS),
        (-SKEW, ClockState.DIFFERS),
        (-SKEW - 0.1, ClockState.WRONG),
    ],
)
def test_the_api_tells_the_time_to_the_second(wrong: float, state: ClockState) -> None:
    clocks = Clocks()
    clocks.api()
    clocks.wrong = wrong
    assert clocks.state is state


def test_an_answer_that_took_long_tells_as_much_less() -> None:
    clocks = Clocks()
    clocks.wrong = -9.0
    clocks.api(clocks.true - 8.0, took=8.0)
    assert clocks.state is ClockState.CONFIRMED, "it may have been made when it was asked for, or when it came"
    clocks.wrong = -TOLERANCE - 9.1
    assert clocks.state is ClockState.DIFFERS


def test_of_an_answer_that_took_long_the_worst_that_it_allows_holds_the_watermarks() -> None:
    clocks = Clocks(wrong=8.0)
    clocks.api(took=9.0)
    assert clocks.state is ClockState.CONFIRMED
    assert clocks.check.finding.ahead_of_any == pytest.approx(8.0 - TOLERANCE)
    clocks.api(took=0.5)
    assert (clocks.state, clocks.check.finding.ahead_of_any) == (ClockState.DIFFERS, pytest.approx(6.5))
    clocks.wrong = 0.0
    clocks.api(took=0.5)
    assert (clocks.state, clocks.check.finding.ahead_of_any) == (ClockState.CONFIRMED, 0.0)


def test_an_answer_that_took_longer_than_max_skew_finds_no_record_ahead_of_the_time() -> None:
    clocks = Clocks(wrong=-SKEW)
    waiting: Any = offer(0, 0)
    waiting.timestamp = lambda: (1, 0)
    clocks.check.waits(waiting)
    clocks.true += SKEW + 1
    clocks.api(clocks.true - SKEW - 1, took=SKEW + 1)
    assert clocks.state is ClockState.CONFIRMED
    assert clocks.check.waits_beyond < LONGEST
    clocks.wrong = 0.0
    clocks.api(took=0.5)
    assert clocks.state is ClockState.CONFIRMED
    assert clocks.check.waits_beyond >= LONGEST


@pytest.mark.parametrize(("wrong", "state"), [(2.0, "CONFIRMED"), (2.1, "DIFFERS"), (-2.1, "DIFFERS"), (-301, "WRONG")])
def test_a_broker_tells_the_time_to_the_millisecond(wrong: float, state: str) -> None:
    clocks = Clocks(wrong=wrong)
    clocks.broker()
    assert clocks.state is ClockState[state]


def test_a_record_that_a_broker_stamped_tells_of_a_clock_that_is_behind_and_confirms_none() -> None:
    ahead, behind = Clocks(wrong=10_000.0), Clocks(wrong=-60.0)
    for clocks in (ahead, behind):
        clocks.record(T - 5_000.0)
        assert clocks.state is ClockState.UNKNOWN, "it may have been written long ago"
        clocks.go(1.0)
        clocks.record(clocks.true)
    assert (ahead.state, behind.state) == (ClockState.UNKNOWN, ClockState.DIFFERS)
    behind.go(1.0)
    behind.record(T - 5_000.0)
    assert behind.state is ClockState.DIFFERS, "an old record takes back nothing"


def test_a_broker_whose_clock_was_ahead_for_a_moment_is_believed_again_once_it_is_right() -> None:
    clocks = Clocks()
    clocks.api()
    clocks.record(clocks.true + 3_600.0)
    for second in range(int(PERIOD)):
        if second % 60 == 0:
            clocks.api()
        assert clocks.state is ClockState.WRONG
        clocks.go(1.0)
        clocks.record(clocks.true)
    clocks.go(1.0)
    clocks.record(clocks.true)
    assert clocks.state is ClockState.CONFIRMED, "its records went on coming, with the right time"


def test_the_stamp_of_a_record_that_waits_goes_on_telling_where_the_api_does_not() -> None:
    clocks = Clocks(wrong=-7_200.0)
    waiting: Any = offer(0, 0)
    waiting.timestamp = lambda: (2, int(T * 1000))
    for _ in range(6_800):
        clocks.check.waits(waiting)
        clocks.api(date=False)
        assert clocks.state is ClockState.WRONG, "no newer one is read meanwhile"
        clocks.go(1.0)


def test_a_stamp_out_of_the_future_in_the_log_is_outvoted_after_a_while_where_the_api_agrees_with_us() -> None:
    clocks = Clocks()
    waiting: Any = offer(0, 0)
    waiting.timestamp = lambda: (2, int((T + 86_400.0) * 1000))
    clocks.check.read([waiting])
    for _ in range(int(STALE) + 2):
        clocks.check.waits(waiting)
        clocks.api()
        clocks.go(1.0)
    assert clocks.state is ClockState.CONFIRMED, "or one such record would suspend decisions for a day"


def test_a_producers_stamp_tells_nothing_of_the_brokers_clock() -> None:
    clocks = Clocks()
    clocks.record(clocks.true + 5_000, kind=1)
    clocks.check.read([Message("offers", 0, 0)])
    assert clocks.state is ClockState.UNKNOWN


def test_of_witnesses_that_contradict_each_other_the_one_that_differs_most_counts() -> None:
    clocks = Clocks()
    clocks.api()
    clocks.broker(clocks.true - 60.0)
    assert clocks.state is ClockState.DIFFERS
    assert clocks.check.finding.witness == "a broker"
    clocks.api(clocks.true + 400.0)
    assert clocks.state is ClockState.WRONG
    assert (clocks.check.finding.witness, round(clocks.check.finding.ahead)) == ("the API", -400)


def test_a_jump_shows_at_once_and_that_it_was_mended_too() -> None:
    clocks = Clocks()
    clocks.api()
    assert clocks.state is ClockState.CONFIRMED
    clocks.wrong = 3_600.0
    assert clocks.check.gate().opening is Opening.CLOSED, "before the next turn of the loop"
    assert clocks.state is ClockState.WRONG
    clocks.wrong = 0.0
    assert clocks.state is ClockState.CONFIRMED
    assert clocks.check.gate().opening is Opening.OPEN


@pytest.mark.parametrize("witness", ["api", "broker"])
def test_a_machine_that_was_suspended_knows_for_how_long(witness: str) -> None:
    clocks = Clocks()
    getattr(clocks, witness)()
    clocks.suspended, clocks.true = 600.0, clocks.true + 600.0
    assert clocks.state is ClockState.CONFIRMED
    clocks.wrong = 3.0 + DATE_RESOLUTION
    assert clocks.state is ClockState.DIFFERS, "what was told goes on telling"


def test_what_a_broker_told_before_a_jump_counts_until_the_api_tells() -> None:
    """As where a virtual machine was paused, which its clocks do not know, and its wall clock was set right then."""
    clocks = Clocks()
    clocks.api()
    clocks.broker()
    clocks.record(clocks.true)
    assert clocks.state is ClockState.CONFIRMED
    clocks.wrong = 3_600.0
    assert clocks.state is ClockState.WRONG
    clocks.go(1)
    clocks.api(clocks.true + 3_600.0)
    assert clocks.state is ClockState.CONFIRMED


@pytest.mark.parametrize("ask", [True, False])
def test_what_a_broker_told_long_ago_tells_less_and_less_and_confirms_nothing(ask: bool) -> None:
    clocks = Clocks(ask=ask)
    clocks.broker()
    clocks.true += STALE + 1.0
    assert clocks.state is (ClockState.UNKNOWN if ask else ClockState.BELIEVED)
    clocks.wrong = 600.0
    assert clocks.state is ClockState.WRONG
    clocks.true += 100_000.0
    clocks.wrong = 50.0
    assert clocks.state is (ClockState.UNKNOWN if ask else ClockState.BELIEVED), "two clocks may have drifted so far"
    clocks.wrong = 3_600.0
    assert clocks.state is ClockState.WRONG


def test_what_a_broker_disproved_long_ago_the_api_takes_back() -> None:
    clocks = Clocks()
    clocks.broker(clocks.true - 400.0)
    clocks.true += STALE + 1.0
    assert clocks.state is ClockState.WRONG
    clocks.api()
    assert clocks.state is ClockState.CONFIRMED


def test_what_was_told_long_ago_confirms_nothing() -> None:
    clocks = Clocks()
    clocks.api()
    clocks.broker()
    clocks.true += STALE
    assert clocks.state is ClockState.CONFIRMED
    clocks.true += 1.0
    assert clocks.state is ClockState.UNKNOWN


def test_what_the_api_disproved_stays_so_until_it_takes_it_back() -> None:
    clocks = Clocks()
    clocks.api(clocks.true - 400.0)
    clocks.broker()
    clocks.true += STALE + 1.0
    assert clocks.state is ClockState.WRONG
    clocks.api()
    assert clocks.state is ClockState.CONFIRMED


def test_what_a_broker_disproved_long_ago_is_forgotten() -> None:
    clocks = Clocks()
    clocks.api()
    clocks.broker(clocks.true - 400.0)
    clocks.true += STALE - 1.0
    assert clocks.state is ClockState.WRONG
    clocks.api()
    clocks.true += 2.0
    assert clocks.state is ClockState.CONFIRMED


def test_where_answers_have_no_date_the_clock_is_believed_unless_another_disproves_it() -> None:
    clocks = Clocks()
    clocks.api(date=False)
    assert clocks.state is ClockState.BELIEVED
    assert clocks.check.finding.confirmed
    clocks.broker(clocks.true - 60.0)
    assert clocks.state is ClockState.DIFFERS


@pytest.mark.parametrize("state", ClockState)
def test_a_clock_that_is_wrong_or_that_nobody_confirms_closes_the_gate(state: ClockState) -> None:
    clocks = Clocks()
    told = {"CONFIRMED": 0.0, "DIFFERS": -60.0, "WRONG": -400.0}.get(state.name)
    if told is not None:
        clocks.api(clocks.true + told)
    elif state is ClockState.BELIEVED:
        clocks.api(date=False)
    gate = clocks.check.gate()
    assert clocks.state is state
    closed = state in {ClockState.WRONG, ClockState.UNKNOWN}
    assert gate.opening is (Opening.CLOSED if closed else Opening.OPEN)
    if state is ClockState.WRONG:
        assert gate.reason.startswith("the clock of this machine is 399.0 s ahead of the API, more than join.max_skew")


def test_calls_wait_until_somebody_has_told_the_time_and_ask_themselves_where_no_question_is_answered() -> None:
    clocks = Clocks()
    clocks.go(60.0, want=False)
    assert clocks.check.gate().opening is Opening.CLOSED, "it counts from the first call that waits"
    clocks.go(CALLS_WAIT - 1.0, want=False)
    gate = clocks.check.gate()
    assert (gate.opening, gate.reason[:38]) == (Opening.CLOSED, "nobody has told the time lately, so th")
    clocks.go(1.0, want=False)
    assert clocks.check.gate().opening is Opening.ONE_AT_A_TIME
    clocks.api()
    assert clocks.check.gate().opening is Opening.OPEN
    clocks.go(1.0, want=False)
    before = len(clocks.questions)
    clocks.true += STALE
    clocks.go(1.0, want=False)
    assert len(clocks.questions) == before, "no call waits"
    assert clocks.check.gate().opening is Opening.CLOSED, "that was long ago"
    clocks.go(1.0, want=False)
    assert len(clocks.questions) == before + 1


def test_a_small_max_skew_is_no_reason_to_suspend_within_the_tolerance() -> None:
    clocks = Clocks(max_skew=0.1)
    clocks.broker(clocks.true - 1.9)
    assert clocks.state is ClockState.CONFIRMED
    clocks.broker(clocks.true - 2.1)
    assert clocks.state is ClockState.WRONG


def test_a_clock_that_is_confirmed_is_behind_by_no_more_than_the_watermark_allows_for() -> None:
    assert 1000 * (TOLERANCE + DATE_RESOLUTION) == CLOCK_TOLERANCE


def test_records_wait_beyond_max_skew_ahead_of_a_clock_that_nobody_confirms() -> None:
    clocks = Clocks()
    bound = int((clocks.true + SKEW) * 1000) + CLOCK_TOLERANCE
    assert clocks.state is ClockState.UNKNOWN
    assert clocks.check.waits_beyond == bound
    clocks.api(clocks.true + 10.0)
    assert clocks.state is ClockState.DIFFERS
    assert clocks.check.waits_beyond == bound
    undated = Clocks()
    undated.api(date=False)
    undated.check.look()
    assert undated.check.waits_beyond > LONGEST, "nobody can tell"


def test_what_is_ahead_even_of_a_clock_that_is_ahead_itself_waits_for_nobody() -> None:
    clocks = Clocks()
    clocks.api(clocks.true - 10.0)
    assert clocks.state is ClockState.DIFFERS
    assert clocks.check.waits_beyond > LONGEST


def test_what_was_told_before_a_record_came_disproves_it_not() -> None:
    """A virtual machine that was paused is behind, and neither of its clocks knows."""
    clocks = Clocks()
    clocks.go(1.0)
    clocks.api()
    assert clocks.state is ClockState.CONFIRMED
    clocks.true += 1.0
    clocks.check.look()
    assert clocks.check.waits_beyond < LONGEST
    asked = len(clocks.questions)
    clocks.check.waits(message := offer(0, 0))
    clocks.true += 1.0
    clocks.check.look()
    assert (len(clocks.questions), clocks.check.waits_beyond < LONGEST) == (asked + 1, True)
    clocks.api()
    clocks.check.look()
    assert clocks.check.waits_beyond > LONGEST
    clocks.go(RECHECK + 1.0, want=False)
    assert clocks.check.waits_beyond < LONGEST, "and the next one is to be asked for anew"
    assert message is not None


# --- when the API is asked


def test_it_is_asked_at_the_start_and_then_not_while_nothing_rests_on_the_clock() -> None:
    clocks = Clocks()
    clocks.go(1.0, want=False)
    assert clocks.questions == [1.0], "or the first call would have to wait"
    clocks.api()
    clocks.go(3_000.0, want=False)
    assert clocks.questions == [1.0]


def test_it_is_not_asked_where_calls_are_answered() -> None:
    clocks = Clocks()
    for _ in range(20):
        clocks.api()
        clocks.go(PERIOD - 1.0)
    assert clocks.questions == []


def test_a_quiet_deployment_asks_again_after_a_period() -> None:
    clocks = Clocks()
    clocks.go(1.0)
    assert clocks.questions == [1.0]
    clocks.api()
    clocks.go(PERIOD - 1.0)
    assert len(clocks.questions) == 1
    clocks.go(1.0)
    assert clocks.questions == [1.0, 1.0 + PERIOD]


def test_where_answers_have_no_date_it_is_asked_no_more_often() -> None:
    clocks = Clocks()
    for _ in range(int(5 * PERIOD)):
        clocks.go(1.0)
        if len(clocks.questions) and clocks.questions[-1] == clocks.true - T:
            clocks.api(date=False)
    assert len(clocks.questions) == 5


def test_an_api_that_does_not_answer_is_asked_less_and_less_often() -> None:
    clocks = Clocks()
    clocks.go(400.0)
    asked = clocks.questions
    assert [b - a for a, b in pairwise(asked)][:8] == [1, 2, 4, 8, 16, 32, MOST_WAIT, MOST_WAIT]
    clocks.api()
    clocks.true += STALE
    before = len(asked)
    clocks.go(4.0)
    assert len(asked) == before + 3, "an answer ends the back-off"


def test_an_api_that_is_down_for_days_is_asked_on() -> None:
    clocks = Clocks()
    for _ in range(3 * 24 * 60):
        clocks.true += MOST_WAIT
        clocks.check.want()
        clocks.check.look()
    assert len(clocks.questions) == 3 * 24 * 60


def test_a_clock_that_differs_is_held_against_the_api_every_few_seconds_though_nothing_rests_on_it() -> None:
    clocks = Clocks()
    clocks.api(clocks.true - 60.0)
    for _ in range(100):
        clocks.go(1.0, want=False)
        if clocks.questions and clocks.questions[-1] == clocks.true - T:
            clocks.api(clocks.true - 60.0)
    assert len(clocks.questions) == 100 / RECHECK


def test_each_turn_of_events_is_told_once() -> None:
    clocks = Clocks()
    with capture_logs() as logs:
        for told in (0.0, 0.0, -60.0, -60.0, 0.0, 0.0):
            clocks.api(clocks.true + told)
            clocks.go(2.0)
    assert [line["event"].partition(":")[0] for line in logs] == [
        "the clock of this machine differs",
        "the clock of this machine no longer differs",
    ]
    assert (logs[0]["ahead_s"], logs[0]["witness"]) == (59.0, "the API")


@pytest.mark.parametrize(("want", "lines"), [(True, 11), (False, 1)], ids=["quiet inputs wait", "nothing waits"])
def test_a_clock_that_goes_on_differing_is_told_each_minute_while_something_waits_for_it(
    want: bool, lines: int
) -> None:
    clocks = Clocks(wrong=3.5)
    with capture_logs() as logs:
        for _ in range(660):
            clocks.api()
            clocks.go(1.0, want=want)
    assert [line["event"].partition(":")[0] for line in logs] == ["the clock of this machine differs"] * lines
    assert logs[-1]["witness"] == "the API"


def test_that_nobody_tells_the_time_is_told_once_a_minute_and_not_for_the_first_question() -> None:
    clocks = Clocks()
    with capture_logs() as logs:
        clocks.go(1.0)
    assert logs == []
    with capture_logs() as logs:
        clocks.go(600.0)
    assert 9 <= len(logs) <= 10
    assert {line["event"].partition(":")[0] for line in logs} == {"nobody tells the time"}


def test_a_wrong_date_that_the_api_cannot_take_back_since_it_has_none_any_more_counts_as_long_as_any_other() -> None:
    clocks = Clocks()
    clocks.api(clocks.true - 3_600.0)
    assert clocks.state is ClockState.WRONG
    while clocks.true < T + STALE:
        clocks.api(date=False)
        assert clocks.state is ClockState.WRONG, "it may have been right"
        clocks.go(RECHECK)
    clocks.go(1.0)
    clocks.api(date=False)
    assert clocks.state is ClockState.BELIEVED
    clocks.api(clocks.true - 3_600.0)
    clocks.go(2 * STALE)
    assert clocks.state is ClockState.WRONG, "one that does not answer at all may still take it back"


def test_of_two_witnesses_that_contradict_each_other_no_record_moves_the_watermark_past_either() -> None:
    check = ClockCheck(lambda: 1_000.0, lambda: 0.0, max_skew=300.0, ask=lambda: None)
    check.api_told(1_200.0, -0.01, 0.0)
    check.broker_told(810.0, -0.01, 0.0)
    world = LoopWorld(clock_check=check)
    world.begin()
    world.turn()
    assert check.finding.ahead < 0, "the one that differs most"
    assert world.runner.task.watermarks.of(Side.OFFERS).clock_ahead >= 189_000


def test_what_was_decided_by_a_clock_that_was_set_back_waits_until_it_has_come_there_again() -> None:
    clocks = Clocks()
    clocks.api()
    clocks.check.decided(clocks.true + TOLERANCE)
    clocks.check.decided(clocks.true - SKEW)
    assert clocks.check.gate().opening is Opening.OPEN
    clocks.check.decided(clocks.true + 100.0)
    assert clocks.check.gate().opening is Opening.CLOSED
    assert "100 s before others have that time" in clocks.check.gate().reason
    clocks.go(100.0 - TOLERANCE)
    assert clocks.check.gate().opening is Opening.OPEN


def test_what_was_decided_by_a_clock_that_is_ahead_waits_until_the_time_has_come_there_though_nobody_sets_it() -> None:
    """For example: this machine and a producer go by a time server that is ahead, and the API is down at the start."""
    clocks = Clocks(wrong=200.0)
    clocks.check.decided(clocks.true + clocks.wrong)
    clocks.api()
    assert clocks.state is ClockState.DIFFERS
    assert clocks.check.gate().opening is Opening.CLOSED
    assert "decided" in clocks.check.gate().reason
    clocks.go(190.0)
    clocks.api()
    assert clocks.check.gate().opening is Opening.CLOSED
    clocks.go(10.0)
    clocks.api()
    assert clocks.check.gate().opening is Opening.OPEN
    clocks.check.decided(clocks.true)
    assert clocks.check.gate().opening is Opening.OPEN, "no watermark passes the API's clock since"


def test_it_waits_for_the_clock_that_is_furthest_behind_though_another_one_differs_more() -> None:
    clocks = Clocks(wrong=100.0)
    clocks.check.decided(clocks.true + clocks.wrong)
    clocks.api()
    clocks.record(clocks.true + clocks.wrong + 150.0)
    assert clocks.state is ClockState.DIFFERS
    assert clocks.check.finding.ahead < 0
    assert clocks.check.gate().opening is Opening.CLOSED


def test_an_answer_that_took_long_holds_no_call_that_was_decided_before_it() -> None:
    """What it leaves possible holds the watermarks. Else each slow answer would hold all calls for a while."""
    clocks = Clocks()
    clocks.api()
    clocks.check.decided(clocks.true)
    clocks.api(took=9.0)
    assert clocks.state is ClockState.CONFIRMED
    assert clocks.check.gate().opening is Opening.OPEN
