"""An emulator of the insurer's API: real HTTP, one call, as strict about the request as the documents are.

POST {prefix}/partners/{partner_code}/offers/{offer_id}/opt_out/ is checked (route, key, signature, body) and
answered by a scenario (see `scenario.py`). Every POST that names an offer is logged, whatever it is answered.
PUT /_scenario, from the machine itself only, changes the scenario while it runs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from .app import CONTROL_PATH, EmulatorApp
from .call_log import Call, CallLog, read_calls
from .scenario import Scenario, ScenarioError

DEMO_KEY = "demo_api_key"
DEMO_SECRET = "demo_api_secret"  # noqa: S105 - opens nothing but the emulator


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator: where it listens, and what it has received."""

    base_url: str
    log_path: Path
    pid: int
    _control_url: str

    def set_scenario(self, text: str) -> None:
        """Answer by another scenario from now on; calls left hanging stay so.

        Raises:
            ScenarioError: the text is no scenario.
        """
        response = httpx.put(self._control_url, content=text.encode(), timeout=10)
        if response.status_code != 200:
            raise ScenarioError(response.json()["message"])

    def calls(self) -> list[Call]:
        """Every call received so far."""
        return read_calls(self.log_path)


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8081,
    scenario: str = "mixed",
    seed: int = 0,
    key: str = DEMO_KEY,
    secret: str = DEMO_SECRET,
    prefix: str = "/x",
    log: Path | None = None,
) -> None:
    """Run the emulator in this process until it is interrupted; calls go to `log`, or to standard output.

    Raises:
        ScenarioError: `scenario` is none.
        OSError: the address is taken.
    """
    Scenario.parse(scenario, seed)
    listener = socket.create_server((host, port))
    host, port = listener.getsockname()[:2]
    print(  # noqa: T201 - the command's own words; the calls alone go to standard output
        f"emulating the opt-out API at http://{host}:{port}{prefix} (scenario {scenario}, key {key}); Ctrl-C ends it",
        file=sys.stderr,
    )
    _run(listener, scenario, seed, {key: secret}, prefix, log)


@contextmanager
def running(
    log_path: Path,
    *,
    scenario: str = "mixed",
    seed: int = 0,
    credentials: Mapping[str, str] | None = None,
    prefix: str = "/x",
) -> Iterator[Emulator]:
    """Run the emulator as a process of its own on a free loopback port, for as long as the context lasts.

    Args:
        log_path: the file that calls are appended to; stays behind.
        scenario, seed: see `scenario.py`.
        credentials: secret by API key; None: the demo's key and secret.
        prefix: of the path.

    Raises:
        ScenarioError: `scenario` is none.
        RuntimeError: the process ended before it answered.
    """
    Scenario.parse(scenario, seed)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "consumer.emulator.emulator"],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )
        order = {
            "fd": listener.fileno(),
            "scenario": scenario,
            "seed": seed,
            "credentials": dict(credentials) if credentials is not None else {DEMO_KEY: DEMO_SECRET},
            "prefix": prefix,
            "log": str(log_path),
        }
    # From here on only the child holds the listening socket: if it dies, callers are refused and not left waiting.
    assert process.stdin is not None  # noqa: S101 - for the type checker
    process.stdin.write(json.dumps(order).encode() + b"\n")
    process.stdin.flush()
    root = f"http://127.0.0.1:{port}"
    try:
        _wait_until_it_answers(root + CONTROL_PATH, process)
        yield Emulator(root + prefix, log_path, process.pid, root + CONTROL_PATH)
    finally:
        process.stdin.close()  # which it takes as the order to end
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    try:
        # The socket listens already: the request waits in its queue until the server runs.
        httpx.get(url, timeout=60)
    except httpx.TransportError as error:
        process.kill()
        raise RuntimeError(f"the API emulator did not come up (exit code {process.wait()}): {error}") from error


def _run(
    listener: socket.socket,
    scenario: str,
    seed: int,
    credentials: Mapping[str, str] | None,
    prefix: str,
    log: Path | None,
    *,
    until_stdin_ends: bool = False,
) -> None:
    app = EmulatorApp(
        Scenario.parse(scenario, seed), credentials, prefix, CallLog(log if log is not None else sys.stdout)
    )
    config = uvicorn.Config(
        app,
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
    )
    server = uvicorn.Server(config)
    if until_stdin_ends:

        def stop_with_parent() -> None:
            sys.stdin.read()
            server.should_exit = True

        threading.Thread(target=stop_with_parent, daemon=True).start()
    server.run(sockets=[listener])


def _child() -> None:
    """The process behind `running`: takes its order from standard input and ends when that is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes our input
    order = json.loads(sys.stdin.readline())
    listener = socket.socket(fileno=order["fd"])
    os.set_inheritable(order["fd"], False)
    _run(
        listener,
        order["scenario"],
        order["seed"],
        order["credentials"],
        order["prefix"],
        Path(order["log"]),
        until_stdin_ends=True,
    )


if __name__ == "__main__":
    _child()
