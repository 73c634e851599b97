"""A simulator for the foreign clients: a market without dislocations, one for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner.sim.launch import Running, launch


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Do not even import the foreign clients (seconds) in a run that leaves them out."""
    return True if "not conformance" in config.getoption("-m", "") else None


@pytest.fixture(scope="module")
def sim() -> Iterator[Running]:
    """Run a quiet simulator for a module; foreign clients do not keep rates by themselves."""
    with launch(seed=11, dislocations=False, limit_factor=10) as running:
        yield running
