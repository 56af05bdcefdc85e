"""The dashboard: made from the table of metrics, of a form that Grafana loads as far as that is written down.

No Grafana can be had for tests. What is held is the form of its dashboards by a schema of what matters, and that each
expression is one that Prometheus takes.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.documents import MANUAL
from support.prometheus import LABELS, metrics_in, program

from consumer.server import dashboard

SHOWN: dict[str, Any] = json.loads((MANUAL / "dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in SHOWN["panels"] if panel["type"] != "row"]
ROWS = [panel for panel in SHOWN["panels"] if panel["type"] == "row"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]

SOURCE = {
    "type": "object",
    "required": ["type", "uid"],
    "properties": {"type": {"const": "prometheus"}, "uid": {"const": "${datasource}"}},
}
PLACE = {
    "type": "object",
    "required": ["x", "y", "w", "h"],
    "properties": {
        "x": {"type": "integer", "minimum": 0, "maximum": 23},
        "y": {"type": "integer", "minimum": 0},
        "w": {"type": "integer", "minimum": 1, "maximum": 24},
        "h": {"type": "integer", "minimum": 1},
    },
    "additionalProperties": False,
}
TARGET = {
    "type": "object",
    "required": ["refId", "datasource", "expr", "legendFormat"],
    "properties": {
        "refId": {"type": "string", "pattern": "^[A-Z]$"},
        "datasource": SOURCE,
        "expr": {"type": "string", "minLength": 1},
        "legendFormat": {"type": "string", "minLength": 1},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["title", "uid", "schemaVersion", "templating", "panels", "time"],
    "properties": {
        "uid": {"type": "string", "maxLength": 40, "pattern": "^[a-zA-Z0-9_-]+$"},
        "schemaVersion": {"type": "integer", "minimum": 36},
        "id": False,
        "templating": {
            "type": "object",
            "properties": {
                "list": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "type", "query"],
                        "properties": {"type": {"enum": ["datasource", "query"]}},
                    },
                }
            },
        },
        "panels": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "type", "title", "gridPos"],
                "properties": {"type": {"enum": ["row", "timeseries", "stat"]}, "gridPos": PLACE},
                "if": {"properties": {"type": {"const": "row"}}},
                "then": {"required": ["collapsed", "panels"]},
                "else": {
                    "required": ["datasource", "targets", "fieldConfig", "options", "description"],
                    "properties": {
                        "datasource": SOURCE,
                        "targets": {"type": "array", "minItems": 1, "items": TARGET},
                        "fieldConfig": {
                            "type": "object",
                            "required": ["defaults", "overrides"],
                            "properties": {"defaults": {"type": "object", "required": ["unit"]}},
                        },
                    },
                },
            },
        },
    },
}
UNITS = {"s", "short", "none", "cps", "bool_yes_no"}
"""Grafana's names, each looked up in the list of its units."""
ON_ITS_OWN = r"ALERTS\{"


def test_the_file_is_what_the_table_makes_of_it() -> None:
    assert (MANUAL / "dashboard.json").read_text(encoding="utf-8") == dashboard.render(), "run `make manual`"


def test_it_has_the_form_of_a_dashboard() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(SHOWN, SCHEMA)
    numbers = [panel["id"] for panel in SHOWN["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in PANELS:
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]


def test_the_rows_go_from_whether_it_is_well_to_the_guards() -> None:
    assert [row["title"] for row in ROWS] == ["Is it well", "Decisions", "Inputs", "Calls", "Commits", "Guards"]


def test_no_panel_lies_on_another_or_beyond_the_edge() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in SHOWN["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for cell in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]


def test_every_metric_is_shown_and_said_what_it_means() -> None:
    shown = {name for row in dashboard.ROWS.values() for panel in row for name in dashboard.metrics_of(panel)}
    assert shown == set(LABELS)
    for panel in PANELS:
        named = set(re.findall(r"^`(opt_out_\w+)`: ", panel["description"], re.MULTILINE))
        assert all(dashboard.MEANINGS[name] in panel["description"] for name in named)
        alone = any(re.search(ON_ITS_OWN, target["expr"]) for target in panel["targets"])
        assert bool(named) != alone, panel["title"]


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_line_asks_for_labels_that_the_metric_has_and_for_the_chosen_instances(
    title: str, target: dict[str, Any]
) -> None:
    found = metrics_in(target["expr"])
    if not found:
        assert re.search(ON_ITS_OWN, target["expr"])
        return
    labels = {"job", "instance", "le"}
    for shown, picked in found:
        name = re.sub(r"_(bucket|sum|count)$", "", shown)
        assert {"job", "instance"} <= picked
        assert picked - {"job", "instance"} <= LABELS[name]
        labels |= LABELS[name]
    grouped = {label for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in by.split(", ")}
    assert grouped <= labels
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels
    if "by (" in target["expr"]:
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped | {"le"}


def test_the_variables_are_the_source_the_deployment_and_its_instances() -> None:
    variables = {variable["name"]: variable for variable in SHOWN["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance"]
    assert "opt_out_build_info" in variables["job"]["query"]
    assert variables["instance"]["includeAll"] is variables["instance"]["multi"] is True


def test_prometheus_takes_every_expression(tmp_path: Path) -> None:
    """As rules, since its tool checks those; with a value for what Grafana fills in."""
    rules = [
        {"record": f"line:{number}", "expr": target["expr"].replace("$__rate_interval", "1m")}
        for number, (_, target) in enumerate(TARGETS)
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": rules}]}))
    command = [program("promtool"), "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout + done.stderr
