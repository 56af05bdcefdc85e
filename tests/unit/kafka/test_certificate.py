"""When a certificate ends: read from the file, as openssl reads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.certificates import AUTHORITY, CLIENT, CLIENT_KEY

from consumer.kafka.certificate import Validity, validity_of


def at(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type, misc]


def test_the_first_certificate_of_a_file_tells(tmp_path: Path) -> None:
    file = tmp_path / "client.pem"
    file.write_text(f"Bag Attributes: für uns\n{CLIENT_KEY}{CLIENT}{AUTHORITY}", encoding="utf-8")
    # As `openssl x509 -dates` says it. The second is beyond 2049, and so written in the other way.
    assert validity_of(file) == (at(2026, 11, 26, 4, 18, 13), at(2126, 11, 2, 4, 18, 13))


@pytest.mark.parametrize(
    "content", ["", CLIENT_KEY, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "\0\xff"]
)
def test_what_is_no_certificate_tells_nothing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "client.pem"
    file.write_text(content, encoding="utf-8")
    assert validity_of(file) is None
    assert validity_of(tmp_path) is None


@pytest.mark.parametrize(
    ("life", "left", "over"),
    [
        (timedelta(days=365), timedelta(days=19), False),
        (timedelta(days=365), timedelta(days=18), True),
        (timedelta(days=1), timedelta(hours=2), False),
        (timedelta(days=1), timedelta(hours=1), True),
        (timedelta(days=1), timedelta(hours=-1), True),
    ],
)
def test_a_twentieth_of_its_life_is_the_end(life: timedelta, left: timedelta, over: bool) -> None:
    end = at(2027, 1, 1)
    assert Validity(end - life, end).is_nearly_over(end - left) is over
