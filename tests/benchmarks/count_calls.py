"""Counts what the code does for one record, without a clock: Python calls, files, and changes of file.

    python tests/benchmarks/count_calls.py          the figures
    python tests/benchmarks/count_calls.py --list   and every call that was counted

The real service runs on this thread and the real delivery on its own; a fake broker plays the rest, and a server on
this machine answers every call with 204. Counted are calls of Python functions as `sys.setprofile` sees them: each step
of a generator is one, and what is written in C is none.
"""

from __future__ import annotations

import argparse
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count, pairwise
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, NamedTuple

import structlog
from confluent_kafka import TopicPartition

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

# --- the names of the code and of its tests' fakes that this program needs: here, and nowhere below

from unit.runtime.test_loop import TOPICS, Consumer, Ends, Rereader  # noqa: E402 - the path comes first

from consumer.codecs.plain import PlainCodec as Codec  # noqa: E402 - as above
from consumer.delivery.thread import DeliveryThread  # noqa: E402 - as above
from consumer.kafka.producer import OutputProducer as Sink  # noqa: E402 - as above
from consumer.runtime.edges import Clock, Edges  # noqa: E402 - as above
from consumer.runtime.loop import Loop as Service  # noqa: E402 - as above
from consumer.settings import ApiSettings, JoinSettings, KafkaSettings, Settings  # noqa: E402 - as above

TAKE = ("runtime/runner.py", "on_message")
"""Where a record enters its task."""
INDEX = ("core/calendar.py", "push")
"""The last step of joining an offer: it stands in the index by time."""


def turn(service: Service) -> None:
    """One turn of the loop."""
    service.run_once()


def subscribe(service: Service) -> None:
    """Join the group, without looking at any keys."""
    service.tasks.consumer.subscribe(0)


# --- what is counted


OUTSIDE = "(outside)"
"""The file of a call that is not of consumer/."""


class Call(NamedTuple):
    """A call: its file and name, behind those of the calls that it stands in."""

    path: tuple[tuple[str, str], ...]

    @property
    def place(self) -> tuple[str, str]:
        """Its file, from consumer/ on or OUTSIDE, and its name."""
        return self.path[-1]


