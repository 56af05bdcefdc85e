"""An offer's offset is committed only after a 204 or a terminal 404, read from outside the consumer."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.deployment import AGE, Deployment, deployed, now, until

from consumer.core.checkpoint import OfferCheckpoint
from consumer.events import Outcome


def partition_with_a_commit(deployment: Deployment) -> tuple[int, OfferCheckpoint] | None:
    """The offset and the checkpoint of the one partition that holds the offer, once a commit speaks of it."""
    for offset, metadata in deployment.committed(deployment.offer_topic).values():
        if metadata:
            found = OfferCheckpoint.decode(metadata, offset)
            if found.next_offset == 1 and found.decided_to > now() - AGE:
                return offset, found
    return None


@pytest.mark.parametrize("answer", ["200", "302", "400", "403", "500", "404-html", "hang"])
def test_no_other_answer_than_204_or_404_moves_the_commit(real_kafka, tmp_path: Path, answer: str) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario=answer) as deployment:
        deployment.present("offer-1", at=now() - AGE)
        deployment.check_out(at=now() - AGE + 1_000)
        deployment.flush()
        deployment.start()
        until(deployment.called, within=30, what="a call")
        until(lambda: partition_with_a_commit(deployment), within=15, what="a commit after the decision")
        offset, found = until(
            lambda: (c := partition_with_a_commit(deployment)) and c[1].decided_to > now() - 5_000 and c,
            within=15,
            what="a later commit",
        )
        assert offset == 0
        assert found.unsettled == {0}
        assert deployment.settled() == []
        assert deployment.outcomes() == []


@pytest.mark.parametrize(("answer", "outcome"), [("204", Outcome.OPTED_OUT), ("404", Outcome.NOT_FOUND)])
def test_a_204_or_a_terminal_404_moves_the_commit(real_kafka, tmp_path: Path, answer: str, outcome: Outcome) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario=answer) as deployment:
        deployment.present("offer-1", at=now() - AGE)
        deployment.check_out(at=now() - AGE + 1_000)
        deployment.flush()
        deployment.start()
        until(lambda: deployment.committed_total() == 1, within=30, what="the commit to move")
        (written,) = deployment.outcomes()
        assert (written.outcome, written.offer_id, written.status_code) == (outcome, "offer-1", int(answer))


def test_a_transient_failure_holds_the_commit_until_it_is_over(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="503") as deployment:
        deployment.present("offer-1", at=now() - AGE)
        deployment.flush()
        deployment.start()
        until(lambda: len(deployment.called()) >= 2, within=30, what="a retry")
        assert deployment.committed_total() == 0
        deployment.api.set_scenario("204")
        until(lambda: deployment.committed_total() == 1, within=30, what="the commit to move")
        (written,) = deployment.outcomes()
        assert written.attempts == len(deployment.called()) >= 3


def test_a_bought_offer_is_never_called_and_settles_at_once(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="204") as deployment:
        deployment.present("bought", at=now() - AGE)
        deployment.present("declined", at=now() - AGE)
        deployment.check_out("bought", at=now() - AGE + 500)
        deployment.flush()
        deployment.start()
        until(lambda: deployment.committed_total() == 2, within=30, what="both to be settled")
        assert deployment.called() == ["declined"]
        assert {o.offer_id: o.outcome for o in deployment.outcomes()} == {
            "bought": Outcome.PURCHASED,
            "declined": Outcome.OPTED_OUT,
        }
