"""When a partner or a credential is left alone: credentials fault, breaker, 404 guard, Retry-After, rate, fairness."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from itertools import pairwise
from typing import NoReturn

import pytest
import structlog
from support import virtual_time
from support.delivery_world import (
    DENIED,
    FAILED,
    NOT_FOUND,
    ODD,
    OK,
    REFUSED,
    TIMED_OUT,
    Highest,
    World,
    never,
    numbered,
    slow_down,
)

from consumer.calls import Answer, AnswerKind, OptOutCall
from consumer.delivery import scheduler as turns
from consumer.delivery.partner import Partner, PendingCall
from consumer.events import Outcome
from consumer.settings import ApiSettings
from consumer.xcover.api import OptOutApi
from consumer.xcover.auth import Credentials

# -- credentials ---------------------------------------------------------------------------------------------------


def test_refused_credentials_stop_the_partners_calls_but_for_a_probe_every_30_s() -> None:
    async def main() -> None:
        world = World(lambda _: DENIED if world.loop.time() < 100 else OK, concurrency=1)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(6))
            await world.until(101.0)
            assert world.delivery.snapshot().partners == {"P": "credentials refused, next probe in 19 s"}
            await world.until_results(6)
        assert world.times()[:5] == [0.0, 30.1, 60.1, 90.1, 120.1]
        assert world.loop.time() == pytest.approx(120.7), "once one is answered, all go"
        assert world.offers()[:5] == ["o0", "o1", "o2", "o3", "o4"], "the waiting offers are probed in turn"
        events = [log["event"].split(":")[0] for log in logs if log["log_level"] != "debug"]
        assert events == ["credentials refused", "credentials accepted"], "once per turn of events, not per call"

    virtual_time.run(main())


def test_calls_in_flight_when_credentials_are_refused_add_no_probes() -> None:
    async def main() -> None:
        world = World(lambda _: DENIED, concurrency=8)
        world.submit(*numbered(20))
        await world.until(95.0)
        assert world.times() == [0.0] * 8 + [30.1, 60.1, 90.1]

    virtual_time.run(main())


@pytest.mark.parametrize("answer", [FAILED, REFUSED, ODD, NOT_FOUND])
def test_any_other_answer_to_the_probe_ends_the_credentials_fault(answer: Answer) -> None:
    async def main() -> None:
        answers = iter([DENIED, answer])
        world = World(lambda _: next(answers, OK), concurrency=1)
        world.submit(*numbered(5))
        await world.until(31.0)
        assert len(world.made) >= 6

    virtual_time.run(main())


def test_a_probe_that_nobody_answers_does_not_end_the_credentials_fault() -> None:
    async def main() -> None:
        answers = iter([DENIED, TIMED_OUT])
        world = World(lambda _: next(answers, OK), concurrency=1)
        world.submit(*numbered(5))
        await world.until(59.0)
        assert len(world.made) == 2
        await world.until_results(5)

    virtual_time.run(main())


def test_a_partner_without_credentials_does_not_stop_the_others() -> None:
    async def main() -> None:
        none = Answer(AnswerKind.CREDENTIALS)
        world = World(lambda call: none if call.partner_code == "NOKEY" else OK)
        world.submit(*numbered(10), partner="NOKEY")
        world.submit(*numbered(10, "p"), partner="P")
        await world.until_results(10)
        assert world.loop.time() == pytest.approx(0.1)
        await world.until(100.0)
        assert len(world.results) == 10

    virtual_time.run(main())


def test_one_offer_that_is_always_refused_like_a_wrong_key_does_not_stop_its_partner() -> None:
    """A 403 of one offer, while others are recorded with the same key, says nothing of the key."""

    async def main() -> None:
        world = World(lambda call: DENIED if call.offer_id == "poisoned" else OK, concurrency=1, rate_limit=10)
        with structlog.testing.capture_logs() as logs:
            world.submit("poisoned", *numbered(1_000))
            await world.until(200.0)
            assert world.delivery.snapshot().partners == {"P": "1 refused by the API"}
            assert len(world.results) == 1_000, "30 s lost at its first try, and no more"
            assert world.offers().count("poisoned") == 2
            await world.until(1_300.0)
        tries = [when for when, _, offer in world.made if offer == "poisoned"]
        assert [round(b - a) for a, b in pairwise(tries[1:])] == [300] * 4, "it is tried as a refused request is"
        events = [log["event"].split(":")[0] for log in logs if log["log_level"] != "debug"]
        assert events == ["credentials refused", "credentials accepted", "rejected"]

    virtual_time.run(main())


def test_a_poisoned_offer_that_is_the_probe_does_not_end_the_fault_nor_keep_others_from_being_the_probe() -> None:
    async def main() -> None:
        refused_until = 100.0
        world = World(
            lambda call: DENIED if call.offer_id == "poisoned" or world.loop.time() < refused_until else OK,
            concurrency=1,
        )
        world.submit("poisoned", "a", "b")
        await world.until(99.0)
        assert world.offers() == ["poisoned", "a", "b", "poisoned"]
        await world.until(131.0)
        assert world.offers()[4:6] == ["a", "b"], "the probe at 120 s was accepted"
        assert world.outcomes() == {"a": Outcome.OPTED_OUT, "b": Outcome.OPTED_OUT}

    virtual_time.run(main())


def test_a_poisoned_offer_that_is_the_probe_of_a_key_refused_later_does_not_end_the_fault() -> None:
    async def main() -> None:
        world = World(
            lambda call: DENIED if call.offer_id == "poisoned" or world.loop.time() >= 250 else OK, concurrency=1
        )
        world.submit("poisoned", *numbered(5))
        await world.until(250.0)
        assert len(world.results) == 5
        world.submit("a", "b")
        await world.until(450.0)
        assert "poisoned" in world.offers()[7:], "it was a probe"
        assert [round(b - a) for a, b in pairwise(world.times()[7:])] == [30] * 6

    virtual_time.run(main())


def test_a_key_that_is_refused_anew_stops_the_calls_anew_though_204s_came_before() -> None:
    async def main() -> None:
        world = World(lambda _: DENIED if 10 < world.loop.time() < 100 else OK, concurrency=1)
        world.submit(*numbered(5))
        await world.until(11.0)
        assert len(world.results) == 5
        world.submit(*numbered(5, "p"))
        await world.until(95.0)
        assert world.times()[5:] == [11.0, 41.1, 71.1]
        await world.until_results(10)

    virtual_time.run(main())


def test_a_partner_without_credentials_is_told_to_set_them_and_restart() -> None:
    api = ApiSettings.model_validate({"credentials": {"OTHER": {"key": "k", "secret": "s"}}})

    def no_transport(_: object) -> None:
        raise AssertionError("nothing may be sent")

    async def main() -> None:
        caller = OptOutApi(api, Credentials(api, lambda: 0.0), no_transport, lambda: 0.0)  # type: ignore[arg-type]
        world = World(caller, concurrency=1)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(3))
            await world.until(65.0)
        assert world.times() == [0.0, 30.0, 60.0]
        assert not world.results
        (warning,) = [log for log in logs if log["log_level"] == "warning"]
        assert warning["note"] == "no credentials for this partner_code: set api.credentials or api.key, and restart"

    virtual_time.run(main())


# -- breaker -------------------------------------------------------------------------------------------------------


def test_failures_in_a_row_open_the_breaker_and_one_probe_closes_it() -> None:
    async def main() -> None:
        world = World(lambda _: FAILED if world.loop.time() < 600 else OK, concurrency=8)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(1_000))
            await world.until(590.0)
            assert len(world.made) < 60, "a server in need must not be asked by a thousand"
            assert "failing, next probe in" in world.delivery.snapshot().partners["P"]
            await world.until_results(1_000)
        assert world.loop.time() < 600 + 60 + 60 + 13
        events = [log["event"].split(":")[0] for log in logs if log["log_level"] != "debug"]
        assert events == ["breaker opened", "breaker closed"]

    virtual_time.run(main())


def test_a_partner_that_fails_does_not_slow_another() -> None:
    async def main() -> None:
        world = World(lambda call: FAILED if call.partner_code == "BAD" else OK, shared_key=True)
        world.submit(*numbered(500), partner="BAD")
        world.submit(*numbered(500, "g"), partner="GOOD")
        await world.until_results(500)
        assert world.loop.time() < 2.0

    virtual_time.run(main())


def test_one_offer_that_always_fails_does_not_stop_its_partner() -> None:
    async def main() -> None:
        world = World(lambda call: FAILED if call.offer_id == "bad" else OK, concurrency=2)
        world.submit("bad", *numbered(1_000))
        await world.until_results(1_000)
        assert world.loop.time() < 60.0

    virtual_time.run(main())


# -- the 404 guard -------------------------------------------------------------------------------------------------


def test_a_404_is_terminal_once_a_204_of_the_partner_has_come() -> None:
    async def main() -> None:
        world = World(lambda call: OK if call.offer_id == "known" else NOT_FOUND, concurrency=1)
        world.submit("known", *numbered(30))
        await world.until_results(31)
        assert world.loop.time() == pytest.approx(3.1)
        assert world.outcomes() == {"known": Outcome.OPTED_OUT} | dict.fromkeys(numbered(30), Outcome.NOT_FOUND)

    virtual_time.run(main())


def test_a_204_settles_the_404s_held_before_it() -> None:
    async def main() -> None:
        world = World(lambda call: OK if call.offer_id == "known" else NOT_FOUND, concurrency=1)
        world.submit("lost", "known")
        await world.until_results(2)
        assert world.loop.time() == pytest.approx(0.2)
        assert world.outcomes() == {"lost": Outcome.NOT_FOUND, "known": Outcome.OPTED_OUT}

    virtual_time.run(main())


def test_another_partners_204_proves_nothing() -> None:
    async def main() -> None:
        world = World(lambda call: OK if call.partner_code == "A" else NOT_FOUND)
        world.submit("a", partner="A")
        world.submit("b", partner="B")
        await world.until(50.0)
        assert world.outcomes() == {"a": Outcome.OPTED_OUT}

    virtual_time.run(main())


def test_a_404_is_held_for_60_s_and_then_believed() -> None:
    async def main() -> None:
        world = World(lambda _: NOT_FOUND)
        world.submit(*numbered(18))
        await world.until(60.0)
        assert not world.results
        assert world.delivery.snapshot().partners == {"P": "18 answered 404, held until a 204 or 0 s pass"}
        await world.until(60.2)
        assert world.outcomes() == dict.fromkeys(numbered(18), Outcome.NOT_FOUND)
        assert {result.attempts for _, result in world.results} == {1}
        world.submit("later")
        await world.until(60.4)
        assert world.outcomes()["later"] is Outcome.NOT_FOUND, "after that a 404 is terminal at once"
        world.submit("the twentieth")
        await world.until(600.0)
        assert "the twentieth" not in world.outcomes(), "however slowly they came, twenty without a 204 trip the guard"

    virtual_time.run(main())


def test_twenty_404s_without_a_204_are_retried_until_a_204_comes() -> None:
    async def main() -> None:
        right_url = 3_600.0
        world = World(lambda call: OK if world.loop.time() > right_url and call.offer_id == "o3" else NOT_FOUND)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(20))
            await world.until(right_url)
            assert not world.results, "a wrong URL must not settle a single offer"
            assert "wrong base URL" in world.delivery.snapshot().partners["P"]
            await world.until_results(20)
        assert world.loop.time() < right_url + 200
        assert world.outcomes() == {
            name: Outcome.OPTED_OUT if name == "o3" else Outcome.NOT_FOUND for name in numbered(20)
        }
        warnings = [log["event"] for log in logs if log["log_level"] == "warning"]
        assert len(warnings) == 1
        assert "nothing but 404s" in warnings[0]

    virtual_time.run(main())


def test_the_guard_counts_to_its_limit_and_not_one_further() -> None:
    async def main() -> None:
        world = World(lambda _: NOT_FOUND, not_found_limit=3)
        world.submit("a", "b")
        await world.until(30.0)
        assert len(world.made) == 2
        world.submit("c")
        await world.until(200.0)
        assert not world.results
        assert len(world.made) > 6

    virtual_time.run(main())


@pytest.mark.parametrize(
    "bursts",
    [
        {0.0: 64},
        {0.0: 19, 61.0: 64},
        {0.0: 10, 59.95: 64, 120.0: 64},
        dict.fromkeys((float(second) for second in range(0, 1_000, 40)), 1),
        {0.0: 1, 59.85: 18, 59.95: 1, 60.05: 200},
    ],
)
def test_of_nothing_but_404s_fewer_than_the_limit_are_believed_whatever_is_in_flight(bursts: dict[float, int]) -> None:
    async def main() -> None:
        world = World(lambda _: NOT_FOUND, concurrency=64)
        for when, count in bursts.items():
            await world.until(when)
            world.submit(*numbered(count, f"{when}-"))
        await world.until(1_100.0)
        assert len(world.results) <= 19
        assert set(world.outcomes().values()) <= {Outcome.NOT_FOUND}
        assert len({offer for _, _, offer in world.made}) == sum(bursts.values()), "the others are still tried"

    virtual_time.run(main())


def test_404s_believed_without_a_204_are_told_once() -> None:
    async def main() -> None:
        world = World(lambda _: NOT_FOUND)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(3))
            await world.until(61.0)
            world.submit("later")
            await world.until(62.0)
        assert len(world.results) == 4
        (warning,) = [log for log in logs if log["log_level"] == "warning"]
        assert warning["event"].startswith("404s are believed though no 204 has come")
        assert (warning["partner_code"], warning["believed"]) == ("P", 3)

    virtual_time.run(main())


def test_what_one_process_saw_of_a_partner_proves_nothing_to_the_next() -> None:
    async def main() -> None:
        before = World(lambda call: OK if call.offer_id == "known" else NOT_FOUND)
        before.submit("known", "lost")
        await before.until_results(2)
        restarted = World(lambda _: NOT_FOUND)
        restarted.submit("lost")
        await restarted.until(59.0)
        assert not restarted.results, "settings may have changed in between"
        await restarted.until_results(1)

    virtual_time.run(main())


def test_404s_held_when_their_task_is_taken_away_settle_nothing_here() -> None:
    async def main() -> None:
        world = World(lambda _: NOT_FOUND)
        world.submit(*numbered(5), owner="gone")
        world.submit("stays", owner="stays")
        await world.until(30.0)
        world.delivery.cancel(["gone"])
        assert world.outcomes() == dict.fromkeys(numbered(5))
        await world.until(61.0)
        assert world.outcomes() == dict.fromkeys(numbered(5)) | {"stays": Outcome.NOT_FOUND}
        world.submit("o0", owner="came back")
        await world.until(62.0)
        assert world.outcomes()["o0"] is Outcome.NOT_FOUND, "the hold is of the partner, not of the task"
        assert len(world.results) == 7

    virtual_time.run(main())


def test_404s_held_that_were_all_taken_away_are_not_told_as_believed() -> None:
    async def main() -> None:
        world = World(lambda _: NOT_FOUND)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(5), owner="gone")
            await world.until(30.0)
            world.delivery.cancel(["gone"])
            await world.until(61.0)
        assert [log["event"] for log in logs if log["log_level"] != "debug"] == []

    virtual_time.run(main())


def test_without_the_guard_a_404_is_terminal_at_once() -> None:
    async def main() -> None:
        world = World(lambda _: NOT_FOUND, not_found_limit=0)
        world.submit(*numbered(50))
        await world.until_results(50)
        assert world.loop.time() == pytest.approx(0.1)
        assert set(world.outcomes().values()) == {Outcome.NOT_FOUND}

    virtual_time.run(main())


# -- Retry-After and the rate limit --------------------------------------------------------------------------------


def test_retry_after_gates_all_partners_of_the_credential() -> None:
    async def main() -> None:
        answers = iter([slow_down(40.0)])
        world = World(lambda _: next(answers, OK), shared_key=True)
        with structlog.testing.capture_logs() as logs:
            world.submit("a", partner="A")
            await world.until(1.0)
            world.submit("b", partner="B")
            await world.until_results(2)
        assert world.times("B") == [40.1]
        assert world.times("A")[1] >= 40.1
        assert [log["seconds"] for log in logs if "Retry-After" in log["event"]] == [40.0]

    virtual_time.run(main())


def test_retry_after_of_one_credential_does_not_gate_another() -> None:
    async def main() -> None:
        world = World(lambda call: slow_down(40.0) if call.partner_code == "A" else OK)
        world.submit("a", partner="A")
        await world.until(1.0)
        world.submit("b", partner="B")
        await world.until(2.0)
        assert world.outcomes() == {"b": Outcome.OPTED_OUT}

    virtual_time.run(main())


def test_a_shorter_retry_after_does_not_shorten_a_longer_one() -> None:
    async def main() -> None:
        waits = {"a": 100.0, "b": 5.0}
        world = World(lambda call: slow_down(waits[call.offer_id]) if len(world.made) <= 2 else OK)
        world.submit("a", "b")
        await world.until_results(2)
        assert min(world.times()[2:]) == 100.1

    virtual_time.run(main())


def most_in_a_second(times: list[float]) -> int:
    return max(sum(start <= when < start + 1.0 - 1e-6 for when in times) for start in times)


def test_no_second_ever_sees_more_calls_than_the_rate() -> None:
    async def main() -> None:
        world = World(lambda _: OK, rate_limit=10, shared_key=True)
        world.submit(*numbered(40), partner="A")
        world.submit(*numbered(40), partner="B")
        await world.until_results(80)
        assert world.loop.time() == pytest.approx(79 * 0.1 + 0.1, abs=0.01), "nor fewer, while calls wait"
        await world.until(1_000.0)
        world.submit(*numbered(40))  # a pause saves up nothing to be spent in a burst
        await world.until_results(120)
        assert most_in_a_second(world.times()) == 10

    virtual_time.run(main())


def test_each_credential_has_a_rate_of_its_own() -> None:
    async def main() -> None:
        world = World(lambda _: OK, rate_limit=10)
        world.submit(*numbered(11), partner="A")
        world.submit(*numbered(11), partner="B")
        await world.until_results(22)
        assert world.loop.time() == pytest.approx(1.1, abs=0.01)

    virtual_time.run(main())


def test_an_instance_uses_its_share_of_the_rate_and_a_new_share_at_once() -> None:
    async def main() -> None:
        world = World(lambda _: OK, rate_limit=10)
        world.delivery.set_share(0.1)
        world.submit(*numbered(200))
        await world.until(9.5)
        assert world.times() == pytest.approx([float(second) for second in range(10)])
        world.delivery.set_share(0.5)
        await world.until(11.4)
        assert len(world.made) == 20
        world.delivery.set_share(0.0)
        await world.until(100.0)
        assert len(world.made) == 20
        world.delivery.set_share(1.0)
        await world.until(100.95)
        assert len(world.made) == 30

    virtual_time.run(main())


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_part_of_the_whole(fraction: float) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="between 0 and 1"):
            World(lambda _: OK).delivery.set_share(fraction)

    virtual_time.run(main())


def test_a_hundred_thousand_calls_that_wait_are_not_looked_through_while_others_are_made() -> None:
    class Unlooked(deque[PendingCall]):
        def __iter__(self) -> NoReturn:
            raise AssertionError("looked through")

        __contains__ = __reversed__ = index = count = remove = __iter__  # type: ignore[assignment]

    taken: Counter[str] = Counter()

    class Counted(Partner):
        def take(self, now: float) -> PendingCall | None:
            taken[self.code] += 1
            return super().take(now)

    async def main() -> None:
        world = World(lambda call: DENIED if call.partner_code == "DENIED" else OK, concurrency=64)
        world.delivery._turns.partner("DENIED").fresh = Unlooked()
        world.delivery._turns.partner("GOOD").fresh = Unlooked()
        world.submit(*numbered(100_000), partner="DENIED")
        await world.until(1.0)
        world.submit(*numbered(10_000, "g"), partner="GOOD")
        await world.until(20.0)
        assert len(world.results) == 10_000
        assert taken["GOOD"] <= 10_000 + 2
        assert taken["DENIED"] <= 64 + 66, "one look each time that one of its calls ends, none for those of others"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "Partner", Counted)
        virtual_time.run(main())


# -- fairness ------------------------------------------------------------------------------------------------------


def test_a_partner_that_hangs_takes_at_most_half_of_the_slots() -> None:
    def insurer(call: OptOutCall) -> object:
        return never(call) if call.partner_code == "HANGS" else OK

    async def main() -> None:
        world = World(insurer, concurrency=8, shared_key=True)  # type: ignore[arg-type]
        world.submit(*numbered(500), partner="HANGS")
        world.submit(*numbered(400, "f"), partner="FINE")
        await world.until_results(390)
        assert world.most_at_once["HANGS"] == 4
        await world.until_results(400)
        assert world.loop.time() <= 400 / 4 * 0.1 + 0.2, "the other half of the slots is never idle"
        assert world.most_at_once["HANGS"] == 8, "no other waits any more"

    virtual_time.run(main())


def test_a_partner_alone_may_take_all_slots() -> None:
    async def main() -> None:
        world = World(lambda _: OK, concurrency=8)
        world.submit(*numbered(100))
        await world.until_results(100)
        assert world.most_at_once["P"] == 8

    virtual_time.run(main())


@pytest.mark.parametrize("shared_key", [True, False])
def test_a_partner_has_all_slots_again_when_no_other_waits_any_more(shared_key: bool) -> None:
    async def main() -> None:
        world = World(lambda _: OK, concurrency=8, shared_key=shared_key)
        world.submit("once", partner="SEEN-ONCE")
        await world.until_results(1)
        world.submit(*numbered(80))
        await world.until_results(81)
        assert world.most_at_once["P"] == 8
        assert world.loop.time() == pytest.approx(0.1 + 80 / 8 * 0.1)

    virtual_time.run(main())


def test_a_partner_whose_calls_are_stopped_waits_for_no_slot() -> None:
    async def main() -> None:
        world = World(lambda call: DENIED if call.partner_code == "DENIED" else OK, concurrency=8)
        world.submit(*numbered(500), partner="DENIED")
        await world.until(1.0)
        world.submit(*numbered(800, "g"), partner="GOOD")
        await world.until_results(800)
        assert world.most_at_once["GOOD"] == 8
        assert world.loop.time() == pytest.approx(1.0 + 800 / 8 * 0.1, abs=0.2)
        await world.until(31.0)
        assert world.times("DENIED")[-1] == pytest.approx(30.1, abs=0.1), "its probe finds a slot all the same"

    virtual_time.run(main())


def test_slots_kept_for_others_are_given_back_as_soon_as_no_other_waits() -> None:
    """Not only when one of the waiting partner's own calls ends: those may take as long as a time-out."""

    async def slow(_: OptOutCall) -> Answer:
        await asyncio.sleep(9.0)
        return OK

    async def main() -> None:
        world = World(lambda call: slow(call) if call.partner_code == "SLOW" else OK, concurrency=8)
        world.submit(*numbered(8), partner="SLOW")
        world.submit(*numbered(6, "f"), partner="FINE")
        await world.until(1.0)
        assert world.times("SLOW") == [0.0] * 4 + [0.1] * 2 + [0.2] * 2

    virtual_time.run(main())


