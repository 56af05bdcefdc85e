"""A real consumer whose metrics are read over HTTP, as Prometheus does, and what of them has moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import httpx
from brokers.base import free_port
from prometheus_client.parser import text_string_to_metric_families
from support.deployment import Deployment, Process, until

Series: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its labels, by their names."""

FIRST = "opt_out_snapshot_age_seconds"
"""It is there from the first snapshot on: what is absent then is not so, and before that it is not known."""


THERE_AT_ONCE = {
    "opt_out_assigned",
    "opt_out_tasks",
    "opt_out_task_phase",
    "opt_out_commit_metadata_limit_characters",
}
"""What may be told by the first snapshot that is seen already, since the group answered before it: then that it is
there, and not 0, is all of its move."""


class Scraped:
    """One process with its metrics, and what was seen of them.

    Attributes:
        process: the consumer.
        now: what the last look has found.
        seen: all values of each series; None where it was not there though a snapshot was.
    """

    def __init__(
        self, deployment: Deployment, *, clock: Path | None = None, patience: float | None = None, **settings: str
    ) -> None:
        self._url = f"http://127.0.0.1:{(port := free_port())}/metrics"
        self.process: Process = deployment.start(clock=clock, patience=patience, SERVER__PORT=str(port), **settings)
        self.now: dict[Series, float] = {}
        self.seen: dict[Series, set[float | None]] = {}
        self._looks = 0

    def text(self) -> str:
        """What is answered now; empty while nothing listens."""
        try:
            return httpx.get(self._url, timeout=10).text
        except httpx.ConnectError:
            assert self.process.running, self.process.text()
            return ""

    def look(self) -> None:
        """Read the metrics once."""
        found: dict[Series, float] = {}
        for family in text_string_to_metric_families(self.text()):
            for sample in family.samples:
                if sample.name.startswith("opt_out_"):
                    found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
        if (FIRST, ()) not in found:
            return
        for series in self.seen.keys() | found.keys():
            before: set[float | None] = {None} if self._looks else set()
            self.seen.setdefault(series, before).add(found.get(series))
        self._looks += 1
        self.now = found

    def value(self, name: str, **labels: str) -> float | None:
        """A series' value, by the last look."""
        return self.now.get((name, tuple(sorted(labels.items()))))

    def total(self, name: str) -> float:
        """The sum of all series of a metric, by the last look."""
        return sum(value for (one, _), value in self.now.items() if one == name)

    def until(
        self, name: str, wanted: float | Callable[[float], bool] | None, *, within: float = 60, **labels: str
    ) -> None:
        """Look until a series has this value, or one for which this is true; None: until it is not there."""

        def holds() -> bool:
            self.look()
            value = self.value(name, **labels)
            if value is None or wanted is None:
                return value is None and wanted is None and bool(self.now)
            return wanted(value) if callable(wanted) else value == wanted

        try:
            until(holds, within=within, what=f"{name} {labels} to be as wanted")
        except AssertionError as error:
            found = {labels: value for (one, labels), value in self.now.items() if one == name}
            raise AssertionError(f"{error}; it is {found}") from None


def moved(*scraped: Scraped) -> set[str]:
    """The metrics of which a series was seen with two values, or was there and was not, in one process or several."""
    values: dict[Series, set[float | None]] = {}
    for one in scraped:
        for series, seen in one.seen.items():
            values.setdefault(series, set()).update(seen)
    names = {name for (name, _), seen in values.items() if len(seen) > 1 or (name in THERE_AT_ONCE and any(seen))}
    return {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name in names}
