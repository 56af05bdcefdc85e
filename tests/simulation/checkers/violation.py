"""What every checker raises."""

from __future__ import annotations


class Violation(AssertionError):  # noqa: N818 - what it is, and no error of the simulation
    """An invariant is broken."""
