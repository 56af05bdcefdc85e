"""Writes the Grafana dashboard from the table of metrics, for `make manual`: `consumer/manual/dashboard.json`.

What a panel shows is said here; what its metrics mean is said in the table, and stands in the panel's description. So
the two cannot come apart, and a metric that no panel shows fails a test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .metrics import BUILD_INFO, METRICS

FILE = Path(__file__).parents[1] / "manual" / "dashboard.json"

SCHEMA_VERSION = 39
"""Of Grafana 10.4 and 11; later ones bring it up to theirs when they load it."""

WIDTH = 24
"""Columns of a dashboard: Grafana's own number."""

MEANINGS = {metric.name: metric.meaning for metric in METRICS} | {BUILD_INFO[0]: BUILD_INFO[2]}
"""Of each metric, by its name."""

_METRIC = re.compile(r"\b(?P<name>opt_out_\w+)(?:\{(?P<matchers>[^}]*)\})?")
_PART_OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_OURS = 'job="$job",instance=~"$instance"'
_RATE = "[$__rate_interval]"


class Panel(NamedTuple):
    """A panel.

    Attributes:
        title: what it shows.
        unit: Grafana's name of the unit: `s` seconds, `short` a number, `cps` a number each second, `bool_yes_no`.
        lines: an expression each, with the text of its legend. Which instances are looked at is added.
        kind: `timeseries`, or `stat` for one big number.
        options: beside those of its kind.
    """

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    options: Mapping[str, object] = {}


def _stat(title: str, unit: str, expr: str, legend: str = "", **options: object) -> Panel:
    return Panel(title, unit, ((expr, legend),), "stat", options)


def _graph(title: str, unit: str, *lines: tuple[str, str]) -> Panel:
    return Panel(title, unit, lines)


ROWS: Mapping[str, tuple[Panel, ...]] = {
    "Is it well": (
        _stat("Instances", "short", "count(opt_out_build_info)"),
        _stat("Instances without assignment", "short", "count(opt_out_assigned == 0) or vector(0)"),
        _stat("Partitions", "short", "sum(opt_out_tasks)"),
        _stat("Partitions that run", "short", 'sum(opt_out_task_phase{phase="running"})'),
        _stat("Decisions are behind by", "s", "max(opt_out_watermark_delay_seconds)"),
        _stat("Oldest offer not settled", "s", "max(opt_out_oldest_unsettled_age_seconds)"),
        _stat("Least retention left", "s", "min(opt_out_retention_left_seconds)"),
        _stat("Version", "short", "count by (version) (opt_out_build_info)", "{{version}}", textMode="name"),
        _graph(
            "Alerts that fire",
            "short",
            ('count by (alertname) (ALERTS{alertname=~"OptOut.+",alertstate="firing",job="$job"})', "{{alertname}}"),
        ),
        _graph("Age of what an instance tells", "s", ("opt_out_snapshot_age_seconds", "{{instance}}")),
        _graph("Partitions by phase", "short", ("sum by (phase) (opt_out_task_phase)", "{{phase}}")),
        _graph("Running for", "s", ("time() - opt_out_started_time_seconds", "{{instance}}")),
        _graph(
            "Libraries",
            "short",
            ("count by (python, librdkafka) (opt_out_build_info)", "Python {{python}}, librdkafka {{librdkafka}}"),
        ),
    ),
    "Decisions": (
        _graph(
            "Delay of the watermark", "s", ("max by (partition) (opt_out_watermark_delay_seconds)", "{{partition}}")
        ),
        _graph(
            "The watermark stands for",
            "s",
            ("max by (partition) (opt_out_watermark_standing_seconds)", "{{partition}}"),
        ),
        _graph(
            "What holds watermarks", "short", ("count by (input, cause) (opt_out_held_back)", "{{input}}: {{cause}}")
        ),
        _graph("Decided", "cps", (f"sum by (reason) (rate(opt_out_decisions_total{_RATE}))", "{{reason}}")),
        _graph("Settled", "cps", (f"sum by (outcome) (rate(opt_out_outcomes_total{_RATE}))", "{{outcome}}")),
        _graph(
            "In memory",
            "short",
            ("sum(opt_out_open_presentations)", "open presentations"),
            ("sum(opt_out_kept_checkouts)", "kept checkouts"),
            ("sum(opt_out_sessions)", "sessions"),
        ),
        _graph(
            "Bought after the opt-out, in an hour",
            "short",
            ("sum by (instance) (increase(opt_out_purchases_after_opt_out_total[1h]))", "{{instance}}"),
        ),
        _graph(
            "Not called again after a start", "cps", (f"sum(rate(opt_out_repeats_skipped_total{_RATE}))", "skipped")
        ),
    ),
    "Inputs": (
        _graph("Records applied", "cps", (f"sum by (input) (rate(opt_out_records_total{_RATE}))", "{{input}}")),
        _graph("Left out", "cps", (f"sum by (input) (rate(opt_out_left_out_records_total{_RATE}))", "{{input}}")),
        _graph(
            "Dead letters",
            "cps",
            (f"sum by (input, reason) (rate(opt_out_dead_letters_total{_RATE}))", "{{input}}: {{reason}}"),
        ),
        _graph("Not applied yet", "short", ("sum by (topic) (opt_out_input_lag_records)", "{{topic}}")),
        _graph("Partitions paused", "short", ("sum by (topic) (opt_out_input_paused)", "{{topic}}")),
        _graph(
            "Offsets",
            "none",
            ("sum by (topic) (opt_out_input_log_end)", "{{topic}}: end of the log"),
            ("sum by (topic) (opt_out_input_position)", "{{topic}}: applied"),
            ("sum by (topic) (opt_out_committed_offset)", "{{topic}}: committed"),
        ),
    ),
    "Calls": (
        _graph("Tries by answer", "cps", (f"sum by (status) (rate(opt_out_calls_total{_RATE}))", "{{status}}")),
        _graph("Tries by partner", "cps", (f"sum by (partner) (rate(opt_out_calls_total{_RATE}))", "{{partner}}")),
        _graph("Tried again", "cps", (f"sum by (partner) (rate(opt_out_call_retries_total{_RATE}))", "{{partner}}")),
        _graph(
            "A try takes",
            "s",
            *(
                (
                    f"histogram_quantile({q}, sum by (le) (rate(opt_out_call_duration_seconds_bucket{_RATE})))",
                    f"{q:.0%} take less",
                )
                for q in (0.5, 0.99)
            ),
        ),
        _graph(
            "Under way",
            "short",
            ("sum(opt_out_calls_in_flight)", "in flight"),
            ("sum(opt_out_calls_queued)", "queued"),
            ("sum(opt_out_due_uncalled)", "due and not settled"),
            ("sum(opt_out_unsettled)", "decided and not settled"),
        ),
        _graph("Not settled, by partner", "short", ("sum by (partner) (opt_out_partner_unsettled)", "{{partner}}")),
        _graph(
            "Partners that are stopped",
            "short",
            ("max by (partner, by) (opt_out_partner_stopped) > 0", "{{partner}}: {{by}}"),
        ),
        _graph("No call leaves", "bool_yes_no", ("opt_out_calls_gate_closed", "{{instance}}")),
    ),
    "Commits": (
        _graph(
            "Age of the oldest offer that is not settled",
            "s",
            ("max by (partition) (opt_out_oldest_unsettled_age_seconds)", "{{partition}}"),
        ),
        _graph("Age of the last commit", "s", ("max by (partition) (opt_out_commit_age_seconds)", "{{partition}}")),
        _graph(
            "Retention left",
            "s",
            ("min by (topic, partition) (opt_out_retention_left_seconds)", "{{topic}} {{partition}}"),
        ),
        _graph(
            "Text in the commit",
            "short",
            ("max by (partition) (opt_out_commit_metadata_characters)", "{{partition}}"),
            ("min(opt_out_commit_metadata_limit_characters)", "what the broker takes"),
        ),
    ),
    "Guards": (
        _graph("Decisions are suspended", "short", ("sum by (reason) (opt_out_suspended)", "{{reason}}")),
        _graph(
            "Reading is paused, too many are not settled",
            "bool_yes_no",
            ("opt_out_reading_paused", "{{instance}}"),
        ),
        _graph("Our clock is ahead by", "s", ("opt_out_clock_ahead_seconds", "{{instance}}")),
    ),
}
"""The rows of the dashboard by their titles, each with its panels."""


