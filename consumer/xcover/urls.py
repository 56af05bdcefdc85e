"""Where a call goes: the URL of an offer's opt-out."""

from __future__ import annotations

from urllib.parse import quote

import httpx

USUAL = 16_000
"""Characters of a path that are taken without httpx's own look at them: far above any, and a quarter of its bound."""


class CallUrls:
    """Makes the URLs of calls.

    The ids are data: percent-encoded whole, slashes too, they cannot change the path.

    Args:
        template: the whole URL, with `{partner_code}` and `{offer_id}` in its path.
    """

    def __init__(self, template: str) -> None:
        self._template = template
        self._like: httpx.URL | None = None
        """The URL of some offer, if httpx leaves the template as it stands: it leaves encoded ids so, too."""
        some = _filled(template, "P", "O")
        url = httpx.URL(some)
        self._path = template[template.find("/", template.find("://") + 3) :]
        if str(url) == some and url.raw_path.decode() == _filled(self._path, "P", "O") and not set("?#") & set(some):
            self._like = url

    def of(self, partner_code: str, offer_id: str) -> httpx.URL:
        """The URL of this offer.

        Raises:
            httpx.InvalidURL, UnicodeError: none can be made of its ids.
        """
        ids = quote(partner_code, safe=""), quote(offer_id, safe="")
        path = _filled(self._path, *ids)
        if self._like is None or len(path) > USUAL:
            return httpx.URL(_filled(self._template, *ids))
        # httpx promises no such way, but its own look at each character of each URL is a quarter of a call. Its version
        # is bounded by pyproject.toml, and the tests hold that these are the URLs that it makes itself.
        url = httpx.URL(self._like)
        url._uri_reference = self._like._uri_reference._replace(path=path)
        return url


def _filled(template: str, partner_code: str, offer_id: str) -> str:
    return template.replace("{partner_code}", partner_code).replace("{offer_id}", offer_id)
