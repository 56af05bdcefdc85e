"""Holds back records that were read while it is in doubt whether their logs are still those that were read before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from confluent_kafka import Message

from .leader_epochs import CUT_OR_NOT, ReadEpochs
from .start_offsets import StartOffsets
from .topic_watch import IN_DOUBT, TopicWatch


class LogDoubts:
    """Asks of each batch whether a log was cut, and whether a topic was made anew. In doubt a broker has to tell.

    Owned by the poll thread.

    Args:
        epochs: of what was read.
        starts: asks the brokers whether a log was cut.
        topic_watch: sees that a topic was made anew; None: nobody does.
        on_trouble: is told in words why a broker does not tell.
        on_unread: is told why records wait. Any of them may be a purchase.
    """

    def __init__(
        self,
        epochs: ReadEpochs,
        starts: StartOffsets,
        topic_watch: TopicWatch | None,
        on_trouble: Callable[[str], None],
        on_unread: Callable[[str], None],
    ) -> None:
        self._epochs = epochs
        self._starts = starts
        self._topic_watch = topic_watch
        self._on_trouble = on_trouble
        self._on_unread = on_unread

    def are_uncut(self, messages: Sequence[Message]) -> bool:
        """Whether no log was cut below what was read of it, by these; in doubt they wait until the broker tells.

        Raises:
            OffsetGoneError: one was cut.
        """
        if in_doubt := self._epochs.saw(messages):
            self._on_unread(CUT_OR_NOT)
            if why := self._starts.check_cuts(in_doubt):
                self._on_trouble(why)
                return False
            self._epochs.whole()
        return True

    def are_of_same_topics(self, messages: Sequence[Message]) -> bool:
        """Whether nothing speaks against it; else the records wait until the broker has told.

        Raises:
            TopicMadeAnewError: a topic is not the one that it was.
        """
        if (watch := self._topic_watch) is None:
            return True
        if messages:
            # The newest of a batch will do: the next batch has one of each partition that goes on.
            last = messages[-1]
            watch.saw_epoch(last.topic() or "", last.partition() or 0, last.leader_epoch())
        if not watch.certain:
            self._on_unread(IN_DOUBT)  # also once it is: what has waited is to be applied before a call leaves
        watch.look()
        return watch.certain
