"""A process that was stopped for longer than its session goes on: its tasks are another's, who has read the purchases."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from support.deployment import AGE, deployed, now, until


def test_a_process_that_was_stopped_calls_nothing_that_its_successor_knows_to_be_bought(
    real_kafka, tmp_path: Path, protocol: str
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="500", protocol=protocol) as deployment:
        at = now() - AGE
        for n in range(60):
            deployment.present(f"o-{n}", session=f"s-{n}", at=at)
            deployment.check_out(session=f"s-{n}", at=at + 100)
        deployment.flush()
        first = deployment.start()
        until(lambda: len(set(deployment.called())) >= 5, within=60, what="calls that fail")
        os.kill(first.popen.pid, signal.SIGSTOP)
        second = deployment.start()
        until(lambda: len(second.lines("task begins")) >= 4, within=60, what="the other one to take over")
        for n in range(60):
            deployment.check_out(f"o-{n}", session=f"s-{n}")
        deployment.flush()
        until(lambda: len(deployment.outcomes()) >= 60, within=60, what="all to be known as bought")
        assert {o.outcome.name for o in deployment.outcomes()} == {"PURCHASED"}
        deployment.api.set_scenario("204")
        os.kill(first.popen.pid, signal.SIGCONT)
        time.sleep(10)
        assert deployment.settled() == []
