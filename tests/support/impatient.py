"""Runs the service with a short patience for what stands still: `python impatient.py SECONDS run`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    seconds = float(sys.argv.pop(1))
    from consumer.cli import program
    from consumer.runtime import standstill, watchdog

    standstill.PATIENCE = watchdog.PATIENCE = seconds
    standstill.LATELY = seconds / 6
    program()
