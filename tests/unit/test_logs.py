"""Logs: one line an event, in UTC, never with a secret or a value of metadata."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from consumer.hiding import IN_USE
from consumer.logs import configure_logs, hide_in_default_log, hide_secrets
from consumer.settings import LogSettings


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "asyncio", "uvicorn.access")}
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def start(
    level: Literal["debug", "info", "warning", "error"] = "info", form: Literal["json", "console"] = "json"
) -> io.StringIO:
    stream = io.StringIO()
    configure_logs(LogSettings(level=level, format=form), stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_has_one_object_a_line_with_fields_level_logger_and_utc_time() -> None:
    stream = start()
    structlog.get_logger("consumer.x").bind(partition=3).info("assigned", topic="t", offset=7, note="zwölf")
    (line,) = lines(stream)
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert moment.utcoffset() == timedelta(0)
    assert line == {
        "event": "assigned",
        "level": "info",
        "logger": "consumer.x",
        "partition": 3,
        "topic": "t",
        "offset": 7,
        "note": "zwölf",
    }


def test_what_is_below_the_level_is_not_logged() -> None:
    stream = start("warning")
    structlog.get_logger("a").info("quiet")
    logging.getLogger("b").info("quiet")
    structlog.get_logger("a").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_debug_shows_debug() -> None:
    stream = start("debug")
    structlog.get_logger("a").debug("call", status=204)
    assert lines(stream)[0]["status"] == 204


def test_what_libraries_log_goes_the_same_way() -> None:
    stream = start()
    logging.getLogger("librdkafka.consumer").warning("FAIL [%s]: %d", "b1", 7, extra={"broker": "b1"})
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"], line["broker"]) == (
        "FAIL [b1]: 7",
        "warning",
        "librdkafka.consumer",
        "b1",
    )


def test_warnings_go_the_same_way() -> None:
    stream = start()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # pytest replaces the hook that captureWarnings has set; set it as a process on its own would have it.
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old" in lines(stream)[0]["event"]


def test_http_libraries_do_not_log_each_call_at_info() -> None:
    stream = start("debug")
    logging.getLogger("httpx").info("HTTP Request: POST ...")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "fields",
    [
        {"secret": "hush"},
        {"api_key": "hush"},
        {"Authorization": "hush"},
        {"headers": {"Authorization": "hush", "X-Api-Key": "hush"}},
        {"request": {"deep": [{"password": "hush"}]}},
        {"metadata": {"email": "hush"}},
        {"partner_metadata": {"nested": {"email": "hush"}}},
        {"metadata": "hush"},
        {"metadata": ["hush"]},
        {"sasl.password": b"hush"},
        {"note": 'Authorization: Signature keyId="k",algorithm="hmac-sha512",signature="hush"'},
    ],
)
def test_no_secret_and_no_value_of_metadata_gets_out(fields: dict[str, Any], form: Literal["json", "console"]) -> None:
    stream = start(form=form)
    structlog.get_logger("a").info("call", **fields)
    logging.getLogger("b").warning("call", extra=fields)
    assert stream.getvalue().count("call") == 2
    assert "hush" not in stream.getvalue()


class Client:
    """Something that shows what it was made with."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __repr__(self) -> str:
        return f"<Client {self.secret}>"


@given(
    secret=st.text(st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_categories=["Cc"]), min_size=4).filter(
        lambda text: text.strip() == text and not set(text) <= set("*.")
    ),
    before=st.text(max_size=20),
)
def test_no_secret_in_use_gets_out_wherever_it_stands_in_a_line(secret: str, before: str) -> None:
    IN_USE.forget()
    IN_USE.learn([secret])
    text = before + secret
    error = ValueError(text)
    fields = {"a": text, "b": [text], "c": {"d": (text,)}, "e": Client(secret), "f": error, "g": text.encode()}
    shown = hide_secrets(None, "", {"event": text, "exception": f"Traceback: {error}", "level": "info", **fields})
    for name, value in shown.items():
        if name != "level":
            assert secret not in str(value).replace(before, "").replace("***", ""), name
            assert "***" in str(value), name


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_secret_in_use_is_hidden_in_every_line_and_traceback(form: Literal["json", "console"]) -> None:
    IN_USE.learn(["hu/sh+hush"])
    stream = start(form=form)
    for log in (structlog.get_logger("a"), logging.getLogger("librdkafka.consumer")):
        log.warning("FAIL: SASL hu/sh+hush: hu%2Fsh%2Bhush")
        try:
            raise ValueError("http://user:hu/sh+hush@proxy:3128")
        except ValueError:
            log.exception("failed")
    text = stream.getvalue()
    assert text.count("FAIL: SASL ***: ***") == 2
    assert text.count("ValueError: http://***@proxy:3128") == 2
    assert "hush" not in text


