"""The tests themselves: a secret of one is not cut out of the texts of the next."""

from __future__ import annotations

import pytest

from runner.base.secret import Secret, redact


@pytest.mark.parametrize("turn", [1, 2])
def test_a_secret_is_forgotten_with_its_test(turn: int) -> None:
    assert redact("the word of this test") == "the word of this test"
    Secret("the word of this test")
    assert redact("the word of this test") == "***"
