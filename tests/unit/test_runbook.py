"""The runbook: every warning and every error has its entry, every entry is complete, and the log names it."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from support.documents import MANUAL, ROOT

from consumer import errors, manual, runbook
from consumer.errors import OptOutError, SettingsError, TopicsError
from consumer.logs import configure_logs
from consumer.settings import LogSettings

PAGE = (MANUAL / "runbook.md").read_text(encoding="utf-8")
ENTRIES = {
    heading.anchor: manual._part(PAGE, "runbook", heading.anchor)
    for heading in manual.headings(PAGE)
    if heading.level == 3
}
SECTIONS = {
    heading.anchor: manual._part(PAGE, "runbook", heading.anchor)
    for heading in manual.headings(PAGE)
    if heading.level == 2
}
HEADS = ["Symptom", "Line", "Error", "Alert"]
"""What leads to an entry, in the order in which its head names them; each entry has one of them or more."""
PARTS = ["Means", "How urgent", "Look at", "Do", "Never"]
LONGEST = 36
"""Lines of an entry: it is read at three in the morning, in a terminal."""
URGENT = {"warning", "error", "exception", "critical", "fatal"}


def named_by(entry: str, kind: str) -> list[str]:
    """What stands in the head of an entry: `Line`, `Error` or `Alert`."""
    (head,) = re.findall(r"\A### .+\n\n(.+)\n", entry)
    found = re.search(rf"\*\*{kind}:\*\* ((?:`[^`]+`(?:, )?)+)", head)
    return re.findall(r"`([^`]+)`", found[1]) if found else []


# --- the lines of the code


def warnings_of(path: Path) -> Iterator[tuple[str, str]]:
    """Where the code logs a warning or worse, and how each begins. An event that cannot be told fails the test."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    aliases = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(is_urgent(inner) for inner in ast.walk(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (
            is_urgent(node.func) or (isinstance(node.func, ast.Name) and node.func.id in aliases)
        ):
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            for event in texts(node.args[0], constants, where):
                yield where, event


def is_urgent(node: ast.AST) -> bool:
    """Whether this is `log.warning` or the like."""
    return isinstance(node, ast.Attribute) and node.attr in URGENT and "log" in ast.unparse(node.value).lower()


def texts(node: ast.expr, constants: dict[str, ast.expr], where: str) -> list[str]:
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp():
            return [*texts(node.body, constants, where), *texts(node.orelse, constants, where)]
        case ast.Name() if node.id in constants:
            return texts(constants[node.id], constants, where)
        case ast.Subscript(value=ast.Name() as table) if isinstance(constants.get(table.id), ast.Dict):
            return [text for value in constants[table.id].values for text in texts(value, constants, where)]  # type: ignore[attr-defined]
    pytest.fail(f"{where}: the event of this line of the log cannot be told: {ast.unparse(node)}")


LOGGED = [found for path in sorted((ROOT / "consumer").rglob("*.py")) for found in warnings_of(path)]


def test_every_warning_has_an_entry() -> None:
    assert len(LOGGED) > 35
    assert [found for found in LOGGED if runbook.entry_of_line(found[1]) == runbook.OTHER_LINES] == []


def test_every_beginning_in_the_table_is_of_a_line_that_is_logged() -> None:
    events = [event for _, event in LOGGED]
    used = {max((line for line in runbook.LINES if event.startswith(line)), key=len) for event in events}
    assert used == set(runbook.LINES)


@pytest.mark.parametrize(
    "body",
    [
        "log.warning(text)",
        "log.error(f'{text}')",
        "self._log.exception(names[0])",
        "level = log.info if quiet else log.warning\nlevel(text)",
    ],
)
def test_the_scan_sees_lines_that_it_cannot_tell(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "new.py").write_text(body)
    with pytest.raises(pytest.fail.Exception, match=r"new.py:\d: the event"):
        list(warnings_of(tmp_path / "new.py"))


# --- the errors


def classes() -> list[type[OptOutError]]:
    return [found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, OptOutError)]


def test_every_class_of_error_has_an_entry_of_its_own_in_the_table() -> None:
    assert set(runbook.ERRORS) == set(classes())


