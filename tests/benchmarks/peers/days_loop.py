"""The consumer that a good engineer writes in a day: one loop, one dict of sessions.

It reads both topics, joins them in event time behind a watermark, and writes an outcome of each offer. An offer is
decided with its session: a grace after its first checkout, or a window after it was last shown something.
The call is one line here, `called += 1`, since what it would cost is the same for everybody.

What it does not do, and its users find out about: the sessions that are open are in memory only, while what was read of
them is committed. Each restart and each rebalance loses them, without a word. It also has no guards, no clock for quiet
topics, and no dead letters.

Settings, by the environment: BOOTSTRAP, GROUP, OFFERS, CHECKOUTS, VERDICTS (topics), SCHEMAS (the folder of the .avsc),
WINDOW_MS, GRACE_MS, LATENESS_MS.
"""

import os
import signal
import time
from collections import defaultdict
from io import BytesIO
from pathlib import Path

from confluent_kafka import Consumer, Producer
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import load_schema

WINDOW, GRACE, LATENESS = (int(os.environ[name]) for name in ("WINDOW_MS", "GRACE_MS", "LATENESS_MS"))
COMMIT_EVERY = 5.0
BUCKET = 1_000  # ms of event time that are decided together


class Session:
    """What a customer was shown, and what was bought."""

    __slots__ = ("bought", "checkout_id", "due", "offers")

    def __init__(self):
        self.offers = {}
        self.bought = set()
        self.checkout_id = None
        self.due = 0


def schema_of(name):
    """The schema with times as plain numbers: a datetime for each would cost more than the rest."""
    schema = load_schema(Path(os.environ["SCHEMAS"]) / name)
    for field in schema["fields"]:
        if isinstance(field["type"], dict) and field["type"].get("logicalType"):
            field["type"] = field["type"]["type"]
    return parse_schema({key: value for key, value in schema.items() if not key.startswith("__")})


class Loop:
    def __init__(self):
        self.offers, self.checkouts = os.environ["OFFERS"], os.environ["CHECKOUTS"]
        self.verdicts = os.environ["VERDICTS"]
        self.offer_schema = schema_of("offer_presented.avsc")
        self.checkout_schema = schema_of("checkout_completed.avsc")
        self.outcome_schema = schema_of("offer_outcome.avsc")
        self.consumer = Consumer(
            {
                "bootstrap.servers": os.environ["BOOTSTRAP"],
                "group.id": os.environ["GROUP"],
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "queued.max.messages.kbytes": 65_536,
                "fetch.queue.backoff.ms": 10,
                # Partition p of both topics has to be with one consumer.
                "partition.assignment.strategy": "range",
            }
        )
        self.producer = Producer(
            {
                "bootstrap.servers": os.environ["BOOTSTRAP"],
                "enable.idempotence": True,
                "linger.ms": 20,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self.sessions = {}
        self.due = defaultdict(list)  # session ids by when they may be due, in seconds
        self.next_due = None
        self.newest = {}  # by topic and partition, ms
        self.called = self.written = 0
        self.running, self.uncommitted = True, False

    def run(self):
        self.consumer.subscribe([self.offers, self.checkouts])
        committed = time.monotonic()
        while self.running:
            messages = self.consumer.consume(5_000, 0.1)
            if messages and not self.newest:
                print(f"begun {time.time()}", flush=True)
            for message in messages:
                if message.error():
                    raise SystemExit(f"cannot read: {message.error()}")
                self.take(message)
            self.uncommitted = self.uncommitted or bool(messages)
            self.decide()
            self.producer.poll(0)
            if time.monotonic() - committed > COMMIT_EVERY:
                self.commit()
                committed = time.monotonic()
        self.commit()
        self.consumer.close()

    def take(self, message):
        topic = message.topic()
        if topic == self.offers:
            event = schemaless_reader(BytesIO(message.value()), self.offer_schema, None)
            at = event["presented_at"]
            session = self.session(event["session_id"])
            session.offers[event["partner_code"], event["offer_id"]] = event, message.partition(), message.offset()
            if session.checkout_id is None:
                self.due_at(event["session_id"], session, max(session.due, at + WINDOW))
        else:
            event = schemaless_reader(BytesIO(message.value()), self.checkout_schema, None)
            at = event["completed_at"]
            session = self.session(event["session_id"])
            session.bought.update(event["purchased_offer_ids"])
            if session.checkout_id is None:
                session.checkout_id = event["checkout_id"]
                self.due_at(event["session_id"], session, at + GRACE)
        place = topic, message.partition()
        if at > self.newest.get(place, 0):
            self.newest[place] = at

    def session(self, session_id):
        session = self.sessions.get(session_id)
        if session is None:
            session = self.sessions[session_id] = Session()
        return session

    def due_at(self, session_id, session, moment):
        session.due = moment
        bucket = moment // BUCKET + 1
        self.due[bucket].append(session_id)
        if self.next_due is None or bucket < self.next_due:
            self.next_due = bucket

    def decide(self):
        # Offers must not run ahead of checkouts: every partition has its say.
        if len(self.newest) < len(self.consumer.assignment()) or self.next_due is None:
            return
        watermark = min(self.newest.values()) - LATENESS
        while self.next_due * BUCKET <= watermark:
            for session_id in self.due.pop(self.next_due, ()):
                session = self.sessions.get(session_id)
                if session is not None and session.due <= watermark:
                    del self.sessions[session_id]
                    self.settle(session)
            self.next_due += 1

    def settle(self, session):
        for (partner_code, offer_id), (event, partition, offset) in session.offers.items():
            bought = offer_id in session.bought
            if not bought:
                self.called += 1
            stream = BytesIO()
            schemaless_writer(
                stream,
                self.outcome_schema,
                {
                    "offer_id": offer_id,
                    "partner_code": partner_code,
                    "session_id": event["session_id"],
                    "outcome": "PURCHASED" if bought else "OPTED_OUT",
                    "reason": "PURCHASED" if bought else "DECLINED" if session.checkout_id else "ABANDONED",
                    "checkout_id": session.checkout_id,
                    "presented_at": event["presented_at"],
                    "decided_at": session.due,
                    "settled_at": int(time.time() * 1000),
                    "status_code": None if bought else 204,
                    "attempts": 0 if bought else 1,
                    "product_code": event["product_code"],
                    "country": event["country"],
                    "currency": event["currency"],
                    "price": event["price"],
                    "source": {"topic": self.offers, "partition": partition, "offset": offset},
                    "mode": "LIVE",
                    "note": None,
                },
            )
            self.produce(f"{partner_code}/{offer_id}", stream.getvalue(), partition)

    def produce(self, key, value, partition):
        while True:
            try:
                self.producer.produce(self.verdicts, value, key, partition)
                self.written += 1
                return
            except BufferError:
                self.producer.poll(0.1)

    def commit(self):
        self.producer.flush(30)
        if self.uncommitted:
            self.consumer.commit(asynchronous=False)
            self.uncommitted = False

    def stop(self, *_):
        self.running = False


if __name__ == "__main__":
    loop = Loop()
    signal.signal(signal.SIGTERM, loop.stop)
    loop.run()
    print(f"called {loop.called}, written {loop.written}, open {len(loop.sessions)}", flush=True)
