"""A right that is missing stops the start, and what is not told does not."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.checks import rights as checked
from consumer.checks.rights import check_rights
from consumer.errors import StartError
from consumer.kafka.rights import Rights
from consumer.settings import KafkaSettings


def check(monkeypatch: pytest.MonkeyPatch, rights: Rights) -> None:
    def told(_: Any, topics: tuple[str, str], group: str) -> Rights:
        assert (topics, group) == (("offer.outcome", "opt-out.dead-letter"), "offer-opt-out")
        return rights

    monkeypatch.setattr(checked, "rights_of", told)
    check_rights(None, KafkaSettings())  # type: ignore[arg-type]


def test_every_missing_right_is_named_with_what_to_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartError) as caught:
        check(monkeypatch, Rights({"offer.outcome": False, "opt-out.dead-letter": False}, False))
    text = str(caught.value)
    assert "offer.outcome may not be written to: allow Write and Describe on this topic" in text
    assert "opt-out.dead-letter may not be written to" in text
    assert "the group offer-opt-out may not be read" in text
    assert "--operation Read --group offer-opt-out" in text


def test_what_is_allowed_or_not_told_lets_it_start(monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, Rights({"offer.outcome": True, "opt-out.dead-letter": True}, True))
    with capture_logs() as lines:
        check(monkeypatch, Rights({"offer.outcome": None, "opt-out.dead-letter": None}, None, ("too old",)))
    assert [line["why"] for line in lines] == ["too old"]
