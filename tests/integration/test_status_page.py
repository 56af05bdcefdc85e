"""The status page in a real browser without a window: each state, wide and narrow, light and dark.

To look at them: STATUS_PAGES=FOLDER keeps the pictures.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from brokers.base import free_port
from playwright.sync_api import Browser
from support.browser import Visit, a_browser
from support.reports import HOSTILE
from support.run_states import NOW, STATES, a_partner, denied, latest_of, shifted, turning, well

from consumer.server import frame
from consumer.server.http import serving
from consumer.server.latest import Latest
from consumer.settings import ServerSettings
from consumer.snapshot import Snapshot

HEADLINES = {
    "well": "All is well",
    "restoring": "Waiting, and goes on by itself",
    "suspended": "1 problem to look at",
    "denied": "1 problem to look at",
    "transaction": "Waiting, and goes on by itself",
    "full": "2 problems to look at",
    "behind": "3 problems to look at",
}

OUTSIDE = """() => [...document.querySelectorAll("body *")].filter(
    e => !e.closest(".scrolls, .definitions") && e.getBoundingClientRect().right > innerWidth + 1
).map(e => e.tagName + "." + (e.className.baseVal ?? e.className))"""

FAINT = """() => {
    const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = (colour) => {
        const [r, g, b] = parts(colour).map(v => linear(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if ((parts(colour)[3] ?? 1) === 1) return colour;
        }
    };
    const hasText = (e) => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    const isShown = (e) => e.getClientRects().length && !e.closest("svg, script, noscript");
    return [...document.querySelectorAll("body *")].filter(e => hasText(e) && isShown(e)).map(e => {
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
        return [(a + 0.05) / (b + 0.05), e.textContent.trim().slice(0, 30)];
    }).filter(([ratio]) => ratio < 4.5).map(([ratio, text]) => `${ratio.toFixed(1)}: ${text}`);
}"""
"""What is too faint to read: WCAG asks for a contrast of 4.5."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as started:
        yield started


class Served:
    """A server of its own for a test, whose snapshot may be another one while the page is open."""

    def __init__(self, stack: ExitStack, browser: Browser) -> None:
        self._stack = stack
        self._browser = browser
        self._server = ExitStack()
        stack.callback(self._server.close)
        self.latest = Latest()
        self.url = ""

    def serve(self, snapshot: Snapshot, *, show_ids: bool = False) -> Served:
        self.latest = latest_of(snapshot, _now())
        settings = ServerSettings(port=free_port(), show_ids=show_ids)
        self._server.enter_context(serving(settings, turning(snapshot), self.latest))
        self.url = f"http://127.0.0.1:{settings.port}"
        return self

    def swap_in(self, snapshot: Snapshot) -> None:
        self.latest.swap_in(shifted(snapshot, _now() - NOW))

    def end(self) -> None:
        self._server.close()

    def visit(self, path: str = "/", width: int = 1280, **options: object) -> Visit:
        visit = Visit.to(self._browser, self.url + path, viewport={"width": width, "height": 800}, **options)
        self._stack.callback(visit.close)
        return visit


def _now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def served(browser: Browser) -> Iterator[Served]:
    with ExitStack() as stack:
        yield Served(stack, browser)


@pytest.fixture
def every_second(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages look for what is new five times as often as else."""

    def forget() -> None:
        frame._script.cache_clear()
        frame.policy.cache_clear()

    monkeypatch.setattr(frame, "REFRESH", 1)
    forget()
    yield
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("state", STATES)
def test_each_state_is_legible_wide_and_narrow_light_and_dark(
    served: Served, state: str, width: int, scheme: str
) -> None:
    visit = served.serve(STATES[state]()).visit(width=width, color_scheme=scheme)
    page = visit.page
    assert page.locator("h1").inner_text() == HEADLINES[state]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(FAINT) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", background))) / 3
    assert brightness < 60 if scheme == "dark" else brightness > 200
    assert "5f2c8e" not in page.content()
    assert visit.asked == [f"{served.url}/"]
    assert visit.complaints == []
    if kept := os.environ.get("STATUS_PAGES"):
        page.screenshot(path=Path(kept) / f"{state}-{width}-{scheme}.png", full_page=True)


@pytest.mark.parametrize("state", [state for state in STATES if state != "well"])
def test_what_to_do_leads_to_the_entry_of_the_runbook(served: Served, state: str) -> None:
    page = served.serve(STATES[state]()).visit().page
    link = page.locator(".problems .do a").first
    words, href = link.inner_text(), link.get_attribute("href")
    assert href is not None
    link.click()
    page.wait_for_url(f"{served.url}/{href}")
    heading = page.locator(f"[id='{href.partition('#')[2]}']")
    assert heading.inner_text() == words
    assert heading.evaluate("e => e.getBoundingClientRect().top") < 100


def test_the_order_is_what_is_wrong_then_what_there_is(served: Served) -> None:
    page = served.serve(denied()).visit().page
    assert page.locator("h1, h2").all_inner_texts() == [
        "1 problem to look at",
        "What waits",
        "Tasks",
        "Partners",
        "Last outcomes",
        "Last dead letters",
        "The last hour",
    ]
    assert (
        page.locator(".problems .sentence")
        .all_inner_texts()[0]
        .startswith("Partition 3: oldest unsettled offer is 1 h 16 min old, partner ACME answers 403 since ")
    )
    assert page.locator("svg rect.first").count() > 60
    assert page.locator("svg rect.second").count() > 0


def test_a_name_that_is_html_is_a_name(served: Served) -> None:
    visit = served.serve(replace(well(), partners=(a_partner(HOSTILE),), instance=HOSTILE), show_ids=True).visit()
    assert HOSTILE in visit.page.locator("table").nth(1).inner_text()
    assert "offer-5f2c8e<b>" in visit.page.locator("table").nth(2).inner_text()
    assert visit.page.title() == "All is well · offer-opt-out"
    assert visit.complaints == []


def test_it_refreshes_itself_in_place(served: Served, every_second: None) -> None:
    visit = served.serve(well()).visit()
    visit.page.evaluate("window.same = true")
    served.swap_in(denied())
    visit.page.locator("h1", has_text="1 problem to look at").wait_for(timeout=15_000)
    assert visit.page.title() == "1 problem to look at · offer-opt-out"
    assert visit.page.evaluate("window.same"), "it was not loaded anew"
    assert "b3261e" in (visit.page.locator("link[rel=icon]").get_attribute("href") or "")
    assert {url.removeprefix(served.url) for url in visit.asked} == {"/"}
    assert visit.complaints == []


def test_it_refreshes_itself_where_no_script_runs(served: Served, every_second: None) -> None:
    visit = served.serve(well()).visit(java_script_enabled=False)
    served.swap_in(denied())
    visit.page.locator("h1", has_text="1 problem to look at").wait_for(timeout=15_000)


def test_it_says_when_nobody_answers_any_more_and_when_somebody_does_again(served: Served, every_second: None) -> None:
    visit = served.serve(well()).visit()
    assert visit.page.locator("#stale").is_hidden()
    served.end()
    note = visit.page.locator("#stale")
    note.wait_for(timeout=15_000)
    assert re.fullmatch(r"The instance has not answered for \d+ s: what is shown below is as old\.", note.inner_text())


def test_text_that_is_selected_stays_so(served: Served, every_second: None) -> None:
    visit = served.serve(well()).visit()
    visit.page.evaluate("getSelection().selectAllChildren(document.querySelector('.summary'))")
    visit.page.locator("#stale", has_text="Not refreshed while text is selected.").wait_for(timeout=15_000)
    assert "Partitions 0, 1, 2 and 3 running" in visit.page.evaluate("getSelection().toString()")
    visit.page.evaluate("getSelection().removeAllRanges()")
    visit.page.locator("#stale").wait_for(state="hidden", timeout=15_000)


@pytest.mark.parametrize("width", [1280, 360])
def test_the_manual_fits_and_its_links_lead_on(served: Served, width: int) -> None:
    visit = served.serve(well()).visit("/manual", width=width)
    page = visit.page
    assert page.url == f"{served.url}/manual/"
    for name in ("runbook", "operations", "settings"):
        page.locator(f"main a[href='{name}']").first.click()
        page.wait_for_url(f"{served.url}/manual/{name}")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(FAINT) == []
        page.go_back()
    page.locator("nav a", has_text="Status").click()
    page.wait_for_url(f"{served.url}/")
    assert visit.complaints == []


def test_another_sites_page_reads_nothing(served: Served) -> None:
    """A port is a site of its own. Its page has no policy that would keep it from asking."""
    page = served.serve(well()).visit().page.context.new_page()
    page.route("http://127.0.0.1:1/", lambda route: route.fulfill(content_type="text/html", body="<h1>another</h1>"))
    page.goto("http://127.0.0.1:1/")
    assert page.evaluate(f"fetch('{served.url}/status').then(a => a.text(), e => 'refused')") == "refused"
    open_to_all = f"fetch('{served.url}/status', {{mode: 'no-cors'}}).then(a => a.type, e => 'refused')"
    assert page.evaluate(open_to_all) == "refused", "nor may it take it as a picture or a script"