def test_the_default_log_of_a_command_hides_them_too(capsys: pytest.CaptureFixture[str]) -> None:
    IN_USE.learn(["hu/sh+hush"])
    structlog.reset_defaults()
    hide_in_default_log()
    structlog.get_logger("a").warning("FAIL hu/sh+hush", field="hu/sh+hush")
    try:
        raise ValueError("hu/sh+hush")
    except ValueError:
        structlog.get_logger("a").exception("failed")
    told = capsys.readouterr()
    assert told.out.count("***") == 4, "the line of the source too"
    assert "hush" not in told.out + told.err


def test_what_we_say_ourselves_of_a_line_is_left_alone() -> None:
    IN_USE.learn(["warning", "consumer.x"])
    stream = start()
    structlog.get_logger("consumer.x").warning("call")
    (line,) = lines(stream)
    assert (line["level"], line["logger"]) == ("warning", "consumer.x")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_local_variables(form: Literal["json", "console"]) -> None:
    stream = start(form=form)

    def fails(hidden: str) -> None:
        raise ValueError(f"of length {len(hidden)}")

    for log in (structlog.get_logger("a"), logging.getLogger("b")):
        try:
            fails("".join(["hu", "sh"]))
        except ValueError:
            log.exception("failed")
    text = stream.getvalue()
    assert text.count("ValueError: of length 4") == 2
    assert "hush" not in text


def test_the_names_of_metadata_stay_readable() -> None:
    stream = start()
    structlog.get_logger("a").info("call", metadata={"tier": "gold"}, key="s1")
    assert lines(stream)[0]["metadata"] == {"tier": "***"}
    assert lines(stream)[0]["key"] == "s1"


def test_the_console_form_is_for_reading() -> None:
    stream = start(form="console")
    structlog.get_logger("a").info("assigned", partition=3)
    assert "assigned" in stream.getvalue()
    assert "partition=3" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()


FORGED = "x\n2026-11-27T00:00:00Z [error    ] all is lost\r\x1b[2J\x9b1m\x85\u2028\u202e"
"""What would begin a line, clear a terminal and turn the direction of writing."""


@pytest.mark.parametrize("form", ["json", "console"])
def test_words_of_others_make_no_line_and_do_nothing_to_a_terminal(form: Literal["json", "console"]) -> None:
    stream = start(form=form)
    structlog.get_logger("a").warning("dead letter", offer_id=FORGED, several=[FORGED], of={FORGED: 1}, **{FORGED: 2})
    logging.getLogger("library").warning("the other side says %s", FORGED)
    text = stream.getvalue()
    assert len(text.splitlines()) == 2
    assert all(character.isprintable() for character in text if character != "\n")


def test_json_gives_the_words_of_others_back_as_they_were() -> None:
    stream = start()
    structlog.get_logger("a").warning("dead letter", offer_id=FORGED)
    assert lines(stream)[0]["offer_id"] == FORGED


def test_a_traceback_on_the_console_keeps_its_lines_and_does_nothing_to_a_terminal() -> None:
    stream = start(form="console")
    try:
        raise ValueError(FORGED)
    except ValueError:
        structlog.get_logger("a").exception("failed")
    text = stream.getvalue()
    assert "Traceback (most recent call last):\n" in text
    assert all(character.isprintable() for character in text if character != "\n")