class Profile:
    """The calls of each thread, in their order."""

    def __init__(self) -> None:
        self.here: list[Call] = []
        self.delivery: list[Call] = []
        self._main = threading.get_ident()
        self._stacks: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
        self._folder = f"{ROOT / 'consumer'}/"

    def see(self, frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        name = frame.f_code.co_filename
        file = name.removeprefix(self._folder) if name.startswith(self._folder) else OUTSIDE
        is_here = threading.get_ident() == self._main
        stack = self._stacks[is_here]
        if event == "call":
            stack.append((file, frame.f_code.co_name))
            (self.here if is_here else self.delivery).append(Call(tuple(stack)))
        elif stack:
            # It is empty where a call returns that began before the count.
            stack.pop()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count on this thread meanwhile; the delivery's is counted from the start of its thread on."""
        sys.setprofile(self.see)
        try:
            yield
        finally:
            sys.setprofile(None)

    def wait_until_the_delivery_rests(self) -> None:
        """Wait until its thread has done nothing for a while: a result is not the last thing it does for a call."""
        before = -1
        while len(self.delivery) != before:
            before = len(self.delivery)
            time.sleep(0.2)


def ours(calls: list[Call]) -> list[Call]:
    """Those of consumer/."""
    return [call for call in calls if call.place[0] != OUTSIDE]


def files(calls: list[Call]) -> set[str]:
    """The files that the calls stand in."""
    return {call.place[0] for call in calls}


def changes(calls: list[Call]) -> int:
    """How often the next call stands in another file than the one before."""
    return sum(one.place[0] != other.place[0] for one, other in pairwise(calls))


def until_indexed(calls: list[Call]) -> list[Call]:
    """The calls of the first record: from the one that takes it to the one that puts it into the index."""
    places = [call.place for call in calls]
    first = places.index(TAKE)
    return calls[first : places.index(INDEX, first) + 1]


def without(calls: list[Call], quiet: list[Call], records: int) -> list[Call]:
    """What was done for the first so many records: not what a quiet turn does too, unless it leads to something new."""
    usual = {call.path for call in quiet}
    taken, kept = 0, []
    for call in calls:
        taken += call.place == TAKE
        if call.path not in usual and (taken <= records or TAKE not in call.path):
            kept.append(call)
    needed = {call.path[:length] for call in kept for length in range(1, len(call.path))}
    new = {id(call) for call in kept}
    return [call for call in calls if id(call) in new or (call.path in needed and TAKE not in call.path)]


# --- the world


class Message:
    """A record, stamped with its event's time."""

    def __init__(self, topic: str, offset: int, key: str, value: bytes, at: int) -> None:
        self._all = topic, offset, key.encode(), value, at

    def topic(self) -> str:
        return self._all[0]

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._all[1]

    def key(self) -> bytes:
        return self._all[2]

    def value(self) -> bytes:
        return self._all[3]

    def timestamp(self) -> tuple[int, int]:
        return 1, self._all[4]

    def headers(self) -> None:
        return None

    def error(self) -> None:
        return None


class Producer:
    """Acknowledges what it is given at the next poll or flush."""

    def __init__(self) -> None:
        self._waiting: list[Callable[..., None]] = []
        self.values: list[bytes] = []

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, done: Any, headers: Any) -> None:
        self.values.append(value)
        self._waiting.append(done)

    def poll(self, timeout: float) -> None:
        while self._waiting:
            self._waiting.pop()(None, SimpleNamespace(topic=lambda: "", partition=lambda: 0))

    def flush(self, timeout: float) -> int:
        self.poll(0)
        return 0


