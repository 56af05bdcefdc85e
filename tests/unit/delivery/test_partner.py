"""When a partner is left alone since its credentials are refused."""

from __future__ import annotations

from itertools import pairwise

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
    DeliveryWorld,
    numbered,
    states,
)
from support.owner import always

from consumer.calls import Answer, AnswerKind
from consumer.events import Outcome
from consumer.settings import ApiSettings
from consumer.xcover.api import OptOutApi
from consumer.xcover.auth import Credentials


def test_refused_credentials_stop_the_partners_calls_but_for_a_probe_every_30_s() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: DENIED if world.loop.time() < 100 else OK, concurrency=1)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(6))
            await world.until(101.0)
            assert states(world.delivery.snapshot()) == {"P": "credentials refused, next probe in 19 s"}
            await world.until_results(6)
        assert world.times()[:5] == [0.0, 30.1, 60.1, 90.1, 120.1]
        assert world.loop.time() == pytest.approx(120.7), "once one is answered, all go"
        assert world.offers()[:5] == ["o0", "o1", "o2", "o3", "o4"], "the waiting offers are probed in turn"
        events = [log["event"].split(":")[0] for log in logs if log["log_level"] != "debug"]
        assert events == ["credentials refused", "credentials accepted"], "once per turn of events, not per call"

    virtual_time.run(main())


def test_calls_in_flight_when_credentials_are_refused_add_no_probes() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: DENIED, concurrency=8)
        world.submit(*numbered(20))
        await world.until(95.0)
        assert world.times() == [0.0] * 8 + [30.1, 60.1, 90.1]

    virtual_time.run(main())


@pytest.mark.parametrize("answer", [FAILED, REFUSED, ODD, NOT_FOUND])
def test_any_other_answer_to_the_probe_ends_the_credentials_fault(answer: Answer) -> None:
    async def main() -> None:
        answers = iter([DENIED, answer])
        world = DeliveryWorld(lambda _: next(answers, OK), concurrency=1)
        world.submit(*numbered(5))
        await world.until(31.0)
        assert len(world.made) >= 6

    virtual_time.run(main())


def test_a_probe_that_nobody_answers_does_not_end_the_credentials_fault() -> None:
    async def main() -> None:
        answers = iter([DENIED, TIMED_OUT])
        world = DeliveryWorld(lambda _: next(answers, OK), concurrency=1)
        world.submit(*numbered(5))
        await world.until(59.0)
        assert len(world.made) == 2
        await world.until_results(5)

    virtual_time.run(main())


def test_a_partner_without_credentials_does_not_stop_the_others() -> None:
    async def main() -> None:
        none = Answer(AnswerKind.CREDENTIALS)
        world = DeliveryWorld(lambda call: none if call.partner_code == "NOKEY" else OK)
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
        world = DeliveryWorld(lambda call: DENIED if call.offer_id == "poisoned" else OK, concurrency=1, rate_limit=10)
        with structlog.testing.capture_logs() as logs:
            world.submit("poisoned", *numbered(1_000))
            await world.until(200.0)
            assert states(world.delivery.snapshot()) == {"P": "1 refused by the API"}
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
        world = DeliveryWorld(
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
        world = DeliveryWorld(
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
        world = DeliveryWorld(lambda _: DENIED if 10 < world.loop.time() < 100 else OK, concurrency=1)
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
        world = DeliveryWorld(lambda call: caller(call, always), concurrency=1)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(3))
            await world.until(65.0)
        assert world.times() == [0.0, 30.0, 60.0]
        assert not world.results
        (warning,) = [log for log in logs if log["log_level"] == "warning"]
        assert warning["note"] == "no credentials for this partner_code: set api.credentials or api.key, and restart"

    virtual_time.run(main())
