"""The procedures of the manual have one shape, and name nothing that is not there."""

from __future__ import annotations

import re

import pytest
import typer.core
import typer.main
from support.documents import MANUAL
from support.prometheus import ALERTS

from consumer import cli, manual

PAGE = (MANUAL / "procedures.md").read_text(encoding="utf-8")
NO_STEPS = "what-to-alert-and-scale-on"
"""The one part of the page that is not done step by step."""
PROCEDURES = {
    heading.anchor: manual._part(PAGE, "procedures", heading.anchor)
    for heading in manual.headings(PAGE)
    if heading.level == 2 and heading.anchor != NO_STEPS
}
PARTS = ["When", "Costs", "Done when", "Never"]


def faults_of(procedure: str) -> list[str]:
    """What is not as in every other one: when, what it costs, the steps, how one knows that it is done, never."""
    faults = []
    parts = re.findall(r"^\*\*(.+?):\*\* \S", procedure, re.MULTILINE)
    if parts != PARTS:
        faults.append(f"the parts are {parts}, not {PARTS}")
    steps = re.findall(r"^(\d+)\. ", procedure, re.MULTILINE)
    if len(steps) < 2 or [int(step) for step in steps] != list(range(1, len(steps) + 1)):
        faults.append(f"the steps are {steps}")
    if not procedure.find("**Costs:**") < procedure.find("\n1. ") < procedure.find("**Done when:**"):
        faults.append("the steps stand between what it costs and how one knows that it is done")
    return faults


@pytest.mark.parametrize("name", PROCEDURES)
def test_a_procedure_has_the_shape_of_all(name: str) -> None:
    assert faults_of(PROCEDURES[name]) == []


@pytest.mark.parametrize(
    ("what", "with_what"),
    [("**Costs:**", "**Price:**"), ("\n2. ", "\n3. "), ("**Done when:** ", ""), ("\n1. ", "\n0. ")],
)
def test_another_shape_is_noticed(what: str, with_what: str) -> None:
    good = PROCEDURES["scale-up-and-down"]
    assert faults_of(good) == []
    assert faults_of(good.replace(what, with_what, 1)) != []


def test_every_command_of_ours_is_one() -> None:
    named = set(re.findall(r"`opt-out ([a-z-]+)", PAGE))
    command = typer.main.get_command(cli.app)
    assert isinstance(command, typer.core.TyperGroup)
    assert named
    assert named <= set(command.commands)


def test_what_to_alert_on_first_are_alerts_that_there_are() -> None:
    rows = re.findall(r"^\| (`OptOut.+?) \|.*\(runbook\.md#", PAGE, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| `OptOut", PAGE, re.MULTILINE)) > 0
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} <= set(ALERTS)


def test_what_is_planned_is_found_from_the_pages_that_speak_of_it() -> None:
    for page in ("operations", "positions", "runbook"):
        assert "procedures.md" in (MANUAL / f"{page}.md").read_text(encoding="utf-8"), page