def test_a_rate_limited_partner_finds_a_slot_kept_for_it() -> None:
    """It waits for its rate, not for a slot; but when its time comes there must be one."""

    def insurer(call: OptOutCall) -> object:
        return never(call) if call.partner_code == "HANGS" else OK

    async def main() -> None:
        world = World(insurer, concurrency=4, rate_limit=1)  # type: ignore[arg-type]
        world.submit(*numbered(20), partner="FINE")
        world.submit(*numbered(50), partner="HANGS")
        await world.until(9.5)
        assert world.times("FINE") == pytest.approx([float(second) for second in range(10)])
        assert world.most_at_once["HANGS"] == 2

    virtual_time.run(main())


def test_partners_of_one_credential_take_turns_whatever_their_backlogs() -> None:
    async def main() -> None:
        world = World(lambda _: OK, rate_limit=10, shared_key=True)
        world.submit(*numbered(10_000), partner="LARGE")
        await world.until(1.0)
        world.submit(*numbered(10), partner="SMALL")
        await world.until(3.2)
        assert len(world.times("SMALL")) == 10
        assert all(after - before <= 0.3 for before, after in pairwise(world.times("SMALL")))

    virtual_time.run(main())


def test_credentials_take_turns_when_slots_are_short() -> None:
    async def main() -> None:
        world = World(lambda _: OK, concurrency=1)
        world.submit(*numbered(1_000), partner="LARGE")
        world.submit(*numbered(10), partner="SMALL")
        await world.until(2.05)
        assert len(world.times("SMALL")) == 10

    virtual_time.run(main())


def test_a_new_call_leaves_at_once_while_others_wait_for_another_try() -> None:
    async def main() -> None:
        world = World(lambda call: FAILED if call.offer_id in {"x", "y"} else OK, random=Highest())
        world.submit("x", "y")
        await world.until(50.0)
        world.submit("new")
        await world.until(50.2)
        assert world.outcomes() == {"new": Outcome.OPTED_OUT}

    virtual_time.run(main())
