"""A real browser without a window, where one is installed: Chromium."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright


def chromium() -> Path | None:
    """A browser of this machine, if there is one."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for name in ("chromium", "chromium-browser", "google-chrome"):
            if (path := Path(folder) / name).is_file():
                return path
    return None


def chromium_or_skip() -> Path:
    """A browser of this machine; without one the test is skipped, and says so."""
    program = chromium()
    if program is None:
        pytest.skip("no Chromium is installed here: the page is not looked at in a browser")
    return program


@contextmanager
def a_browser() -> Iterator[Browser]:
    """One that reaches nothing but this machine: whatever a page asks of another host fails at once."""
    program = chromium_or_skip()
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        proxy: Any = {"server": "127.0.0.1:9", "bypass": "127.0.0.1"}
        browser = playwright.chromium.launch(executable_path=str(program), args=options, proxy=proxy)
        try:
            yield browser
        finally:
            browser.close()


@dataclass(slots=True)
class Visit:
    """A page that is looked at, all URLs that it asked for, and what the browser complained of."""

    page: Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def to(cls, browser: Browser, url: str, **options: Any) -> Visit:
        """Opens it in a context of its own; `options` as Playwright has them, such as `viewport` and `color_scheme`."""
        visit = cls(browser.new_context(**options).new_page())
        visit.page.on("request", lambda request: visit.asked.append(request.url))
        visit.page.on("console", lambda message: visit.complaints.append(message.text))
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.goto(url)
        return visit

    def close(self) -> None:
        """With its context."""
        self.page.context.close()
