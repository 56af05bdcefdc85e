"""The manual: its pages, the command that shows them, and the page that is written from the code."""

from __future__ import annotations

import io
import re
import tomllib

import pytest
from rich.console import Console
from support.documents import MANUAL, PAGES, ROOT
from typer.testing import CliRunner

from consumer import __version__, cli, manual
from consumer.manual.settings_page import render
from consumer.settings.model import names


def show(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["manual", *arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    return done.exit_code, done.output


def test_the_index_lists_every_page() -> None:
    listed = [page.name for page in manual.pages()]
    assert sorted([*listed, "index"]) == [path.stem for path in PAGES]


def test_without_a_page_the_pages_are_listed_a_line_each() -> None:
    code, text = show()
    assert code == 0
    assert [line.split("  ")[0] for line in text.splitlines()] == [page.name for page in manual.pages()]
    assert all(page.summary in text for page in manual.pages())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_is_shown_raw_where_the_output_is_no_terminal(path: object) -> None:
    page = MANUAL / str(path)
    for name in (page.stem, page.name):
        assert show(name) == (0, page.read_text(encoding="utf-8"))


def test_a_page_is_rendered_where_the_output_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda: Console(file=screen, force_terminal=True, width=100))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    cli.manual("delivery#what-an-answer-does")
    assert "What an answer does" in screen.getvalue()
    assert "below (delivery#refused-requests)" in " ".join(re.sub(r"\x1b\[[\d;]*m", "", screen.getvalue()).split())
    assert "\x1b[" in screen.getvalue()
    assert "## What" not in screen.getvalue()


def test_a_part_of_a_page_is_shown_from_its_heading_to_the_next() -> None:
    code, text = show("operations#health")
    assert code == 0
    assert text.startswith("## Health\n")
    assert "/livez" in text
    assert "release_file" not in text


def test_what_is_below_a_heading_belongs_to_it_and_comments_in_code_are_no_headings() -> None:
    page = "# A\n\n## B\n\n```\n# no heading\n```\n\n### C\n\n## D d: `d`\n"
    assert [(found.level, found.anchor) for found in manual.headings(page)] == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
        (2, "d-d-d"),
    ]
    assert manual._part(page, "x", "b") == "## B\n\n```\n# no heading\n```\n\n### C\n"


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("runbok", "runbook"), ("runbook#credential-refused", "runbook#credentials-refused"), ("../cli", "")],
)
def test_an_unknown_page_exits_2_and_suggests_the_nearest(given: str, nearest: str) -> None:
    code, text = show(given)
    assert code == 2
    assert f"did you mean {nearest}?" in text if nearest else "lists the pages there are" in text


@pytest.mark.parametrize(("option", "file"), [("--alerts", "alerts.yml"), ("--dashboard", "dashboard.json")])
def test_what_is_for_programs_is_printed_as_it_stands(option: str, file: str) -> None:
    assert show(option) == (0, (MANUAL / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("more", [["runbook"], ["--dashboard"]])
def test_two_things_at_once_are_refused(more: list[str]) -> None:
    code, text = show("--alerts", *more)
    assert code == 2
    assert "one thing" in text


def test_the_page_of_settings_says_what_the_code_says() -> None:
    page = (MANUAL / "settings.md").read_text(encoding="utf-8")
    assert page == render(), "run `make manual`"
    assert re.findall(r"^\| `([\w.]+)\.(\w+)` \|", page, re.MULTILINE)[: len(list(names()))] == list(names())


def test_the_changes_begin_with_the_version_that_runs() -> None:
    first = re.search(r"^## (.+)$", (MANUAL / "changes.md").read_text(encoding="utf-8"), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert first is not None
    assert first[1] == __version__ == project["version"]
