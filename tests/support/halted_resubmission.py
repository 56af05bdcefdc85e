"""`opt-out` that halts in its first transaction: killed hard, or waiting until a file is there.

    halted_resubmission.py begin|before|after ARGUMENT...

`begin` is before anything is written, `before` and `after` are around the commit.

The variable HALT names that file; without it the process is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from consumer import cli
from consumer.kafka.clients import LiveProducer

BEGIN, COMMIT = LiveProducer.begin_transaction, LiveProducer.commit_transaction


def halt() -> None:
    """Be killed, or wait."""
    if "HALT" not in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    print("halted", file=sys.stderr, flush=True)
    while not Path(os.environ["HALT"]).exists():
        time.sleep(0.02)


def begin(producer: LiveProducer) -> None:
    """Halt before anything is written."""
    if sys.argv[0] == "begin":
        halt()
    BEGIN(producer)


def commit(producer: LiveProducer, *arguments: float) -> None:
    """Halt before the commit or after it."""
    if sys.argv[0] == "before":
        halt()
    COMMIT(producer, *arguments)
    if sys.argv[0] == "after":
        halt()


LiveProducer.begin_transaction = begin
LiveProducer.commit_transaction = commit
del sys.argv[0]
cli.program()
