"""The report's page in a real browser without a window: wide, narrow, dark, and as the PDF that is printed.

To look at them: REPORT_PAGES=FOLDER keeps the page, the pictures and the PDF.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support.browser import chromium_or_skip
from support.reports import HOSTILE, report

from consumer.evidence.page import page

Browse = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    kept = os.environ.get("REPORT_PAGES")
    found = Path(kept) if kept else tmp_path
    found.mkdir(exist_ok=True)
    (found / "report.html").write_text(page(report(notes=[HOSTILE], missing=["why"])), encoding="utf-8")
    return found


@pytest.fixture
def browse(folder: Path, tmp_path: Path) -> Browse:
    """Opens the page from the disk, with these options of the browser."""
    program = chromium_or_skip()

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                # Whatever it asks a network for fails at once, and says so.
                "--proxy-server=127.0.0.1:9",
                "--enable-logging=stderr",
                f"--user-data-dir={tmp_path / 'profile'}",
                *options,
                (folder / "report.html").as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

    return run


MEASURE = """<script>
const wide = document.documentElement;
const outside = [...document.querySelectorAll("body *:not(.scrolls *)")].filter(
    e => e.getBoundingClientRect().right > innerWidth + 1 && getComputedStyle(e).position !== "absolute");
const names = outside.map(e => e.tagName + "." + e.className.baseVal).join(" ");
document.title = [innerWidth, wide.scrollWidth, names].join("|");
</script>"""


@pytest.mark.parametrize("width", [1280, 700, 500])
def test_nothing_stands_beyond_the_edge_of_a_window(browse: Browse, folder: Path, width: int) -> None:
    """A copy of the page with a script that measures it: the page itself lets none run."""
    file = folder / "report.html"
    before = file.read_text(encoding="utf-8")
    without_policy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", before)
    assert len(without_policy) < len(before)
    measured = without_policy.replace("</body>", f"{MEASURE}</body>")
    file.write_text(measured, encoding="utf-8")
    try:
        dump = browse(f"--window-size={width},900", "--dump-dom").stdout
    finally:
        file.write_text(before, encoding="utf-8")
    (title,) = re.findall(r"<title>(.*?)</title>", dump)
    inner, scrolled, outside = title.split("|")
    assert outside == ""
    assert int(scrolled) <= int(inner) == width


def test_it_loads_nothing_and_no_name_in_it_runs(browse: Browse) -> None:
    done = browse("--dump-dom")
    assert "<title>Offers presented from" in done.stdout, "a script that ran would have changed it"
    assert "Not allowed to load" not in done.stderr
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []


@pytest.mark.parametrize(
    ("name", "width", "height", "options"),
    [
        ("wide", 1280, 2600, []),
        ("narrow", 500, 4200, []),
        ("dark", 1280, 2600, ["--blink-settings=preferredColorScheme=0"]),
    ],
)
def test_pictures_of_it_show_light_and_dark(
    browse: Browse, folder: Path, name: str, width: int, height: int, options: list[str]
) -> None:
    file = folder / f"{name}.png"
    browse(f"--window-size={width},{height}", f"--screenshot={file}", *options)
    assert struct.unpack(">II", file.read_bytes()[16:24]) == (width, height)
    assert brightness(file) < 80 if name == "dark" else brightness(file) > 200


def test_it_prints_on_few_sheets_across(browse: Browse, folder: Path) -> None:
    file = folder / "report.pdf"
    browse("--no-pdf-header-footer", f"--print-to-pdf={file}")
    data = file.read_bytes()
    assert data.startswith(b"%PDF")
    boxes = re.findall(rb"/MediaBox \[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", data)
    assert 2 <= len(boxes) <= 6
    assert all(float(across) > float(down) for across, down in boxes), "landscape, for the table"


def brightness(picture: Path) -> float:
    """Of the picture's first pixels, from 0 to 255: its background. PNG by the standard library alone."""
    data, at, packed = picture.read_bytes(), 8, b""
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += length + 12
    # The first row has none above it: whatever its filter, its first pixel stands there as it is.
    first = zlib.decompress(packed)[1:4]
    return sum(first) / 3
