"""The loop with one task, as most tests of this room begin with it."""

from __future__ import annotations

import pytest
from support.loop_world import LoopWorld, Waiting


@pytest.fixture
def world() -> LoopWorld:
    made = LoopWorld()
    made.begin()
    return made


@pytest.fixture
def waiting() -> Waiting:
    made = Waiting()
    made.begin()
    return made
