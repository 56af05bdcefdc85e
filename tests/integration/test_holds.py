"""The guards end to end: a checkout producer that breaks costs time, not false opt-outs."""

from __future__ import annotations

from pathlib import Path

from support.deployment import AGE, WINDOW_MS, Deployment, Process, deployed, headers, now, until

from consumer.core.checkpoint import CheckoutCheckpoint, GuardState
from consumer.core.rules import MAX_TIME
from consumer.events import Outcome

LATENESS_MS = 3_000
SILENCE = {"JOIN__CHECKOUT_SILENCE": "20s", "JOIN__LATENESS": f"{LATENESS_MS}ms"}


def held(process: Process, by: str) -> bool:
    return any(line.get("held_by") == by and "decisions are held" in line["event"] for line in process.lines())


def remembered(deployment: Deployment) -> list[GuardState]:
    """What the group has committed for the guards, of each partition."""
    commits = deployment.committed(deployment.checkout_topic).values()
    return [CheckoutCheckpoint.decode(metadata, offset).guard for offset, metadata in commits if metadata]


def fall_silent(deployment: Deployment) -> int:
    """A minute in which offers are shown all the time, and a checkout comes in its first second only; its begin."""
    begin = now() - 60_000
    deployment.check_out("sold-0", session="s0", at=begin)
    for second in range(60):
        deployment.present(f"sold-{second}", session=f"s{second}", at=begin - 500 + second * 1_000)
    deployment.flush()
    return begin


def test_checkout_silence_holds_the_calls_over_a_restart_and_lets_go_by_itself(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=SILENCE) as deployment:
        begin = fall_silent(deployment)
        process = deployment.start()
        until(lambda: held(process, "checkout_silence"), within=30, what="decisions to be held")
        until(lambda: MAX_TIME in [g.resume_at for g in remembered(deployment)], within=30, what="a commit of that")
        process.kill()
        again = deployment.start()
        until(lambda: held(again, "checkout_silence"), within=40, what="decisions to be held after the restart")
        # The producer is mended, and delivers what it had kept back: a checkout of now first, the older ones after it.
        deployment.check_out(session="now")
        deployment.flush()
        until(lambda: "checkouts come again:" in again.text(), within=30, what="the new checkout to be noticed")
        assert deployment.called() == []
        for second in range(1, 60):
            deployment.check_out(f"sold-{second}", session=f"s{second}", at=begin + second * 1_000)
        deployment.present("not-sold", session="t", at=now() - WINDOW_MS - LATENESS_MS)
        deployment.flush()
        until(lambda: len(deployment.outcomes()) == 61, within=40, what="all to be settled")
        assert set(deployment.called()) == {"not-sold"}
        assert {o.outcome for o in deployment.outcomes()} == {Outcome.PURCHASED, Outcome.OPTED_OUT}
        assert any(line["event"] == "decisions go on" for line in again.lines())


def test_unmatched_limit_holds_the_calls_over_a_restart_until_an_id_matches(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings={"JOIN__UNMATCHED_LIMIT": "10"}) as deployment:
        begin = now() - 20_000
        for number in range(10):
            # All offers come first: the tenth mismatch is known before the first of them is due.
            deployment.present(f"offer-{number}", session=f"s{number}", at=begin)
            deployment.check_out(f"booking-{number}", session=f"s{number}", at=begin + 100)
        deployment.flush()
        process = deployment.start()
        until(lambda: held(process, "unmatched_limit"), within=30, what="decisions to be held")
        (line, *_) = [line for line in process.lines() if line.get("held_by") == "unmatched_limit"]
        assert line["purchased_id"].startswith("booking-")
        # By each partition: they may be shared among instances of which none has seen all ten.
        until(lambda: {g.unmatched for g in remembered(deployment)} == {10}, within=30, what="a commit of that")
        process.kill()
        again = deployment.start()
        until(lambda: held(again, "unmatched_limit"), within=40, what="decisions to be held after the restart")
        assert deployment.called() == []
        deployment.present("sold", session="t")
        deployment.check_out("sold", session="t")
        deployment.flush()
        until(lambda: len(deployment.outcomes()) == 11, within=40, what="all to be settled")
        assert sorted(deployment.called()) == [f"offer-{number}" for number in range(10)]


def kept_back(process: Process) -> bool:
    return "offers are kept back" in process.text()


def test_a_mass_of_late_offers_is_kept_back_over_a_restart_until_an_operator_gives_it_up(
    real_kafka, tmp_path: Path
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings={"DEAD_LETTER__LATE_RUN": "5"}) as deployment:
        deployment.present("on-time", session="s1", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 1, within=40, what="the watermark to have moved")
        for number in range(20):  # one session: all of them are in one partition
            deployment.present(f"late-{number}", session="s1", at=now() - AGE)
        deployment.flush()
        until(lambda: kept_back(process), within=30, what="the late ones to be kept back")
        process.kill()
        again = deployment.start()
        until(lambda: kept_back(again), within=40, what="them to be kept back after the restart")
        assert (deployment.dead_letters(), deployment.committed_total()) == ([], 1)
        again.kill()
        deployment.start(DEAD_LETTER__LATE_RUN="0")
        until(lambda: deployment.committed_total() == 21, within=40, what="them to be given up")
        assert {headers(letter)["reason"] for letter in deployment.dead_letters()} == {"late"}
        assert deployment.called() == ["on-time"]
