"""The bench beside ccxt.pro: it trades on the same frames, and what is measured has a shape."""

from __future__ import annotations

import pytest

pytest.importorskip("ccxt", reason="the extra `conformance` is not installed")

from runner.app.bench import by_ccxt, main

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]


def test_both_trade_on_the_same_frames() -> None:
    for _ in range(20):  # a busy machine delays frames until our book is too old to trade on
        result = by_ccxt.run(rounds=1, frames=100)
        if result["ours_us"]["n"]:
            break
    assert 0 < result["ours_us"]["n"] <= 5 and 0 < result["ccxt_us"]["n"] <= 5
    assert result["ccxt_over_ours"] > 0
    assert result["version"] in main.table("ccxt", result)
