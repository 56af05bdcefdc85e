"""The alert rules as they ship, and Prometheus' own programs, where they are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest
import yaml
from brokers.base import free_port
from support.deployment import until
from support.documents import MANUAL, ROOT

from consumer.server.metrics import BUILD_INFO, METRICS

ALERTS_FILE = MANUAL / "alerts.yml"
SERIES_FILE = ROOT / "tests" / "alerts" / "alerts_test.yml"
QUIET_FILE = ROOT / "tests" / "alerts" / "quiet_test.yml"

GROUPS: list[dict[str, Any]] = yaml.safe_load(ALERTS_FILE.read_text(encoding="utf-8"))["groups"]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
"""Each alert by its name."""

LABELS = {metric.name: set(metric.labels) for metric in METRICS} | {BUILD_INFO[0]: set(BUILD_INFO[1])}
"""The labels of each metric that there is."""

_QUOTED = re.compile(r'"[^"]*"')
_MATCHERS = re.compile(r"(opt_out_\w+)(?:\{([^}]*)\})?")


def program(name: str) -> str:
    """Where `prometheus` or `promtool` is; a test that needs it is skipped where it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} is installed here (Debian, Ubuntu: apt install prometheus): the alerts are not run")
    return found


def without_texts(expr: str) -> str:
    """An expression of the same length without what stands in quotes."""
    return _QUOTED.sub(lambda found: '"' + " " * (len(found[0]) - 2) + '"', expr)


def metrics_in(expr: str) -> set[tuple[str, frozenset[str]]]:
    """Which of our metrics an expression names, each with the labels that it picks by."""
    return {
        (name, frozenset(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", without_texts(matchers))))
        for name, matchers in _MATCHERS.findall(expr)
    }


class PrometheusServer:
    """A Prometheus that runs, and what it asks: by job, a port."""

    def __init__(self, port: int, asked: Mapping[str, int]) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/"
        self.asked = asked

    def ask(self, path: str, **query: str) -> Any:
        """What its API answers."""
        answer = httpx.get(self._url + path, params=query, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def alerts(self) -> list[dict[str, Any]]:
        """Those that fire."""
        return [alert for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"]

    def firing(self, job: str) -> set[str]:
        """The names of those that fire for this job."""
        return {alert["labels"]["alertname"] for alert in self.alerts() if alert["labels"].get("job") == job}


def quick_rules(changes: Mapping[str, Mapping[str, str]] = MappingProxyType({})) -> str:
    """The rules as they ship, but none waits: `for` is left out.

    Args:
        changes: by the name of an alert: what of its expression is another here, for a fault that would take long.
    """
    groups = yaml.safe_load(ALERTS_FILE.read_text(encoding="utf-8"))["groups"]
    for group in groups:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule.pop("for", None)
            for part, other in changes.get(rule["alert"], {}).items():
                assert part in rule["expr"]
                rule["expr"] = rule["expr"].replace(part, other)
    return yaml.safe_dump({"groups": groups}, width=1_000)


@contextmanager
def watching(folder: Path, ports: Mapping[str, int], rules: str) -> Iterator[PrometheusServer]:
    """A real Prometheus that asks these ports, each a job of its own, once a second, and has these rules."""
    command = program("prometheus")
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for job, port in ports.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (folder / "rules.yml").write_text(rules, encoding="utf-8")
    port = free_port()
    options = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([command, *options], stdout=log, stderr=log)
    try:
        until(lambda: _is_ready(port, process), within=30, what="Prometheus to be ready")
        yield PrometheusServer(port, ports)
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "Prometheus has ended: see prometheus.log"
    try:
        return httpx.get(f"http://127.0.0.1:{port}/-/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
