"""The same seeds each time: new ones find what nobody thought of, these judge a change of the code (`make mutants`)."""

from __future__ import annotations

import pytest
from simulation.simulate import run


@pytest.mark.parametrize("seed", range(25))
def test_no_fixed_seed_breaks_an_invariant(seed: int) -> None:
    assert run(seed).failure is None
