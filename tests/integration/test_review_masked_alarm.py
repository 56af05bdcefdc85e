"""The last way to end is an alarm, and a signal mask is inherited: also from a parent that has the alarm blocked."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from integration.test_stopping import SHORT, SHUTDOWN_S, SLACK_S
from support.deployment import AGE, deployed, now
from support.pipes import until_full


def test_a_stop_ends_though_nobody_reads_the_log_and_the_parent_had_the_alarm_blocked(broker, tmp_path: Path) -> None:
    with deployed(broker.bootstrap_servers, tmp_path, settings=SHORT) as deployment:
        for n in range(1_000):
            deployment.present(f"offer-{n}", session=f"session-{n}", at=now() - AGE)
        deployment.flush()
        popen = subprocess.Popen(
            [sys.executable, "-m", "consumer", "run"], env=deployment.environ(), stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]),
        )  # fmt: skip
        try:
            assert popen.stderr is not None
            until_full(popen.stderr.fileno(), within=60)
            popen.terminate()
            assert popen.wait(SHUTDOWN_S + SLACK_S) in (1, -signal.SIGALRM)
        finally:
            popen.kill()
