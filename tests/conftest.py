"""What holds for all tests: nothing is left to luck, and whole programs do not fight each other."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from runner.base import secret

# The default run must fail for a reason or not at all: the same examples each time, and no limit
# of time on one. `HYPOTHESIS_PROFILE=search` looks for new examples, by hand.
_CALM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("steady", derandomize=True, **_CALM)  # type: ignore[arg-type]
settings.register_profile("search", max_examples=2_000, **_CALM)  # type: ignore[arg-type]
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

os.environ["RUNNER_INSTRUMENTS"] = "/nonexistent/instruments.json"
"""no test sees what the person who runs it has learned"""
_ROOT = Path(__file__).parents[1]
_WHOLE_PROGRAMS = re.compile(r"tests\.app\.simlab|runner\.sim\.launch|^import subprocess", re.M)
"""what a module below `tests/app` imports whose tests run the program as a process"""
_WHOLE = "whole programs"
_FIRST = (_WHOLE, "tests/test_strategy_mutations.py", "tests/test_strategies.py")
"""what takes longest and is one piece: begun last, it would be waited for alone"""


@pytest.fixture(autouse=True)
def no_secret_outlives_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test makes a secret is cut out of its own texts, not out of the next test's."""
    monkeypatch.setattr(secret, "_known", set(secret._known))
    monkeypatch.setattr(secret, "_pattern", secret._pattern)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest; let a campaign take what it takes, all else has its limit."""
    for item in items:
        if item.get_closest_marker("campaign"):
            item.add_marker(pytest.mark.timeout(0))
    place = {scope: i for i, scope in enumerate(_FIRST)}
    items.sort(key=lambda item: place.get(_scope(item.nodeid.partition("::")[0]), len(place)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a third of its time a worker waits for a child or a socket."""
    known = hasattr(os, "sched_getaffinity")
    return (len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)  # `-p no:xdist` works too
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker a module at a time, and one worker all that run whole programs."""
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _scope(nodeid.partition("::")[0])

    return ByModule(config, log)


@cache
def _scope(path: str) -> str:
    """Return what stays together with a module: itself, or all that run whole programs."""
    if not path.startswith("tests/app/"):
        return path
    text = (_ROOT / path).read_text(encoding="utf-8")
    return _WHOLE if _WHOLE_PROGRAMS.search(text) else path
