"""While a call waits and the offers of its partition stand still, a purchase is read, and known before it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from brokers.producers import ordered_producer
from support.deployment import AGE, WINDOW_MS, deployed, now, until

from consumer.events import Outcome


@pytest.mark.parametrize("why", ["our clock is 3 s ahead", "a transaction is open"])
def test_no_call_leaves_past_a_purchase_that_has_stood_in_the_log_while_it_waited(
    real_kafka, tmp_path: Path, why: str
) -> None:
    """The API is down, and the offer's call waits. No offer is shown in this partition any more, and there is no idle
    watermark. A window later the checkouts are ahead, and are paused. Then it is bought, and the API comes back."""
    clock = tmp_path / "clock"
    clock.write_text("0", encoding="utf-8")
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="503", partitions=(1, 1)) as deployment:
        deployment.present("offer", session="s1", at=now() - AGE)
        deployment.flush()
        process = deployment.start(clock=clock)
        until(deployment.called, within=30, what="the first call")
        if why.startswith("our clock"):
            clock.write_text("3", encoding="utf-8")
            until(lambda: "the clock of this machine differs" in process.text(), within=30, what="that it differs")
        else:
            transaction = ordered_producer(deployment.bootstrap, transactional_id=f"t-{deployment.suffix}")
            transaction.init_transactions(30)
            transaction.begin_transaction()
            transaction.produce(deployment.offer_topic, key="open", value=b"")
            assert transaction.flush(30) == 0
        began = now()
        until(lambda: now() > began + WINDOW_MS + 3_000, within=60, what="that a window has passed")
        deployment.check_out(session="another", at=now())
        deployment.flush()
        deployment.check_out("offer", session="s1", at=now())
        deployment.flush()
        outcomes = until(deployment.outcomes, within=60, what="its outcome, while the API is down")
        assert {one.outcome for one in outcomes} == {Outcome.PURCHASED}
        assert deployment.settled() == []
