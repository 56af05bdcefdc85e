"""`make kafka`: the broker of the tests, for a person, in the foreground until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading

from . import UnavailableError, search


def main() -> int:
    """Start it, say how to use it, wait for Ctrl-C or SIGTERM, stop it."""
    found = search()
    print(f"Starting {found}", flush=True)
    try:
        broker = found.start()
    except (UnavailableError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    address = broker.bootstrap_servers
    print(
        f"\n{broker.description} answers at {address}\n\n"
        "In another terminal:\n"
        f"  TEST_KAFKA={address} make test\n"
        f"  export OPT_OUT_KAFKA__BOOTSTRAP_SERVERS={address}\n"
        "  .venv/bin/opt-out topics --create-inputs --partitions 4\n\n"
        "Its topics are gone when it ends. Ctrl-C ends it.",
        flush=True,
    )
    over.wait()
    print("\nStopping.", flush=True)
    broker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
