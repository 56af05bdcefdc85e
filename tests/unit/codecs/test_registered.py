"""Our schemas at a registry that the test plays."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.codecs.registered import Registration, outcome_schema_id, register_ours
from consumer.codecs.registry_client import RegistryError, Trouble
from consumer.codecs.schemas import CHECKOUT_COMPLETED, OFFER_OUTCOME, OFFER_PRESENTED, schema_text
from consumer.errors import StartError
from consumer.settings import Settings


class FilingRegistry:
    """Files schemas by subject, or has a trouble."""

    def __init__(self, trouble: Trouble | None = None) -> None:
        self.filed: list[tuple[str, str]] = []
        self.trouble = trouble

    def find(self, subject: str, text: str) -> int | None:
        return self.filed.index((subject, text)) + 1 if (subject, text) in self.filed else None

    def register(self, subject: str, text: str) -> int:
        if self.trouble is not None:
            raise RegistryError(self.trouble, "what it said")
        self.filed.append((subject, text))
        return len(self.filed)


def registered(registry: FilingRegistry, **settings: Any) -> list[Registration]:
    return list(register_ours(registry, Settings(**settings)))  # type: ignore[arg-type]


def test_the_outcomes_schema_is_registered_once() -> None:
    registry = FilingRegistry()
    (first,) = registered(registry)
    assert first == ("offer.outcome-value", OFFER_OUTCOME, 1, True)
    assert registered(registry) == [first._replace(is_new=False)]
    assert registry.filed == [("offer.outcome-value", schema_text(OFFER_OUTCOME))]


def test_inputs_with_ids_are_registered_but_not_those_that_are_mapped() -> None:
    found = registered(FilingRegistry(), avro={"format": "registry"})
    assert [(one.subject, one.schema) for one in found[1:]] == [
        ("offer.presented-value", OFFER_PRESENTED),
        ("checkout.completed-value", CHECKOUT_COMPLETED),
    ]
    mapped = {"offers": {"fields": {"offer_id": "id"}}, "checkouts": {"format": "json"}}
    assert len(registered(FilingRegistry(), avro={"format": "registry"}, input=mapped)) == 1
    assert len(registered(FilingRegistry(), input={"offers": {"format": "registry"}})) == 2


def test_a_registry_that_refuses_is_an_error_that_names_the_subject() -> None:
    with pytest.raises(StartError, match=r"offer\.outcome-value: the registry takes no schema.*what it said"):
        registered(FilingRegistry(Trouble.INCOMPATIBLE))


def test_outcomes_are_written_with_the_id_that_was_registered_for_their_topic() -> None:
    registry = FilingRegistry()
    registry.filed += [("other-value", schema_text(OFFER_OUTCOME)), ("t-value", schema_text(OFFER_OUTCOME))]
    assert outcome_schema_id(registry, "t") == 2  # type: ignore[arg-type]
    with pytest.raises(StartError, match=r"u-value: run `opt-out topics --register`"):
        outcome_schema_id(registry, "u")  # type: ignore[arg-type]
    assert len(registry.filed) == 2


def test_a_registry_that_does_not_tell_is_an_error_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = FilingRegistry()

    def find(subject: str, text: str) -> int:
        raise RegistryError(Trouble.UNREACHABLE, "connection refused")

    monkeypatch.setattr(registry, "find", find)
    with pytest.raises(StartError, match=r"the registry does not answer.*connection refused"):
        outcome_schema_id(registry, "t")  # type: ignore[arg-type]
