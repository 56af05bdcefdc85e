"""`opt-out` that halts in the first commit of a transaction: killed hard, or waiting until a file is there.

    halted_resubmission.py before|after ARGUMENT...

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

COMMIT = LiveProducer.commit_transaction


def halt() -> None:
    """Be killed, or wait."""
    if "HALT" not in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    print("halted", file=sys.stderr, flush=True)
    while not Path(os.environ["HALT"]).exists():
        time.sleep(0.02)


def commit(producer: LiveProducer, *arguments: float) -> None:
    """Halt before the commit or after it."""
    where = sys.argv[0]
    if where == "before":
        halt()
    COMMIT(producer, *arguments)
    if where == "after":
        halt()


LiveProducer.commit_transaction = commit
del sys.argv[0]
cli.program()
