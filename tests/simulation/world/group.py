"""The simulated coordinator: the group's members, who has what, whose commits are taken; on both protocols."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from simulation.world.timeline import Clock

Place = tuple[str, int]

SESSION_TIMEOUT = 6.0


@dataclass
class Member:
    """One member of the group, as the coordinator knows it.

    `generation` is that of its assignment, on the `consumer` protocol its epoch; `told` is the one it has heard of.
    """

    name: str
    seen: float
    generation: int = -1
    told: int = -1
    joined: bool = False
    owned: set[Place] = field(default_factory=set)


class Group:
    """What both protocols have in common."""

    def __init__(self, clock: Clock, random: Random, topics: tuple[str, str], count: int) -> None:
        self.members: dict[str, Member] = {}
        self.generation = 0
        self.committed: dict[Place, tuple[int, str]] = {}
        self.epochs: dict[Place, int] = {}
        """The leader epoch of the last commit of each partition, -1 if it had none."""
        self._clock, self._random, self._topics, self._count = clock, random, topics, count

    def tick(self) -> None:
        """Give up members that were not heard of for the session time-out."""
        gone = [m.name for m in self.members.values() if self._clock.now - m.seen > SESSION_TIMEOUT]
        for name in gone:
            del self.members[name]
        if gone:
            self._rebalance()

    def heartbeat(self, name: str) -> None:
        """A member lives."""
        if name in self.members:
            self.members[name].seen = self._clock.now

    def leave(self, name: str) -> None:
        """A member says goodbye."""
        if self.members.pop(name, None) is not None:
            self._rebalance()

    def share_anew(self) -> None:
        """As the group does in the very moment in which a broker goes."""
        self._rebalance()

    def runs(self, name: str, partition: int) -> bool:
        """Whether the member has both partitions of the task."""
        member = self.members.get(name)
        return member is not None and all((topic, partition) in member.owned for topic in self._topics)

    def owner(self, partition: int) -> str | None:
        """Who has the task."""
        return next((name for name in self.members if self.runs(name, partition)), None)

    def refuses(self, name: str, generation: int) -> str | None:
        """Why a commit is refused, if it is."""
        raise NotImplementedError

    def _rebalance(self) -> None:
        raise NotImplementedError

    def _range(self) -> dict[str, set[Place]]:
        """What each member is to have."""
        names = sorted(self.members)
        share, more = divmod(self._count, max(1, len(names)))
        shares, begin = {}, 0
        for number, name in enumerate(names):
            end = begin + share + (number < more)
            shares[name] = {(topic, p) for topic in self._topics for p in range(begin, end)}
            begin = end
        return shares


class ClassicGroup(Group):
    """All stop, give back what they have, and are given anew."""

    def __init__(self, clock: Clock, random: Random, topics: tuple[str, str], count: int) -> None:
        super().__init__(clock, random, topics, count)
        self.rebalancing = False

    def join(self, name: str) -> None:
        """A member wants partitions; it has let go of those it had."""
        member = self.members.get(name)
        if member is None:
            member = self.members[name] = Member(name, self._clock.now)
            self._rebalance()
        member.joined = True
        member.owned = set()
        if all(m.joined for m in self.members.values()):
            self.generation += 1
            self.rebalancing = False
            for other, places in self._range().items():
                self.members[other].owned, self.members[other].generation = places, self.generation

    def refuses(self, name: str, generation: int) -> str | None:
        if name not in self.members:
            return "UNKNOWN_MEMBER_ID"
        return None if generation == self.generation else "ILLEGAL_GENERATION"

    def _rebalance(self) -> None:
        self.rebalancing = True
        for member in self.members.values():
            member.joined = False


class ConsumerGroup(Group):
    """KIP-848: a member is told only what comes and what goes, and what comes may come piece by piece."""

    def join(self, name: str) -> None:
        """A member without partitions comes."""
        self.members[name] = Member(name, self._clock.now)
        self._rebalance()

    def heartbeat(self, name: str) -> None:
        """A member lives; it hears of its epoch a heartbeat later than that is so."""
        super().heartbeat(name)
        member = self.members.get(name)
        if member is not None:
            member.told = member.generation
            if self._random.random() < 0.3:
                member.generation = self.generation

    def reconcile(self, name: str) -> tuple[list[Place], list[Place]]:
        """What goes from a member, and once that is gone what comes to it: what nobody else has any more."""
        member, target = self.members[name], self._range()[name]
        if goes := sorted(member.owned - target):
            return self._random.choice((goes, goes[:1])), []
        taken = {place for other in self.members.values() for place in other.owned}
        free = sorted(target - taken)
        comes = [place for place in free if self._random.random() < 0.6]
        member.owned.update(comes)
        return [], comes

    def let_go(self, name: str, places: list[Place]) -> None:
        """A member has let go of some, and says so."""
        if name in self.members:
            self.members[name].owned.difference_update(places)

    def refuses(self, name: str, generation: int) -> str | None:
        member = self.members.get(name)
        if member is None:
            return "UNKNOWN_MEMBER_ID"
        return None if member.told == member.generation else "STALE_MEMBER_EPOCH"

    def _rebalance(self) -> None:
        self.generation += 1
