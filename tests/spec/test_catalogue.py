"""The catalogue: every row has a date and a source, and says what its source says."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from runner.market.instruments import Kind
from runner.spec import catalogue

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT.parent / "shared/data/cryptofeed_v3/bybit_v5_linear_spot_BTC_DOGE_20260809.jsonl.zst"


@pytest.mark.parametrize("exchange", catalogue.types())
def test_a_row_is_whole_and_says_where_it_is_from(exchange: str) -> None:
    assert len(catalogue.symbols(exchange)) > 300
    for symbol in catalogue.symbols(exchange):
        found = catalogue.instrument(exchange, symbol)
        assert found is not None
        assert found.base + found.quote == symbol
        assert found.min_qty >= found.lot > 0 and found.tick > 0 and found.min_notional > 0
        assert found.min_qty % found.lot == found.max_qty % found.lot == 0
        assert found.max_qty == 0 or found.max_qty > found.min_qty
        assert "row of 20" in found.source and len(found.source) > 50


@pytest.mark.parametrize(
    ("exchange", "maker", "taker", "kind"),
    [
        ("binance_usdm", 0.0002, 0.0005, Kind.PERPETUAL),
        ("bybit_linear", 0.0002, 0.00055, Kind.PERPETUAL),
        ("binance_spot", 0.001, 0.001, Kind.SPOT),
    ],
)
def test_base_fees(exchange: str, maker: float, taker: float, kind: Kind) -> None:
    fees = catalogue.fees(exchange)
    assert (fees.maker, fees.taker, catalogue.kind(exchange)) == (maker, taker, kind)


def test_the_facts_that_messages_quote() -> None:
    found = catalogue.instrument("binance_usdm", "BTCUSDT")
    assert found is not None and catalogue.date() == "2026-11-01"
    assert (found.min_notional, found.lot) == (Decimal(100), Decimal("0.001"))


def test_what_it_does_not_have_is_none() -> None:
    assert catalogue.instrument("binance_usdm", "NOPEUSDT") is None
    assert catalogue.instrument("okx_swap", "BTCUSDT") is None


@pytest.mark.skipif(not CAPTURE.is_file(), reason="the captured data is not beside the repository")
def test_bybits_rows_are_those_of_its_own_answer() -> None:
    import zstandard

    with CAPTURE.open("rb") as raw:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw))
        next(lines)
        answer = json.loads(json.loads(next(lines))["data"])
    listed: dict[str, Any] = {row["symbol"]: row for row in answer["result"]["list"]}
    for symbol in catalogue.symbols("bybit_linear"):
        found, row = catalogue.instrument("bybit_linear", symbol), listed[symbol]
        assert found is not None
        assert found.tick == Decimal(row["priceFilter"]["tickSize"])
        assert found.lot == Decimal(row["lotSizeFilter"]["qtyStep"])
        assert found.min_qty == Decimal(row["lotSizeFilter"]["minOrderQty"])
        assert found.max_qty == Decimal(row["lotSizeFilter"]["maxOrderQty"])
        assert found.min_notional == Decimal(row["lotSizeFilter"]["minNotionalValue"])
