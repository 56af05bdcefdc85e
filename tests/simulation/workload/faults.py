"""What goes wrong in a seed, and when."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from simulation.workload.kinds import ON, Kind, source_of
from simulation.workload.scenario import CHECKOUTS, OFFERS, START, TOPICS
from simulation.world.broker import CommitFault
from simulation.world.insurer import MODES, Partner
from simulation.world.process import SimulatedProcess

from consumer.core.checkpoint import CheckoutCheckpoint, OfferCheckpoint, UnreadableMetadata

if TYPE_CHECKING:
    from simulation.world.world import World

Happening: TypeAlias = tuple[float, Callable[[], None]]
"""Seconds from the start on, and what happens then."""


class Loss(Enum):
    """What happens to the positions of a topic."""

    FOREIGN = "another program commits its end for the group, as a console consumer does"
    EXPIRED = "the offsets expire"
    MADE_ANEW = "it is deleted and made anew"


class Faults:
    """Draws the faults of a world, and carries them out. Each is counted in `world.faults` as it happens."""

    def __init__(self, world: World, kinds: frozenset[Kind] = ON) -> None:
        self._world, self._random = world, world.random
        self._span = world.scenario.span / 1000 + 20
        self._kinds = kinds
        self.plan: list[Happening] = []

    def draw(self) -> deque[Happening]:
        """All that is to happen, in the order of time."""
        at_once = (
            self._kill, self._stop, self._freeze, self._freeze, self._jump, self.retain, self._scale, self._release,
        )  # fmt: skip
        lasting = (
            self._draw_outage, self._draw_commit_fault, self._draw_outputs, self._draw_inputs, self._draw_file,
            self._draw_partner, self._draw_partner, self._draw_partner,
        )  # fmt: skip
        for _ in range(self._random.choice((0, 2, 5, 10))):
            what = self._random.choice((*at_once, *lasting))
            if what in lasting:
                what()
            else:
                self.plan.append((self._moment(), what))
        if self._world.scenario.loses_metadata:
            self.plan.append((self._moment(), self._lose_metadata))
        self._draw_kinds()
        return self.sorted(self.plan)

    def _draw_kinds(self) -> None:
        """What goes wrong besides, each kind by a random source of its own."""
        draws = {
            Kind.BOUGHT_WHILE_WAITING: self._draw_long_wait,
            Kind.WRONG_ROUTE: self._draw_wrong_route,
            Kind.DELAYED_PRODUCERS: self._draw_scenarios_outage,
            Kind.CLOCK_STEPS: self._draw_clock_step,
            Kind.NO_RIGHTS: self._draw_no_rights,
            Kind.LOST_POSITIONS: self._draw_lost_positions,
            Kind.CUT_LOGS: self._draw_cut_log,
        }
        usual = self._random
        for kind, draws_it in draws.items():
            if kind in self._kinds:
                self._random = source_of(kind, self._world.scenario.seed)
                draws_it()
        self._random = usual

    def _moment(self) -> float:
        return self._random.uniform(0, self._span)

    @staticmethod
    def sorted(plan: list[Happening]) -> deque[Happening]:
        return deque(sorted(plan, key=lambda happening: happening[0]))

    # --- what lasts for a while

    def during(
        self,
        name: str,
        seconds: float,
        begin: Callable[[], object],
        end: Callable[[], object],
        at: float | None = None,
    ) -> None:
        world, at = self._world, self._moment() if at is None else at

        def begins() -> None:
            world.tell(name)
            world.faults[name] += 1
            begin()

        def ends() -> None:
            world.tell(f"no longer {name}")
            end()

        self.plan += [(at, begins), (at + seconds, ends)]

    def _draw_outage(self) -> None:
        broker, random, set_down = self._world.broker, self._random, self.set_down

        def set_moving(place: tuple[str, int], moving: bool) -> None:
            (broker.moving.add if moving else broker.moving.discard)(place)
            broker.logs[place].epoch += not moving

        what = random.choice(("broker down", "a leader moves", "the coordinator moves"))
        if what == "broker down":
            self.during(what, random.uniform(0.5, 8), lambda: set_down(True), lambda: set_down(False))
        elif what == "a leader moves":
            place = random.choice((OFFERS, CHECKOUTS)), random.randrange(broker.count)
            self.during(what, random.uniform(0.5, 8), lambda: set_moving(place, True), lambda: set_moving(place, False))
        else:
            self.during(
                what,
                random.uniform(0.5, 5),
                lambda: (setattr(broker, "coordinator_moves", True), broker.group.share_anew()),
                lambda: setattr(broker, "coordinator_moves", False),
            )

    def set_down(self, down: bool) -> None:
        broker = self._world.broker
        broker.down = down
        for log in broker.logs.values():
            log.epoch += not down

    def _draw_scenarios_outage(self) -> None:
        if (outage := self._world.scenario.outage) is not None:
            name = "brokers away, with their producers"
            self.during(
                name, outage[1] - outage[0], lambda: self.set_down(True), lambda: self.set_down(False), outage[0]
            )

    def _draw_commit_fault(self) -> None:
        broker, fault = self._world.broker, self._random.choice(list(CommitFault)[1:])
        self.during(
            f"a commit {fault.value}",
            self._random.uniform(0.5, 10),
            lambda: setattr(broker, "commit_fault", fault),
            lambda: setattr(broker, "commit_fault", CommitFault.NONE),
        )

    def _draw_outputs(self) -> None:
        broker, random = self._world.broker, self._random
        outcomes, dead = broker.outcome_topic, broker.dead_letter_topic
        topics, which = random.choice(
            (((outcomes, dead), "outputs"), ((outcomes,), "outcomes"), ((dead,), "dead letters"))
        )
        how, does = random.choice(((broker.refused, "are refused"), (broker.stalled, "are not acknowledged")))
        self.during(
            f"{which} {does}",
            random.uniform(0.5, 5),
            lambda: how.update(topics),
            lambda: how.difference_update(topics),
        )

    def _draw_inputs(self) -> None:
        broker, random = self._world.broker, self._random
        topic = random.choice((OFFERS, CHECKOUTS))
        place = topic, random.randrange(broker.count)
        self.during(
            f"{topic} are not read, and fall far behind",
            random.uniform(2, 20),
            lambda: broker.stalled.add(place),
            lambda: broker.stalled.discard(place),
        )

    def _draw_file(self) -> None:
        file, gone = self._world.release_file, self._random.random() < 0.5
        self.during(
            "the release file is gone" if gone else "the release file is wrong",
            self._random.uniform(1, 10),
            lambda: file.spoil(gone),
            file.mend,
        )

    def _draw_partner(self) -> None:
        mode, code = self._random.choice(MODES), self._random.choice(("ada", "bob", "eve"))
        partner = self._world.insurer.partners.setdefault(code, Partner())
        self.during(
            f"a partner's calls: {mode}",
            self._random.choice((1, 10, 60)),
            lambda: setattr(partner, "mode", mode),
            lambda: setattr(partner, "mode", "ok"),
        )

    def _draw_long_wait(self) -> None:
        """One partner's calls wait for long."""
        code, mode = (
            self._random.choice(("ada", "bob", "eve")),
            self._random.choice(("500", "429", "403", "422", "cut")),
        )
        partner = self._world.insurer.partners.setdefault(code, Partner())
        self.during(
            f"a partner's calls wait: {mode}",
            self._random.choice((20, 60, 120)),
            lambda: setattr(partner, "mode", mode),
            lambda: setattr(partner, "mode", "ok"),
        )

    def _draw_wrong_route(self) -> None:
        """A partner's calls go astray for a while: each is answered 404, whatever the offer."""
        if self._random.random() < 0.5:
            return
        partner = self._world.insurer.partners.setdefault(self._random.choice(("ada", "bob", "eve")), Partner())
        self.during(
            "a wrong route for a partner's calls",
            self._random.choice((20, 60, 180)),
            lambda: setattr(partner, "mode", "404"),
            lambda: setattr(partner, "mode", "ok"),
        )

    def _draw_clock_step(self) -> None:
        """One of our clocks is wrong for a while.

        It is not ahead by so little that a Date could not tell: that is taken from lateness, which is minutes, and here
        is a second or three.
        """
        random, lateness = self._random, self._world.scenario.rules.lateness / 1000
        if random.random() < 0.5:
            return
        skew = random.choice((-3_600.0, -10.0, -lateness, 5.0, 10.0, 3_600.0))
        stepped: list[SimulatedProcess] = []

        def step() -> None:
            if (process := self._some(f"has a clock that steps by {skew} s")) is not None:
                process.skew = skew
                stepped.append(process)

        def mend() -> None:
            for process in stepped:
                self._set_right(process)

        self.during(f"a clock steps {'ahead' if skew > 0 else 'back'}", random.choice((1, 8, 20, 60)), step, mend)

    def _draw_no_rights(self) -> None:
        """The right to write is withdrawn, and given back when somebody finds out."""
        if self._random.random() < 0.5:
            return
        broker = self._world.broker
        topics = self._random.choice(((broker.outcome_topic,), (broker.dead_letter_topic,)))
        self.during(
            f"no right to write {topics[0]}",
            self._random.choice((5, 15, 30)),
            lambda: broker.refused.update(topics),
            lambda: broker.refused.difference_update(topics),
        )

    # --- what happens at once

    def _some(self, what: str, *, counted: str | None = None) -> SimulatedProcess | None:
        world = self._world
        if not world.processes:
            return None
        process = self._random.choice(world.processes)
        world.tell(f"{process.name} {what}")
        if counted is not None:
            world.faults[counted] += 1
        return process

    def _kill(self) -> None:
        if (process := self._some("is killed")) is not None:
            process.kill()

    def _stop(self) -> None:
        if (process := self._some("is told to end", counted="SIGTERM")) is not None:
            process.service.stop()

    def _freeze(self) -> None:
        seconds, calls_too = self._random.choice((0.5, 3.0, 12.0, 12.0)), self._random.random() < 0.5
        what = "frozen" if calls_too else "poll thread stuck"
        if (process := self._some(f"for {seconds} s: {what}", counted=what)) is not None:
            process.hold_up(seconds, calls_too=calls_too)

    def _jump(self) -> None:
        skew = self._random.choice((-1.4, 1.5, 30.0, 86_400.0))
        if (process := self._some(f"has a clock that jumps by {skew} s", counted="clock jumps")) is not None:
            process.skew = skew
            world = self._world
            back = world.clock.now - START + self._random.uniform(0, 0.9 * world.scenario.rules.lateness / 1000)
            world.plan = self.sorted([*world.plan, (back, lambda: self._set_right(process))])

    def _set_right(self, process: SimulatedProcess) -> None:
        self._world.tell(f"the clock of {process.name} is right again")
        process.skew = 0.0

    def retain(self) -> None:
        """Retention, as far as it may go: below what is committed nothing is needed any more.

        But where lookback was raised, a member reads checkouts again from further back, and is about to commit that.
        """
        world, group = self._world, self._world.broker.group
        if world.in_doubt:
            return  # what is committed is not what is needed
        world.faults["retention"] += 1
        for place, (offset, _) in group.committed.items():
            owners = (process for process in world.processes if group.runs(process.name, place[1]))
            begun = (owner.consumer.began.get(place, offset) for owner in owners)
            world.broker.logs[place].delete_below(min([offset, *begun]))

    def _scale(self) -> None:
        self._world.faults["one more instance"] += 1
        self._world.start_at(self._world.clock.now)

    def _release(self) -> None:
        world = self._world
        offers = sorted({(event.partner_code, event.offer_id) for event in world.scenario.offers()})
        self._world.faults["an offer is let go"] += 1
        partner, offer = self._random.choice(offers)
        world.tell(f"{offer} is let go")
        world.release_file.release(partner, offer)

    def _draw_lost_positions(self) -> None:
        if self._random.random() < 0.5:
            return
        topics = self._random.choice(((OFFERS,), (CHECKOUTS,), TOPICS))
        how, runs = self._random.choice((Loss.FOREIGN, Loss.EXPIRED, Loss.MADE_ANEW)), self._random.random() < 0.4
        self._world.operator.goes_back = self._random.random() < 0.5
        self.plan.append((self._moment(), lambda: self._lose_positions(topics, how, runs=runs)))

    def _lose_positions(self, topics: tuple[str, ...], how: Loss, *, runs: bool) -> None:
        """Something happens to the positions, while the service is stopped, or under its hands."""
        world = self._world
        committed = world.broker.group.committed
        places = [place for place in committed if place[0] in topics]
        if not places or self._waits_for_a_word_on_a_cut():
            return
        when = "while it runs" if runs else "while it is stopped"
        world.faults[f"{' and '.join(topics)}: {how.value}, {when}"] += 1
        world.tell(f"{topics}: {how.value}")
        world.commits.on_loss()
        world.broker.lost_at = world.clock.now
        world.broker.known_at.clear()
        for place in places:
            world.broker.group.epochs.pop(place, None)
            if how is Loss.FOREIGN:
                committed[place] = world.broker.logs[place].end, ""
            else:
                del committed[place]
        if how is Loss.MADE_ANEW:
            for topic in topics:
                world.broker.make_anew(topic)
                world.commits.on_made_anew(topic)
                world.truth.on_made_anew(topic)
        world.in_doubt = True
        if runs:
            world.broker.group.share_anew()
            return
        for process in world.processes:
            process.kill()

    def _waits_for_a_word_on_a_cut(self) -> bool:
        """Whether a log was cut, and nobody has answered: what is lost besides would hide it, as a limit says."""
        return self._world.in_doubt and bool(self._world.broker.cut)

    def _draw_cut_log(self) -> None:
        if self._random.random() < 0.5:
            return
        # Whoever else draws has a source of its own: this one is kept for what it cuts.
        draws, topic = self._random, self._random.choice(TOPICS)
        goes_back = draws.random() < 0.5
        self.plan.append((self._moment(), lambda: self.cut_log(topic, draws, goes_back=goes_back)))

    def cut_log(self, topic: str, draws: Random, *, goes_back: bool = False) -> None:
        """All are stopped, and of a log that was read an end is gone, so that the next start is refused.

        Not where a doubt is open already: positions that are not ours say nothing of what was read.
        """
        world, broker = self._world, self._world.broker
        found = [(partition, to) for partition in range(broker.count) if (to := self._read_to(topic, partition))]
        if world.in_doubt or not found:
            return
        for process in world.processes:
            process.kill()
        partition, read_to = draws.choice(found)
        log = broker.logs[topic, partition]
        offset = draws.randint(max(log.start, read_to - 8), read_to - 1)
        world.faults[f"{topic} lose their end, and have grown since"] += 1
        world.tell(f"{topic}[{partition}] is cut at {offset}, and was read to {read_to}")
        world.operator.goes_back = goes_back
        broker.lost_at = world.clock.now
        broker.known_at.clear()
        world.in_doubt = True
        world.on_cut(topic, partition, log.cut(offset))

    def _read_to(self, topic: str, partition: int) -> int:
        """How far the log was read, by a commit that says so, and of which epoch; 0: nobody could tell that it is cut.

        Some of what was read must still be there: what retention has deleted cannot be lost.
        """
        group = self._world.broker.group
        place = topic, partition
        if group.epochs.get(place, -1) < 0 or place not in group.committed:
            return 0
        kind = OfferCheckpoint if topic == OFFERS else CheckoutCheckpoint
        offset, text = group.committed[place]
        try:
            read_to = kind.decode(text, offset).next_offset
        except UnreadableMetadata:
            return 0
        return read_to if read_to > self._world.broker.logs[place].start else 0

    def _lose_metadata(self) -> None:
        """All are stopped, the offsets are set by hand to what they are, and all are started again: in vain, until the
        operator says yes to that."""
        world, random = self._world, self._random
        if self._waits_for_a_word_on_a_cut():
            return
        for process in world.processes:
            process.kill()
        text = random.choice(("", "0:garbage"))
        topics = random.choice(((OFFERS,), (CHECKOUTS,), (OFFERS, CHECKOUTS)))
        world.faults[f"the metadata of {' and '.join(topics)} is {'unreadable' if text else 'lost'}"] += 1
        world.tell(f"the metadata of {topics} is {text!r}")
        committed = world.broker.group.committed
        world.commits.on_loss()
        for (topic, partition), (offset, _) in committed.items():
            if topic in topics:
                committed[topic, partition] = offset, text
                world.in_doubt = True
