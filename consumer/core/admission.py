"""What becomes of a record that was read, and what a checkout brings about."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from .chain import Chain


class Admission(Enum):
    """What becomes of a record.

    ACCEPTED: it joined. LATE: it comes too far behind the watermark. CUT_OFF: what bought it may be gone, since the
    checkout log was cut. IMPLAUSIBLE: its date is not believed. A presentation that is one of these three is given up
    (`Task.give_up`), written to the dead-letter topic, then `acknowledged`; but an IMPLAUSIBLE checkout joined
    nonetheless. SETTLED: it was dead-lettered before the restart; nothing is to be done.
    """

    ACCEPTED = auto()
    LATE = auto()
    CUT_OFF = auto()
    IMPLAUSIBLE = auto()
    SETTLED = auto()


class CheckoutEffect(NamedTuple):
    """What a checkout that was read brought about.

    Attributes:
        admission: ACCEPTED or IMPLAUSIBLE; it joined either way.
        bought_after_call: chains that it names, of which the insurer has been told: that cannot be taken back.
        bought_before_settled: chains that it names, whatever its date, after they were decided and before they are
            settled: their calls are not to be made, as far as they are not made yet. Each is told once.
        warning: what was found out about the start of the task by it, in words, for the log.
    """

    admission: Admission
    bought_after_call: tuple[Chain, ...] = ()
    bought_before_settled: tuple[Chain, ...] = ()
    warning: str | None = None


JOINED = CheckoutEffect(Admission.ACCEPTED)
"""The usual effect, shared by all checkouts that did nothing but join."""


def effect_of(
    plausible: bool, after_call: list[Chain], before_settled: list[Chain], warning: str | None
) -> CheckoutEffect:
    """What such a checkout brought about; `plausible`: its date is believed."""
    if plausible and warning is None and not after_call and not before_settled:
        return JOINED
    admission = Admission.ACCEPTED if plausible else Admission.IMPLAUSIBLE
    return CheckoutEffect(admission, tuple(after_call), tuple(before_settled), warning)
