"""The API: whether it is reached, what time it has, and whether it takes our credentials. No call is made."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.watermark import TOLERANCE
from ..settings import ApiSettings
from ..xcover.probe import PartnerReplies, Reply, Unreached
from .check import Check

NAME, CLOCK, CREDENTIALS = "api", "clock", "credentials"
"""Of the checks."""

_REMEDIES = {
    Unreached.NAME: "check the name in api.base_url, and the DNS",
    Unreached.CERTIFICATE: "set api.ca_file (or SSL_CERT_FILE) to the CA of the API or of the proxy that opens TLS, or "
    "check the name in api.base_url",
    Unreached.TLS: "check that api.base_url begins with what is spoken at this port, https:// or http://; and "
    "api.client_certificate, if the API wants one",
    Unreached.PROXY: "check api.proxy, or https_proxy and no_proxy, and what the proxy allows",
    Unreached.CONNECTION: "check host and port in api.base_url, the firewalls, and whether a proxy must be used",
    Unreached.SILENCE: "check the way there; an API that lets only known addresses in may answer nothing to others",
}
_REFUSED = frozenset({401, 403})


def judge_api(reply: Reply, api: ApiSettings, way: str) -> Check:
    """Whether the API is reached. `way`: by which proxy, in words; empty where it is asked directly."""
    if reply.trouble is not None:
        found = f"{api.base_url} is not reached{way}: {reply.trouble.value} ({reply.words})"
        return Check(NAME, "error", found, _REMEDIES[reply.trouble])
    if reply.status == 407:
        return Check(NAME, "error", f"a user and a password are wanted (407){way}", "set them in api.proxy")
    found = f"{api.base_url} is reached{way}, and answers {reply.status} to HEAD"
    if reply.status is not None and reply.status >= 500:
        return Check(NAME, "warning", found, "ask again; if it stays, look at the gateway or the proxy between")
    return Check(NAME, "ok", found)


def judge_clock(reply: Reply, api: ApiSettings, max_skew: float) -> Check:
    """What time it is by the API's answer; `max_skew` in seconds."""
    if not api.use_date:
        return Check(CLOCK, "ok", "the API's time is not looked at (api.use_date)")
    if reply.date is None:
        return Check(
            CLOCK,
            "warning",
            "the API's answer has no Date, so the clock of this machine is believed",
            "have this clock set by a time server",
        )
    ahead = clock_ahead(reply.date, reply.sent, reply.received)
    if abs(ahead) <= TOLERANCE:
        return Check(CLOCK, "ok", f"the clock of this machine agrees with the API's, to {TOLERANCE:g} s")
    wrong = abs(ahead) > max(max_skew, TOLERANCE)
    what = "no offer would be decided or called" if wrong else "no quiet input's watermark would move"
    return Check(
        CLOCK,
        "error" if wrong else "warning",
        f"the clock of this machine is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the API's: {what}",
        "have the clock set right",
    )


def clock_ahead(date: float, sent: float, received: float) -> float:
    """By how many seconds at least our clock is ahead of a `Date`; negative: behind. The three in s since the epoch."""
    # A Date cuts off the fraction of its second, and was written between the two.
    if sent > date + 1:
        return sent - date - 1
    return min(0.0, received - date)


def judge_credentials(replies: PartnerReplies) -> Iterator[Check]:
    """Whether the API takes the credentials of each partner."""
    guarded = replies.unsigned.status in _REFUSED
    unproven = []
    for partner, reply in replies.signed.items():
        if reply is None:
            yield Check(
                CREDENTIALS,
                "error",
                f"there are no credentials for partner {partner!r}, of which offers are presented",
                f"set api.credentials for it, or api.key and api.secret for all: {_LIKE}",
            )
        elif reply.status in _REFUSED:
            yield Check(
                CREDENTIALS,
                "error",
                f"the API refuses the credentials of partner {partner!r} (it answers {reply.status} to a signed GET)",
                "check key and secret, that this partner_code is theirs, that they are of this host (testing keys are "
                "not of production), and the clock",
            )
        elif reply.status is None or reply.status in _NOT_NOW or reply.status >= 500:
            why = f"it answers {reply.status}" if reply.trouble is None else reply.trouble.value
            yield Check(
                CREDENTIALS,
                "warning",
                f"whether those of partner {partner!r} are taken is not known: {why}",
                "ask again",
            )
        elif guarded:
            yield Check(
                CREDENTIALS,
                "ok",
                f"the API takes those of partner {partner!r}: a signed GET is answered {reply.status}, one without a "
                f"signature {replies.unsigned.status}",
            )
        else:
            unproven.append(partner)
    if unproven:
        yield Check(
            CREDENTIALS,
            "warning",
            f"whether those of {', '.join(map(repr, unproven))} are taken is not known: the API answers "
            f"{replies.unsigned.status or 'nothing'} without a signature, too, at {replies.url}",
            "the first call shows it",
        )
    if replies.unasked:
        yield Check(
            CREDENTIALS,
            "warning",
            f"nothing was answered in time about {', '.join(map(repr, replies.unasked))}",
            "ask again",
        )


_LIKE = 'OPT_OUT_API__CREDENTIALS={"CODE": {"key": ..., "secret": ...}}'
_NOT_NOW = frozenset({407, 408, 425, 429})
