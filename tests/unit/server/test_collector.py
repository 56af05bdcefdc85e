"""What GET /metrics answers: read back by the client library's own parsers, and looked at by promtool."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from support.snapshots import AT, FULL

from consumer import __version__
from consumer.server.collector import Exposition, SnapshotCollector
from consumer.server.fresh import FRESH
from consumer.server.latest import Latest
from consumer.server.metrics import METRICS

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def latest() -> Latest:
    made = Latest()
    made.swap_in(FULL)
    return made


def names(text: str) -> set[str]:
    return {sample.name for family in openmetrics_families(text) for sample in family.samples}


def test_openmetrics_is_answered_to_who_asks_for_it_and_text_to_the_rest() -> None:
    exposition = Exposition(latest())
    body, content_type = exposition.answer(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    for accept in ("", "*/*", "text/plain;version=0.0.4", "text/html"):
        body, content_type = exposition.answer(accept)
        assert content_type == "text/plain; version=0.0.4; charset=utf-8"
        assert list(text_families(body.decode()))


@pytest.mark.parametrize("accept", ["text/plain; version=x", "application/openmetrics-text;version=..", "a" * 9_000])
def test_an_odd_wish_is_answered_all_the_same(accept: str) -> None:
    assert b"opt_out_tasks 1.0" in Exposition(latest()).answer(accept)[0]


def test_each_metric_of_the_list_is_there_in_both_formats() -> None:
    exposition = Exposition(latest())
    text = exposition.answer(OPENMETRICS)[0].decode()
    listed = {metric.name for metric in METRICS} - {"opt_out_call_duration_seconds"}
    assert listed <= names(text)
    assert {f"opt_out_call_duration_seconds_{part}" for part in ("bucket", "sum", "count")} <= names(text)
    plain = exposition.answer("")[0].decode()
    assert listed <= {sample.name for family in text_families(plain) for sample in family.samples}


def test_kind_and_unit_are_told() -> None:
    families = {
        family.name: family for family in openmetrics_families(Exposition(latest()).answer(OPENMETRICS)[0].decode())
    }
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.unit, family.documentation) == (metric.kind.value, metric.unit, metric.meaning)


def test_the_histogram_has_its_bounds_its_sum_and_its_count() -> None:
    families = {family.name: family for family in SnapshotCollector(latest(), lambda: AT / 1000).collect()}
    samples = families["opt_out_call_duration_seconds"].samples
    assert [(sample.name[30:], sample.labels.get("le"), sample.value) for sample in samples] == [
        ("bucket", "0.1", 4.0),
        ("bucket", "1.0", 9.0),
        ("bucket", "+Inf", 13.0),
        ("count", None, 13.0),
        ("sum", None, 12.5),
    ]


def test_before_the_first_snapshot_the_build_alone_is_told() -> None:
    body, _ = Exposition(Latest()).answer(OPENMETRICS)
    ours = {name for name in names(body.decode()) if name.startswith("opt_out_")}
    assert ours == {"opt_out_build_info"}
    assert f'version="{__version__}"'.encode() in body


def test_the_process_is_told_too() -> None:
    body, _ = Exposition(Latest()).answer("")
    assert b"process_resident_memory_bytes" in body
    assert b"python_gc_collections_total" in body


def test_all_who_ask_within_a_second_are_told_the_same_and_then_anew() -> None:
    clock, holder = [100.0], Latest()
    exposition = Exposition(holder, lambda: clock[0])
    before = exposition.answer("")[0]
    holder.swap_in(FULL)
    clock[0] += FRESH - 0.01
    assert exposition.answer("")[0] == before
    assert exposition.answer(OPENMETRICS)[0] != before, "the formats are told apart"
    clock[0] += 0.01
    assert b"opt_out_tasks 1.0" in exposition.answer("")[0]


def test_promtool_finds_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt install prometheus")
    body, _ = Exposition(latest()).answer("")
    done = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
