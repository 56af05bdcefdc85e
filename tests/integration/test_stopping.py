"""A stop ends, whatever hangs: the process is gone within `delivery.shutdown_timeout`."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import brokers
import pytest
from support.deployment import AGE, Process, deployed, now, until
from support.pipes import until_full

SHUTDOWN_S = 6.0
SHORT = {"DELIVERY__SHUTDOWN_TIMEOUT": f"{SHUTDOWN_S:g}s"}

SLACK_S = 3.0
"""What a loaded machine may take beyond that to notice and to end a process."""


def end_in_time(process: Process) -> int:
    """Ask it to stop; its exit code. Fails if it takes longer than it may."""
    begin = time.monotonic()
    try:
        return process.terminate(SHUTDOWN_S + SLACK_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"still running {time.monotonic() - begin:.0f} s after SIGTERM") from None


@pytest.fixture
def freezing(own_broker: brokers.Broker) -> brokers.Broker:
    """A broker that the test may freeze."""
    if not isinstance(own_broker, brokers.ApacheBroker):
        pytest.skip(f"needs a broker whose process can be stopped: {own_broker.description} is not one")
    return own_broker


def test_a_stop_ends_though_nobody_reads_the_log(broker, tmp_path: Path) -> None:
    with deployed(broker.bootstrap_servers, tmp_path, settings=SHORT) as deployment:
        for n in range(1_000):
            deployment.present(f"offer-{n}", session=f"session-{n}", at=now() - AGE)
        deployment.flush()
        command = [sys.executable, "-m", "consumer", "run"]
        with subprocess.Popen(command, env=deployment.environ(), stderr=subprocess.PIPE) as popen:
            try:
                assert popen.stderr is not None
                until_full(popen.stderr.fileno(), within=60)
                popen.terminate()
                assert popen.wait(SHUTDOWN_S + SLACK_S) == 1
            finally:
                popen.kill()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_stop_ends_though_the_broker_is_frozen(freezing: brokers.Broker, tmp_path: Path, protocol: str) -> None:
    with deployed(freezing.bootstrap_servers, tmp_path, settings=SHORT, protocol=protocol) as deployment:
        for n in range(8):
            deployment.present(f"offer-{n}", session=f"session-{n}", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 8, within=40, what="all to be settled and committed")
        with freezing.frozen():
            code = end_in_time(process)
        (line,) = process.lines(
            "the stop takes too long: the process is ended, and whoever reads on repeats what was not committed"
        )
        assert (code, line["level"]) == (1, "error")
        assert line["waits_for"] in ("a commit", "leaving the group")
        assert line["stands_at"].startswith("consumer.kafka.consumer:")
        # Nothing was lost by it: another one goes on.
        deployment.present("after", session="after")
        deployment.flush()
        deployment.start()
        until(lambda: "after" in deployment.settled(), within=60, what="the next one to go on")


def test_a_stop_during_the_start_ends_though_the_broker_is_frozen(freezing: brokers.Broker, tmp_path: Path) -> None:
    with deployed(freezing.bootstrap_servers, tmp_path, settings=SHORT) as deployment:
        process = deployment.start()
        until(lambda: process.lines("starting"), within=30, what="the start")
        with freezing.frozen():
            assert end_in_time(process) in (0, 1)


def test_a_stop_ends_while_a_broker_that_says_nothing_is_asked_for_the_topics(broker, tmp_path: Path) -> None:
    with deployed(broker.bootstrap_servers, tmp_path, settings=SHORT) as deployment:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            process = deployment.start(KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{silent.getsockname()[1]}")
            silent.settimeout(30)
            silent.accept()[0].close()  # a client of it has connected; it asks with it, or is about to
            code = end_in_time(process)
        # It looks for a stop just before it asks: one that comes by then needs no watchdog.
        assert code == 0 or "the stop takes too long" in process.text()