def test_an_error_of_a_class_that_is_not_in_the_table_has_that_of_its_base() -> None:
    class MoreSpecialError(TopicsError):
        pass

    assert runbook.entry_of_error(MoreSpecialError("x")) == runbook.ERRORS[TopicsError]
    assert runbook.entry_of_error(SettingsError("x")) == runbook.ERRORS[SettingsError]


# --- the page


def test_what_costs_disk_only_is_said_before_what_loses_an_opt_out() -> None:
    """At three in the morning the first thing that is said is done. An offer that is let go is not opted out."""
    (do,) = re.findall(r"\*\*Do:\*\*(.+?)\n- \*\*", ENTRIES["a-held-commit-nears-the-retention"], re.DOTALL)
    assert do.index("raise the topic's") < do.index("let the offer go")


def test_every_entry_that_is_named_exists() -> None:
    named = {*runbook.LINES.values(), *runbook.ERRORS.values(), runbook.OTHER_LINES}
    assert named <= set(ENTRIES)


def test_every_entry_is_named_by_something_or_tells_its_symptom_or_its_alert() -> None:
    named = {*runbook.LINES.values(), *runbook.ERRORS.values(), runbook.OTHER_LINES}
    for name, entry in ENTRIES.items():
        leads_alone = "**Symptom:** " in entry or ("**Alert:** " in entry and name not in named)
        assert leads_alone == (name not in named), name


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_names_what_leads_to_it(name: str) -> None:
    entry = ENTRIES[name]
    assert named_by(entry, "Line") == [line for line, its in runbook.LINES.items() if its == name]
    assert named_by(entry, "Error") == [kind.__name__ for kind, its in runbook.ERRORS.items() if its == name]


def faults_of(entry: str) -> list[str]:
    """What is not as in every other entry: a head of one line, then five parts in order, and nothing after them."""
    faults = []
    title, _, rest = entry.partition("\n\n")
    head, _, body = rest.partition("\n\n")
    if "\n" in title or "\n" in head:
        faults.append("the title and the head are a line each, with an empty line after them")
    kinds = re.findall(r"\*\*(\w+):\*\* \S", head)
    if not kinds or kinds != [kind for kind in HEADS if kind in kinds]:
        faults.append(f"the head names {kinds}, not some of {HEADS} in this order")
    if any(not re.match(r"\*\*\w+:\*\* ", one) or one.count("**") != 2 for one in head.split(" · ")):
        faults.append("what the head names is parted by ' · '")
    bullets = re.findall(r"^- .*", body, re.MULTILINE)
    parts = [found[1] if (found := re.match(r"- \*\*(.+?):\*\* \S", bullet)) else bullet for bullet in bullets]
    if not body.startswith("- ") or parts != PARTS:
        faults.append(f"the parts are {parts}, not {PARTS}")
    if loose := re.findall(r"^(?!- |  |\||$).+", body, re.MULTILINE):
        faults.append(f"what belongs to a part is indented: {loose[0]}")
    if re.search(r"^- \*\*How urgent:\*\* (Now|Today|This week|Not urgent)\b", body, re.MULTILINE) is None:
        faults.append("how urgent it is begins with one of the four words")
    if len(entry.splitlines()) > LONGEST:
        faults.append(f"it has {len(entry.splitlines())} lines, more than {LONGEST}")
    return faults


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_has_the_shape_of_all_entries(name: str) -> None:
    assert faults_of(ENTRIES[name]) == []


GOOD = ENTRIES["told-to-wait"]


@pytest.mark.parametrize(
    ("what", "with_what"),
    [
        ("- **Never:**", "- **Don't:**"),
        ("- **Look at:**", "- **How urgent:**"),
        ("- **Do:**", "- Or do this.\n- **Do:**"),
        ("- **Do:**", "\nOr do this.\n\n- **Do:**"),
        ("Not urgent:", "Soon:"),
        ("**Line:**", "**Metric:**"),
        ("**Line:**", "**Error:** `StopError` · **Line:**"),
        ("**Line:**", "**Symptom:** calls wait. **Line:**"),
        ("**Line:**", "**Symptom:** calls\nwait · **Line:**"),
        ("- **Do:**", "  and\n" * LONGEST + "- **Do:**"),
    ],
)
def test_another_shape_is_noticed(what: str, with_what: str) -> None:
    assert faults_of(GOOD) == []
    changed = GOOD.replace(what, with_what, 1)
    assert changed != GOOD
    assert faults_of(changed) != []


