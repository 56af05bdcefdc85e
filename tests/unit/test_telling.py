"""A mistake in what only tells ends nothing, and is said once; what the program means by an error is raised."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from consumer import runbook
from consumer.errors import StopError
from consumer.telling import Telling


def test_a_mistake_ends_nothing_and_is_said_once() -> None:
    telling, told = Telling(), []
    with capture_logs() as lines:
        for number in (1, 0, 2, 0, 3):
            with telling:
                told.append(6 // number)
    assert told == [6, 3, 2]
    (line,) = lines
    assert isinstance(line["exc_info"], ZeroDivisionError)
    assert runbook.entry_of_line(line["event"]) == "metrics-stay-as-they-are"


@pytest.mark.parametrize("error", [StopError("the calls have failed"), KeyboardInterrupt(), SystemExit(1)])
def test_what_is_no_mistake_is_raised(error: BaseException) -> None:
    with capture_logs() as lines, pytest.raises(type(error)), Telling():
        raise error
    assert lines == []
