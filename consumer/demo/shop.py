"""The demo's customers, in a thread: they write their events, which are remembered for whoever judges."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ..audit.reading import Checkout, Presentation
from .feed import feed
from .formats import DemoFormat
from .generator import Event
from .service import TOPICS


class Shop:
    """Writes one plan after the other, each at the pace at which it happens.

    Args:
        bootstrap: of the broker.
        plans: what customers do; without end, they go on until they are stopped.
        written: how they write.
        remembers: whether events are kept, for `events`. Without end there would be no end to them either.

    Attributes:
        offers, checkouts: how many were written so far.
        checkouts_stop: from now on no checkout is written.
        failure: what ended it.
        closed: it has ended.
    """

    def __init__(
        self, bootstrap: str, plans: Iterable[list[Event]], written: DemoFormat, *, remembers: bool = True
    ) -> None:
        self._bootstrap = bootstrap
        self._plans = plans
        self._format = written
        self._remembers = remembers
        self._presented: list[Presentation] = []
        self._completed: list[Checkout] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.offers = self.checkouts = 0
        self.checkouts_stop = False
        self.failure: Exception | None = None
        self.closed = False

    @contextmanager
    def open(self) -> Iterator[None]:
        """Customers come for as long as the context lasts, and no longer."""
        thread = threading.Thread(target=self._trade, name="shop", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def events(self) -> tuple[list[Presentation], list[Checkout]]:
        """What was written so far."""
        with self._lock:
            return self._presented.copy(), self._completed.copy()

    def _trade(self) -> None:
        try:
            for plan in self._plans:
                if self._stop.is_set():
                    break
                feed(
                    self._coming(plan),
                    bootstrap=self._bootstrap,
                    offer_topic=TOPICS[0],
                    checkout_topic=TOPICS[1],
                    base_ms=time.time_ns() // 1_000_000,
                    paced=True,
                    on_written=self._note,
                    stop=self._stop,
                    values=self._format.values,
                )
        except Exception as error:  # shown by the main thread, which then ends the demo
            self.failure = error
        self.closed = True

    def _coming(self, plan: list[Event]) -> Iterator[Event]:
        for event in plan:
            if not (event.is_checkout and self.checkouts_stop):
                yield event

    def _note(self, event: Event, moment: int) -> None:
        fields = event.fields
        with self._lock:
            if event.is_checkout:
                self.checkouts += 1
                if self._remembers:
                    self._completed.append(Checkout(event.key, moment, tuple(fields["purchased_offer_ids"])))
            else:
                self.offers += 1
                if self._remembers:
                    seen = Presentation(event.key, fields["partner_code"], fields["offer_id"], moment)
                    self._presented.append(seen)
