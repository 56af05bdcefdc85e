"""Checks are shown a line each, and told to programs in one document."""

from __future__ import annotations

import json

from consumer.checks.check import Check
from consumer.checks.show import document, in_words, summary
from consumer.output import as_json

FOUND = [
    Check("brokers", "ok", "3 brokers answer"),
    Check("topics", "warning", "one is odd", "look at it"),
    Check("rights", "error", "none is there\nnot one", "give them:\n  all of them"),
    Check("group", "warning", "somebody is in it"),
]


def test_each_is_a_line_with_its_level_in_a_word_and_the_remedy_below_it() -> None:
    assert in_words(FOUND[0], coloured=False) == "ok       brokers: 3 brokers answer"
    assert in_words(FOUND[1], coloured=False) == "warning  topics: one is odd\n         to do: look at it"


def test_what_has_several_lines_stays_indented() -> None:
    assert in_words(FOUND[2], coloured=False).splitlines() == [
        "error    rights: none is there",
        "         not one",
        "         to do: give them:",
        "           all of them",
    ]


def test_colours_are_for_a_terminal_and_the_words_stay() -> None:
    shown = in_words(FOUND[2], coloured=True)
    assert shown.startswith("\x1b[31merror")
    assert "\x1b" not in in_words(FOUND[2], coloured=False)


def test_the_last_line_counts_them() -> None:
    assert summary(FOUND) == "1 ok, 2 warnings, 1 error"
    assert summary([]) == "0 ok, 0 warnings, 0 errors"


def test_the_document_has_every_field_and_the_counts() -> None:
    told = json.loads(as_json(document(FOUND)))
    assert told["counts"] == {"ok": 1, "warning": 2, "error": 1}
    assert told["checks"][1] == {"name": "topics", "level": "warning", "found": "one is odd", "remedy": "look at it"}