class Insurer(BaseHTTPRequestHandler):
    """Answers every call with 204."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


class World:
    """The service with so many tasks, which have begun and have nothing to do."""

    def __init__(self, insurer: HTTPServer, tasks: int = 1) -> None:
        self.codec, self.consumer, self.producer = Codec(), Consumer(), Producer()
        self.consumer.partitions = tasks
        self.monotonic = 1_000.0
        settings = Settings(
            kafka=KafkaSettings(offer_topic=TOPICS[0], checkout_topic=TOPICS[1], commit_interval=timedelta(seconds=1)),
            join=JoinSettings(window=timedelta(seconds=1), checkout_grace=timedelta(0), lateness=timedelta(seconds=1)),
            api=ApiSettings(base_url=f"http://127.0.0.1:{insurer.server_port}", key="k", secret="s"),
        )
        # A signature serves its second: a clock that shows another one each time makes each call sign.
        seconds = count(1_000_000)
        self.delivery = DeliveryThread(settings.api, settings.delivery, wall_clock=lambda: float(next(seconds)))
        edges = Edges(
            consumer=lambda _: self.consumer,  # type: ignore[arg-type,return-value]
            ends=lambda _: Ends(),  # type: ignore[arg-type,return-value]
            outputs=Sink(self.producer, "outcomes", "dead", self.codec),  # type: ignore[arg-type]
            delivery=self.delivery,
            codec=self.codec,
            clock=Clock(wall=lambda: 100.0, monotonic=lambda: self.monotonic),
            record_reader=Rereader(),  # type: ignore[arg-type]
        )
        self.service = Service(settings, edges, partitions=tasks)
        self.delivery.start()
        subscribe(self.service)
        places = [TopicPartition(topic, task) for topic in TOPICS for task in range(tasks)]
        self.turn(lambda consumer: consumer.on_assign(consumer, places))
        self.turn()

    def turn(self, *polls: Any) -> None:
        self.consumer.polls.extend(polls)
        turn(self.service)

    def close(self) -> None:
        self.delivery.stop(1.0)

    def offer(self, offset: int, session: str, at: int) -> Message:
        event = {"event_id": "e", "session_id": session, "partner_code": "P", "offer_id": "o", "presented_at": at}
        return Message(TOPICS[0], offset, session, self.codec.encode_offer(event), at)

    def checkout(self, offset: int, session: str, at: int) -> Message:
        event = {
            "event_id": "e",
            "session_id": session,
            "checkout_id": "c",
            "completed_at": at,
            "purchased_offer_ids": [],
        }
        return Message(TOPICS[1], offset, session, self.codec.encode_checkout(event), at)

    def wait_for_the_result(self) -> None:
        """Wait until the delivery has put a result into its queue, without taking it out."""
        deadline = time.monotonic() + 10
        while self.delivery.results.empty():
            if time.monotonic() > deadline:
                raise queue.Empty("the call was not made within 10 s")
            time.sleep(0.001)


def one_declined_offer(insurer: HTTPServer) -> tuple[list[Call], list[Call], list[Call]]:
    """From the poll that brings an offer, its checkout, and what moves the watermark past them, to its commit.

    Returns:
        What was done on this thread, what on the delivery's, and what a turn does that has nothing to do.
    """
    profile = Profile()
    threading.setprofile(profile.see)
    world = World(insurer)
    threading.setprofile(None)
    quiet: list[Call] = []
    # One goes before, so that what is made once is there.
    for number, (at, later) in enumerate(((10_000, 15_000), (14_000, 15_500))):
        session = f"s{number}"
        polled = [
            world.offer(2 * number, session, at),
            world.checkout(2 * number, session, at + 100),
            world.offer(2 * number + 1, f"after {session}", later),
            world.checkout(2 * number + 1, f"after {session}", later),
        ]
        profile.here.clear()
        with profile.running():
            world.turn()
        quiet = profile.here.copy()
        profile.here.clear()
        profile.delivery.clear()
        with profile.running():
            world.turn(polled)
        world.wait_for_the_result()
        profile.wait_until_the_delivery_rests()
        world.monotonic += 2
        with profile.running():
            world.turn()
    # Without what it takes to stop.
    there = profile.delivery.copy()
    world.close()
    return profile.here, there, quiet


def quiet_turn(insurer: HTTPServer, tasks: int) -> list[Call]:
    """What a turn does in which nothing comes and nothing is due, with so many tasks."""
    world, profile = World(insurer, tasks), Profile()
    world.turn()
    with profile.running():
        world.turn()
    world.close()
    return profile.here


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print every call that was counted")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    insurer = HTTPServer(("127.0.0.1", 0), Insurer)
    threading.Thread(target=insurer.serve_forever, daemon=True).start()
    here, there, usual = one_declined_offer(insurer)
    quiet = quiet_turn(insurer, tasks=4)
    insurer.shutdown()
    taken, here, there = until_indexed(here), ours(here), ours(there)
    way = without(here, usual, records=2)
    print("from take to index, one offer")
    print(f"  {len(taken):5}  Python calls; {len(ours(taken))} of consumer/, the others ask the message")
    print("one declined offer, from poll to commit: files, changes of file, calls of consumer/")
    for words, *parts in (
        ("all that is done in its two turns, and its call", here, there),
        ("its way: without what a quiet turn does too", way, there),
        ("    of these on the poll thread", way),
        ("    of these on the delivery's thread", there),
    ):
        together = files([call for part in parts for call in part])
        moves, calls = sum(changes(part) for part in parts), sum(len(part) for part in parts)
        print(f"  {len(together):5}{moves:7}{calls:7}  {words}")
    print("a quiet turn with four idle tasks")
    print(f"  {len(quiet):5}  Python calls; {len(ours(quiet))} of consumer/, the others are of the fakes around it")
    if options.list:
        for title, listed in (("its way", way), ("its call", there), ("a quiet turn", quiet)):
            print(f"\n{title}")
            for call in listed:
                print(f"  {'  ' * len(call.path)}{' '.join(call.place)}")


if __name__ == "__main__":
    main()
