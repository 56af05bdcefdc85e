"""What is written for people: the README, the manual's pages and the page about the tests."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "consumer" / "manual"

PAGES = sorted(MANUAL.glob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "SECURITY.md", *PAGES, ROOT / "tests" / "README.md"]

TEXT = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
"""All of it, one after the other."""


def examples(language: str) -> list[str]:
    """The blocks of code in this language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
