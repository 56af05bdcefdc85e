"""Makes checks one after the other, each within a bound of time: one that hangs or fails does not keep the others."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaException

from ..errors import OptOutError, StartError
from ..kafka.causes import Causes
from ..runbook import command_for, entry_of_error
from .check import Check, not_looked_at

BOUND = 10.0
"""Seconds that one step may take."""


class Step(NamedTuple):
    """One step of an examination.

    Attributes:
        name: of the checks that it yields, where it yields none itself.
        look: makes the checks. It runs on a thread of its own, and may raise.
        waits_for: whom it asks, in words.
        needs: the name of the step before without whose answer this one cannot be made.
    """

    name: str
    look: Callable[[], Iterable[Check]]
    waits_for: str
    needs: str = ""


def examine(steps: Sequence[Step], causes: Causes, bound: float = BOUND) -> Iterator[Check]:
    """What the steps find, as they find it. Never raises for what a step does.

    Args:
        causes: adds why brokers refuse us to what a step raises.
        bound: seconds that each step may take.
    """
    failed: set[str] = set()
    for step in steps:
        if step.needs in failed:
            failed.add(step.name)
            yield not_looked_at(step.name, f"it cannot be without the check of {step.needs} above")
            continue
        found = _within(step, causes, bound)
        if isinstance(found, BaseException):
            failed.add(step.name)
            yield _of_error(step.name, found)
        elif found is None:
            failed.add(step.name)
            yield Check(
                step.name,
                "error",
                f"it did not end within {bound:g} s, and was left: it waited for {step.waits_for}",
                "see why no answer comes, then ask again",
            )
        else:
            yield from found


def _within(step: Step, causes: Causes, bound: float) -> list[Check] | BaseException | None:
    """What a step yields or raises; None if it does not end in time: then its thread is left to itself."""
    answer: queue.SimpleQueue[list[Check] | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            with causes.explained():
                answer.put(_looked(step))
        except BaseException as error:  # whatever it is, it is of this step alone
            answer.put(error)

    threading.Thread(target=work, name=f"check of {step.name}", daemon=True).start()
    try:
        return answer.get(timeout=bound)
    except queue.Empty:
        return None


def _looked(step: Step) -> list[Check]:
    try:
        return list(step.look())
    except KafkaException as error:
        raise StartError(f"the brokers did not answer: {error.args[0].str()}") from error


def _of_error(name: str, error: BaseException) -> Check:
    if isinstance(error, OptOutError):
        return Check(name, "error", str(error), f"see `{command_for(entry_of_error(error))}`")
    return Check(name, "error", f"the check failed itself: {error!r}", "report this as a mistake of opt-out")
