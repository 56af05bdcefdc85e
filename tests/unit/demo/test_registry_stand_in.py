"""The demo's stand-in for a schema registry, asked by the service's own client."""

from __future__ import annotations

from contextlib import closing

import pytest

from consumer.codecs.registered import outcome_schema_id
from consumer.codecs.registry_client import Registry, RegistryError, Trouble
from consumer.codecs.schemas import OFFER_OUTCOME, OFFER_PRESENTED, schema_text
from consumer.demo.registry_stand_in import registry_stand_in
from consumer.settings import AvroSettings


def test_it_tells_schemas_by_their_ids_and_ids_by_their_schemas_and_takes_nothing() -> None:
    with (
        registry_stand_in({1: schema_text(OFFER_PRESENTED), 3: schema_text(OFFER_OUTCOME)}) as url,
        closing(Registry(AvroSettings(registry_url=url))) as registry,
    ):
        assert url.startswith("http://127.0.0.1:")
        assert registry.schema(1).types[0]["name"] == "optout.events.OfferPresented"
        assert outcome_schema_id(registry, "offer.outcome") == 3
        assert registry.find("s", '"string"') is None
        with pytest.raises(RegistryError) as caught:
            registry.schema(2)
        assert caught.value.trouble is Trouble.UNKNOWN
        with pytest.raises(RegistryError):
            registry.register("s", schema_text(OFFER_OUTCOME))
