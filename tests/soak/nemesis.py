"""What is done to the deployment while it works: kills, pauses, a broker's restart, an API that refuses a partner."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from brokers import Broker
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from soak.repeats import Fault
from support.deployment import Deployment, now

SESSION_TIMEOUT_S = 5.0
ASK_S = 3.0
CONFIG = '{{"session.timeout.ms": {0:.0f}, "heartbeat.interval.ms": 500, "client.id": "{1}"}}'


@dataclass
class Nemesis:
    """Injects faults at random moments, one at a time. Touches only what it has started, and the broker it was given.

    Args:
        every: seconds between two faults, in the mean.
        outage: seconds that the broker stays down.
        say: told of each fault.

    Attributes:
        faults: in the order of time.
    """

    deployment: Deployment
    broker: Broker
    rng: random.Random
    instances: int
    every: float
    outage: float
    say: Callable[[str], None]
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._names: dict[str, int] = {}
        self._started = 0
        self._paused: tuple[str, float] | None = None
        self._next = time.monotonic() + self.every
        for _ in range(self.instances):
            self._start()

    @property
    def paused(self) -> int:
        """How many instances are stopped just now."""
        return int(self._paused is not None)

    def turn(self) -> None:
        """Do what is due, if something is."""
        self.look()
        moment = time.monotonic()
        if self._paused is not None and moment >= self._paused[1]:
            self.wake()
        elif moment >= self._next:
            self._next = moment + self.every * self.rng.uniform(0.6, 1.4)
            if self._paused is None and self.rng.random() < 0.25:
                self._pause()
            else:
                self._kill()

    def look(self) -> None:
        """Notice instances that ended by themselves, and start others, as an orchestrator would."""
        for name, number in list(self._names.items()):
            process = self.deployment.processes[number]
            if not process.running:
                del self._names[name]
                self._note(Fault(now(), f"exit {process.popen.returncode}", name))
                last = process.text().rstrip().rsplit("\n", 1)[-1]
                self.say(f"  {name} ended by itself; its last words: {last[:300]}")
                self._start()

    def wake(self) -> None:
        """Let the paused instance go on, if there is one: it believes that its tasks are still its own."""
        if self._paused is not None:
            name, self._paused = self._paused[0], None
            fault = Fault(now(), "wake", name)
            os.kill(self._pid(name), signal.SIGCONT)
            self._note(fault)

    def restart_broker(self) -> None:
        """Stop the broker in an orderly way, and start it again on its data."""
        self._note(Fault(now(), "broker down"))
        self.broker.stop()
        time.sleep(self.outage)  # the length of the outage is the test's own choice, not a wait for something
        self.broker.start()
        self._note(Fault(now(), "broker up"))
        self._next = time.monotonic() + self.every

    def answer(self, what: str, scenario: str) -> None:
        """Have the API answer otherwise from now on."""
        self.deployment.api.set_scenario(scenario)
        self._note(Fault(now(), what))

    # --- inside

    def _start(self) -> None:
        self._started += 1
        name = f"instance-{self._started}"
        self._names[name] = len(self.deployment.processes)
        self.deployment.start(KAFKA__PROPERTIES=CONFIG.format(SESSION_TIMEOUT_S * 1000, name))

    def _kill(self) -> None:
        victim = self._choose()
        partitions = self._assigned(victim)
        process = self.deployment.processes[self._names.pop(victim)]
        fault = Fault(now(), "kill", victim, partitions)
        process.kill()
        self._start()
        self._note(fault)

    def _pause(self) -> None:
        victim = self._choose()
        fault = Fault(now(), "pause", victim, self._assigned(victim))
        os.kill(self._pid(victim), signal.SIGSTOP)
        self._paused = victim, time.monotonic() + SESSION_TIMEOUT_S + self.rng.uniform(1, 5)
        self._note(fault)

    def _choose(self) -> str:
        asleep = self._paused[0] if self._paused is not None else None
        return self.rng.choice([name for name in self._names if name != asleep])

    def _pid(self, name: str) -> int:
        return self.deployment.processes[self._names[name]].popen.pid

    def _assigned(self, name: str) -> frozenset[int]:
        # A client of its own each time: one that has lived through the broker's restart may take its time.
        admin = AdminClient({"bootstrap.servers": self.deployment.bootstrap, "log_level": 0})
        group = self.deployment.group
        try:
            members = admin.describe_consumer_groups([group])[group].result(ASK_S).members
        except (KafkaException, TimeoutError):
            return frozenset()
        return frozenset(
            place.partition for m in members if m.client_id == name for place in m.assignment.topic_partitions
        )

    def _note(self, fault: Fault) -> None:
        self.faults.append(fault)
        what = f"{fault.what} {fault.victim}".rstrip()
        tasks = f" (tasks {', '.join(map(str, sorted(fault.partitions)))})" if fault.partitions else ""
        self.say(f"  {what}{tasks}")
