"""The manual's page about security: each way in is told, and each test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from support.documents import MANUAL, ROOT

PAGE = (MANUAL / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
WAYS = (
    "Topics",
    "Answers of the API, and what is between",
    "The schema registry",
    "Other members of the group, and what is committed",
    "Files: settings, secrets, releases",
    "The environment and the command line",
    "The endpoints",
    "Logs and terminals",
    "Dead letters",
    "Reports and exports",
)


@cache
def names_in(path: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_test_that_is_named_is_there() -> None:
    assert len(NAMED) > 50
    missing = [
        f"{file}::{name}"
        for file, name in NAMED
        if not (ROOT / "tests" / file).is_file() or name not in names_in(ROOT / "tests" / file)
    ]
    assert missing == []


def test_every_way_in_has_a_table() -> None:
    told = PAGE.partition("## The ways in")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^### (.+)$", told, re.MULTILINE)) == WAYS
    for part in told.split("\n### ")[1:]:
        assert "\n| what could be tried | what stops it | shown by |\n" in part, part.partition("\n")[0]


def test_a_row_names_a_test_or_says_that_nothing_stops_it() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| what")]
    assert len(rows) > 40
    for row in rows:
        _, _, stopped_by, shown_by, _ = re.split(r"(?<!\\)\|", row)
        assert "::" in shown_by or "**Nothing here" in stopped_by, row


def test_the_file_at_the_root_leads_to_the_page() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "consumer/manual/security.md" in text
    assert "opt-out manual security" in text
