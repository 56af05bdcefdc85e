"""How long to wait after what may go better next time."""

from __future__ import annotations

from collections.abc import Callable

_MOST_DOUBLINGS = 10
"""More than it takes to come to the cap. What fails may fail for days, and 2^1024 is no float."""


def full_jitter(
    failures: int, uniform: Callable[[float, float], float], base_s: float = 1.0, cap_s: float = 60.0
) -> float:
    """Seconds to wait after so many failures: anything up to 1, 2, 4 … 60 s, so that waiters spread out.

    Args:
        failures: from 1.
        uniform: draws a number between two, such as `random.uniform`.
        base_s: the longest wait after the first failure.
        cap_s: the longest wait.
    """
    return uniform(0.0, min(cap_s, base_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)))
