"""Rule 2: whose commits are made now, and what knows better than a group that looks new."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs
from support.kafka import Message, partition_end

from consumer.core.provenance import UNMAPPED, Provenance
from consumer.errors import DecodeError, StartError
from consumer.events import Mode, RecordRef
from consumer.kafka import history as history_module
from consumer.kafka.history import LAST_OUTCOMES, GroupHistory, find_provenance
from consumer.settings import ApiSettings, InputsSettings, KafkaSettings, OfferInputSettings, Settings

KAFKA = KafkaSettings(group_id="g", offer_topic="offers", checkout_topic="checkouts", outcome_topic="outcomes")
MOST = 100
"""Records that are looked at in these tests where they are a backfill's."""


def done(told: Any) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(told, KafkaError):
        future.set_exception(KafkaException(told))
    else:
        future.set_result(told)
    return future


class Admin:
    def __init__(self, *, controller: int = 1, ids: Any = None, committed: Any = ()) -> None:
        self._controller, self._ids, self._committed = controller, ids or {"offers": "o", "checkouts": "k"}, committed
        self.asked: list[str] = []

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(cluster_id="c", controller_id=self._controller, brokers={1: object()})

    def describe_topics(self, topics: Any, request_timeout: float) -> Any:
        self.asked.append("describe_topics")
        found = {topic: self._ids[topic] for topic in topics.topic_names}
        return {
            topic: done(told if isinstance(told, KafkaError) else SimpleNamespace(topic_id=told))
            for topic, told in found.items()
        }

    def list_consumer_group_offsets(self, groups: Any, request_timeout: float) -> Any:
        told = self._committed
        return {"g": done(told if isinstance(told, KafkaError) else SimpleNamespace(topic_partitions=list(told)))}


class Outcomes:
    """The outcome topic: a list of the source topics that its records tell of, in one partition."""

    def __init__(self, *sources: str | None, ends: bool = True) -> None:
        self._sources, self._ends = sources, ends
        self.read: list[int] = []
        self.closed = False

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=range(1))})

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        return 0, len(self._sources)

    def assign(self, places: list[TopicPartition]) -> None:
        self._at = places[0].offset

    def consume(self, most: int, timeout: float) -> list[Message]:
        found = [
            Message("outcomes", 0, offset, b"k", (source or "garbage").encode())
            for offset, source in list(enumerate(self._sources))[self._at :]
        ]
        self.read += [message.offset() for message in found]
        return [*found, partition_end("outcomes", 0, len(self._sources))]

    def pause(self, places: object) -> None: ...
    def resume(self, places: object) -> None: ...
    def unassign(self) -> None: ...
    def close(self) -> None:
        self.closed = True


def decode(value: bytes) -> Any:
    if value == b"garbage":
        raise DecodeError("undecodable", "it is garbage")
    topic, _, mode = value.decode().partition(" ")
    return SimpleNamespace(source=RecordRef(topic, 0, 7), mode=Mode(mode or "LIVE"))


def history(outcomes: Outcomes | None = None, committed: Any = ()) -> GroupHistory:
    reader = outcomes or Outcomes()
    return GroupHistory(Admin(committed=committed), lambda: reader, KAFKA, decode)  # type: ignore[arg-type,return-value]


SETTINGS = Settings(kafka=KAFKA, api=ApiSettings(base_url="https://api.example/x/"))


def test_whose_a_commit_is_is_found_out_from_the_cluster_and_the_settings() -> None:
    found = find_provenance(Admin(), SETTINGS)  # type: ignore[arg-type]
    assert found == Provenance("c", "o", "k", "offers", "checkouts", "https://api.example/x", mapping=UNMAPPED)


def test_whose_a_commit_is_tells_how_the_inputs_are_mapped() -> None:
    offers = OfferInputSettings(format="json", when="kind == 'shown'")
    settings = SETTINGS.model_copy(update={"input": InputsSettings(offers=offers)})
    found = find_provenance(Admin(), settings)  # type: ignore[arg-type]
    assert found.mapping == settings.input.mapping != ""


