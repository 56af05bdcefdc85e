"""Golden files: what others rely on, as text beside the tests.

A test hands its text to `hold`, which compares it with the file. To write all files anew, after deciding to change
what they hold:

    GOLDEN=write python -m pytest tests/golden

Then read `git diff tests/golden/data` line by line: each line is a promise that is being changed.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parent.parent.parent
DECIDED = "Others rely on this: whoever changes this decides it and writes it under Changes in the manual."
MOST_LINES = 60
"""Lines of a difference that are printed: a file that differs everywhere need not be shown whole."""

# With one of these set, the help is coloured wherever it goes.
_COLOURS = {"FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE", "GITHUB_ACTIONS"}
# As the installed script does it, so that the help speaks of `opt-out`, wherever Python keeps its scripts.
_COMMAND = "import sys; from consumer.cli import main; sys.argv[0] = 'opt-out'; main()"


def is_writing() -> bool:
    """Whether the files are being written anew."""
    return os.environ.get("GOLDEN") == "write"


def hold(name: str, text: str) -> None:
    """Fail with a readable difference unless the file `name` has exactly this text."""
    path = DATA / name
    if is_writing():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    golden = path.read_text(encoding="utf-8") if path.exists() else ""
    if text == golden:
        return
    lines = list(
        difflib.unified_diff(golden.splitlines(), text.splitlines(), f"golden: {name}", "now", lineterm="", n=2)
    )
    shown = lines[:MOST_LINES] + ([f"... and {len(lines) - MOST_LINES} more lines"] if lines[MOST_LINES:] else [])
    again = "To write the golden files anew: GOLDEN=write python -m pytest tests/golden"
    pytest.fail("\n".join(["", *shown, "", DECIDED, again]), pytrace=False)


def hold_json(name: str, data: object) -> None:
    """`hold` for data that is best read as JSON."""
    hold(name, as_json(data))


def read_json(name: str) -> Any:
    """The data of a golden file."""
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def as_json(data: object) -> str:
    """JSON in which a list or an object that fits a line stands on one."""
    return _lines(data, "") + "\n"


def _lines(data: object, indent: str) -> str:
    short = json.dumps(data, ensure_ascii=False)
    if len(indent) + len(short) <= 110 or not isinstance(data, dict | list) or not data:
        return short
    deeper = indent + "  "
    if isinstance(data, dict):
        parts = [
            f"{deeper}{json.dumps(key, ensure_ascii=False)}: {_lines(value, deeper)}" for key, value in data.items()
        ]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + _lines(value, deeper) for value in data) + f"\n{indent}]"


def opt_out(*arguments: str, columns: int = 100, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, with no settings and no proxies but those given, at a fixed width."""
    theirs = re.compile(r"OPT_OUT_.*|.*_proxy|SSL.*|.*_CA_BUNDLE", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not theirs.fullmatch(name) and name not in _COLOURS}
    plain = {"COLUMNS": str(columns), "TERMINAL_WIDTH": str(columns), "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(
        [sys.executable, "-c", _COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=kept | plain | environ,
        check=False,
    )
