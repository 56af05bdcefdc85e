"""A start in the moment in which the cluster names no controller (ZooKeeper clusters, while one is elected)."""

from __future__ import annotations

import pytest

from consumer.core.provenance import Provenance
from consumer.errors import StartError
from consumer.kafka.history import find_provenance
from consumer.settings import ApiSettings, Settings
from unit.kafka.test_history import KAFKA, Admin


def test_a_start_while_no_controller_is_named_takes_no_topic_made_anew_for_the_old_one() -> None:
    settings = Settings(kafka=KAFKA, api=ApiSettings(auth="none"))
    committed = find_provenance(Admin(ids={"offers": "o", "checkouts": "k"}), settings)  # type: ignore[arg-type]
    assert isinstance(committed, Provenance)
    anew = Admin(controller=-1, ids={"offers": "o", "checkouts": "another"})
    try:
        now = find_provenance(anew, settings)  # type: ignore[arg-type]
    except StartError:
        return
    if not committed.differences(now):
        pytest.fail("nothing is in doubt, the run is not watched, and its commits forget the ids that were known")
