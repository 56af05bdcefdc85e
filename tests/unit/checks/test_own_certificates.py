"""The certificates that we show, and for how long they are good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.certificates import CLIENT, CLIENT_KEY

from consumer.checks.check import Check
from consumer.checks.own_certificates import judge_own_certificates
from consumer.settings import Settings

BEGINS = datetime(2026, 11, 26, 4, 18, 13, tzinfo=UTC)
ENDS = datetime(2126, 11, 2, 4, 18, 13, tzinfo=UTC)
WELL = datetime(2030, 1, 1, tzinfo=UTC)


def judge(now: datetime = WELL, **settings: Any) -> list[Check]:
    return list(judge_own_certificates(Settings(**settings), now))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "client.pem"
    found.write_text(CLIENT + CLIENT_KEY)
    return found


def test_where_none_is_shown_nothing_is_said() -> None:
    assert judge() == []


@pytest.mark.parametrize(
    ("now", "level", "says"),
    [
        (BEGINS - timedelta(seconds=1), "error", "is good from 2026-11-26 on"),
        (BEGINS, "ok", "ends on 2126-11-02"),
        (ENDS - timedelta(days=1_000), "warning", "in 1000 days, the last twentieth of its life"),
        (ENDS - timedelta(seconds=1), "warning", "in 0 days"),
        (ENDS, "error", "has ended on 2126-11-02"),
    ],
)
def test_each_one_is_told_with_its_setting_and_when_it_ends(file: Path, now: datetime, level: str, says: str) -> None:
    (check,) = judge(now, kafka={"properties": {"ssl.certificate.location": str(file)}})
    assert check.level == level
    assert f"{file} (ssl.certificate.location)" in check.found
    assert says in check.found
    assert bool(check.remedy) is (level != "ok")


def test_those_of_the_api_and_of_the_registry_and_one_within_the_properties_are_looked_at_too(file: Path) -> None:
    found = judge(
        kafka={"properties": {"ssl.certificate.pem": CLIENT}},
        api={"client_certificate": file},
        avro={"registry_client_certificate": file},
    )
    assert [check.level for check in found] == ["ok"] * 3
    for part, check in zip(
        ("(api.client_certificate)", "(avro.registry_client_certificate)", "(ssl.certificate.pem)"), found, strict=True
    ):
        assert part in check.found


def test_what_cannot_be_looked_at_is_a_warning(tmp_path: Path) -> None:
    gone, store = str(tmp_path / "gone.pem"), str(tmp_path / "store.p12")
    properties = {"ssl.certificate.location": gone, "ssl.keystore.location": store}
    first, second = judge(kafka={"properties": properties})
    assert (first.level, second.level) == ("warning", "warning")
    assert "none can be read there" in first.found
    assert "is not looked at" in second.found
    assert "openssl pkcs12" in second.remedy
