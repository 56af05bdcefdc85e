"""The `consumer` group protocol: halves of tasks, members that come and go, and what it refuses."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from support.deployment import AGE, MEMBERSHIP, PARTITIONS, Deployment, Process, deployed, now, read_topic, until
from support.job import (
    assert_nothing_missed_and_nothing_false,
    judged,
    plan,
    wait_until_all_is_settled,
    whole_assignment,
    write,
)
from support.kafka import marked

from consumer.core.checkpoint import Position
from consumer.core.commits import CommitPlan
from consumer.kafka.config import consumer_config
from consumer.kafka.consumer import GroupConsumer
from consumer.kafka.start_offsets import StartOffsets, TaskStart
from consumer.runtime.tasks import rules_of
from consumer.settings import load_settings


class OneTopicOnly:
    """A member of the group that subscribes to one of its topics, and so tears pairs apart. It reads nothing."""

    def __init__(self, deployment: Deployment, topic: str) -> None:
        self.held: set[int] = set()
        self.consumer = Consumer(
            {
                "bootstrap.servers": deployment.bootstrap,
                "group.id": deployment.group,
                "group.protocol": "consumer",
                "group.remote.assignor": "range",
                "enable.auto.commit": False,
            }
        )
        self.consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked)
        self.leaving = threading.Event()
        self.thread = threading.Thread(target=self._poll)
        self.thread.start()

    def _assigned(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self.held |= {place.partition for place in places}
        consumer.incremental_assign([])

    def _revoked(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self.held -= {place.partition for place in places}
        consumer.incremental_unassign([])

    def _poll(self) -> None:
        while not self.leaving.is_set():
            self.consumer.poll(0.1)
        self.consumer.close()


@contextmanager
def one_topic_only(deployment: Deployment, topic: str) -> Iterator[OneTopicOnly]:
    member = OneTopicOnly(deployment, topic)
    try:
        yield member
    finally:
        member.leaving.set()
        member.thread.join()


def running(process: Process) -> set[int]:
    """The tasks that run, by the log."""
    tasks: set[int] = set()
    for line in process.lines():
        if line["event"] == "task begins":
            tasks.add(line["partition"])
        elif line["event"] in ("revoked", "lost"):
            tasks -= set(line["partitions"])
    return tasks


def committed(deployment: Deployment, partitions: set[int]) -> list[tuple[int, str]]:
    topics = deployment.offer_topic, deployment.checkout_topic
    return [deployment.committed(topic)[partition] for topic in topics for partition in sorted(partitions)]


def test_a_task_rests_while_one_of_its_halves_is_elsewhere_and_goes_on_when_it_comes_back(
    kip_848, tmp_path: Path
) -> None:
    sessions = [f"s{n}" for n in range(24)]
    bought = {f"{when}-{session}" for when in "abc" for session in sessions[::3]}
    with deployed(kip_848.bootstrap_servers, tmp_path, protocol="consumer") as deployment:

        def shop(when: str, at: int) -> None:
            for session in sessions:
                deployment.present(f"{when}-{session}", session=session, at=at)
                if f"{when}-{session}" in bought:
                    deployment.check_out(f"{when}-{session}", session=session, at=at + 1)
            deployment.flush()

        shop("a", now() - AGE)
        process = deployment.start()
        wait_until_all_is_settled(deployment)
        # One half is torn away, then the other of other tasks, with the first ones still missing for a moment.
        for when, topic in (("b", deployment.offer_topic), ("c", deployment.checkout_topic)):
            with one_topic_only(deployment, topic) as other:
                until(lambda o=other: len(o.held) == PARTITIONS // 2, within=20, what="the other member's partitions")
                rests = set(other.held)
                runs = set(range(PARTITIONS)) - rests
                until(lambda r=runs: running(process) == r, within=20, what="the tasks of the torn pairs to end")
                before = committed(deployment, rests)
                shop(when, now())
                found = {
                    m.key().decode(): m.partition()
                    for m in read_topic(kip_848.bootstrap_servers, deployment.offer_topic)
                }
                resting = {f"{when}-{session}" for session in sessions if found[session] in rests}
                moving = {f"{when}-{session}" for session in sessions} - resting - bought
                assert resting
                until(lambda m=moving: m <= set(deployment.settled()), within=30, what="the whole tasks to go on")
                assert not resting & set(deployment.called()), "a half was decided"
                assert committed(deployment, rests) == before, "something was committed for a half"
        wait_until_all_is_settled(deployment)
        until(lambda: running(process) == set(range(PARTITIONS)), within=20, what="all tasks to run")
        everything = {f"{when}-{session}" for when in "abc" for session in sessions}
        assert sorted(deployment.called()) == sorted(everything - bought)


class Offsets:
    """Tasks that expect each record once and in order, and commit how far they came."""

    def __init__(self, deployment: Deployment) -> None:
        environ = {name: value for name, value in deployment.environ().items() if name.startswith("OPT_OUT_")}
        settings = load_settings(None, environ)
        starts = StartOffsets(settings.kafka, rules_of(settings.join), PARTITIONS)
        self.topics = deployment.offer_topic, deployment.checkout_topic
        self.next = {(topic, partition): 0 for topic in self.topics for partition in range(PARTITIONS)}
        self.source = GroupConsumer(
            lambda on_error: Consumer(consumer_config(settings.kafka, on_error=on_error)),
            settings.kafka,
            starts,
            self,
            lambda _: None,
        )
        self.changed: set[int] = set()

    def begin(self, partition: int, start: TaskStart) -> None:
        self.changed.add(partition)
        found = start.offers.offset, start.checkouts.offset
        assert found == tuple(self.next[topic, partition] for topic in self.topics)

    def revoked(self, partitions: list[int]) -> None:
        self.changed.update(partitions)
        plans = {p: CommitPlan(*(self._position(topic, p) for topic in self.topics), 0, 0) for p in partitions}
        assert self.source.commit(plans) == set(partitions)

    def _position(self, topic: str, partition: int) -> Position:
        offset = self.next[topic, partition]
        return Position(offset, marked(topic, offset, PARTITIONS))

    def lost(self, partitions: list[int]) -> None:
        raise AssertionError(f"lost {partitions}")

    def metadata_refused(self, partition: int) -> None:
        raise AssertionError(f"the metadata of {partition} is refused")

    def turn(self) -> int:
        """A poll. Returns how many records of tasks that stayed were in it, if others came or went."""
        self.changed.clear()
        count = 0
        for message in self.source.poll(5_000, 0.02):
            if message.error() is None:
                assert message.offset() == self.next[message.topic(), message.partition()], "lost, or read twice"
                self.next[message.topic(), message.partition()] += 1
                count += 1
        self.source.pause(set())
        return count if self.changed else 0


def test_tasks_that_stay_get_each_record_once_while_others_come_and_go(kip_848, tmp_path: Path) -> None:
    with deployed(kip_848.bootstrap_servers, tmp_path, protocol="consumer") as deployment:
        over = threading.Event()

        def produce() -> None:
            while not over.wait(0.005):
                for n in range(200):
                    deployment.produce(tasks.topics[n % 2], "k", b"x", now(), partition=n // 2 % PARTITIONS)
                deployment.flush()

        tasks = Offsets(deployment)
        flow = threading.Thread(target=produce)
        tasks.source.subscribe(now())
        flow.start()
        try:
            in_rebalancing_polls = 0

            def turn_until(condition: Callable[[], bool], what: str) -> None:
                nonlocal in_rebalancing_polls
                deadline = time.monotonic() + 20
                while not condition():
                    in_rebalancing_polls += tasks.turn()
                    assert time.monotonic() < deadline, what

            turn_until(lambda: len(tasks.source.partitions) == PARTITIONS, "no tasks")
            for _ in range(8):
                with one_topic_only(deployment, deployment.offer_topic):
                    turn_until(lambda: len(tasks.source.partitions) == PARTITIONS // 2, "no task ended")
                turn_until(lambda: len(tasks.source.partitions) == PARTITIONS, "no task came back")
                if in_rebalancing_polls > 100:
                    break
            assert in_rebalancing_polls > 0, "no poll had both, so nothing was tried"
        finally:
            over.set()
            flow.join()
            tasks.source.close()


def test_members_that_join_and_leave_in_any_order_settle_each_offer_by_exactly_one_call(
    kip_848, tmp_path: Path
) -> None:
    seed = random.randrange(1_000_000)
    print("seed", seed)
    order = random.Random(seed)
    with deployed(kip_848.bootstrap_servers, tmp_path, scenario="404=5,500=5", protocol="consumer") as deployment:
        flow = threading.Thread(target=write, args=(deployment, plan(2_000, 8_000, seed=seed)), kwargs={"paced": True})
        flow.start()
        members: list[Process] = []
        for _ in range(3):
            members.append(deployment.start())
            # Some join while the ones before are still sharing, some after.
            until(lambda p=members[-1]: p.lines("assigned"), within=30, what="the member to be given something")
            time.sleep(order.uniform(0, 1))
        order.shuffle(members)
        for member in members[:2]:
            assert member.terminate() == 0
            time.sleep(order.uniform(0, 1))
        flow.join()
        members.append(deployment.start())
        assert members[2].terminate() == 0
        wait_until_all_is_settled(deployment)
        found = judged(deployment)
        assert_nothing_missed_and_nothing_false(found)
        assert found.repeated == 0


def test_a_group_goes_over_from_one_protocol_to_the_other_one_instance_at_a_time(kip_848, tmp_path: Path) -> None:
    changed = {"KAFKA__GROUP_PROTOCOL": "consumer", "KAFKA__PROPERTIES": "{}", **MEMBERSHIP["consumer"]}
    with deployed(kip_848.bootstrap_servers, tmp_path, protocol="classic") as deployment:

        def shop(when: str) -> set[str]:
            offers = {f"{when}-{n}" for n in range(40)}
            for offer in offers:
                deployment.present(offer, session=offer, at=now())
            deployment.flush()
            return offers

        old = [deployment.start(), deployment.start()]
        whole_assignment(deployment, members=2)
        offers = shop("before")
        for process in old:
            assert process.terminate() == 0
            deployment.start(**changed)
            whole_assignment(deployment, members=2)
            offers |= shop(f"during-{process.popen.pid}")
        until(lambda: offers <= set(deployment.settled()), within=30, what="all offers to be settled")
        assert sorted(deployment.called()) == sorted(offers)


def test_a_second_instance_of_the_same_name_is_refused_with_advice_and_the_first_goes_on(
    kip_848, tmp_path: Path
) -> None:
    settings = {"KAFKA__GROUP_INSTANCE_ID": "one"}
    with deployed(kip_848.bootstrap_servers, tmp_path, protocol="consumer", settings=settings) as deployment:
        first = deployment.start()
        until(lambda: len(running(first)) == PARTITIONS, within=30, what="the tasks to begin")
        second = deployment.start()
        assert second.popen.wait(30) == 1
        assert "Another instance runs with this kafka.group_instance_id" in second.text()
        assert "Traceback" not in second.text()
        deployment.present("offer-1", at=now())
        deployment.flush()
        until(lambda: deployment.settled() == ["offer-1"], within=30, what="the first to go on")
        assert first.running


def test_an_instance_with_a_name_that_stops_and_is_back_soon_has_its_tasks_again_and_the_other_keeps_its_own(
    kip_848, tmp_path: Path
) -> None:
    with deployed(kip_848.bootstrap_servers, tmp_path, protocol="classic") as deployment:
        # As a StatefulSet has them; with a session that lasts longer than a start.
        more = {"KAFKA__PROPERTIES": '{"session.timeout.ms": 30000}'}
        one, other = (deployment.start(KAFKA__GROUP_INSTANCE_ID=f"opt-out-{n}", **more) for n in range(2))
        until(lambda: len(running(one)) == len(running(other)) == PARTITIONS / 2, within=40, what="both to have tasks")
        had, begun = running(one), len(other.lines("task begins"))
        assert one.terminate() == 0
        again = deployment.start(KAFKA__GROUP_INSTANCE_ID="opt-out-0", **more)
        until(lambda: running(again) == had, within=40, what="the same tasks to begin again")
        assert len(other.lines("task begins")) == begun, "nothing changed hands"


def test_a_setting_of_the_classic_protocol_ends_with_exit_code_2(kip_848, tmp_path: Path) -> None:
    with deployed(kip_848.bootstrap_servers, tmp_path, protocol="consumer") as deployment:
        process = deployment.start(**MEMBERSHIP["classic"])
        assert process.popen.wait(30) == 2
        for name in ("session.timeout.ms", "heartbeat.interval.ms"):
            assert f"{name} is refused with kafka.group_protocol = consumer" in process.text()
