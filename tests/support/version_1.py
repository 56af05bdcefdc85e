"""The offer partition's metadata as version 1 wrote it, up to release 0.2."""

from __future__ import annotations

import base64
from zlib import crc32

from consumer.core.checkpoint import OfferCheckpoint


def as_version_1(checkpoint: OfferCheckpoint, committed: int) -> str:
    """The fields up to LATE, behind a head and a check of their own."""
    rest = ":".join(checkpoint.encode(committed).split(":")[1:-2])
    check = base64.b85encode(crc32(f"{committed}:{rest}".encode()).to_bytes(4, "big")).decode("ascii")
    return f"1{check}:{rest}"
