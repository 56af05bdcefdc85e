"""A wall clock that is wrong, in a real process, beside a real API and a real broker whose clocks are right."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from support.deployment import Deployment, deployed, now, until

from consumer.codecs.plain import PlainCodec
from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef
from consumer.kafka.config import producer_config
from consumer.kafka.producer import OutputProducer
from consumer.settings import KafkaSettings

DIFFERS = "the clock of this machine differs"
HELD = "decisions are held: the clock"


def set_wrong(clock: Path, ahead: float) -> Path:
    # Written beside and moved there: the process may be reading it.
    beside = clock.with_suffix(".new")
    beside.write_text(str(ahead))
    return beside.rename(clock)


def said(deployment: Deployment, words: str) -> bool:
    return any(words in str(line["event"]) for process in deployment.processes for line in process.lines())


def test_a_clock_that_is_ahead_makes_no_false_call_in_a_quiet_topic(broker, tmp_path: Path) -> None:
    settings = {"JOIN__LATENESS": "3s", "JOIN__WINDOW": "4s"}
    with deployed(broker.bootstrap_servers, tmp_path, settings=settings) as deployment:
        clock = set_wrong(tmp_path / "clock", 60.0)
        shown = now()
        deployment.present("bought", session="s1", at=shown)
        deployment.present("left", session="s2", at=shown)
        deployment.flush()
        deployment.start(clock=clock)
        until(lambda: said(deployment, DIFFERS), within=30, what="the clock to be found wrong")
        # By then a clock that is believed has decided both: it was watched for the length of lateness.
        until(lambda: now() > shown + 6_500, within=30, what="lateness to be nearly over")
        assert deployment.called() == []
        deployment.check_out("bought", session="s1", at=shown + 3_900)
        deployment.flush()
        set_wrong(clock, 0.0)
        until(lambda: deployment.committed_total() == 2, within=40, what="both to be settled")
        assert deployment.called() == ["left"]
        assert {o.offer_id: o.outcome for o in deployment.outcomes()}["bought"] is Outcome.PURCHASED


def test_a_clock_that_is_six_minutes_behind_dead_letters_nothing_and_goes_on_when_it_is_right(
    broker, tmp_path: Path
) -> None:
    with deployed(broker.bootstrap_servers, tmp_path) as deployment:
        clock = set_wrong(tmp_path / "clock", -360.0)
        for number in range(100):
            deployment.present(f"o{number}", session=f"s{number}")
        deployment.flush()
        deployment.start(clock=clock)
        until(lambda: said(deployment, HELD), within=30, what="decisions to be held")
        set_wrong(clock, 0.0)
        until(lambda: len(set(deployment.settled())) == 100, within=40, what="all to be called")
        assert deployment.dead_letters() == []


def test_a_clock_that_was_an_hour_ahead_for_some_seconds_makes_no_offer_late(broker, tmp_path: Path) -> None:
    with deployed(broker.bootstrap_servers, tmp_path) as deployment:
        clock = set_wrong(tmp_path / "clock", 0.0)
        deployment.present("before")
        deployment.flush()
        deployment.start(clock=clock)
        until(lambda: deployment.settled() == ["before"], within=40, what="a quiet topic to be decided")
        set_wrong(clock, 3_600.0)
        until(lambda: said(deployment, HELD), within=30, what="decisions to be held")
        begun = now()
        until(lambda: now() > begun + 3_000, within=30, what="lateness to have passed thrice")
        set_wrong(clock, 0.0)
        for number in range(50):
            deployment.present(f"o{number}", session=f"s{number}")
        deployment.flush()
        until(lambda: len(set(deployment.settled())) == 51, within=40, what="all to be called")
        assert deployment.dead_letters() == []


@pytest.mark.parametrize("used", ["true", "false"])
def test_where_the_api_s_clock_is_the_wrong_one_its_date_may_be_left_out(broker, tmp_path: Path, used: str) -> None:
    # To the process it is all the same whose clock it is that differs.
    with deployed(broker.bootstrap_servers, tmp_path, settings={"API__USE_DATE": used}) as deployment:
        clock = set_wrong(tmp_path / "clock", 3_600.0)
        deployment.present("shown")
        deployment.flush()
        deployment.start(clock=clock)
        if used == "true":
            until(lambda: said(deployment, HELD), within=30, what="decisions to be held")
            assert deployment.called() == []
        else:
            until(lambda: "shown" in deployment.called(), within=40, what="the call")
            assert not said(deployment, HELD)


def test_tombstones_keep_no_quiet_topic_undecided(broker, tmp_path: Path) -> None:
    with deployed(broker.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        deployment.present("shown")
        deployment.flush()
        deployment.start()

        def settled() -> bool:
            for topic in (deployment.offer_topic, deployment.checkout_topic):
                deployment.produce(topic, "s1", None, now())
            deployment.flush()
            return "shown" in deployment.settled()

        until(settled, within=30, what="an offer among tombstones to be called")


def test_a_broker_that_stamps_what_it_appends_tells_the_time(real_kafka, tmp_path: Path) -> None:
    names = f"stamped-{tmp_path.name}", f"unstamped-{tmp_path.name}"
    admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap_servers, "log_level": 0})
    kinds = "LogAppendTime", "CreateTime"
    topics = [
        NewTopic(name, 1, 1, config={"message.timestamp.type": kind}) for name, kind in zip(names, kinds, strict=True)
    ]
    for future in admin.create_topics(topics).values():
        future.result(20)
    told: list[tuple[float, float, float]] = []
    for name in names:
        outputs = OutputProducer(
            Producer(producer_config(KafkaSettings(bootstrap_servers=real_kafka.bootstrap_servers))),
            name,
            name,
            PlainCodec(),
            on_stamp=lambda *it: told.append(it),
        )
        outputs.outcome(OUTCOME, 0)
        assert outputs.flush(20)
    ((stamp, sent, received),) = told
    assert sent <= received <= time.monotonic()
    assert abs(stamp - time.time()) < 20


OUTCOME = OfferOutcome(
    offer_id="o1",
    partner_code="P",
    session_id="s",
    outcome=Outcome.OPTED_OUT,
    reason=Reason.DECLINED,
    checkout_id=None,
    presented_at=1,
    decided_at=2,
    settled_at=3,
    status_code=204,
    attempts=1,
    details=Details(),
    source=RecordRef("offer.presented", 0, 0),
    mode=Mode.LIVE,
    note=None,
)
