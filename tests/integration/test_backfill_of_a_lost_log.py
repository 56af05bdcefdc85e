"""Rule: a backfill calls no offer whose purchase stood in a checkout topic that was made anew since."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from brokers import Broker
from support.deployment import PARTITIONS, Deployment, deployed, now, until

from consumer.events import Outcome, Reason


def iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")


def opt_out(deployment: Deployment, *words: str) -> tuple[int, str]:
    ran = deployment.command(*words)
    return ran.returncode, ran.stdout + ran.stderr


def checkouts_of_others(deployment: Deployment, begin: int, end: int) -> None:
    """Customers who bought nothing that is offered here, in each partition."""
    for at in range(begin, end, 250):
        deployment.check_out(session=f"other-{at}", at=at)


def shop(deployment: Deployment, begin: int) -> None:
    """An offer each 200 ms, all of them bought."""
    for number in range(100):
        at = begin + 200 * number
        deployment.present(f"o{number}", session=f"o{number}", at=at)
        deployment.check_out(f"o{number}", session=f"o{number}", at=at + 1_000)


def make_anew(deployment: Deployment) -> None:
    """Somebody deletes the checkout topic and makes it anew; from then on there are checkouts again."""
    deployment.make_anew(deployment.checkout_topic)
    checkouts_of_others(deployment, now() - 90_000, now())
    deployment.flush()


def run_for_a_while(deployment: Deployment) -> None:
    """The service runs, commits, and is stopped."""
    process = deployment.start()
    until(lambda: len(process.lines("task begins")) == PARTITIONS, within=60, what="the tasks to begin")
    assert process.terminate() == 0


def test_what_was_bought_in_a_topic_that_was_made_anew_is_not_called(real_kafka: Broker, tmp_path: Path) -> None:
    """The deployment stood still while these were shown and bought, and its commits name the topic of then."""
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        begin = now() - 300_000
        checkouts_of_others(deployment, begin - 100_000, begin - 20_000)
        deployment.flush()
        run_for_a_while(deployment)
        shop(deployment, begin)
        checkouts_of_others(deployment, begin, begin + 60_000)
        deployment.flush()
        make_anew(deployment)
        code, said = opt_out(deployment, "positions")
        assert code == 1, said
        assert "made anew" in said, "the deployment's own positions tell it"

        code, said = opt_out(
            deployment, "backfill", "b1", "--from", iso(begin), "--to", iso(begin + 20_000), "--rate", "1000"
        )

        assert deployment.called() == [], f"all of these were bought; exit code {code}: {said[-600:]}"
        assert code == 1, said
        assert "A backfill goes by what the deployment knows of the checkouts" in said


def test_what_went_late_since_its_checkouts_are_lost_is_not_called_by_force(real_kafka: Broker, tmp_path: Path) -> None:
    """An operator said yes to the loss, by which the offers went late; each commit since then tells that."""
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        begin = now() - 300_000
        checkouts_of_others(deployment, begin - 100_000, begin - 20_000)
        deployment.flush()
        run_for_a_while(deployment)
        shop(deployment, begin)
        deployment.flush()
        make_anew(deployment)
        code, said = opt_out(deployment, "positions", "--accept")
        assert code == 0, said
        deployment.start()
        until(lambda: len(deployment.outcomes()) >= 100, within=60, what="the offers to be given up")
        assert {(o.outcome, o.reason) for o in deployment.outcomes()} == {(Outcome.DEAD_LETTERED, Reason.LATE)}
        assert deployment.called() == []

        bounds = "--from", iso(begin), "--to", iso(begin + 20_000)
        code, said = opt_out(deployment, "backfill", "b1", *bounds, "--force", "--rate", "1000")

        assert deployment.called() == [], f"all of these were bought; exit code {code}: {said[-600:]}"
        assert code == 1, said
        assert "are gone from the log" in said

        code, said = opt_out(deployment, "backfill", "b2", *bounds, "--force", "--allow-gaps", "--rate", "1000")

        assert deployment.called() == [], f"all of these were bought; exit code {code}: {said[-600:]}"
        assert code == 3, said
