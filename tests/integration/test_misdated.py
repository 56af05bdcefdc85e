"""Producers that date in another unit or by a wrong clock, beside others that are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.deployment import AGE, LOOKBACK_MS, WINDOW_MS, Deployment, deployed, headers, now, until

from consumer.events import Outcome, Reason

NUMBERS = range(5)


def others(deployment: Deployment, name: str) -> None:
    """Another session is shown an offer, and buys it: its producers are right."""
    deployment.present(f"other-{name}", session=f"other-{name}")
    deployment.check_out(f"other-{name}", session=f"other-{name}")


@pytest.mark.parametrize("crashes", [False, True], ids=["read as they come", "read again after a crash"])
@pytest.mark.parametrize(
    ("dated", "stamped", "seems"),
    [
        (lambda at: at // 1_000, True, "seconds instead of milliseconds"),
        (lambda at: at // 60_000, True, "minutes instead of milliseconds"),
        (lambda at: at - 5 * 3_600_000, True, "local time instead of UTC (UTC-5)"),
        (lambda at: at - 5 * 3_600_000, False, "local time instead of UTC (UTC-5)"),
    ],
    ids=["seconds", "minutes", "local time", "a clock that stamps too"],
)
def test_five_of_five_are_bought_by_checkouts_dated_far_behind_and_that_is_said_once(
    real_kafka, tmp_path: Path, dated: Callable[[int], int], stamped: bool, seems: str, crashes: bool
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        process = deployment.start()
        others(deployment, "before")
        for number in NUMBERS:
            deployment.present(f"o{number}", session=f"s{number}")
        others(deployment, "between")
        for number in NUMBERS:
            at = now()
            stamp = at if stamped else dated(at)
            deployment.check_out(f"o{number}", session=f"s{number}", at=dated(at), stamp=stamp)
            others(deployment, f"beside-{number}")
        deployment.flush()
        total = len(NUMBERS) + 7
        if crashes:
            offers = deployment.offer_topic
            until(lambda: deployment.committed(offers)[0][0] > 0, within=30, what="the first offer to be settled")
            process.kill()
            process = deployment.start()
        until(lambda: deployment.committed_total() == total, within=60, what="all offers to be settled")
        assert deployment.called() == []
        assert {o.outcome for o in deployment.outcomes()} == {Outcome.PURCHASED}
        said = [[line["seems_to_be"] for line in p.lines("implausible checkout")] for p in deployment.processes]
        # A process that was killed, or begins when all is settled, may have had none to say.
        assert [seems] in said
        assert all(lines in ([], [seems]) for lines in said)


@pytest.mark.parametrize("stamped", [True, False], ids=["stamped right", "stamped so too"])
@pytest.mark.parametrize("has_run", [False, True], ids=["by a new group", "by a task that has run"])
def test_offers_dated_in_seconds_are_dead_lettered_and_none_is_called(
    real_kafka, tmp_path: Path, has_run: bool, stamped: bool
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        if has_run:
            deployment.present("before", at=now() - AGE, session="before")
            deployment.flush()
            process = deployment.start()
            until(lambda: deployment.called() == ["before"], within=60, what="the first offer to be called")
        for number in NUMBERS:
            at = now()
            deployment.present(f"o{number}", session=f"s{number}", at=at // 1_000, stamp=at if stamped else at // 1_000)
        deployment.flush()
        if not has_run:
            process = deployment.start()
        total = len(NUMBERS) + has_run
        until(lambda: deployment.committed_total() == total, within=60, what="all offers to be settled")
        assert deployment.called() == ["before"] * has_run
        letters = [headers(letter) for letter in deployment.dead_letters()]
        assert [letter["reason"] for letter in letters] == ["implausible_time"] * len(NUMBERS)
        assert all("seconds instead of milliseconds" in letter["error"] for letter in letters)
        (line,) = process.lines("implausible offer")
        assert line["seems_to_be"] == "seconds instead of milliseconds"


def test_a_backlog_within_lookback_declines_by_its_own_dates(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        at, written = now() - LOOKBACK_MS, now()
        deployment.present("declined", at=at, stamp=written - WINDOW_MS)
        deployment.present("bought", at=at, stamp=written - WINDOW_MS)
        deployment.check_out("bought", at=at + 1_000, stamp=written)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 2, within=60, what="both offers to be settled")
        assert deployment.called() == ["declined"]
        outcomes = {o.offer_id: o.reason for o in deployment.outcomes()}
        assert outcomes == {"declined": Reason.DECLINED, "bought": Reason.PURCHASED}
        assert process.lines("implausible checkout") == []
