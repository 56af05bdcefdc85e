"""What all pages have: their style and script by hash, and nothing that is not theirs."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from consumer.markup import tag
from consumer.server.frame import ICONS, policy, text_of, whole


def hashes(text: str, name: str) -> list[str]:
    return [
        base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()
        for found in re.findall(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    ]


def test_the_policy_lets_in_the_style_and_the_script_that_stand_in_the_page_and_no_other() -> None:
    page = whole("t", tag("main"), refreshes=True)
    (style,), (script,) = hashes(page, "style"), hashes(page, "script")
    said = dict(part.split(" ", 1) for part in policy().split("; "))
    assert said["default-src"] == "'none'"
    assert said["style-src"] == f"'sha256-{style}'"
    assert said["script-src"] == f"'sha256-{script}'"
    assert said["connect-src"] == "'self'"
    assert said["frame-ancestors"] == said["base-uri"] == said["form-action"] == "'none'"
    assert "unsafe" not in policy()


def test_a_page_that_does_not_refresh_has_no_script() -> None:
    page = whole("a & b", tag("main"))
    assert "<script" not in page
    assert "http-equiv" not in page
    assert "<title>a &amp; b</title>" in page


def test_without_a_script_a_page_refreshes_by_itself() -> None:
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in whole("t", refreshes=True)


def test_the_script_names_no_other_place_and_has_its_time() -> None:
    page = whole("t", refreshes=True)
    assert "setTimeout(again, 5000)" in page
    assert "http:" not in text_of("refresh.js")
    assert "url(#hatching)" in text_of("status.css")
    assert re.findall(r"url\((?!#)|@import", text_of("status.css")) == []


@pytest.mark.parametrize("name", ["", *ICONS])
def test_a_tab_has_its_icon_in_the_page(name: str) -> None:
    (href,) = re.findall(r'<link rel="icon" href="([^"]*)">', whole("t", icon=name))
    assert href.startswith("data:")
    assert "<" not in href
