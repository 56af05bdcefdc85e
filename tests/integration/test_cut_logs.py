"""Rule 2: a checkout log that lost its end is not taken for the old one, though it has grown past what was read."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from brokers.apache import ApacheBroker
from support.deployment import AGE, Deployment, deployed, now, until

from consumer.core.checkpoint import CheckoutCheckpoint

PATIENT = {"KAFKA__PROPERTIES": json.dumps({"session.timeout.ms": 45_000, "reconnect.backoff.max.ms": 500})}
"""A member keeps its partitions while the broker is away, and comes back soon."""


def read_to(deployment: Deployment) -> tuple[int, int]:
    """From where a start reads the checkouts, and how far they were read, as far as that is committed."""
    offset, text = deployment.committed(deployment.checkout_topic)[0]
    try:
        return offset, CheckoutCheckpoint.decode(text, offset).next_offset
    except ValueError:
        return offset, 0


def test_a_log_that_was_cut_and_has_grown_stops_the_run_and_each_start_until_somebody_says_yes(
    own_broker, tmp_path: Path
) -> None:
    if not isinstance(own_broker, ApacheBroker):
        pytest.skip(f"needs the files of the broker's logs: {own_broker.description} has them elsewhere")
    bootstrap = own_broker.bootstrap_servers
    with deployed(bootstrap, tmp_path, partitions=(1, 1), protocol="classic", settings=PATIENT) as deployment:
        for n in range(40):
            deployment.check_out(session=f"old-{n}", at=now() - 600_000)
            deployment.flush()  # each in a batch of its own
        deployment.present("first", session="first", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: "first" in deployment.settled(), within=60, what="the first offer to be called")
        until(lambda: read_to(deployment) == (40, 40), within=60, what="all checkouts to be read and never read again")
        assert process.terminate() == 0
        # Of its partitions no record is read before the cut, so that the client has nothing to compare.
        process = deployment.start()
        until(lambda: process.lines("task begins"), within=60, what="the task to begin")
        process.popen.send_signal(signal.SIGSTOP)
        own_broker.stop()
        own_broker.cut_log(deployment.checkout_topic, 0, 30)
        own_broker.start()
        deployment.write_anew()
        deployment.present("bought", session="bought", at=now() - AGE)
        deployment.check_out("bought", session="bought", at=now() - AGE + 100)
        for n in range(20):
            deployment.check_out(session=f"new-{n}")
        deployment.flush()
        process.popen.send_signal(signal.SIGCONT)

        # Where the group shares anew before it reads on, it is the positions that tell.
        until(lambda: not process.running, within=60, what="the run to stop")
        assert process.popen.returncode == 1
        entries = ("runbook#an-offset-is-gone", "runbook#what-is-committed-is-not-ours")
        assert any(entry in process.text() for entry in entries)

        again = deployment.start()
        until(lambda: not again.running, within=60, what="the start to be refused")
        code, told = deployment.positions()
        for said in (again.text(), told):
            assert f"{deployment.checkout_topic}[0]: the log no longer holds all that was read" in said
        assert (again.popen.returncode, code) == (1, 1)
        assert deployment.positions("--accept")[0] == 0
        assert deployment.positions()[0] == 0
        goes_on = deployment.start()
        until(lambda: len(deployment.dead_letters()) == 1, within=60, what="the offer to be given up as late")
        assert goes_on.terminate() == 0
        assert deployment.called() == ["first"], "the other one was bought, behind the cut"
