"""What may be called while writes wait, fail or are not known to succeed."""

from __future__ import annotations

import threading

import pytest

from consumer.kafka.writes import BOUND, FIRST_BOUND, Writes

OUTCOMES, DEAD = "offer.outcome", "opt-out.dead-letter"


class WritesWorld:
    def __init__(self, commit_interval: float = 5.0) -> None:
        self.now = 1_000.0
        self.writes = Writes(OUTCOMES, commit_interval, lambda: self.now)

    def record(self, topic: str = OUTCOMES) -> None:
        self.writes.end(self.writes.begin(topic), recorded=True)

    @property
    def trouble(self) -> str:
        return self.writes.trouble() or ""


@pytest.fixture
def world() -> WritesWorld:
    return WritesWorld()


@pytest.fixture
def proven(world: WritesWorld) -> WritesWorld:
    world.record()
    assert world.writes.unproven() is None
    return world


def test_until_an_outcome_of_this_run_is_recorded_calls_go_one_at_a_time(world: WritesWorld) -> None:
    assert "by the first" in (world.writes.unproven() or "")
    write = world.writes.begin(OUTCOMES)
    assert world.writes.unproven()
    world.writes.end(write, recorded=True)
    assert world.writes.unproven() is None
    assert world.trouble == ""


def test_an_acknowledged_dead_letter_does_not_say_that_outcomes_can_be_written(world: WritesWorld) -> None:
    world.record(DEAD)
    assert world.writes.unproven()


def test_a_dead_letter_that_was_written_has_to_be_acknowledged_too(world: WritesWorld) -> None:
    write = world.writes.begin(DEAD)
    world.record()
    assert world.writes.unproven()
    world.writes.end(write, recorded=False)  # it goes again in another form
    again = world.writes.begin(DEAD)
    assert world.writes.unproven()
    world.writes.end(again, recorded=True)
    assert world.writes.unproven() is None


def test_once_it_is_known_it_stays_known_though_further_writes_wait(proven: WritesWorld) -> None:
    proven.writes.begin(DEAD)
    assert proven.writes.unproven() is None


def test_the_first_write_may_wait_for_two_seconds_and_later_ones_for_thirty(world: WritesWorld) -> None:
    write = world.writes.begin(OUTCOMES)
    world.now += FIRST_BOUND
    assert world.trouble == ""
    world.now += 0.1
    assert "offer.outcome has waited" in world.trouble
    world.writes.end(write, recorded=True)
    world.writes.begin(OUTCOMES)
    world.now += BOUND
    assert world.trouble == ""
    world.now += 0.1
    assert "has waited 30 s" in world.trouble


def test_the_oldest_write_counts_whatever_came_and_went_since(proven: WritesWorld) -> None:
    first = proven.writes.begin(DEAD)
    for _ in range(10):
        proven.now += 5
        proven.record()
    assert f"{DEAD} has waited 50 s" in proven.trouble
    second = proven.writes.begin(OUTCOMES)
    proven.writes.end(first, recorded=True)
    assert proven.trouble == ""
    proven.now += BOUND + 1
    assert f"{OUTCOMES} has waited" in proven.trouble
    proven.writes.end(second, recorded=True)
    assert proven.trouble == ""


def test_what_is_written_between_two_looks_waits_for_the_last_of_it(proven: WritesWorld) -> None:
    batch = [proven.writes.begin(OUTCOMES) for _ in range(3)]
    proven.now += 10
    proven.writes.look()
    later = proven.writes.begin(OUTCOMES)
    for one in batch[1:]:
        proven.writes.end(one, recorded=True)
    proven.now += BOUND - 5
    assert "has waited 35 s" in proven.trouble
    proven.writes.end(batch[0], recorded=True)
    assert proven.trouble == ""
    proven.writes.look()
    proven.now += 6
    assert "has waited 31 s" in proven.trouble, "what was written behind the look counts by its own time"
    proven.writes.end(later, recorded=True)
    assert proven.trouble == ""


def test_a_write_behind_others_that_were_all_answered_is_waited_for(proven: WritesWorld) -> None:
    proven.record()
    proven.now += 10
    write = proven.writes.begin(OUTCOMES)
    proven.now += BOUND + 1
    assert "has waited 31 s" in proven.trouble
    proven.writes.end(write, recorded=True)
    assert proven.trouble == ""


def test_a_write_that_failed_for_good_closes_for_good(proven: WritesWorld) -> None:
    proven.writes.fail("an outcome for offer.outcome[1]: Topic authorization failed")
    proven.record()
    assert "authorization failed" in proven.trouble


def test_a_loop_that_takes_in_no_acknowledgements_is_a_reason_too(proven: WritesWorld) -> None:
    proven.now += 2 * BOUND  # it has not begun to turn
    assert proven.trouble == ""
    proven.writes.look()
    proven.now += BOUND
    assert proven.trouble == ""
    proven.now += 1
    assert "takes in no acknowledgement" in proven.trouble
    proven.writes.look()
    assert proven.trouble == ""


@pytest.mark.parametrize(("interval", "bound"), [(5.0, BOUND), (60.0, 180.0)])
def test_commits_may_fail_for_a_few_intervals(interval: float, bound: float) -> None:
    world = WritesWorld(interval)
    world.record()
    world.writes.committed([1, 2], {1})
    world.now += bound
    world.writes.committed([1, 2], {1})
    assert world.trouble == ""
    world.now += 1
    assert "commits of the partitions [2] have failed" in world.trouble
    assert "Read the group" in world.trouble
    world.writes.committed([2], {2})
    assert world.trouble == ""


def test_a_partition_that_goes_takes_its_failed_commits_with_it(proven: WritesWorld) -> None:
    proven.writes.committed([1], set())
    proven.now += 100
    assert proven.trouble
    proven.writes.forget([1])
    assert proven.trouble == ""


def test_a_first_commit_that_fails_closes_at_once(world: WritesWorld) -> None:
    world.writes.committed([1], set())
    world.record()
    assert world.trouble
    assert world.writes.unproven()
    world.writes.committed([1], {1})
    assert world.trouble == ""
    assert world.writes.unproven() is None


def test_it_may_be_asked_while_another_thread_writes(world: WritesWorld) -> None:
    stop = threading.Event()
    wrong: list[BaseException] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                world.writes.trouble()
                world.writes.unproven()
            except BaseException as error:
                wrong.append(error)
                return

    asker = threading.Thread(target=ask)
    asker.start()
    for number in range(20_000):
        under_way = [world.writes.begin(topic) for topic in (OUTCOMES, DEAD)]
        world.writes.committed([number % 7], set() if number % 2 else {number % 7})
        for write in reversed(under_way):
            world.writes.end(write, recorded=True)
    stop.set()
    asker.join()
    assert wrong == []


def test_what_waits_or_fails_is_told_with_how_long_it_has(proven: WritesWorld) -> None:
    proven.writes.forget([7])  # nothing of it has failed
    proven.writes.look()
    proven.now += BOUND + 1.0
    assert "has waited 31 s for the brokers" in proven.trouble
    proven.writes.look()
    proven.writes.committed([3], set())
    proven.now += 100.0
    proven.writes.look()
    assert "of the partitions [3] have failed for 100 s" in proven.trouble
