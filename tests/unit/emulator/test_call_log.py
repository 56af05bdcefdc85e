"""The log of the calls that the emulator answered: written line by line, and read back by who judges it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from consumer.emulator.call_log import Call, CallLog, read_calls


def test_a_line_of_the_log_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    call = Call(1, "P", "o/ü", None, 1, True, terminal=False, reason="DECLINED")
    stream = StringIO()
    CallLog(stream).write(call)
    path = tmp_path / "calls.jsonl"
    path.write_text(stream.getvalue() * 2 + stream.getvalue()[:-10])
    assert read_calls(path) == [call, call]
    assert read_calls(tmp_path / "none") == []
