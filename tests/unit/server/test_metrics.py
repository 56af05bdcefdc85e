"""The list of metrics: its names, kinds, units and labels, and what each is read from."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.documents import MANUAL
from support.snapshots import AT, FULL

from consumer.codecs.codec import EMPTY_ID, KEY_MISMATCH, TOO_LARGE, UNDECODABLE
from consumer.server.metrics import METRICS, Metric, MetricKind
from consumer.snapshot import Snapshot

LABELS = {"by", "cause", "input", "outcome", "partition", "partner", "phase", "reason", "status", "topic"}
"""All labels there are. None holds an id, or anything else of a customer's."""


def found_in(snapshot: Snapshot, name: str, now: int = AT) -> dict[tuple[str, ...], float]:
    (metric,) = [metric for metric in METRICS if metric.name == name]
    return {labels: float(value) for labels, value in metric.read(snapshot, now)}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_kinds_and_units_are_those_of_openmetrics(metric: Metric) -> None:
    assert re.fullmatch(r"opt_out_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
    if metric.unit:
        assert metric.name.removesuffix("_total").endswith(f"_{metric.unit}")
    assert set(metric.labels) <= LABELS
    assert metric.meaning.endswith("."), "in sentences"


def test_no_name_stands_twice() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_each_is_found_in_a_snapshot_that_has_everything_with_its_labels(metric: Metric) -> None:
    samples = list(metric.read(FULL, AT))
    assert samples
    labels = 1 if metric.kind is MetricKind.HISTOGRAM else len(metric.labels)
    assert {len(values) for values, _ in samples} == {labels}
    assert len({values for values, _ in samples}) == len(samples), "no series twice"


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_no_label_holds_an_id(metric: Metric) -> None:
    values = {value for labels, _ in metric.read(FULL, AT) for value in labels}
    assert not {value for value in values if "customer" in value}


EMPTY = Snapshot(taken_at=AT, started_at=AT, group="g", instance="i")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_run_without_tasks_is_told_too(metric: Metric) -> None:
    assert all(value >= 0 for _, value in metric.read(EMPTY, AT))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("opt_out_watermark_delay_seconds", {("3",): 90.0}),
        ("opt_out_held_back", {("3", "checkouts", "unread"): 1.0}),
        ("opt_out_watermark_standing_seconds", {("3",): 30.0}),
        ("opt_out_input_lag_records", {("offers", "3"): 40.0, ("checkouts", "3"): 0.0}),
        ("opt_out_committed_offset", {("offers", "3"): 50.0}),
        ("opt_out_input_paused", {("offers", "3"): 1.0, ("checkouts", "3"): 0.0}),
        ("opt_out_oldest_unsettled_age_seconds", {("3",): 60.0}),
        ("opt_out_commit_age_seconds", {("3",): 5.0}),
        ("opt_out_retention_left_seconds", {("offers", "3"): 3_600.0}),
        ("opt_out_snapshot_age_seconds", {(): 0.0}),
        ("opt_out_started_time_seconds", {(): AT / 1000 - 600}),
        ("opt_out_calls_gate_closed", {(): 1.0}),
        ("opt_out_call_retries_total", {("ACME",): 2.0, ("(other)",): 0.0}),
    ],
)
def test_a_figure_is_what_its_name_says(name: str, found: dict[tuple[str, ...], float]) -> None:
    assert found_in(FULL, name) == found


@pytest.mark.parametrize(
    ("name", "ones"),
    [
        ("opt_out_task_phase", {("3", "running")}),
        ("opt_out_suspended", {("clock",)}),
        ("opt_out_partner_stopped", {("ACME", "breaker"), ("ACME", "retry_after")}),
    ],
)
def test_what_is_so_is_1_and_the_rest_is_0(name: str, ones: set[Any]) -> None:
    found = found_in(FULL, name)
    assert {labels for labels, value in found.items() if value == 1.0} == ones
    assert set(found.values()) == {0.0, 1.0}


def test_counters_that_have_not_counted_are_there_as_0() -> None:
    assert found_in(EMPTY, "opt_out_outcomes_total") == {
        (outcome,): 0.0 for outcome in ("PURCHASED", "OPTED_OUT", "NOT_FOUND", "IGNORED", "DEAD_LETTERED", "RELEASED")
    }
    assert set(found_in(EMPTY, "opt_out_decisions_total").values()) == {0.0}


def test_each_reason_of_a_dead_letter_is_there_as_0_from_the_start() -> None:
    found = found_in(EMPTY, "opt_out_dead_letters_total")
    assert set(found.values()) == {0.0}
    page = (MANUAL / "outcomes.md").read_text(encoding="utf-8")
    table = page.partition("| `reason` | what was wrong |")[2].partition("\n\n")[0]
    assert {reason for _, reason in found} == set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert {(side, reason) for side, reason in found if side == "checkouts"} == {
        ("checkouts", reason) for reason in (UNDECODABLE, KEY_MISMATCH, EMPTY_ID, TOO_LARGE)
    }


def test_a_time_ahead_of_our_clock_is_no_negative_age() -> None:
    assert found_in(FULL, "opt_out_commit_age_seconds", AT - 3_600_000) == {("3",): 0.0}
