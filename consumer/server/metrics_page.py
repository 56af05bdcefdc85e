"""Writes the page `metrics` of the manual from the list of them, for `make manual`."""

from __future__ import annotations

from pathlib import Path

from ..snapshot import MOST_PARTNERS, MOST_STATUSES, OTHER
from .metrics import BUILD_INFO, METRICS

PAGE = Path(__file__).parents[1] / "manual" / "metrics.md"

_INTRODUCTION = f"""\
# Metrics

`GET /metrics` of a running instance answers in the text format of Prometheus, and in OpenMetrics to who asks for that
in `Accept`. This page lists every metric; it is written from the code.

- Figures are of this instance. Sum the counters over instances; a task is at one instance at a time.
- They are made once a second by the loop itself, so that asking costs it nothing. `opt_out_snapshot_age_seconds` says
  how old they are, and grows while the loop stands.
- Counters are of this process since its start, those of tasks that have gone since included.
- `input` is `offers` or `checkouts`; `partition` is the task's number.
- No label holds an id or anything else of a customer's. {MOST_PARTNERS} partner codes are told apart, those that came
  first, and {MOST_STATUSES} status codes; the rest count as `{OTHER}`.
- `process_...` and `python_gc_...` come from Prometheus' client library: memory, processor time, open files and the
  collector of garbage.
- Before the loop's first turn there is `opt_out_build_info` alone.

| metric | kind | labels | unit | what it is |
|---|---|---|---|---|
"""


def render() -> str:
    """The page as Markdown."""
    name, labels, meaning = BUILD_INFO
    rows = [_row(metric.name, metric.kind.value, metric.labels, metric.unit, metric.meaning) for metric in METRICS]
    return _INTRODUCTION + "".join([*rows, _row(name, "info", labels, "", meaning)])


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(), encoding="utf-8")


def _row(name: str, kind: str, labels: tuple[str, ...], unit: str, meaning: str) -> str:
    named = ", ".join(f"`{label}`" for label in labels)
    return f"| `{name}` | {kind} | {named} | {unit} | {meaning} |\n"


if __name__ == "__main__":
    main()
