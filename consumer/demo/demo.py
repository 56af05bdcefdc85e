"""The whole thing on one machine in under a minute: `opt-out demo`.

An embedded broker, an emulator of the insurer's API and a shop's events; the consumer is the real one, as a process
of its own, killed hard half-way and started again. At the end the events and the emulator's log are compared.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from rich.console import Console

from ..audit.calls import Judgement, ReferenceRules, judge, judge_from_topics
from ..audit.decision import fates
from ..audit.reading import Checkout, Presentation
from ..emulator.call_log import Call
from ..emulator.emulator import Emulator, running
from .broker import PARTITIONS, embedded_broker, make_topics
from .faults import Faults
from .formats import DemoFormat, FormatName, format_called
from .generator import DEMO_PARTNERS, Plan, generate
from .kept import KeptDemo
from .progress import ProgressProbe
from .service import GRACE_MS, GROUP, LATENESS_MS, LOOKBACK_MS, OTHER_TOPICS, TOPICS, WINDOW_MS, Service
from .shop import Shop
from .view import View

EVENTS, SPAN_MS = 2000, 14_000
KILL_AFTER_S = 11.0
CALLS_BEFORE_KILL = 3
END_AFTER_S = 55.0
SETTLE_MS = LATENESS_MS + 2000
"""After the last fate is certain by event time, any call it leads to has long been made."""

WAITS_FOR = "it waits for the group to give up the killed one: some seconds"


def run(
    seed: int = 1, console: Console | None = None, format_name: FormatName = "avro", faults: Faults | None = None
) -> int:
    """Run the demo; returns the exit code: 0 if every offer met its fate, 1 if not.

    Args:
        seed: of the customers.
        console: where it is shown; None: standard output.
        format_name: what the customers write.
        faults: None: it ends by itself and is judged. Else it goes on until Ctrl-C, with these; see `KeptDemo`.

    Raises:
        SettingsError: see `format_called`.
    """
    view = View(console if console is not None else Console())
    # Being terminated, or losing its terminal, must end the processes behind it as well.
    ends = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, lambda *_: sys.exit(1)) for number in ends]
    folder = Path(tempfile.mkdtemp(prefix="opt-out-demo-"))
    good = False
    try:
        with (
            format_called(format_name) as written,
            embedded_broker() as bootstrap,
            running(folder / "calls.jsonl", seed=seed) as emulator,
        ):
            make_topics(bootstrap, (*TOPICS, *OTHER_TOPICS))
            view.say(f"embedded broker at {bootstrap}")
            view.say(f"emulated API at {emulator.base_url}")
            view.say(written.says)
            for name, value in written.settings.items():
                view.say(f"  {name}={value}")
            demo = _Demo if faults is None else partial(KeptDemo, faults=faults)
            good = demo(bootstrap, emulator, folder, view, seed, written).play()
    finally:
        for number, handler in zip(ends, before, strict=True):
            signal.signal(number, handler)
        if good:
            shutil.rmtree(folder)
        else:
            view.say(f"the logs of the consumer and of the API are in {folder}")
    return 0 if good else 1


class _Demo:
    def __init__(
        self, bootstrap: str, emulator: Emulator, folder: Path, view: View, seed: int, written: DemoFormat
    ) -> None:
        self._bootstrap = bootstrap
        self._emulator = emulator
        self._view = view
        self._seed = seed
        self._rules = ReferenceRules(WINDOW_MS, GRACE_MS, LOOKBACK_MS)
        self._format = written
        self._service = Service(bootstrap, emulator.base_url, folder / "consumer.log", written.settings)
        plan = Plan(EVENTS, SPAN_MS, WINDOW_MS, GRACE_MS, LOOKBACK_MS, LATENESS_MS, seed)
        self._shop = Shop(bootstrap, [generate(plan)], written)
        self._probe = ProgressProbe(bootstrap, GROUP, TOPICS, PARTITIONS)

    def play(self) -> bool:
        view = self._view
        with view.live(), self._shop.open():
            with self._service.running() as first:
                view.say(f"the consumer runs (process {first.pid}); customers begin to shop")
                view.say(f"its page is at {self._service.page}")
                going = self._watch(first, "running", until_s=KILL_AFTER_S)
                if going:
                    self._await_a_call()
                    first.kill()
                    first.wait()
            if not going:
                return False
            view.say("killed the consumer hard (kill -9), calls in flight and all", style="bold yellow")
            with self._service.running() as second:
                view.say(f"started it again (process {second.pid})")
                if not self._watch(second, "running again", until_s=END_AFTER_S, waits_for=WAITS_FOR):
                    return False
                second.send_signal(signal.SIGTERM)
                try:
                    code = second.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    code = None
        log = self._emulator.log_path
        found = judge_from_topics(self._bootstrap, TOPICS, log, self._rules, self._format.read)
        ended = "was still there 30 s" if code is None else f"ended with exit code {code}"
        view.say(f"asked to stop, the consumer {ended}" + (" later" if code is None else ""))
        view.verdict(found)
        return found.holds and code == 0

    def _watch(self, consumer: subprocess.Popen[bytes], note: str, until_s: float, waits_for: str = "") -> bool:
        """Show the figures until that time, or all is settled. False: the consumer ended, which was not asked of it.

        `waits_for`: what the consumer waits for before it decides anything.
        """
        decided_to = self._probe.ask().watermark
        while self._view.seconds < until_s:
            presentations, checkouts = self._shop.events()
            calls = self._emulator.calls()
            by_partner = self._judge_by_partner(presentations, checkouts, calls)
            progress = self._probe.ask()
            if waits_for and (progress.watermark is None or progress.watermark == decided_to):
                self._view.wait(by_partner, progress, waits_for)
            else:
                if waits_for:
                    self._view.say("it has the partitions of the killed one, and goes on where that one had committed")
                waits_for = ""
                self._view.update(by_partner, progress, note)
            if consumer.poll() is not None:
                self._view.say(f"the consumer ended with exit code {consumer.returncode}; its last words:", style="red")
                for line in self._service.last_words():
                    self._view.say(line)
                return False
            if self._shop.failure is not None:
                raise self._shop.failure
            if self._shop.closed and not any(part.missed for part in by_partner.values()):
                last = max(fate.decide_at for fate in fates(presentations, checkouts, self._rules))
                if time.time() * 1000 > last + SETTLE_MS:
                    break
            time.sleep(0.2)
        return True

    def _await_a_call(self) -> None:
        """Wait for the next call to come in, so that the kill finds the consumer at work."""
        before = len(self._emulator.calls())
        until = time.monotonic() + 3
        while len(self._emulator.calls()) < before + CALLS_BEFORE_KILL and time.monotonic() < until:
            time.sleep(0.005)

    def _judge_by_partner(
        self, presentations: list[Presentation], checkouts: list[Checkout], calls: list[Call]
    ) -> dict[str, Judgement]:
        by_partner = {}
        for partner_code in DEMO_PARTNERS:
            shown = [event for event in presentations if event.partner_code == partner_code]
            sessions = {event.session_id for event in shown}
            by_partner[partner_code] = judge(
                shown,
                [event for event in checkouts if event.session_id in sessions],
                [call for call in calls if call.partner_code == partner_code],
                self._rules,
            )
        return by_partner
