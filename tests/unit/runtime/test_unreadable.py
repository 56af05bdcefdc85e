"""Whose a checkout is that cannot be read: of its key's session, and of its value's where that can be read."""

from __future__ import annotations

import pytest
from support.builders import NOW, raw
from support.runner_world import make

from consumer.core.watermark import Side
from consumer.errors import DecodeError, StopError
from consumer.runtime.unreadable import sessions_of


def test_it_is_of_the_sessions_of_its_key_and_of_its_value() -> None:
    message = raw("checkouts", 0, "key", b"")
    assert sessions_of(message, DecodeError("undecodable", "IndexError")) == ("key",)
    assert sessions_of(message, DecodeError("empty_id", "checkout_id", session_id="key")) == ("key",)
    assert sessions_of(message, DecodeError("key_mismatch", "foreign", session_id="value")) == ("key", "value")


def test_an_unreadable_checkout_without_a_key_stops_the_service() -> None:
    runner, _ = make()
    with pytest.raises(StopError, match="no readable key"):
        runner.on_message(Side.CHECKOUTS, raw("checkouts", 0, None, b"\xff"), NOW)
