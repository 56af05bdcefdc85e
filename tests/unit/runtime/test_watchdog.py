"""The watchdog, in processes of their own: it ends the one that it is in."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from support.pipes import until_full

LIMIT_S = 0.5

SCRIPT = """
import ctypes, signal, sys, time
from consumer.logs import configure_logs
from consumer.runtime import watchdog
from consumer.server.health import Health
from consumer.settings import LogSettings

configure_logs(LogSettings())
watchdog.LEAST, watchdog.PATIENCE = 0.0, {patience}
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: None)
health = Health({bound})
watching = watchdog.Watchdog({limit}, health)
watching.start()
print("started", flush=True)
{rest}
"""

HANGS = """
with health.waiting("a commit"):
    ctypes.CDLL(None).sleep(30)  # as in a client: no line of Python and no handler runs meanwhile
    ctypes.CDLL(None).sleep(30)  # a signal ends the first
"""


def started(rest: str, patience: float = 60.0, bound: float = 95.0) -> subprocess.Popen[str]:
    code = SCRIPT.format(limit=LIMIT_S, rest=rest, patience=patience, bound=bound)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_hangs_in_a_client_ends_within_its_limit_and_says_where(number: signal.Signals) -> None:
    process = started(HANGS)
    begin = time.monotonic()
    process.send_signal(number)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 1
    assert time.monotonic() - begin >= LIMIT_S
    assert '"the stop takes too long: the process is ended' in said
    assert '"waits_for": "a commit"' in said


def test_one_that_hangs_without_letting_python_run_ends_too_and_shows_where() -> None:
    """As the interpreter's own end may, held up by a client."""
    process = started("watching.count_down()\ntime.sleep(0.2)\nctypes.PyDLL(None).sleep(30)")
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 1
    assert "Timeout" in said, "the threads' places are shown"


def test_one_that_ends_in_time_is_left_alone() -> None:
    process = started("watching.count_down()\nwatching.count_down()\nsys.exit(7)")
    assert process.communicate(timeout=20)[1] == ""
    assert process.returncode == 7


def test_a_signal_that_asks_for_no_end_is_none() -> None:
    harmless = "signal.signal(signal.SIGUSR1, lambda *_: None)\nsignal.raise_signal(signal.SIGUSR1)\n"
    process = started(f"{harmless}time.sleep({3 * LIMIT_S})")
    assert process.communicate(timeout=20)[1] == ""
    assert process.returncode == 0


def test_a_long_wait_for_the_brokers_is_said_again_and_again_and_a_short_one_is_not() -> None:
    process = started("with health.waiting('a commit'):\n    time.sleep(0.9)\ntime.sleep(0.9)", patience=0.25)
    said = process.communicate(timeout=20)[1]
    lines = [line for line in said.splitlines() if "the brokers do not answer" in line]
    assert 2 <= len(lines) <= 3
    assert said.count('"the brokers answer again"') == 1
    assert all('"waits_for": "a commit"' in line and '"runbook"' in line for line in lines)


STANDS = """
def turn():
    health.turned(assigned=True, tasks=(0,), restoring=(), stopping=False)

def blocked(seconds):
    password = "swordfish"
    time.sleep(seconds)

turn()
"""


def test_a_loop_that_stands_still_shows_where_each_thread_is_once_and_no_value() -> None:
    process = started(f"{STANDS}blocked(2)\nturn()\ntime.sleep(0.2)", patience=1.5, bound=0.5)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 0
    assert said.count('"the loop stands still: ') == 1
    assert said.count(" in blocked\n") == 1
    assert said.count(" in _watch\n") == 1, "those of the other threads, too"
    assert said.index(" in blocked\n") < said.index('"the loop stands still: ')
    assert '"runbook": "opt-out manual runbook#the-loop-stands-still"' in said
    assert '"level": "error"' in said
    assert "swordfish" not in said


def test_one_that_stands_still_again_is_shown_again() -> None:
    process = started(f"{STANDS}blocked(1)\nturn()\ntime.sleep(0.2)\nturn()\nblocked(1)", patience=1.5, bound=0.5)
    assert process.communicate(timeout=20)[1].count('"the loop stands still: ') == 2


def test_one_that_waits_for_the_brokers_does_not_stand_still() -> None:
    process = started("with health.waiting('a commit'):\n    time.sleep(1.5)", bound=0.3)
    assert process.communicate(timeout=20)[1] == ""


def test_one_that_turns_shows_nothing() -> None:
    turns = f"{STANDS}for _ in range(40):\n    time.sleep(0.05)\n    turn()"
    assert started(turns, patience=1.5, bound=1.0).communicate(timeout=20)[1] == ""


def test_one_that_stands_still_and_lets_no_python_run_is_shown_too() -> None:
    held = "def blocked(seconds):\n    ctypes.PyDLL(None).usleep(int(seconds * 1e6))\ntime.sleep(0.2)\nblocked(1)"
    process = started(f"{STANDS}{held}", patience=1.5, bound=0.5)
    said = process.communicate(timeout=20)[1]
    assert said.startswith("Timeout (0:00:00.5")
    assert said.count(" in blocked\n") >= 1


def test_its_places_are_not_in_the_way_of_an_end_that_takes_too_long() -> None:
    """There is one timer for both, and it is set again and again."""
    ends = "time.sleep(0.3)\nwatching.count_down()\ntime.sleep(0.2)\nctypes.PyDLL(None).sleep(30)"
    process = started(f"{STANDS}{ends}", patience=0.3, bound=60)
    assert process.communicate(timeout=20)[1].count("Timeout (0:00:01)") == 1
    assert process.returncode == 1


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param("while True:\n    os.write(2, b'x' * 4096)", id="a thread that writes to it"),
        pytest.param("while True:\n    log.warning('x' * 4096)", id="the log, whose lock is then held"),
        pytest.param(
            "threading.Thread(target=lambda: os.write(2, b'x' * 2**20), daemon=True).start()\n"
            "with health.waiting('a commit'):\n    time.sleep(30)",
            id="the watchdog itself, that has something to say",
        ),
        pytest.param(
            "threading.Thread(target=lambda: os.write(2, b'x' * 2**20), daemon=True).start()\n"
            "time.sleep(1)\nwatching.count_down()\ntime.sleep(0.2)\nctypes.PyDLL(None).sleep(30)",
            id="nobody, since Python does not run any more",
        ),
    ],
)
def test_rule_5_a_process_whose_standard_error_nobody_reads_ends_too(rest: str) -> None:
    process = started(f"import os, threading, structlog\nlog = structlog.get_logger()\n{rest}", patience=0.2)
    assert process.stderr is not None
    until_full(process.stderr.fileno())
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(20) == 1
    except subprocess.TimeoutExpired:
        raise AssertionError(f"still running {time.monotonic() - begin:.0f} s after SIGTERM") from None
    finally:
        process.kill()
        process.communicate()
