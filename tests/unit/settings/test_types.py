"""What all groups of settings share: durations as people write them, and JSON given as text."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError, ValidationInfo, field_validator

from consumer.settings.types import (
    Duration,
    Group,
    PositiveDuration,
    format_duration,
    parse_duration,
    read_json,
    read_object,
)

# --- durations


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("1h30m", timedelta(minutes=90)),
        (" 5m ", timedelta(minutes=5)),
        ("0", timedelta()),
    ],
)
def test_durations_read_as_people_write_them(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "5", "-5m", "5 m", "1.5h", "m", "5min", "PT5M", "5m!", 5, 5.0, True, None, "\u0665m"]
)
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=10_000)))
def test_a_written_duration_reads_back(duration: timedelta) -> None:
    whole = timedelta(milliseconds=duration // timedelta(milliseconds=1))
    assert parse_duration(format_duration(whole)) == whole


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(), "0s"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=5), "1d2h3m4s5ms"),
        (timedelta(seconds=3_600), "1h"),
        (timedelta(microseconds=1_600), "2ms"),
    ],
)
def test_a_duration_is_written_with_the_largest_units_that_fit_and_no_empty_ones(
    duration: timedelta, text: str
) -> None:
    assert format_duration(duration) == text


def test_a_duration_that_is_one_already_is_given_back() -> None:
    # A default, or a group that is built directly. It need not be writable in whole units.
    assert parse_duration(timedelta(microseconds=1)) == timedelta(microseconds=1)


def test_a_number_that_no_duration_can_hold_is_called_too_long() -> None:
    with pytest.raises(ValueError, match="too long for a duration"):
        parse_duration("99999999999999d")


@pytest.mark.parametrize("text", ["0s", "0ms", "0"])
def test_a_positive_duration_is_longer_than_zero(text: str) -> None:
    assert TypeAdapter(Duration).validate_python(text) == timedelta()
    with pytest.raises(ValidationError, match="must be longer than 0"):
        TypeAdapter(PositiveDuration).validate_python(text)
    assert TypeAdapter(PositiveDuration).validate_python("1ms") == timedelta(milliseconds=1)


# --- the base of all groups


class Tea(Group):
    """A group with a default that is wrong beside a large `cups`."""

    cups: int = 1
    name: str = "green"
    steeped: PositiveDuration = timedelta(minutes=3)
    sugar: int = 0

    @field_validator("sugar")
    @classmethod
    def _sweet_enough(cls, sugar: int, info: ValidationInfo) -> int:
        if sugar * 5 < info.data.get("cups", 0):
            raise ValueError("too little for so many cups")
        return sugar


def test_a_default_is_checked_beside_what_was_given() -> None:
    with pytest.raises(ValidationError, match="too little for so many cups"):
        Tea(cups=6)


def test_a_name_that_is_no_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="milk"):
        Tea.model_validate({"cups": 0, "milk": 1})


def test_blanks_around_a_text_are_dropped() -> None:
    assert Tea(cups=0, name=" black\n").name == "black"


def test_what_was_given_is_not_in_the_message() -> None:
    with pytest.raises(ValidationError) as caught:
        Tea.model_validate({"cups": "hunter2"})
    assert "hunter2" not in str(caught.value)


# --- JSON


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ('{"a": 1, "b": {"c": null}}', {"a": 1, "b": {"c": None}}),
        ("{}", {}),
        ({"a": 1}, {"a": 1}),  # a table of a TOML file
        (None, None),  # the group says what is wrong with it
    ],
)
def test_an_object_is_read_from_text_and_anything_else_is_left_as_it_is(given: object, value: object) -> None:
    assert read_object(given) == value


@pytest.mark.parametrize("text", ["[1]", '"hunter2"', "1", "null"])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a JSON object") as caught:
        read_object(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "hunter2", '{"a": "hunter2"', "[" * 100_000], ids=["", "text", "cut", "deep"])
def test_text_that_is_no_json_is_refused_with_what_would_be_right_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not JSON \(.+\); write a list$") as caught:
        read_json(text, "a list")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
