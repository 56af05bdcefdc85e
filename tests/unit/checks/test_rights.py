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

READ: dict[str, bool | None] = {"offer.presented": True, "checkout.completed": True}


def check(monkeypatch: pytest.MonkeyPatch, rights: Rights) -> None:
    def told(_: Any, inputs: tuple[str, str], outputs: tuple[str, str], group: str) -> Rights:
        assert (*inputs, *outputs) == (*READ, "offer.outcome", "opt-out.dead-letter")
        assert group == "offer-opt-out"
        return rights

    monkeypatch.setattr(checked, "rights_of", told)
    check_rights(None, KafkaSettings())  # type: ignore[arg-type]


def test_every_missing_right_is_named_with_what_to_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartError) as caught:
        check(
            monkeypatch,
            Rights({**READ, "offer.presented": False}, {"offer.outcome": False, "opt-out.dead-letter": False}, False),
        )
    text = str(caught.value)
    assert "offer.presented may not be read: allow Read and Describe on this topic" in text
    assert "checkout.completed may not" not in text
    assert "offer.outcome may not be written to: allow Write and Describe on this topic" in text
    assert "opt-out.dead-letter may not be written to" in text
    assert "the group offer-opt-out may not be read" in text
    assert "--operation Read --group offer-opt-out" in text


def test_what_is_allowed_or_not_told_lets_it_start(monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, Rights(READ, {"offer.outcome": True, "opt-out.dead-letter": True}, True))
    with capture_logs() as lines:
        check(
            monkeypatch,
            Rights(dict.fromkeys(READ), {"offer.outcome": None, "opt-out.dead-letter": None}, None, ("too old",)),
        )
    assert [line["why"] for line in lines] == ["too old"]
