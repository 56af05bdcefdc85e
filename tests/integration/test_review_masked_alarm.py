"""The last way to end is an alarm, and a signal mask is inherited: also from a parent that has the alarm blocked."""

from __future__ import annotations

import os
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


def test_a_stop_ends_though_nobody_reads_the_log_where_the_service_is_the_first_process(broker, tmp_path: Path) -> None:
    """As in its container, whose entry point it is: the kernel ignores the default action of signals to process 1."""
    with deployed(broker.bootstrap_servers, tmp_path, settings=SHORT) as deployment:
        for n in range(1_000):
            deployment.present(f"offer-{n}", session=f"session-{n}", at=now() - AGE)
        deployment.flush()
        outer = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-m", "consumer", "run"],
            env=deployment.environ(), stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            assert outer.stderr is not None
            until_full(outer.stderr.fileno(), within=60)
            inner = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text())
            os.kill(inner, signal.SIGTERM)
            outer.wait(SHUTDOWN_S + SLACK_S)
        finally:
            outer.kill()
