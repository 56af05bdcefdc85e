"""`make containers` says plainly when it proves nothing. What it proves it proves by itself."""

from __future__ import annotations

import os

import pytest
from containers import __main__ as program
from containers import engine
from containers.engine import MissingPartError


@pytest.fixture(autouse=True)
def _no_engine_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.shutil, "which", lambda program, **_: None)


def test_without_an_engine_and_without_root_it_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert program.main() == 77
    said = capsys.readouterr()
    assert said.err.startswith("SKIPPED, nothing is proved: ")
    assert "needs root" in said.err
    assert said.out == ""


def test_a_program_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(engine, "_fetched_engine", lambda: "")
    assert program.main() == 77
    assert "there is no `runc` on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("error", [AssertionError("called though it was bought"), RuntimeError("no build")])
def test_what_is_wrong_is_no_skip(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(program, "trial", fail)
    assert program.main() == 1
    assert str(error) in capsys.readouterr().err


def test_a_part_that_cannot_be_had_is_told_from_what_is_wrong() -> None:
    assert not issubclass(MissingPartError, AssertionError | RuntimeError)
