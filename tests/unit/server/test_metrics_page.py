"""The page of metrics is written from the list of them."""

from __future__ import annotations

import re

from support.documents import MANUAL

from consumer.server.metrics import BUILD_INFO, METRICS
from consumer.server.metrics_page import PAGE, render


def test_the_page_says_what_the_code_says() -> None:
    assert PAGE == MANUAL / "metrics.md"
    page = PAGE.read_text(encoding="utf-8")
    assert page == render(), "run `make manual`"
    listed = re.findall(r"^\| `(opt_out_\w+)` \|", page, re.MULTILINE)
    assert listed == [*(metric.name for metric in METRICS), BUILD_INFO[0]]
