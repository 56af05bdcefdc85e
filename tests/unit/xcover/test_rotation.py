"""A credential that changes: which signer each call has, by the answers before it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import examples

from consumer.calls import RECORDED, Answer, AnswerKind
from consumer.xcover.api import classify
from consumer.xcover.rotation import RETRY_S, RotatingCredential

REFUSED = Answer(AnswerKind.CREDENTIALS, 401)
FAILED = Answer(AnswerKind.TRANSIENT, 503)


@dataclass(eq=False)
class Signer:
    name: str

    def secrets(self) -> tuple[str, str]:
        return "key", self.name


class Changing:
    """A credential with an old signer, and an API that accepts some."""

    def __init__(self, *accepted: str) -> None:
        self.now = 1_000.0
        self.accepted = set(accepted)
        self.old = Signer("old")
        self.credential: RotatingCredential[Signer] = RotatingCredential("P", self.old, "limit", lambda: self.now)

    def call(self) -> list[str]:
        """Who signs the tries of one call, the last of which is its answer."""
        tries: list[Signer] = []
        signer = self.credential.choose()
        while signer is not None and signer not in tries:
            tries.append(signer)
            signer = self.credential.answered(signer, RECORDED if signer.name in self.accepted else REFUSED)
        return [one.name for one in tries]


def test_without_a_change_the_one_in_force_signs_and_its_refusal_stands() -> None:
    world = Changing()
    assert world.call() == ["old"]
    world.accepted = {"old"}
    assert world.call() == ["old"]


def test_a_new_one_that_is_accepted_is_in_force_and_the_old_one_is_not_tried_again() -> None:
    world = Changing("old", "new")
    world.credential.offer(Signer("new"))
    assert world.call() == ["new"]
    world.accepted = {"old"}
    assert world.call() == ["new"], "refused is refused: the old one was dropped"


def test_a_call_that_is_refused_with_the_new_one_is_made_with_the_old_one() -> None:
    world = Changing("old")
    with structlog.testing.capture_logs() as logs:
        world.credential.offer(Signer("new"))
        assert world.call() == ["new", "old"]
        assert world.call() == ["old"]
        world.now += RETRY_S - 0.1
        assert world.call() == ["old"], "a wrong one is not tried often"
        world.now += 0.1
        assert world.call() == ["new", "old"]
        world.now += RETRY_S
        world.accepted = {"new"}
        assert world.call() == ["new"]
    warnings = [log["event"] for log in logs if log["log_level"] == "warning"]
    assert len(warnings) == 1, "said once"
    assert [log["partner_code"] for log in logs] == ["P"] * 3


def test_only_one_call_at_a_time_tries_the_new_one() -> None:
    world = Changing("old")
    world.credential.offer(new := Signer("new"))
    assert world.credential.choose() is new
    assert [world.credential.choose() for _ in range(3)] == [world.old] * 3, "the first is still under way"


def test_where_the_old_one_is_revoked_each_refused_call_tries_the_new_one_at_once() -> None:
    world = Changing("new")
    world.credential.offer(new := Signer("new"))
    assert world.credential.choose() is new
    assert world.credential.choose() is world.old
    # The second is answered first: it does not wait for what the first one finds out.
    assert world.credential.answered(world.old, REFUSED) is new
    assert world.credential.answered(new, RECORDED) is None
    assert world.credential.answered(new, RECORDED) is None
    assert world.call() == ["new"]


def test_a_call_that_was_under_way_with_the_old_one_goes_on_with_what_was_accepted_meanwhile() -> None:
    world = Changing("new")
    assert world.credential.choose() is world.old
    world.credential.offer(new := Signer("new"))
    assert world.call() == ["new"]
    assert world.credential.answered(world.old, REFUSED) is new


def test_both_refused_is_refused_and_tries_each_once() -> None:
    world = Changing()
    world.credential.offer(Signer("new"))
    assert world.call() == ["new", "old"]
    assert world.call() == ["old"]


def test_a_newer_one_is_tried_at_once_whatever_the_one_before_it_met() -> None:
    world = Changing("old", "newer")
    world.credential.offer(Signer("new"))
    assert world.call() == ["new", "old"]
    world.credential.offer(Signer("newer"))
    assert world.call() == ["newer"]


def test_the_old_one_back_in_the_file_ends_the_trial_and_the_same_new_one_is_no_change() -> None:
    world = Changing("old")
    world.credential.offer(Signer("new"))
    assert world.call() == ["new", "old"]
    world.credential.offer(Signer("new"))
    assert world.call() == ["old"], "still waits"
    world.credential.offer(Signer("old"))
    world.now += RETRY_S
    assert world.call() == ["old"]


@pytest.mark.parametrize(
    "answer",
    [
        FAILED,
        Answer(AnswerKind.TRANSIENT, None),
        Answer(AnswerKind.UNEXPECTED, 200),
        Answer(AnswerKind.WITHHELD),
        Answer(AnswerKind.REFUSED, None, note="not sent"),
    ],
)
def test_what_is_not_of_the_api_itself_neither_accepts_nor_refuses(answer: Answer) -> None:
    world = Changing("old")
    world.credential.offer(new := Signer("new"))
    assert world.credential.choose() is new
    assert world.credential.answered(new, answer) is None
    assert world.call() == ["new", "old"], "tried again with the next call, and the old one is still good"


HTML = b"<html><body>Bad Request</body></html>"


@pytest.mark.parametrize("status", [400, 405, 413, 422, 431])
@pytest.mark.parametrize("body", [HTML, b"", b"[]", b'"no"'])
def test_a_refusal_that_may_be_of_a_gateway_keeps_both(status: int, body: bytes) -> None:
    """It checks no signature. What has no body may be of one as well: many give none with 413 and 431."""
    world = Changing("old")
    world.credential.offer(new := Signer("mistyped"))
    assert world.credential.choose() is new
    assert world.credential.answered(new, classify(status, None, body, 0.0)) is None
    assert world.credential.in_force is world.old
    assert world.call() == ["mistyped", "old"]


@pytest.mark.parametrize(
    ("status", "body"), [(204, b""), (404, b""), (404, b'{"message": "no such offer"}'), (422, b'{"message": "no"}')]
)
def test_what_the_api_says_to_those_it_knows_accepts(status: int, body: bytes) -> None:
    world = Changing()
    world.credential.offer(new := Signer("new"))
    assert world.credential.choose() is new
    assert world.credential.answered(new, classify(status, None, body, 0.0)) is None
    assert world.credential.in_force is new


def test_a_404_of_a_gateway_accepts_nothing() -> None:
    world = Changing("old")
    world.credential.offer(new := Signer("new"))
    assert world.credential.choose() is new
    assert world.credential.answered(new, classify(404, None, HTML, 0.0)) is None
    assert world.credential.in_force is world.old


def test_a_partner_that_had_no_credentials_is_called_with_the_new_ones_alone() -> None:
    world = Changing()
    credential: RotatingCredential[Signer] = RotatingCredential("P", None, "limit", lambda: world.now)
    assert credential.choose() is None
    credential.offer(new := Signer("new"))
    assert credential.choose() is new
    assert credential.answered(new, REFUSED) is None
    assert credential.choose() is new, "there is nothing else"


STEPS = st.lists(
    st.sampled_from(["call", "wait", "file old", "file new", "file newer", "accept old", "accept new", "accept newer"]),
    max_size=30,
)


@examples(300)
@given(STEPS)
def test_no_call_is_refused_while_the_one_that_was_accepted_last_still_is(steps: list[str]) -> None:
    """And none is tried twice for a call, nor the new one more often than once in RETRY_S while it is refused."""
    world = Changing("old")
    last, refused_at = "old", dict.fromkeys(["old", "new", "newer"], float("-inf"))
    for step in steps:
        verb, _, name = step.partition(" ")
        if verb == "wait":
            world.now += 10.0
        elif verb == "file":
            world.credential.offer(Signer(name))
            refused_at = dict.fromkeys(refused_at, float("-inf"))
        elif verb == "accept":
            world.accepted = {name, last}
        else:
            tries = world.call()
            assert len(tries) == len(set(tries))
            assert tries[-1] in world.accepted
            for one in tries[:-1]:
                assert world.now >= refused_at[one] + RETRY_S
                refused_at[one] = world.now
            last = tries[-1]
