"""The operator: answers what stops a start with the command that its message names."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from confluent_kafka import KafkaException
from simulation.workload.scenario import CHECKOUTS, OFFERS
from simulation.world.broker import Broker
from simulation.world.clients import Admin
from simulation.world.consumer import SimulatedConsumer

from consumer.codecs.plain import PlainCodec
from consumer.core.checkpoint import OfferCheckpoint, each_of
from consumer.errors import OptOutError
from consumer.kafka.leader_epochs import CutLogs
from consumer.kafka.position_changes import PositionChanges
from consumer.kafka.settled_since import SettledSince
from consumer.kafka.start_offsets import StartOffsets
from consumer.runtime.tasks import rules_of
from consumer.settings import Settings


class Operator:
    """A person at a terminal, whose clients outlive every process. It is the `Process` of these clients."""

    name = "operator"
    goes_back = False
    """Its answer is `--reset-to` a time of before, and not `--accept`."""

    def __init__(self, broker: Broker, tell: Callable[[str], None]) -> None:
        self.named: set[tuple[str, int]] = set()
        """The positions that the command has named as it changed them."""
        self.skips: dict[tuple[str, int], int] = {}
        """By input, below which offset its last answer takes for read before what was due by then: offers are settled,
        and checkouts that cannot be read have their dead letter."""
        self._broker = broker
        self._tell = tell

    def _epoch_reader(self) -> SimulatedConsumer:
        reader = SimulatedConsumer(self._broker, self, lambda _: None)
        reader.begins_anew = True
        return reader

    def answer(self, settings: Settings, before: int) -> bool:
        """`opt-out positions --accept`, or `--reset-to` a time `before` all (ms).

        Returns:
            False: not yet, since the group has members or the broker is down.
        """
        broker = self._broker
        consumer, admin = SimulatedConsumer(broker, self, lambda _: None), Admin(broker, self)
        rules, whose = rules_of(settings.join), broker.provenance
        changes = PositionChanges(
            consumer,  # type: ignore[arg-type]
            admin,  # type: ignore[arg-type]
            lambda: consumer,  # type: ignore[arg-type,return-value]
            StartOffsets(
                settings.kafka,
                rules,
                broker.count,
                whose,
                each=each_of(settings.input.offers.each),
                # While it asks no time passes: each look counts as a second.
                cut_logs=CutLogs(self._epoch_reader, monotonic=count().__next__),  # type: ignore[arg-type]
            ),
            SettledSince(lambda: consumer, settings.kafka, PlainCodec().decode_outcome, rules.max_skew),  # type: ignore[arg-type,return-value]
            group=settings.kafka.group_id,
            provenance=whose,
            rules=rules,
            partitions=broker.count,
            unmatched_limit=settings.join.unmatched_limit,
        )
        now, on_commit = broker.clock.ms, broker.on_commit
        # A person may go back, and may skip what is not settled.
        broker.on_commit = lambda _: None
        self.skips.clear()
        try:
            for change in changes.reset_to(before, now) if self.goes_back else changes.accept(now):
                self.tell(f"{'goes back' if self.goes_back else 'accepts'}: {change}")
                self.named.add((change.topic, change.partition))
                if "are read again" in change.what:
                    _, text = broker.group.committed[change.topic, change.partition]
                    found = OfferCheckpoint.decode(text, change.offset)
                    self.skips[OFFERS, change.partition] = found.next_offset
                    self.skips[CHECKOUTS, change.partition] = found.next_checkout
        except (OptOutError, KafkaException) as error:
            self.tell(f"cannot answer yet: {error}")
            # Of what retention has left, nothing may be from before, or it is another log: then there is no way back.
            no_way = any(why in str(error) for why in ("lies ahead", "cannot be found in another log"))
            self.goes_back = self.goes_back and not no_way
            return False
        finally:
            broker.on_commit = on_commit
        return True

    def tell(self, what: str) -> None:
        """A line for the trace."""
        self._tell(f"the operator {what}")

    def touch(self, what: str) -> None:
        """It never dies."""

    def wait(self, until: Callable[[], bool], timeout: float) -> bool:
        """It does not wait."""
        return until()

    def begins(self, partition: int) -> None:
        """It is no member."""

    def wrote(self, topic: str, *, taken: bool) -> None:
        """It writes nothing."""

    def refused(self, why: str, partitions: list[int]) -> None:
        """It commits by no generation."""
