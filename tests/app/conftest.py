"""No test leaves a process of the program behind, however it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.app import simlab
from tests.patience import PATIENCE_S


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    yield
    while simlab.CHILDREN:
        child = simlab.CHILDREN.pop()
        if child.poll() is None:
            child.kill()
        if child.stdout is not None and not child.stdout.closed:
            child.communicate(timeout=PATIENCE_S)
