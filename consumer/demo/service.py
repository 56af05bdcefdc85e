"""The service that the demo plays: the real one, as a process of its own, and where its page is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..emulator.emulator import DEMO_KEY, DEMO_SECRET

WINDOW_MS, GRACE_MS, LOOKBACK_MS, LATENESS_MS = 3000, 500, 6000, 1000
"""The join's rules, in time compressed 600 times."""

GROUP = "offer-opt-out"
TOPICS = ("offer.presented", "checkout.completed")
OTHER_TOPICS = ("offer.outcome", "opt-out.dead-letter")

SETTINGS = {
    "OPT_OUT_KAFKA__GROUP_ID": GROUP,
    # The embedded broker never gives a partition to a member whose session time-out is below 3 s.
    "OPT_OUT_KAFKA__PROPERTIES": '{"session.timeout.ms": 3200, "heartbeat.interval.ms": 400, "log_level": 3}',
    "OPT_OUT_KAFKA__COMMIT_INTERVAL": "500ms",
    "OPT_OUT_KAFKA__REVOKE_TIMEOUT": "2s",
    "OPT_OUT_JOIN__WINDOW": f"{WINDOW_MS}ms",
    "OPT_OUT_JOIN__CHECKOUT_GRACE": f"{GRACE_MS}ms",
    "OPT_OUT_JOIN__LOOKBACK": f"{LOOKBACK_MS}ms",
    "OPT_OUT_JOIN__LATENESS": f"{LATENESS_MS}ms",
    "OPT_OUT_JOIN__IDLE_AFTER": "500ms",
    "OPT_OUT_API__KEY": DEMO_KEY,
    "OPT_OUT_API__SECRET": DEMO_SECRET,
    "OPT_OUT_API__TIMEOUT": "1s",
    "OPT_OUT_DELIVERY__RATE_LIMIT": "0",
    "OPT_OUT_DELIVERY__NOT_FOUND_LIMIT": "0",
    "OPT_OUT_DELIVERY__SHUTDOWN_TIMEOUT": "5s",
    "OPT_OUT_LOG__LEVEL": "info",
    # All that it talks to is on this machine.
    "no_proxy": "127.0.0.1",
}
"""Of the service, beside where it finds the others."""


class Service:
    """Starts the service, as often as wanted, at the same address.

    Args:
        bootstrap: of the broker.
        api_url: where the API is emulated.
        log_path: what its standard streams are appended to.
        settings: more of them, by their names in the environment.

    Attributes:
        page: the URL of its status page.
    """

    def __init__(self, bootstrap: str, api_url: str, log_path: Path, settings: Mapping[str, str]) -> None:
        port = _free_port()
        self.page = f"http://127.0.0.1:{port}/"
        self._log_path = log_path
        self._settings = SETTINGS | {
            "OPT_OUT_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "OPT_OUT_API__BASE_URL": api_url,
            "OPT_OUT_SERVER__PORT": str(port),
            **settings,
        }

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """One process of it; killed at the end if it still runs."""
        inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("OPT_OUT_")}
        with self._log_path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "consumer", "run"],
                env=inherited | self._settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends it
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def last_words(self, lines: int = 5) -> list[str]:
        """The last lines of its log."""
        return self._log_path.read_text(errors="replace").splitlines()[-lines:]


def _free_port() -> int:
    """One that nobody listens at. Somebody else may take it before the service does, who then says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
