"""Where a new group starts, and that it is settled before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.deployment import LOOKBACK_MS, deployed, moment, now, until

from consumer.core.checkpoint import CheckoutCheckpoint
from consumer.events import Outcome


def test_start_from_latest_looks_at_no_offer_from_before(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        for n in range(20):
            deployment.present(f"before-{n}", session=f"s{n}", at=now() - 20_000)
        deployment.flush()
        process = deployment.start(KAFKA__START_FROM="latest")
        until(lambda: process.lines("task begins"), within=30, what="the tasks to begin")
        deployment.present("after", session="t")
        deployment.flush()
        until(lambda: "after" in deployment.settled(), within=30, what="the new offer to be settled")
        assert set(deployment.called()) == {"after"}


def test_start_from_a_time_reads_the_checkouts_from_lookback_before(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        since = now() - 40_000
        deployment.present("before", session="s1", at=since - 1_000)
        deployment.present("bought-before", session="s2", at=since + 1_000)
        deployment.check_out("bought-before", session="s2", at=since + 1_000 - LOOKBACK_MS + 500)
        deployment.present("from-then", session="s3", at=since + 1_000)
        deployment.flush()
        deployment.start(KAFKA__START_FROM=moment(since))
        until(lambda: "from-then" in deployment.settled(), within=30, what="the offer to be settled")
        until(lambda: len(deployment.outcomes()) == 2, within=30, what="both outcomes")
        assert deployment.called() == ["from-then"]
        assert {o.offer_id: o.outcome for o in deployment.outcomes()}["bought-before"] is Outcome.PURCHASED


@pytest.mark.parametrize("start_from", ["latest", "a time"])
def test_the_start_is_committed_before_the_first_read_and_outlives_a_crash(
    real_kafka, tmp_path: Path, start_from: str
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        for n in range(20):
            deployment.present(f"before-{n}", session=f"s{n}", at=now() - 20_000)
        deployment.flush()
        start = moment(now() - 10_000) if start_from == "a time" else start_from
        process = deployment.start(KAFKA__START_FROM=start, KAFKA__COMMIT_INTERVAL="1h")
        told = "a new group starts in the middle of both topics: offers presented before are not looked at"
        until(lambda: process.lines(told), within=30, what="the start to be told")
        process.kill()
        assert deployment.committed_total() == 20
        for offset, metadata in deployment.committed(deployment.checkout_topic).values():
            assert CheckoutCheckpoint.decode(metadata, offset).horizon > now() - 60_000
        deployment.present("after", session="t")
        deployment.flush()
        deployment.start(KAFKA__START_FROM="earliest")
        until(lambda: "after" in deployment.settled(), within=40, what="the new offer to be settled")
        assert set(deployment.called()) == {"after"}


def test_raising_lookback_reads_the_checkouts_again_that_it_now_needs(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="503") as deployment:
        begin = now() - 60_000
        deployment.check_out("bought-long-ago", session="s1", at=begin)
        for n in range(40):
            deployment.check_out(session=f"x{n}", at=begin + 30_000)
        deployment.present("hangs", session="s2", at=begin + 40_000)
        deployment.flush()
        process = deployment.start()
        until(lambda: "hangs" in deployment.called(), within=30, what="a call")
        until(
            lambda: any(offset > 0 for offset, _ in deployment.committed(deployment.checkout_topic).values()),
            within=30,
            what="checkouts to be let go",
        )
        assert process.terminate() == 0
        deployment.present("bought-long-ago", session="s1", at=now())
        deployment.flush()
        deployment.api.set_scenario("204")
        deployment.start(JOIN__LOOKBACK="5m")
        until(lambda: len(deployment.outcomes()) == 2, within=40, what="both to be settled")
        outcomes = {o.offer_id: o.outcome for o in deployment.outcomes()}
        assert outcomes == {"hangs": Outcome.OPTED_OUT, "bought-long-ago": Outcome.PURCHASED}
        assert deployment.dead_letters() == []
