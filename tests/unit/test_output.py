"""What a command shows: nothing is lost in a narrow terminal, between plain columns, or in JSON."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.run_command import clean_environ
from support.strategies import examples

from consumer.output import (
    NOTHING,
    Cell,
    Column,
    Document,
    TableShown,
    as_json,
    plain_lines,
    print_boxed,
    show,
)
from consumer.printable import visible

COLUMNS = (
    Column("name", "name"),
    Column("size", "how large", is_number=True),
    Column("size_ms"),
    Column("what", "what it is"),
)
TABLE = TableShown(
    "A title",
    COLUMNS,
    [
        ["kafka.bootstrap_servers", 7, 7000, "[red]two  blanks[/red]\nand a line"],
        ["n", Cell("none", None), None, ""],
        ["yes or no", 12, 12000, True],
    ],
    "A caption",
)
DOCUMENT = Document({"things": TABLE}, {"goes_on": False}, ["A note … with a dash."])


def boxed(width: int, document: Document = DOCUMENT) -> str:
    screen = io.StringIO()
    print_boxed(document, Console(file=screen, width=width))
    return screen.getvalue()


# --- plain columns


def test_plain_columns_have_no_box_and_stand_two_blanks_apart() -> None:
    assert list(plain_lines(TABLE)) == [
        "name                     how large  what it is",
        "kafka.bootstrap_servers          7  [red]two blanks[/red] and a line",
        "n                             none  -",
        "yes or no                       12  yes",
    ]


def test_nothing_is_cut_or_folded_between_plain_columns() -> None:
    long = "x" * 2_000
    (_, line) = plain_lines(TableShown("t", COLUMNS[:1], [[long]]))
    assert line == long


def test_a_table_without_rows_has_its_headings() -> None:
    assert list(plain_lines(TableShown("t", COLUMNS, []))) == ["name  how large  what it is"]


@examples(200)
@given(st.lists(st.lists(st.text(max_size=8), min_size=3, max_size=3), max_size=4))
def test_whatever_the_cells_hold_two_blanks_part_the_columns_and_a_row_is_a_line(rows: list[list[str]]) -> None:
    lines = list(plain_lines(TableShown("t", [Column(key, key) for key in "abc"], rows)))
    assert [re.split(" {2,}", line) for line in lines] == [
        ["a", "b", "c"],
        *([visible(" ".join(text.split())) or NOTHING for text in row] for row in rows),
    ]
    assert "\n".join(lines).splitlines() == lines


# --- a terminal


@pytest.mark.parametrize("width", [20, 30, 60, 120, 300])
def test_a_terminal_folds_and_cuts_nothing(width: int) -> None:
    words = Document({"t": TableShown("t", [Column("a", "a"), Column("b", "b")], [["k" * 30, "v" * 70]])})
    text = boxed(width, words)
    assert max(map(len, text.splitlines())) <= width
    assert (text.count("k"), text.count("v")) == (30, 70)
    assert "…" not in text


def test_the_name_of_a_row_is_not_folded_where_there_is_room() -> None:
    assert "kafka.bootstrap_servers" in boxed(70)
    assert "kafka.bootstrap_servers" not in boxed(40)


def test_what_a_value_holds_is_no_markup() -> None:
    assert "[red]two  blanks[/red]" in boxed(120)


def test_a_table_does_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Ids are what others have written."""
    hostile = "\x1b]0;gone\x07\x1b[2J\x9b2J\r\b\u202e"
    columns = [Column("a", "a")]
    document = Document({"t": TableShown(hostile, columns, [[hostile]], hostile)}, notes=[hostile])
    show(document, "table")
    many = [Column(f"c{number}", f"c{number}") for number in range(9)]
    turned = Document({"t": TableShown(hostile, many, [[hostile] * 9])})
    for said in (capsys.readouterr().out, boxed(200, document), boxed(60, turned)):
        assert r"\x1b" in said
        assert [one for one in said if not one.isprintable() and one != "\n"] == []


def test_tabs_and_ends_of_lines_stay_and_no_other_character_is_changed() -> None:
    assert visible("a\tb\nc … ü 旅行") == "a\tb\nc … ü 旅行"


def in_a_terminal(command: list[str], columns: int) -> str:
    """What a command writes to a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environ = {name: value for name, value in clean_environ().items() if name not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ | {"TERM": "xterm"}):
        os.close(theirs)
        said = b""
        try:
            while chunk := os.read(ours, 65_536):
                said += chunk
        except OSError:  # the other side is closed
            pass
    os.close(ours)
    return re.sub(r"\x1b\[[\d;]*m", "", said.decode())


@pytest.mark.parametrize("columns", [60, 130])
def test_a_real_terminal_gets_boxes_as_wide_as_it_is(columns: int) -> None:
    said = in_a_terminal([sys.executable, "-m", "consumer", "settings"], columns)
    lines = said.splitlines()
    assert "Settings in force" in said
    assert {len(line) for line in lines if line.startswith("│")} == {columns}


# --- JSON


def test_json_has_the_values_the_facts_and_the_notes_in_one_document_of_ascii() -> None:
    text = as_json(DOCUMENT)
    assert text.isascii()
    assert json.loads(text) == {
        "things": [
            {
                "name": "kafka.bootstrap_servers", "size": 7, "size_ms": 7000,
                "what": "[red]two  blanks[/red]\nand a line",
            },
            {"name": "n", "size": None, "size_ms": None, "what": ""},
            {"name": "yes or no", "size": 12, "size_ms": 12000, "what": True},
        ],
        "goes_on": False,
        "notes": ["A note … with a dash."],
    }  # fmt: skip


def test_notes_stand_below_plain_tables_and_within_json(capsys: pytest.CaptureFixture[str]) -> None:
    show(DOCUMENT, "table")
    assert capsys.readouterr().out.endswith("yes\n\nA note … with a dash.\n")
    show(DOCUMENT, "json")
    assert json.loads(capsys.readouterr().out)["notes"] == list(DOCUMENT.notes)


@pytest.mark.parametrize(("width", "rows", "turned"), [(60, 4, True), (60, 5, False), (400, 4, False)])
def test_many_columns_that_do_not_fit_become_rows_where_there_are_few_of_those(
    width: int, rows: int, turned: bool
) -> None:
    columns = [Column(f"c{n}", f"heading {n}") for n in range(9)]
    table = TableShown("t", columns, [[f"r{row}c{n}" for n in range(9)] for row in range(rows)])
    screen = io.StringIO()
    print_boxed(Document({"t": table}), Console(width=width, file=screen))
    said = screen.getvalue()
    first = next(line for line in said.splitlines() if "heading 0" in line or "r0c0" in line)
    assert ("heading 0" in first and "r0c0" in first and "r3c0" in first) is turned
