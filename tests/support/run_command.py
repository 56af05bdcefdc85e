"""A command as a user runs it, with no settings of ours but those given."""

from __future__ import annotations

import os
import re
import subprocess
import sys

_THEIRS = re.compile(r"OPT_OUT_.*|.*_proxy|SSL.*|.*_CA_BUNDLE", re.IGNORECASE)


def clean_environ() -> dict[str, str]:
    """The environment of this process, without settings of ours, proxies and certificates."""
    return {name: value for name, value in os.environ.items() if not _THEIRS.fullmatch(name)}


def opt_out(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `opt-out` to its end; nothing is coloured, and help is as wide as it likes."""
    return subprocess.run(
        [sys.executable, "-m", "consumer", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environ() | environ | {"COLUMNS": "200", "NO_COLOR": "1"},
        check=False,
    )
