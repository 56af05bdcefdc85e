"""`make containers`: exits 0 if all is well, 1 if not, and 77 where something cannot be had, which it names."""

from __future__ import annotations

import sys

from .engine import MissingPartError
from .trial import trial

SKIPPED = 77
"""As test programs of the GNU build system say that they were skipped."""


def main() -> int:
    """Run the trial."""
    try:
        trial()
    except MissingPartError as reason:
        print(f"SKIPPED, nothing is proved: {reason}", file=sys.stderr)
        return SKIPPED
    except (AssertionError, RuntimeError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
