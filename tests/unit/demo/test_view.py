"""What the demo shows, on a terminal and elsewhere."""

from __future__ import annotations

import re
from io import StringIO

from rich.console import Console

from consumer.audit.calls import Judgement
from consumer.demo.progress import Progress
from consumer.demo.view import View

PART = Judgement(sessions=1200, chains=2000, bought=700, recorded=600, not_found=50, retried=31)


def shown(terminal: bool, found: Judgement = PART, progress: Progress = Progress(None, 1234)) -> str:  # noqa: B008
    stream = StringIO()
    view = View(
        Console(file=stream, force_terminal=terminal, width=80, color_system="truecolor" if terminal else "auto")
    )
    with view.live():
        view.say("a line that stays")
        view.update({"ALPINE": found, "HARBOR": found}, progress, "running")
    view.verdict(found)
    return stream.getvalue()


def test_without_a_terminal_there_are_plain_lines_and_no_control_codes() -> None:
    text = shown(terminal=False)
    assert "\x1b" not in text
    assert (
        "sessions 2,400, presented 4,000, bought 1,400, opted out 1,200, not found 100, retried 62, unsettled 1,300, "
        "watermark -, lag 1,234" in text
    )
    assert "a line that stays" in text


def test_on_a_terminal_there_is_a_table_with_every_figure_that_fits_eighty_columns() -> None:
    text = shown(terminal=True)
    for name in (
        "sessions",
        "presented",
        "bought",
        "opted out",
        "not found",
        "retried",
        "unsettled",
        "watermark",
        "lag",
        "HARBOR",
    ):
        assert name in text
    assert "2,400" in text
    assert "…" not in text


class Clock:
    """The time that a console goes by, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def waited(terminal: bool) -> list[str]:
    """What is shown at each of five looks, 0.1 s apart, at a consumer that waits."""
    stream, clock, shown = StringIO(), Clock(), []
    view = View(Console(file=stream, force_terminal=terminal, width=80, get_time=clock))
    with view.live():
        for _ in range(5):
            before = len(stream.getvalue())
            view.wait({"ALPINE": PART}, Progress(None, 1234), "it waits for the group")
            shown.append(stream.getvalue()[before:])
            clock.now += 0.1
    return shown


def test_a_wait_is_a_line_that_moves_on_a_terminal() -> None:
    looks = waited(terminal=True)
    assert all("it waits for the group" in look and "unsettled" in look for look in looks)
    # A frame of the spinner stands before the time.
    assert len({re.findall(r"([\u2800-\u28ff])", look)[-1] for look in looks}) > 1


def test_a_wait_is_said_once_elsewhere() -> None:
    first, *others = waited(terminal=False)
    assert re.fullmatch(r" +\d\.\d s  it waits for the group\n", first)
    assert others == [""] * 4


def test_an_objection_is_named_and_marked_as_a_failure() -> None:
    text = shown(terminal=False, found=Judgement(chains=1, bought=1, false=["offer 7 of ALPINE was bought but called"]))
    assert " FAIL  1 was called that had been bought" in text
    assert "offer 7 of ALPINE was bought but called" in text
    assert " FAIL " not in shown(terminal=False, found=Judgement(chains=1, bought=1))
