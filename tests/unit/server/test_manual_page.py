"""The manual's pages as documents."""

from __future__ import annotations

import pytest

from consumer import __version__
from consumer.server.manual_page import manual_page


def test_a_page_leads_back_and_says_of_which_version_it_is() -> None:
    page = manual_page("runbook")
    assert "<title>Runbook · offer-opt-out</title>" in page
    assert '<a href="../">Status</a>' in page
    assert '<a href="./">Manual</a>' in page
    assert f"The manual of offer-opt-out {__version__}" in page
    assert '<h3 id="credentials-refused">Credentials refused</h3>' in page


def test_the_index_leads_to_every_page() -> None:
    assert '<a href="runbook">runbook</a>' in manual_page("index")


@pytest.mark.parametrize("name", ["nothing", "../cli", "runbook.md", "runbook#rejected", ""])
def test_there_is_no_other_page(name: str) -> None:
    with pytest.raises(LookupError):
        manual_page(name)
