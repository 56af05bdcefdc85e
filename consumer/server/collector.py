"""Answers GET /metrics: the list in `metrics`, as Prometheus or OpenMetrics has it, from the newest snapshot.

Nothing else of the program knows prometheus-client. Nothing is counted by it: what it is asked for it reads from one
frozen value, so that asking costs the loop nothing.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from functools import partial

import confluent_kafka
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from .. import __version__
from ..snapshot import Snapshot
from .fresh import Fresh
from .latest import Latest
from .metrics import BUILD_INFO, METRICS, Metric, MetricKind


class SnapshotCollector(Collector):
    """Makes the families of the newest snapshot; before there is one, of the build alone.

    Args:
        latest: holds it.
        wall: a clock in seconds.
    """

    def __init__(self, latest: Latest, wall: Callable[[], float] = time.time) -> None:
        self._latest = latest
        self._wall = wall

    def collect(self) -> Iterator[Family]:
        """All families, in the order of the list."""
        yield build_info()
        snapshot = self._latest.snapshot
        if snapshot is None:
            return
        now = int(self._wall() * 1000)
        for metric in METRICS:
            yield family_of(metric, snapshot, now)


class Exposition:
    """What GET /metrics answers: ours, and what the client library tells of the process and of Python's collector.

    Any thread may ask. The same is told to all who ask within a second; see `Fresh`.

    Args:
        latest: holds the newest snapshot.
        monotonic: a clock in seconds.
    """

    def __init__(self, latest: Latest, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(SnapshotCollector(latest))
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._text = Fresh(partial(self._make, False), monotonic)
        self._open = Fresh(partial(self._make, True), monotonic)

    def answer(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type: OpenMetrics where `accept`, the request's header, asks for it."""
        is_open = "application/openmetrics-text" in accept
        body = (self._open if is_open else self._text).get()
        return body, openmetrics.CONTENT_TYPE_LATEST if is_open else CONTENT_TYPE_PLAIN_0_0_4

    def _make(self, is_open: bool) -> bytes:
        if not is_open:
            return generate_latest(self._registry)
        text: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call] # typed in part
        return text


def family_of(metric: Metric, snapshot: Snapshot, now: int) -> Family:
    """One metric, `now` in ms."""
    samples = metric.read(snapshot, now)
    if metric.kind is MetricKind.HISTOGRAM:
        buckets = [("+Inf" if bound == "inf" else bound, float(count)) for (bound,), count in samples]
        histogram = HistogramMetricFamily(metric.name, metric.meaning, unit=metric.unit)
        if buckets:
            histogram.add_metric([], buckets, snapshot.calls.duration_sum)
        return histogram
    make = CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
    family = make(metric.name, metric.meaning, labels=metric.labels, unit=metric.unit)
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family


def build_info() -> Family:
    """What runs."""
    name, labels, meaning = BUILD_INFO
    info = InfoMetricFamily(name.removesuffix("_info"), meaning)
    versions = (__version__, platform.python_version(), confluent_kafka.libversion()[0])
    info.add_metric([], dict(zip(labels, versions, strict=True)))
    return info
