"""What the API's answers tell: whether it is reached, what time it has, and whether it takes our credentials."""

from __future__ import annotations

import pytest

from consumer.checks.api import clock_ahead, judge_api, judge_clock, judge_credentials
from consumer.checks.check import Check
from consumer.settings import ApiSettings
from consumer.xcover.probe import PartnerReplies, Reply, Unreached

API = ApiSettings(base_url="https://api.test/x")
T = 1_800_000_000.0


@pytest.mark.parametrize("trouble", Unreached)
def test_each_trouble_is_an_error_with_what_to_do(trouble: Unreached) -> None:
    check = judge_api(Reply(trouble=trouble, words="as it was said"), API, " by the proxy http://p:1")
    assert check.level == "error"
    assert check.found == (
        f"https://api.test/x is not reached by the proxy http://p:1: {trouble.value} (as it was said)"
    )
    assert check.remedy


@pytest.mark.parametrize(
    ("status", "level"), [(200, "ok"), (404, "ok"), (403, "ok"), (407, "error"), (500, "warning"), (503, "warning")]
)
def test_an_answer_shows_that_it_is_reached_unless_it_is_a_proxys_or_a_gateways(status: int, level: str) -> None:
    assert judge_api(Reply(status), API, "").level == level


# --- the clock


@pytest.mark.parametrize(
    ("date", "sent", "received", "ahead"),
    [
        (T, T + 0.5, T + 0.6, 0.0),
        (T, T + 1.0, T + 1.2, 0.0),
        (T, T + 5.0, T + 5.1, 4.0),
        (T, T - 5.0, T - 4.0, -4.0),
        (T, T - 5.0, T + 5.0, 0.0),
    ],
    ids=["in its second", "its last moment", "ahead", "behind", "it took ten seconds"],
)
def test_a_clock_is_ahead_by_what_neither_the_way_nor_the_second_explains(
    date: float, sent: float, received: float, ahead: float
) -> None:
    assert clock_ahead(date, sent, received) == ahead


@pytest.mark.parametrize(
    ("off", "level", "says"),
    [
        (0.0, "ok", "agrees"),
        (2.0, "ok", "agrees"),
        (2.5, "warning", "2.5 s ahead of"),
        (-3.0, "warning", "3.0 s behind"),
        (301.0, "error", "301.0 s ahead of the API's: no offer would be decided or called"),
        (-301.0, "error", "301.0 s behind"),
    ],
)
def test_a_clock_that_is_off_is_a_warning_and_beyond_max_skew_an_error(off: float, level: str, says: str) -> None:
    # A Date cuts off what is ahead by less than a second.
    at = T + off + (off > 0)
    check = judge_clock(Reply(200, date=T, sent=at, received=at), API, max_skew=300.0)
    assert check.level == level
    assert says in check.found


def test_an_answer_without_a_date_is_a_warning_unless_it_is_not_wanted() -> None:
    assert judge_clock(Reply(200), API, 300.0).level == "warning"
    assert judge_clock(Reply(200), API.model_copy(update={"use_date": False}), 300.0).level == "ok"


# --- the credentials


def credentials(unsigned: int | None = 403, **signed: Reply | None) -> list[Check]:
    return list(judge_credentials(PartnerReplies("https://api.test/x/o/", Reply(unsigned), signed, [])))


@pytest.mark.parametrize("status", [200, 404, 405])
def test_credentials_are_proved_where_only_a_request_without_them_is_refused(status: int) -> None:
    (check,) = credentials(ACME=Reply(status))
    assert check.level == "ok"
    assert f"a signed GET is answered {status}, one without a signature 403" in check.found


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_are_refused_are_an_error_that_names_the_partner(status: int) -> None:
    good, bad = credentials(ACME=Reply(405), BETA=Reply(status))
    assert (good.level, bad.level) == ("ok", "error")
    assert f"'BETA' (it answers {status} to a signed GET)" in bad.found


def test_a_partner_without_credentials_is_an_error() -> None:
    (check,) = credentials(ACME=None)
    assert check.level == "error"
    assert "no credentials for partner 'ACME'" in check.found
    assert "OPT_OUT_API__CREDENTIALS" in check.remedy


def test_where_a_request_without_a_signature_is_answered_alike_nothing_is_proved() -> None:
    (check,) = credentials(404, ACME=Reply(404), BETA=Reply(404))
    assert check.level == "warning"
    assert "'ACME', 'BETA' are taken is not known: the API answers 404 without a signature, too" in check.found


@pytest.mark.parametrize("reply", [Reply(429), Reply(503), Reply(407), Reply(trouble=Unreached.SILENCE)])
def test_what_is_no_answer_about_credentials_is_a_warning(reply: Reply) -> None:
    (check,) = credentials(ACME=reply)
    assert check.level == "warning"
    assert "is not known" in check.found


def test_partners_about_whom_nothing_was_answered_in_time_are_named() -> None:
    (check,) = judge_credentials(PartnerReplies("https://api.test", Reply(403), {}, ["ACME", "BETA"]))
    assert check.level == "warning"
    assert "'ACME', 'BETA'" in check.found
