"""The demo that goes on until Ctrl-C: `opt-out demo --keep`, with faults if some are asked for.

Nothing is judged at its end: the embedded broker keeps only the newest events, and with a fault much waits by design.
It is there to be looked at: the service's own page is what a newcomer is sent to.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx

from ..emulator.emulator import Emulator
from .faults import Faults
from .formats import DemoFormat
from .generator import DEMO_PARTNERS, Event, Plan, generate
from .service import GRACE_MS, LATENESS_MS, LOOKBACK_MS, WINDOW_MS, Service
from .shop import Shop
from .view import View

EVENTS, SPAN_MS = 1800, 60_000
"""30 events a second: enough that every figure moves, and a night of them does no harm."""

SILENCE = {"OPT_OUT_JOIN__CHECKOUT_SILENCE": "15s"}
"""Offers without any checkout for so long stop the decisions: soon enough to be seen by who looks on."""

CALM = "404=3"
"""What the API answers without a fault: hardly anything that the page would tell of, so that a fault stands out."""

FAULTS_AFTER_S = 20.0
"""Seconds of good service before the faults begin: who looks on sees the difference."""

STOP_S = 30.0
"""Seconds that the service has to stop."""


class KeptDemo:
    """Customers without end, and the service.

    Args:
        faults: begin after a while.
    """

    def __init__(
        self,
        bootstrap: str,
        emulator: Emulator,
        folder: Path,
        view: View,
        seed: int,
        written: DemoFormat,
        faults: Faults,
    ) -> None:
        self._emulator = emulator
        self._view = view
        self._faults = faults
        self._service = Service(bootstrap, emulator.base_url, folder / "consumer.log", {**written.settings, **SILENCE})
        self._shop = Shop(bootstrap, _plans(seed, faults.forbid), written, remembers=False)
        self._said: tuple[str, list[str]] = "", []

    def play(self) -> bool:
        """Go on until Ctrl-C. Returns whether the service was there until then, and ended as it was asked to."""
        view = self._view
        self._emulator.set_scenario(CALM)
        with self._shop.open(), self._service.running() as service:
            view.say(f"the consumer runs (process {service.pid}); its page is at {self._service.page}", style="bold")
            view.say("customers shop until you press Ctrl-C")
            begun = False
            try:
                while service.poll() is None and self._shop.failure is None:
                    if not begun and view.seconds > FAULTS_AFTER_S:
                        begun = True
                        self._begin_faults()
                    self._say_how_it_is()
                    time.sleep(1.0)
            except KeyboardInterrupt:
                view.say("customers go home; the consumer is asked to stop")
                service.terminate()
                code = service.wait(timeout=STOP_S)
                view.say(
                    f"{self._shop.offers:,} offers and {self._shop.checkouts:,} checkouts were written; the consumer "
                    f"ended with exit code {code}"
                )
                return code == 0
        if self._shop.failure is not None:
            raise self._shop.failure
        view.say(f"the consumer ended by itself with exit code {service.returncode}; its last words:", style="red")
        for line in self._service.last_words():
            view.say(line)
        return False

    def _begin_faults(self) -> None:
        self._emulator.set_scenario(self._faults.scenario(CALM))
        self._shop.checkouts_stop = self._faults.silence_checkouts
        for what, entry in self._faults.in_words():
            self._view.say(f"from now on {what}: see the page, and `opt-out manual runbook#{entry}`", style="yellow")

    def _say_how_it_is(self) -> None:
        """What the page says, whenever that is something else."""
        try:
            status = httpx.get(self._service.page + "status", timeout=2).json()
        except httpx.TransportError:  # it starts, or is busy
            return
        entries = sorted({str(problem["command"]) for problem in status["problems"]})
        if (status["verdict"], entries) != self._said:
            self._said = status["verdict"], entries
            told = f": {', '.join(f'`{command}`' for command in entries)}" if entries else ""
            self._view.say(f"the page says {status['verdict']}{told}")


def _plans(seed: int, another: str | None) -> Iterator[list[Event]]:
    """What customers do, a minute at a time. `another`: a partner that has customers too."""
    partners = tuple(dict.fromkeys((*DEMO_PARTNERS, *([another] if another else []))))
    for minute in count():
        yield generate(Plan(EVENTS, SPAN_MS, WINDOW_MS, GRACE_MS, LOOKBACK_MS, LATENESS_MS, seed + minute, partners))
