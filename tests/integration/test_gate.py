"""The gate before every call, with a real broker and a real HTTP server: what is known to be bought is not called."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from support.deployment import AGE, WINDOW_MS, Deployment, deployed, now, until

from consumer.core.checkpoint import CheckoutCheckpoint, OfferCheckpoint
from consumer.events import OfferOutcome, Outcome, Reason

COUNT = 60


def present(deployment: Deployment, age: int = AGE) -> None:
    """Offers presented so many ms ago; by default they are due as soon as the topics are found idle."""
    for number in range(COUNT):
        deployment.present(f"offer-{number}", session=f"s{number}", at=now() - age)
    deployment.flush()


def buy(deployment: Deployment) -> None:
    """All of them, and long after they were due."""
    for number in range(COUNT):
        deployment.check_out(f"offer-{number}", session=f"s{number}", at=now())
    deployment.flush()


def settled(deployment: Deployment) -> list[OfferOutcome]:
    """The outcomes, once there is one of each offer."""

    def all_told() -> bool:
        return len({one.offer_id for one in deployment.outcomes() if one.offer_id.startswith("offer-")}) == COUNT

    until(all_told, within=40, what="an outcome of every offer")
    return deployment.outcomes()


def test_no_offer_that_waits_for_the_rate_limit_is_called_once_its_purchase_is_read(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings={"DELIVERY__RATE_LIMIT": "10"}) as deployment:
        present(deployment)
        process = deployment.start()
        until(deployment.called, within=30, what="the first call")
        buy(deployment)
        outcomes = settled(deployment)
        called = deployment.called()
        counted = Counter(outcome.outcome for outcome in outcomes)
        assert counted == {Outcome.OPTED_OUT: len(called), Outcome.PURCHASED: COUNT - len(called)}
        assert len(called) < COUNT / 2, "ten leave a second, and within seconds every purchase is read"
        for outcome in outcomes:
            assert (outcome.outcome is Outcome.OPTED_OUT) is (outcome.offer_id in called)
            if outcome.outcome is Outcome.PURCHASED:
                assert (outcome.reason, outcome.attempts) == (Reason.PURCHASED, 0)
                assert outcome.decided_at == outcome.presented_at + WINDOW_MS
                assert (outcome.checkout_id or "").startswith("checkout-")
                assert "after the decision" in (outcome.note or "")
        reported = {line["offer_id"] for line in process.lines("purchase_after_opt_out")}
        assert reported == set(called), "those that were called, and none that was withheld"


def test_no_offer_that_waits_for_its_credentials_is_called_once_it_is_bought(real_kafka, tmp_path: Path) -> None:
    settings = {"DELIVERY__CONCURRENCY": "1"}
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="403", settings=settings) as deployment:
        present(deployment)
        process = deployment.start()
        until(deployment.called, within=30, what="the call that is refused")
        buy(deployment)
        assert {outcome.outcome for outcome in settled(deployment)} == {Outcome.PURCHASED}
        until(lambda: deployment.committed_total() == COUNT, within=20, what="the commit to pass them all")
        assert len(deployment.called()) == 1
        assert process.lines("purchase_after_opt_out") == [], "a refused call told the insurer nothing"


@pytest.mark.parametrize("listed", [True, False])
def test_a_restart_calls_no_offer_whose_purchase_it_reads_again(real_kafka, tmp_path: Path, listed: bool) -> None:
    # A call in flight is not cut: while it hangs, its offer stays unsettled though its purchase is read.
    settings = {"API__TIMEOUT": "60s", "DELIVERY__CONCURRENCY": str(COUNT)}
    scenario = "ACME/first:204; hang"
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario=scenario, settings=settings) as deployment:
        deployment.present("first", at=now() - AGE)
        deployment.flush()
        first = deployment.start(KAFKA__COMMIT_INTERVAL="300ms" if listed else "1h")
        until(
            deployment.outcomes, within=30, what="the first outcome, after which more than one call may leave at a time"
        )
        present(deployment, age=0)
        until(lambda: len(deployment.called()) == COUNT + 1, within=30, what="all calls in flight")
        buy(deployment)
        if listed:
            until(lambda: knows_purchases(deployment), within=20, what="a commit that has read the purchases")
        first.kill()
        deployment.api.set_scenario("204")
        deployment.start()
        assert {one.outcome for one in settled(deployment) if one.offer_id != "first"} == {Outcome.PURCHASED}
        assert len([offer_id for offer_id in deployment.called() if offer_id != "first"]) == COUNT


def knows_purchases(deployment: Deployment) -> bool:
    """Whether what is committed lists every offer as unsettled, and says that every checkout was read."""
    offers = [OfferCheckpoint.decode(text, at) for at, text in deployment.committed(deployment.offer_topic).values()]
    places = deployment.committed(deployment.checkout_topic).values()
    checkouts = [CheckoutCheckpoint.decode(text, at) for at, text in places]
    return (sum(len(one.unsettled) for one in offers), sum(one.next_offset for one in checkouts)) == (COUNT, COUNT)
