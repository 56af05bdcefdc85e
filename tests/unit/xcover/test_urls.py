"""Where a call goes: ids are data, and the URLs are those that httpx makes itself."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.xcover.urls import USUAL, CallUrls

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
HOSTS = (
    "https://api.xcover.com/x",
    "http://127.0.0.1:8080",
    "http://[::1]:80/a%20b",
    "https://u:p@Staging.example/ä b",
)
PATHS = (
    "/partners/{partner_code}/offers/{offer_id}/opt_out/",
    "/{offer_id}?partner={partner_code}#top",
    "/a/../{partner_code}/{offer_id}/{offer_id}",
)


@given(st.sampled_from(HOSTS), st.sampled_from(PATHS), IDS, IDS)
def test_a_url_is_the_one_that_httpx_makes_of_the_encoded_ids(host: str, path: str, partner: str, offer: str) -> None:
    whole = (
        (host + path).replace("{partner_code}", quote(partner, safe="")).replace("{offer_id}", quote(offer, safe=""))
    )
    url, its = CallUrls(host + path).of(partner, offer), httpx.URL(whole)
    assert url == its
    assert (str(url), url.raw_path, url.netloc, url.scheme) == (str(its), its.raw_path, its.netloc, its.scheme)


def test_one_url_does_not_change_another() -> None:
    urls = CallUrls(HOSTS[0] + PATHS[0])
    one, other = urls.of("P", "a"), urls.of("P", "b")
    assert [url.path for url in (one, other)] == ["/x/partners/P/offers/a/opt_out/", "/x/partners/P/offers/b/opt_out/"]


def test_a_url_that_is_too_long_for_httpx_is_none() -> None:
    assert CallUrls(HOSTS[0] + PATHS[0]).of("P", "o" * USUAL).path.endswith("o/opt_out/")
    with pytest.raises(httpx.InvalidURL, match="too long"):
        CallUrls(HOSTS[0] + PATHS[0]).of("P", "o" * 70_000)
