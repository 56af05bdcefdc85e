"""The order of the source: names that mean one thing, files that are read in one sitting, and a test beside each.

Which room may import which is held by import-linter (`make lint`), with the table in pyproject.toml.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
FILES = sorted((ROOT / "consumer").rglob("*.py"))
LINES = 430
"""About 400: a file is read in one sitting."""

WITHOUT_A_TEST_BESIDE_IT = {
    "__init__.py": "the version only",
    "__main__.py": "calls cli.py and no more",
    "audit/committed.py": "unit/audit/test_reconcile.py, which asks it for each state of a commit",
    "audit/findings.py": "types and sums: unit/audit/test_reconcile.py",
    "audit/fitting.py": "unit/audit/test_reconcile.py, an outcome at a time",
    "backfill/run.py": "wires clients and drives the loop: integration/test_backfill.py",
    "calls.py": "types only",
    "checks/check.py": "a type only",
    "codecs/bounded_answer.py": "bounds what a real client reads: unit/codecs/test_registry_client.py",
    "codecs/codec.py": "an interface only",
    "codecs/decimals.py": "unit/codecs/test_resolution.py, and by fields: unit/codecs/test_inputs.py",
    "commands/backfill.py": "hands over: integration/test_backfill.py",
    "commands/dead_letters.py": "wires clients and shows what they tell: integration/test_dead_letters.py",
    "commands/doctor.py": "hands over: integration/test_doctor.py",
    "commands/explain.py": "hands over: integration/test_explain.py",
    "commands/export.py": "hands over: integration/test_export.py",
    "commands/mapping.py": "wires clients and shows what is read: integration/test_mapped_inputs.py",
    "commands/options.py": "an option, and settings that are loaded and tried: unit/kafka/test_trial.py",
    "commands/positions.py": "hands over: integration/test_positions.py",
    "commands/reconcile.py": "hands over: integration/test_reconcile.py",
    "commands/report.py": "hands over: integration/test_report.py",
    "commands/topics.py": "hands over: integration/test_topics_command.py",
    "core/admission.py": "types only",
    "core/rules.py": "numbers only",
    "dead_letters/listing.py": "counts what is read of a broker: integration/test_dead_letters.py",
    "dead_letters/originals.py": "reads a broker: integration/test_dead_letters.py",
    "dead_letters/topic.py": "reads a broker: integration/test_dead_letters.py",
    "demo/broker.py": "librdkafka's mock cluster: unit/kafka/test_producer.py stands on it",
    "demo/demo.py": "wiring and processes: integration/test_demo.py",
    "demo/feed.py": "writes to a broker: integration/test_demo.py",
    "demo/kept.py": "wiring and processes: integration/test_demo.py",
    "demo/progress.py": "read by unit/demo/test_view.py, and shown in integration/test_demo.py",
    "demo/service.py": "a process: integration/test_demo.py",
    "emulator/app.py": "serves HTTP: integration/test_emulator.py",
    "emulator/emulator.py": "serves HTTP: integration/test_emulator.py",
    "errors.py": "messages and exit codes: golden/test_golden_cli.py",
    "events.py": "types only",
    "evidence/explaining.py": "reads a broker: integration/test_explain.py",
    "evidence/judged_partition.py": "reads a broker: integration/test_reconcile.py",
    "evidence/open_chains.py": "reads a broker: integration/test_report.py",
    "evidence/outcome_parts.py": "reads a broker: integration/test_report.py",
    "evidence/progress_of_group.py": "reads a broker: integration/test_reconcile.py, integration/test_explain.py",
    "evidence/spans.py": "reads a broker: integration/test_report.py",
    "evidence/unread_inputs.py": "reads a broker: integration/test_report.py",
    "kafka/first_records.py": "reads a broker: unit/kafka/test_position_changes.py",
    "manual/__init__.py": "unit/test_manual.py",
    "manual/settings_page.py": "unit/test_manual.py",
    "runtime/edges.py": "types only",
    "runtime/reports.py": "log lines: golden/test_golden_logs.py, unit/runtime/test_runner.py",
    "runtime/run.py": "wiring: the process that integration/test_job.py and most of its neighbours start",
    "server/latest.py": "an attribute: unit/server/test_http.py",
    "settings/__init__.py": "unit/settings/test_load.py",
    "settings/groups.py": "its defaults and refusals are told by name and source: unit/settings/test_load.py",
    "settings/model.py": "its names are what unit/settings/test_load.py loads by, and unit/test_manual.py lists",
    "settings/release_file.py": "read at a start and while it runs: unit/runtime/test_releases.py",
    "settings/table.py": "shows what was loaded: unit/settings/test_load.py",
    "snapshot.py": "types only",
    "xcover/transport.py": "talks to a real server: integration/test_answers.py, fuzz/test_fuzz_answers.py",
}
"""Files of consumer/ that have no `tests/unit/<room>/test_<file>.py`, and why: nothing to hold, or what holds them.

A new file has a test beside it, or a reason here. Tests that are named are paths below tests/.
"""


def test_no_class_name_stands_twice() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert len(places) > 100
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_file_is_longer_than_one_sitting() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: length for path, length in lengths.items() if length > LINES} == {}


def test_each_file_has_a_test_beside_it_or_a_reason_why_not() -> None:
    without = set()
    for path in FILES:
        file = path.relative_to(ROOT / "consumer")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        is_empty = all(isinstance(statement, ast.Expr) for statement in tree.body)  # a docstring at most
        if not is_empty and not (TESTS / "unit" / file.parent / f"test_{file.name}").exists():
            without.add(str(file))
    assert without == set(WITHOUT_A_TEST_BESIDE_IT)


def test_the_tests_that_hold_a_file_instead_exist() -> None:
    named = re.findall(r"\w+/[\w/]*test_\w+\.py", " ".join(WITHOUT_A_TEST_BESIDE_IT.values()))
    assert len(named) > 10
    assert [path for path in named if not (TESTS / path).is_file()] == []
