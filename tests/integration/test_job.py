"""The main job end to end, judged by the topics and the API's log alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from support.deployment import (
    GRACE_MS,
    LATENESS_MS,
    LOOKBACK_MS,
    PARTITIONS,
    WINDOW_MS,
    Deployment,
    deployed,
    now,
    until,
)

from consumer.audit.calls import Judgement, ReferenceRules, judge_topics
from consumer.calls import OptOutCall
from consumer.codecs.plain import PlainCodec
from consumer.core.task import Side
from consumer.delivery.thread import DeliveryThread
from consumer.demo.feed import feed
from consumer.demo.generator import Plan, generate
from consumer.kafka.config import consumer_config, producer_config, record_reader_config
from consumer.kafka.end_offsets import EndOffsets
from consumer.kafka.producer import OutputProducer
from consumer.kafka.reader import RecordReader
from consumer.runtime.edges import Edges
from consumer.runtime.loop import BATCH, Loop
from consumer.settings import load_settings

RULES = ReferenceRules(WINDOW_MS, GRACE_MS, LOOKBACK_MS)


def plan(events: int, span: int, seed: int) -> Plan:
    return Plan(
        events=events,
        span=span,
        window=WINDOW_MS,
        grace=GRACE_MS,
        lookback=LOOKBACK_MS,
        lateness=LATENESS_MS // 2,
        seed=seed,
    )


def write(deployment: Deployment, what: Plan, *, paced: bool) -> int:
    return feed(
        generate(what),
        bootstrap=deployment.bootstrap,
        offer_topic=deployment.offer_topic,
        checkout_topic=deployment.checkout_topic,
        base_ms=now() if paced else now() - what.span - 60_000,
        paced=paced,
    )


def judged(deployment: Deployment) -> Judgement:
    topics = deployment.offer_topic, deployment.checkout_topic
    return judge_topics(deployment.bootstrap, topics, deployment.api.log_path, RULES)


def wait_until_all_is_settled(deployment: Deployment, within: float = 60) -> None:
    def done() -> bool:
        ends = deployment.committed(deployment.offer_topic)
        total = sum(ends_of(deployment).values())
        return sum(max(offset, 0) for offset, _ in ends.values()) == total

    until(done, within=within, what="everything presented to be settled and committed")


def ends_of(deployment: Deployment) -> dict[int, int]:
    consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": "ends"})
    try:
        return {
            p: consumer.get_watermark_offsets(TopicPartition(deployment.offer_topic, p), timeout=20)[1]
            for p in range(PARTITIONS)
        }
    finally:
        consumer.close()


def assert_nothing_missed_and_nothing_false(found: Judgement) -> None:
    assert found.holds, f"missed {found.missed[:3]} false {found.false[:3]} early {found.early[:3]}"
    assert found.to_call > 0
    assert found.bought > 0


def test_a_backlog_is_settled_with_nothing_missed_and_nothing_false(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="404=5,500=5,429=1,hang=1") as deployment:
        write(deployment, plan(5_000, span=60_000, seed=1), paced=False)
        deployment.start()
        wait_until_all_is_settled(deployment)
        found = judged(deployment)
        assert_nothing_missed_and_nothing_false(found)
        assert found.repeated == 0
        fates = {(o.partner_code, o.offer_id) for o in deployment.outcomes()}
        assert len(fates) >= found.to_call


def test_instances_come_and_go_while_events_flow(real_kafka, tmp_path: Path, protocol: str) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, protocol=protocol, scenario="404=5,500=5") as deployment:
        flow = threading.Thread(target=write, args=(deployment, plan(3_000, 20_000, seed=2)), kwargs={"paced": True})
        flow.start()
        first = deployment.start()
        seen = [whole_assignment(deployment, members=1)]
        second = deployment.start()
        seen.append(whole_assignment(deployment, members=2))
        deployment.start()
        seen.append(whole_assignment(deployment, members=3))
        assert first.terminate() == 0
        seen.append(whole_assignment(deployment, members=2))
        second.kill()
        seen.append(whole_assignment(deployment, members=1))
        flow.join()
        for members in seen:
            for topics in members.values():
                assert topics.get(deployment.offer_topic) == topics.get(deployment.checkout_topic)
        wait_until_all_is_settled(deployment)
        assert_nothing_missed_and_nothing_false(judged(deployment))


def whole_assignment(deployment: Deployment, members: int) -> dict[str, dict[str, set[int]]]:
    """The assignment once every partition of both topics is with one of so many members."""

    def settled() -> dict[str, dict[str, set[int]]] | None:
        found = deployment.assigned()
        for topic in (deployment.offer_topic, deployment.checkout_topic):
            if sorted(p for topics in found.values() for p in topics.get(topic, ())) != list(range(PARTITIONS)):
                return None
        return found if len(found) == members else None

    return until(settled, within=40, what=f"{members} members to share all partitions")


def repeats(deployment: Deployment) -> int:
    settled = [(call.partner_code, call.offer_id) for call in deployment.api.calls() if call.terminal]
    return len(settled) - len(set(settled))


def test_kill_9_misses_nothing_and_repeats_no_more_than_the_bound(real_kafka, tmp_path: Path) -> None:
    rate, concurrency = 200, 8
    settings = {"DELIVERY__RATE_LIMIT": str(rate), "DELIVERY__CONCURRENCY": str(concurrency)}
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=settings) as deployment:
        for n in range(1_500):
            deployment.present(f"offer-{n}", session=f"session-{n}", at=now() - 30_000)
        deployment.flush()
        kills = 3
        for _ in range(kills):
            before = len(deployment.settled())
            process = deployment.start()
            until(lambda at=before: len(deployment.settled()) > at + 150, within=40, what="calls")
            process.kill()
        deployment.start()
        wait_until_all_is_settled(deployment)
        assert len(set(deployment.settled())) == 1_500
        # Settled since the last commit: at most the rate over a commit interval (0.3 s), twice that for slowness.
        assert repeats(deployment) <= kills * (concurrency + rate * 0.6)


def test_kill_9_while_it_rebuilds_misses_nothing(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, scenario="503") as deployment:
        for n in range(20_000):
            deployment.present(f"offer-{n}", session=f"session-{n}", at=now() - 30_000 + n // 10)
            if n % 2:
                deployment.check_out(*([f"offer-{n}"] if n % 4 == 1 else []), session=f"session-{n}", at=now() - 27_000)
        deployment.flush()
        process = deployment.start()
        until(lambda: has_committed_a_list(deployment), within=40, what="a commit with unsettled offers")
        process.kill()
        for _ in range(3):
            process = deployment.start()
            until(lambda p=process: p.lines("task begins"), within=30, what="the rebuild to begin")
            process.kill()
        deployment.api.set_scenario("204")
        deployment.start()
        wait_until_all_is_settled(deployment)
        called = deployment.settled()
        assert set(called) == {f"offer-{n}" for n in range(20_000) if n % 4 != 1}
        assert {c.offer_id for c in deployment.api.calls()} == set(called)


def has_committed_a_list(deployment: Deployment) -> bool:
    commits = deployment.committed(deployment.offer_topic).values()
    return all(metadata and not metadata.endswith(":") for _, metadata in commits)


class NoCalls(DeliveryThread):
    """Takes no call: each would be for an offer that was bought."""

    def submit(self, calls: Iterable[OptOutCall]) -> None:
        raise AssertionError(f"called although bought: {next(iter(calls)).offer_id}")


def test_no_offer_runs_ahead_of_its_checkout_and_pausing_bounds_what_is_held(real_kafka, tmp_path: Path) -> None:
    offers = 120_000
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        start = now() - offers - 60_000
        for n in range(offers):
            deployment.present(f"offer-{n}", session=f"session-{n}", at=start + n)
        deployment.flush()
        for n in range(offers):
            deployment.check_out(f"offer-{n}", session=f"session-{n}", at=start + n + 10)
        deployment.flush()
        service = in_this_process(deployment)
        service._edges.delivery.start()
        most = 0
        service.tasks.consumer.subscribe(now())
        deadline = time.monotonic() + 90
        while deployment_read(service) < 2 * offers:
            assert time.monotonic() < deadline, "the backlog was not read within 90 s"
            service.run_once()
            most = max(most, service.sessions)
        service.tasks.consumer.close()
        service._edges.delivery.stop(0)
        # A session is held while its checkout is: 2 x lookback + window + grace, here of one session a millisecond, and
        # the offers run a window ahead of that at most, and a batch. Without pausing it is all of them.
        assert most <= 2 * LOOKBACK_MS + 3 * WINDOW_MS + GRACE_MS + LATENESS_MS + 2 * BATCH + 16_384
        assert most < offers / 2


def deployment_read(service: Loop) -> int:
    return sum(runner.task.next_offset(side) for runner in service.tasks.runners.values() for side in Side)


def in_this_process(deployment: Deployment) -> Loop:
    """The deployment's service, to be turned by the test."""
    environ = {name: value for name, value in deployment.environ().items() if name.startswith("OPT_OUT_")}
    settings = load_settings(None, environ)
    kafka, codec = settings.kafka, PlainCodec()
    edges = Edges(
        consumer=lambda on_error: Consumer(consumer_config(kafka, on_error=on_error)),
        ends=lambda on_trouble: EndOffsets(deployment.admin, time.time, on_trouble),
        outputs=OutputProducer(Producer(producer_config(kafka)), kafka.outcome_topic, kafka.dead_letter_topic, codec),
        delivery=NoCalls(settings.api, settings.delivery),
        codec=codec,
        record_reader=RecordReader(lambda: Consumer(record_reader_config(kafka))),
    )
    return Loop(settings, edges, partitions=PARTITIONS)
