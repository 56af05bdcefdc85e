"""What others told of the time is kept against our monotonic clock, and outlives what happens to ours."""

from __future__ import annotations

import pytest

from consumer.runtime.witnesses import API, BROKER, DRIFT, STALE, Sample, Witnesses

T = 1_000_000.0


class ToldClocks:
    """Witnesses, and our three clocks, in seconds."""

    def __init__(self) -> None:
        self.wall, self.monotonic, self.boottime = T, 500.0, 700.0
        self.witnesses = Witnesses(lambda: self.wall, lambda: self.monotonic, lambda: self.boottime)

    def go(self, seconds: float, *, suspended: bool = False, jump: float = 0.0) -> None:
        self.wall += seconds + jump
        self.boottime += seconds
        self.monotonic += 0.0 if suspended else seconds
        self.witnesses.note_jump()

    def api(self, told: float) -> None:
        self.witnesses.api_told(told, self.monotonic, self.monotonic)

    def broker(self, told: float) -> None:
        self.witnesses.broker_told(told, self.monotonic, self.monotonic)

    @property
    def heard(self) -> dict[str, tuple[float, bool]]:
        """By witness, by how much our clock is ahead of it, and whether that is fresh."""
        drift = self.witnesses.drift
        return {name: (round(one.ahead(drift), 2), fresh) for name, one, fresh in self.witnesses.heard()}


@pytest.mark.parametrize(("drift", "ahead"), [(9.0, -1.0), (10.0, 0.0), (12.0, 0.0), (13.0, 1.0)])
def test_a_sample_tells_by_how_much_at_least_our_clock_differs(drift: float, ahead: float) -> None:
    assert Sample(10.0, 12.0, 0.0).ahead(drift) == ahead


def test_a_sample_that_is_widened_tells_less() -> None:
    assert Sample(10.0, 12.0, 5.0).widened(1.0) == Sample(9.0, 13.0, 5.0)


def test_a_suspended_machine_goes_on_with_what_it_was_told() -> None:
    told = ToldClocks()
    told.api(T)
    told.broker(T)
    told.go(600.0, suspended=True)
    assert told.heard == {API: (0.0, True), BROKER: (0.0, True)}
    told.go(10.0, suspended=True, jump=60.0)
    assert told.heard[BROKER][0] == pytest.approx(60.0, abs=0.1)


@pytest.mark.parametrize("witness", ["api", "broker"])
def test_a_machine_that_wakes_is_told_rightly_before_anybody_has_looked(witness: str) -> None:
    told = ToldClocks()
    told.wall, told.boottime = told.wall + 3_600.0, told.boottime + 3_600.0
    getattr(told, witness)(told.wall)
    told.go(1.0)
    assert [ahead for ahead, _ in told.heard.values()] == [0.0]


def test_an_answer_that_comes_after_the_machine_has_slept_tells_as_much_less() -> None:
    told = ToldClocks()
    sent = told.monotonic
    told.wall, told.boottime = told.wall + 3_600.0, told.boottime + 3_600.0
    told.witnesses.broker_told(T, sent, told.monotonic)
    assert told.heard == {BROKER: (0.0, True)}
    assert not told.witnesses.told_since(0.0, 3_599.0)


def test_what_was_told_before_a_long_sleep_is_old() -> None:
    told = ToldClocks()
    told.api(T)
    told.go(STALE + 1, suspended=True)
    assert (told.heard, told.witnesses.api_tells) == ({API: (0.0, False)}, False)


def test_after_a_jump_a_broker_is_heard_until_the_api_tells() -> None:
    told = ToldClocks()
    told.api(T)
    told.broker(T)
    told.go(1.0, jump=100.0)
    assert set(told.heard) == {API, BROKER}
    told.go(1.0)
    told.api(told.wall)
    assert told.heard == {API: (0.0, True)}
    told.go(1.0)
    told.broker(told.wall)
    assert set(told.heard) == {API, BROKER}


def test_a_jump_within_the_tolerance_is_none() -> None:
    told = ToldClocks()
    told.broker(T)
    told.go(1.0, jump=1.5)
    told.api(told.wall)
    assert set(told.heard) == {API, BROKER}


def test_a_broker_is_heard_for_ever_by_so_much_less_and_the_api_until_it_answers_without_a_date() -> None:
    told = ToldClocks()
    told.api(T)
    told.broker(T)
    told.go(STALE)
    assert told.heard == {API: (0.0, True), BROKER: (0.0, True)}
    told.go(1_000_000.0, jump=900.0)
    assert told.heard[API][1] is told.heard[BROKER][1] is False
    assert told.heard[BROKER][0] == pytest.approx(900.0 - DRIFT * (STALE + 1_000_000.0), abs=0.1)
    told.witnesses.api_told(None, told.monotonic, told.monotonic)
    assert set(told.heard) == {BROKER}


def test_it_is_known_since_when_and_how_well_somebody_told_the_time() -> None:
    told = ToldClocks()
    told.broker(T)
    began = told.witnesses.now
    assert told.witnesses.told_since(began, 1.0)
    assert not told.witnesses.told_since(began, 0.0001)
    assert not told.witnesses.told_since(began + 0.1, 1.0)
    assert not told.witnesses.api_tells
    told.api(T)
    assert told.witnesses.api_tells
    told.go(STALE + 1)
    assert not told.witnesses.api_tells
