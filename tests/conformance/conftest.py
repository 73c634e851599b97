"""A simulator for the foreign clients: a market without dislocations, one for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner.sim.launch import Running, launch


@pytest.fixture(scope="module")
def sim() -> Iterator[Running]:
    """Run a quiet simulator for a module."""
    with launch(seed=11, dislocations=False) as running:
        yield running