@pytest.mark.parametrize(
    "spelt", ["https://API.example/x", "HTTPS://api.example:443/x/", "https://api.example/x//", "https://api.example/x"]
)
def test_an_api_is_the_same_however_its_url_is_spelt(spelt: str) -> None:
    settings = Settings(kafka=KAFKA, api=ApiSettings(base_url=spelt))
    assert find_provenance(Admin(), settings).base_url == "https://api.example/x"  # type: ignore[arg-type]


@pytest.mark.parametrize("other", ["http://api.example/x", "https://api.example:444/x", "https://api.example/X"])
def test_another_scheme_port_or_path_is_another_api(other: str) -> None:
    settings = Settings(kafka=KAFKA, api=ApiSettings(base_url=other))
    assert find_provenance(Admin(), settings).base_url == other  # type: ignore[arg-type]


def test_a_cluster_without_a_controller_tells_no_ids_and_is_not_asked() -> None:
    admin = Admin(controller=-1)
    found = find_provenance(admin, SETTINGS)  # type: ignore[arg-type]
    assert (found.offer_topic_id, found.checkout_topic_id, admin.asked) == ("", "", [])


def test_a_broker_that_has_no_ids_tells_none() -> None:
    found = find_provenance(Admin(ids=dict.fromkeys(("offers", "checkouts"), "A" * 22)), SETTINGS)  # type: ignore[arg-type]
    assert (found.offer_topic_id, found.checkout_topic_id) == ("", "")


def test_a_broker_that_does_not_tell_an_id_stops_the_start() -> None:
    ids = {"offers": "o", "checkouts": KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)}
    with pytest.raises(StartError, match=r"checkouts: the broker does not tell the topic's id: .* Allow Describe"):
        find_provenance(Admin(ids=ids), SETTINGS)  # type: ignore[arg-type]


def test_other_topics_of_the_group_are_told_if_it_has_committed_them() -> None:
    places = [TopicPartition(t, p, o) for t, p, o in (("offers", 0, 5), ("old", 0, 3), ("old", 1, 4), ("none", 0, -1))]
    assert history(committed=places).other_topics() == ["old"]
    with pytest.raises(StartError, match="does not tell what it has committed"):
        history(committed=KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)).other_topics()


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ((), None),
        (("others", None), None),
        (("others", "offers", "offers"), 1),
        (("offers", *["others"] * LAST_OUTCOMES), None),
        (("offers", *["others"] * (LAST_OUTCOMES - 1)), 0),
        (("offers BACKFILL", "offers BACKFILL"), None),
        (("offers BACKFILL", "offers"), 1),
    ],
)
def test_an_outcome_of_our_offers_is_found_among_the_last_ones(sources: tuple[str, ...], found: int | None) -> None:
    outcomes = Outcomes(*sources)
    told = history(outcomes).earlier_outcome()
    assert told == (None if found is None else RecordRef("outcomes", 0, found))
    assert outcomes.closed
    assert len(outcomes.read) <= LAST_OUTCOMES


@pytest.mark.parametrize(
    ("sources", "told"), [((), False), ((None, None), True), (("others", None), False), ((None, "others"), False)]
)
def test_an_outcome_topic_of_which_nothing_can_be_read_is_no_word_on_earlier_runs(
    sources: tuple[str | None, ...], told: bool
) -> None:
    with capture_logs() as lines:
        assert history(Outcomes(*sources)).earlier_outcome() is None
    assert [line["topic"] for line in lines] == ["outcomes"] * told


B = "offers BACKFILL"


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (["offers"] * 30 + [B] * LAST_OUTCOMES, 0),
        (["offers"] + [B] * (MOST - 1), 0),
        (["offers"] + [B] * MOST, 1),
        (["others"] * 50 + [B] * 40, None),
        ([B] * MOST, None),
        ([B] * (MOST + 1), 1),
        ([B] * 30 + ["others"] * LAST_OUTCOMES, None),
    ],
)
def test_a_backfill_behind_the_deployments_outcomes_does_not_make_the_group_new(
    sources: list[str], found: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an outage of more than `offsets.retention.minutes`, of which a range was settled by a backfill.

    It is looked at so many records. Where all of them are a backfill's, the deployment may have told some before.
    """
    monkeypatch.setattr(history_module, "MOST_OUTCOMES", MOST)
    told = history(Outcomes(*sources)).earlier_outcome()
    assert told == (None if found is None else RecordRef("outcomes", 0, found))
