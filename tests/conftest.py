"""The broker of the test run: found once, started by the first test that needs it, stopped at the end."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import brokers
import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings

from consumer.core.horizon import Horizon
from consumer.hiding import IN_USE

# A loaded machine must not fail a property.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")
# For `make mutants`: whether a mutant lives must not depend on luck, and nobody reads a shrunk example.
hypothesis_settings.register_profile(
    "mutants", deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
)

_SEARCH = pytest.StashKey[brokers.Search]()
_USED = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Look for a broker, without starting it; draw the seeds that the simulation begins with."""
    config.stash[_SEARCH] = brokers.search()
    # Here, since what a worker prints is seen by nobody; the workers inherit it.
    os.environ.setdefault("SIMULATE_FIRST", str(secrets.randbelow(10**9)))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which broker the tests will use, and why not a better one; and how to have the seeds of this run again."""
    return [f"kafka: {config.stash[_SEARCH]}", f"simulation: SIMULATE_FIRST={os.environ['SIMULATE_FIRST']}"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which broker was used."""
    used = config.stash.get(_USED, None)
    if used is None and config.getoption("numprocesses", None):
        used = f"used, one by each of the workers that needed it: {config.stash[_SEARCH]}"
    if used is not None:
        terminalreporter.section("Kafka")
        terminalreporter.write_line(used)


@pytest.fixture(autouse=True)
def _no_secret_of_another_test() -> Iterator[None]:
    """What a process has learnt to hide it hides for good; a test's secrets are words in others."""
    yield
    IN_USE.forget()


@pytest.fixture(scope="session")
def broker(pytestconfig: pytest.Config) -> Iterator[brokers.Broker]:
    """The broker of the whole run. A test that stops it starts it again; one that needs its own takes `own_broker`."""
    found = pytestconfig.stash[_SEARCH]
    begin = time.monotonic()
    problem = ""
    try:
        broker = found.start()
    except brokers.UnavailableError as error:
        problem = str(error)
    if problem:
        pytest.fail(problem, pytrace=False)
    why = "" if broker.is_real else f" because of: {'; '.join(found.closed)}"
    pytestconfig.stash[_USED] = (
        f"used: {broker.description} at {broker.bootstrap_servers}, up in {time.monotonic() - begin:.1f} s{why}"
    )
    yield broker
    broker.close()


@pytest.fixture
def one_record_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first record tells how old the beginning of a log is: for short logs, in tests of something else."""
    monkeypatch.setattr(Horizon, "HEAD", 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)
