"""Settings that are allowed and unwise are told, and variables with what they do."""

from __future__ import annotations

import pytest

from consumer.checks.environment import judge_environment, judge_settings
from consumer.settings import Settings
from consumer.settings.outside import OutsideVariable


def test_the_defaults_are_well() -> None:
    assert [check.level for check in judge_settings(Settings())] == ["ok"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"api": {"auth": "none"}}, "no call is signed"),
        (
            {"api": {"base_url": "http://api.test", "key": "k", "secret": "s", "allow_plain_http": True}},
            "http://api.test in plain text",
        ),
        (
            {"avro": {"registry_url": "http://r", "registry_token": "t", "registry_allow_plain_http": True}},
            "to the schema registry goes there in plain text",
        ),
        ({"delivery": {"not_found_limit": 0}}, "each 404 is believed"),
        ({"join": {"checkout_silence": "0s"}}, "join.checkout_silence is 0"),
        ({"join": {"unmatched_limit": 0}}, "join.unmatched_limit is 0"),
    ],
)
def test_what_is_unwise_is_a_warning_with_what_to_do(given: dict[str, object], says: str) -> None:
    (warning,) = [check for check in judge_settings(Settings.model_validate(given)) if check.level != "ok"]
    assert warning.level == "warning"
    assert says in warning.found
    assert warning.remedy


def test_each_variable_is_told_and_one_that_gives_keys_away_is_a_warning() -> None:
    found = list(
        judge_environment(
            [
                OutsideVariable("https_proxy", "http://proxy:3128", "calls go through this proxy"),
                OutsideVariable("SSLKEYLOGFILE", "/tmp/keys", "the keys of each TLS connection go into this file"),
            ]
        )
    )
    assert [check.level for check in found] == ["ok", "warning"]
    assert found[0].found == "https_proxy=http://proxy:3128: calls go through this proxy"


def test_without_a_variable_that_is_said() -> None:
    (only,) = judge_environment([])
    assert (only.level, only.found) == ("ok", "no variable changes the way to the API")
