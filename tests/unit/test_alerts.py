"""The alert rules: each fires on its fault and on nothing short of it, and leads to an entry of the runbook.

promtool feeds the series of tests/alerts/alerts_test.yml to the rules. Here it is held that these series would notice:
each number of a rule, and the time that it waits for, is changed a little, and the series must not bear it. Those of
tests/alerts/quiet_test.yml are of whole incidents, for all rules together.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.documents import TEXT
from support.prometheus import (
    ALERTS,
    ALERTS_FILE,
    LABELS,
    QUIET_FILE,
    SERIES_FILE,
    metrics_in,
    program,
    without_texts,
)

from consumer.manual import headings, text_of

TESTS: dict[str, dict[str, Any]] = {
    group["name"]: group for group in yaml.safe_load(SERIES_FILE.read_text(encoding="utf-8"))["tests"]
}
WITHOUT_AN_INSTANCE = {"OptOutNotSeen"}
"""There is none that could serve the page."""
NUMBER = re.compile(r"(?<![\w.\[])\d+(?:\.\d+)?(?![\w.\]])")

Rule = dict[str, Any]


# --- what an alert says


def test_there_are_alerts_of_both_severities() -> None:
    assert len(ALERTS) > 20
    assert {rule["labels"]["severity"] for rule in ALERTS.values()} == {"critical", "warning"}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_and_where_to_read_what_to_do(name: str) -> None:
    said = ALERTS[name]["annotations"]
    assert said["summary"]
    assert said["description"].endswith(".")
    command, _, entry = said["runbook"].partition("#")
    assert command == "opt-out manual runbook"
    assert text_of(f"runbook#{entry}").startswith("### ")
    if name in WITHOUT_AN_INSTANCE:
        assert "runbook_url" not in said
    else:
        assert f"nstance }}}}/manual/runbook#{entry}" in said["runbook_url"]
        assert "http://{{ " in said["runbook_url"]


@pytest.mark.parametrize("name", ALERTS)
def test_whoever_is_woken_finds_an_entry_that_says_now_and_others_one_that_says_it_can_wait(name: str) -> None:
    """An entry that several things lead to says of which it says what."""
    anchor = ALERTS[name]["annotations"]["runbook"].partition("#")[2]
    (said,) = re.findall(r"- \*\*How urgent:\*\* ((?:.|\n  )+)", text_of(f"runbook#{anchor}"))
    wanted = "Now" if ALERTS[name]["labels"]["severity"] == "critical" else "Today|This week|Not urgent"
    assert re.search(rf"\b({wanted})\b", said), said


def test_an_entry_names_the_alerts_that_lead_to_it() -> None:
    by_entry: dict[str, list[str]] = {}
    for name, rule in ALERTS.items():
        by_entry.setdefault(rule["annotations"]["runbook"].partition("#")[2], []).append(name)
    page = text_of("runbook")
    for heading in headings(page):
        entry = text_of(f"runbook#{heading.anchor}") if heading.level == 3 else ""
        head = re.search(r"\A### .+\n\n.*\*\*Alert:\*\* (.+)\n", entry)
        assert (re.findall(r"`(\w+)`", head[1]) if head else []) == by_entry.get(heading.anchor, []), heading.anchor


@pytest.mark.parametrize("name", ALERTS)
def test_words_name_only_labels_that_the_alert_has(name: str) -> None:
    words = " ".join(ALERTS[name]["annotations"].values())
    (labels, *_) = (set(re.findall(r'(\w+)="', sample["labels"])) for sample in samples(name))
    assert set(re.findall(r"\$labels\.(\w+)", words)) <= labels


def test_none_looks_at_the_lag() -> None:
    text = " ".join(rule["expr"] for rule in ALERTS.values())
    assert not re.search(r"lag|committed_offset|input_position|log_end", text)


# --- that each has its series


def samples(name: str) -> Iterator[dict[str, Any]]:
    for look in TESTS[name]["promql_expr_test"]:
        yield from look.get("exp_samples", ())


def test_each_alert_has_its_series_in_the_order_of_the_rules() -> None:
    assert list(TESTS) == list(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_seen_not_firing_then_firing_then_not_firing(name: str) -> None:
    looks = TESTS[name]["promql_expr_test"]
    assert {look["expr"] for look in looks} == {f'ALERTS{{alertname="{name}",alertstate="firing"}}'}
    assert [bool(look.get("exp_samples")) for look in looks] == [False, True, False]


# --- that the rules do what the series say, and that the series would notice


@pytest.mark.parametrize(
    ("command", "file"),
    [("check", ALERTS_FILE), ("test", SERIES_FILE), ("test", QUIET_FILE)],
    ids=lambda one: Path(one).name,
)
def test_the_rules_are_rules_and_do_what_the_series_say(command: str, file: Path) -> None:
    words = [program("promtool"), command, "rules", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def changed(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """The rule with one thing in it changed, and what that is."""
    expr = rule["expr"]
    for found in NUMBER.finditer(without_texts(expr)):
        value = float(found[0])
        before = expr[: found.start()]
        if before.endswith("== "):
            others: tuple[object, ...] = (2,)
        elif value == int(value) and value <= 10:
            others = (int(value) + 1, int(value) - 1) if value else (1,)
        else:
            others = (value * 1.25, value * 0.8)
        for other in others:
            yield f"{other} for {found[0]}", {**rule, "expr": f"{before}{other}{expr[found.end() :]}"}
    for word, other in ((" == 1", " >= 0"), ("unless on", "and on"), ('"}', '_"}')):
        if word in expr:
            yield f"{other} for {word}", {**rule, "expr": expr.replace(word, other, 1)}
    if "for" in rule:
        minutes = int(rule["for"].removesuffix("m"))
        for other in (minutes - 1, minutes + 1):
            yield f"for {other}m", {**rule, "for": f"{other}m"}


def bears(rule: Rule, folder: Path) -> bool:
    """Whether the series of an alert do as they say with this rule."""
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}), encoding="utf-8")
    series = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [TESTS[rule["alert"]]]}
    (folder / "series.yml").write_text(yaml.safe_dump(series), encoding="utf-8")
    command = [program("promtool"), "test", "rules", str(folder / "series.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "yaml:" not in done.stderr + done.stdout, done.stderr + done.stdout
    return done.returncode == 0


@pytest.mark.parametrize("name", ALERTS)
def test_the_series_notice_each_number_that_is_a_little_different(name: str, tmp_path: Path) -> None:
    rule = ALERTS[name]
    assert bears(rule, tmp_path)
    assert [what for what, other in changed(rule) if bears(other, tmp_path)] == []


# --- that the metrics are those that there are

OTHERS = {"up", "process_start_time_seconds"}
"""Metrics that are not ours: what Prometheus writes of each scrape, and what its library tells of a process."""

SCRAPED = {"job", "instance", "namespace"}
"""What the scrape adds; `namespace` in Kubernetes only, and where it is not it changes nothing."""


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_asks_for_metrics_and_labels_that_there_are(name: str) -> None:
    expr = ALERTS[name]["expr"]
    known = set(SCRAPED)
    for metric, picked in metrics_in(expr):
        assert picked <= LABELS[metric] | SCRAPED, metric
        known |= LABELS[metric]
    grouped = re.findall(r"(?:by|on|ignoring) \(([^)]*)\)", expr)
    assert {label for labels in grouped for label in labels.split(", ")} <= known


def test_the_series_are_of_metrics_with_all_of_their_labels() -> None:
    for group in [*TESTS.values(), *yaml.safe_load(QUIET_FILE.read_text(encoding="utf-8"))["tests"]]:
        for series in group["input_series"]:
            name, _, labels = series["series"].partition("{")
            if name not in OTHERS:
                assert set(re.findall(r'(\w+)="', labels)) - {"job", "instance"} <= LABELS[name], series


def test_pages_name_alerts_that_there_are() -> None:
    named = set(re.findall(r"`(OptOut[A-Z]\w+)`", TEXT)) - {"OptOutError", "OptOutCall"}  # classes
    assert named <= set(ALERTS)
    assert len(named) > 5