def test_an_entry_stands_apart_from_the_one_before() -> None:
    lines = PAGE.splitlines()
    assert [lines[found.line] for found in manual.headings(PAGE) if found.line and lines[found.line - 1]] == []


def test_the_page_begins_with_the_rule_then_the_symptoms_then_the_entries() -> None:
    assert list(SECTIONS)[:3] == ["never-reset-offsets-forward", "by-symptom", "symptoms"]
    assert [name for name in list(SECTIONS)[:2] if "\n### " in SECTIONS[name]] == []


def test_the_rule_says_what_is_lost_and_the_way_instead() -> None:
    rule = SECTIONS["never-reset-offsets-forward"]
    assert re.search(r"never set the group's offsets forward.+loses its opt-out", " ".join(rule.split()))
    assert "| the way |" in rule


def test_the_symptoms_at_the_top_lead_to_every_entry_that_only_a_symptom_leads_to() -> None:
    assert {name for name, entry in ENTRIES.items() if "**Symptom:** " in entry} <= set(
        re.findall(r"\(#([\w-]+)\)", SECTIONS["by-symptom"])
    )


STUCK = [
    "an-offset-is-stuck",
    "nothing-is-called",
    "an-instance-restarts-again-and-again",
    "credentials-refused",
    "nothing-but-404s",
    "rejected",
    "rejected-and-the-record-is-gone",
    "a-rejected-record-cannot-be-read",
    "nothing-but-rejected-requests",
    "offers-are-read-no-further",
    "too-many-unusable-records",
    "reading-is-paused",
    "some-commits-were-put-off",
    "write-failed",
    "found-at-the-start-of-the-task",
    "the-start-is-refused",
    "an-offset-is-gone",
    "the-service-stops",
    "a-partition-is-shorter-than-before",
    "a-schema-is-not-known",
]
"""Where somebody may be tempted to set the group's offsets behind what holds it up."""


@pytest.mark.parametrize("name", STUCK)
def test_nobody_is_told_to_go_on_behind_what_is_stuck(name: str) -> None:
    never = " ".join(ENTRIES[name].partition("- **Never:**")[2].split())
    assert re.search(r"\bforward\b", never), never
    assert re.search(r"\bloses?\b", never), never


# --- the log


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    text = io.StringIO()
    configure_logs(LogSettings(level="info", format="json"), text)
    yield text
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def said(stream: io.StringIO) -> list[str | None]:
    return [json.loads(line).get("runbook") for line in stream.getvalue().splitlines()]


def test_a_warning_and_an_error_name_the_entry_and_what_is_below_names_none(stream: io.StringIO) -> None:
    log = structlog.get_logger("consumer.delivery.answers")
    log.warning("rejected: the API refuses a request; such are tried again", offer_id="o")
    log.error("rejected, and its record is gone: it cannot be dead-lettered")
    log.info("credentials accepted: calls go on")
    assert said(stream) == [
        "opt-out manual runbook#rejected",
        "opt-out manual runbook#rejected-and-the-record-is-gone",
        None,
    ]


def test_what_a_library_warns_of_is_not_taken_for_a_line_of_ours(stream: io.StringIO) -> None:
    logging.getLogger("librdkafka").warning("kafka: %s", "down")
    logging.getLogger("uvicorn").info("started")
    assert said(stream) == ["opt-out manual runbook#any-other-line", None]


@pytest.mark.parametrize("entry", [*ENTRIES])
def test_the_command_that_is_named_shows_the_entry(entry: str) -> None:
    *_, place = runbook.command_for(entry).split()
    assert manual.text_of(place) == ENTRIES[entry]
