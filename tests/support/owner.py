"""Whoever calls are made for, where a test is about the calls alone."""

from __future__ import annotations

from consumer.calls import CallResult, OptOutCall, Withheld


class Owner:
    """Lets every call leave but those whose chain starts are in `withheld`."""

    def __init__(self, name: str = "owner") -> None:
        self.name = name
        self.withheld: dict[int, Withheld] = {}

    def __repr__(self) -> str:
        return self.name

    def withholds(self, call: OptOutCall) -> Withheld | None:
        return self.withheld.get(call.chain_start)

    def on_result(self, result: CallResult) -> None:
        """Results are looked at where they arrive."""


OWNER = Owner()
"""Who calls are made for that a test does not tell apart."""


def always() -> bool:
    """For a call that may leave whatever happens."""
    return True
