"""The two queues by time, held to a list that is looked through whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import examples

from consumer.core.calendar import NEVER, Expiry, TimeIndex

TIMES = st.integers(-3_000, 6_000)


class Item:
    """Something that is due."""

    queued = NEVER


@examples(300)
@given(st.lists(st.tuples(st.sampled_from(("push", "push again", "pop", "earliest")), TIMES, st.integers(0, 5))))
def test_what_is_due_comes_out_in_order_and_once(steps: list[tuple[str, int, int]]) -> None:
    index: TimeIndex[Item] = TimeIndex()
    queued: list[Item] = []
    for step, time, number in steps:
        if step == "push":
            queued.append(Item())
            index.push(time, queued[-1])
        elif step == "push again" and queued:
            item = queued[number % len(queued)]
            if time < item.queued:
                index.push(time, item)
        elif step == "pop":
            due = sorted(item.queued for item in queued if item.queued <= time)
            out = list(index.pop(time))
            assert [at for at, _ in out] == due
            assert all(item.queued == NEVER for _, item in out)
            queued = [item for item in queued if item.queued > time and item.queued != NEVER]
        elif step == "earliest":
            first = min((item.queued for item in queued), default=NEVER)
            assert index.earliest(time) == min(first, time + 1)


def test_an_item_may_be_pushed_again_while_others_are_taken_out() -> None:
    index: TimeIndex[Item] = TimeIndex()
    early, late = Item(), Item()
    index.push(10, early)
    index.push(5_000, late)
    out = []
    for due, item in index.pop(100):
        out.append((due, item))
        if len(out) == 1:
            index.push(20, late)
            index.push(7_000, early)
    assert out == [(10, early), (20, late)]
    assert list(index.pop(9_000)) == [(7_000, early)]


@examples(200)
@given(st.lists(st.tuples(st.booleans(), st.integers(-40_000, 80_000))))
def test_nothing_is_handed_back_that_is_still_needed_and_nothing_is_kept_for_long(
    steps: list[tuple[bool, int]],
) -> None:
    expiry: Expiry[int] = Expiry()
    kept: list[int] = []
    for add, time in steps:
        if add:
            expiry.add(time, time)
            kept.append(time)
            continue
        taken = list(expiry.take(time))
        assert all(t < time for t in taken)
        for t in taken:
            kept.remove(t)
        assert all(t >= time - 2**14 for t in kept)