def metrics_of(panel: Panel) -> list[str]:
    """The names of the metrics that a panel shows, as in the table."""
    found = (match["name"] for expr, _ in panel.lines for match in _METRIC.finditer(expr))
    return list(dict.fromkeys(_PART_OF_A_HISTOGRAM.sub("", name) for name in found))


def render() -> str:
    """The dashboard as JSON."""
    return (
        json.dumps(
            {
                "title": "Offer opt-out consumer",
                "uid": "offer-opt-out",
                "description": "Made from the metrics of the version that it ships with: opt-out manual --dashboard",
                "tags": ["offer-opt-out"],
                "schemaVersion": SCHEMA_VERSION,
                "editable": True,
                "graphTooltip": 1,
                "refresh": "30s",
                "time": {"from": "now-3h", "to": "now"},
                "templating": {"list": _variables()},
                "panels": list(_panels()),
            },
            indent=1,
        )
        + "\n"
    )


def main() -> None:
    """Write the file."""
    FILE.write_text(render(), encoding="utf-8")


def _variables() -> list[dict[str, Any]]:
    """What can be chosen at the top: where the metrics are, the deployment, and its instances."""
    asked = {"type": "query", "datasource": _DATASOURCE, "refresh": 2, "sort": 1}
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        {**asked, "name": "job", "label": "Deployment", "query": "label_values(opt_out_build_info, job)"},
        {
            **asked,
            "name": "instance",
            "label": "Instance",
            "query": 'label_values(opt_out_build_info{job="$job"}, instance)',
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _panels() -> Iterator[dict[str, Any]]:
    """The rows and what is in them, from left to right and from the top."""
    number, top = 1, 0
    for title, panels in ROWS.items():
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
            "panels": [],
        }
        number, top, left, height = number + 1, top + 1, 0, 0
        for panel in panels:
            width, its_height = (3, 4) if panel.kind == "stat" else (8, 8)
            if left + width > WIDTH or (height and its_height != height):
                top, left = top + height, 0
            height = its_height
            yield _panel(panel, number, {"x": left, "y": top, "w": width, "h": height})
            number, left = number + 1, left + width
        top += height


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    stat = panel.kind == "stat"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": "\n\n".join(f"`{name}`: {MEANINGS[name]}" for name in metrics_of(panel)),
        "datasource": _DATASOURCE,
        "gridPos": dict(place),
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", **panel.options}
        if stat
        else {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": _DATASOURCE,
                "expr": _METRIC.sub(_of_ours, expr),
                "legendFormat": legend or "__auto",
                "instant": stat,
                "range": not stat,
            }
            for at, (expr, legend) in enumerate(panel.lines)
        ],
    }


def _of_ours(found: re.Match[str]) -> str:
    """A metric of the instances that are chosen."""
    return f"{found['name']}{{{','.join(filter(None, (_OURS, found['matchers'])))}}}"


if __name__ == "__main__":
    main()
