"""`opt-out run` as it ships, but that each call is answered 204 at once, in the process, instead of over HTTP.

    python tests/benchmarks/whole_way/answered_run.py run

The others that the whole way is measured against make no calls. Everything else of a call is done: it is queued, asked
by the gate whether it may leave, counted by the limiter, and its result goes back to the thread that polls.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from consumer import cli
from consumer.calls import RECORDED, Answer, AnswerKind, OptOutCall
from consumer.runtime import run


class AnsweredAtOnce:
    """Stands where the API is called."""

    async def __call__(self, call: OptOutCall, may_leave: Callable[[], bool], /) -> Answer:
        return RECORDED if may_leave() else Answer(AnswerKind.WITHHELD)

    def credential_of(self, partner_code: str) -> Hashable:
        return "key"

    async def aclose(self) -> None: ...


def main() -> None:
    # By its name, since nobody else is to call by another API.
    vars(run)["connect"] = lambda *_, **__: AnsweredAtOnce()
    cli.program()


if __name__ == "__main__":
    main()
