"""R-04: random legal orders over real instrument definitions leave as texts on the grid."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from runner.base.rng import seeded
from runner.engine.events import InstrumentFacts
from runner.exchanges.api import MarketBinding
from runner.exchanges.registry import market_codec, order_codec
from runner.market.instruments import Fees, Instrument, Kind, Side
from tests.exchanges.captures import binding, cryptofeed_lines
from tests.exchanges.orders import credentials, intent, journaled

TYPES = {"bybit_v5_linear_spot_BTC_DOGE_20260809.jsonl.zst": "bybit_linear",
         "binance_usdm_20210722.jsonl.zst": "binance_usdm"}  # fmt: skip


@cache
def instruments() -> tuple[Instrument, ...]:
    """Every definition that the captures hold, read by our own parsers."""
    found = []
    for name, type in TYPES.items():
        for line in cryptofeed_lines(name):
            body = line.get("data", "")
            if line["t"] != "http" or not any(w in line["url"] for w in ("instruments", "Info")):
                continue
            if "category=spot" in line["url"]:
                continue
            found += [_instrument(type, facts) for facts in _facts(type, body)]
    return tuple(found)


def _facts(type: str, body: str) -> list[InstrumentFacts]:
    answer = json.loads(body)
    rows = answer["symbols"] if type.startswith("binance") else answer["result"]["list"]
    bindings = [binding(type, row["symbol"], row["symbol"]) for row in rows]
    return market_codec(type, "live", bindings).parse_instruments([body.encode()])


def _instrument(type: str, facts: InstrumentFacts) -> Instrument:
    return Instrument(
        exchange_type=type, symbol=facts.market, kind=Kind.PERPETUAL, base="B", quote="USDT",
        tick=Decimal(facts.tick), lot=Decimal(facts.lot), min_qty=Decimal(facts.min_qty),
        min_notional=Decimal(facts.min_notional), fees=Fees(0, 0), max_qty=Decimal(facts.max_qty),
    )  # fmt: skip


def test_the_captures_hold_hundreds_of_definitions() -> None:
    assert len(instruments()) >= 300
    assert {each.exchange_type for each in instruments()} == {"bybit_linear", "binance_usdm"}


def legal(text: str, step: Decimal) -> None:
    assert "e" not in text.lower() and text == text.strip() and text[0].isdigit()
    assert Decimal(text) % step == 0
    decimals = len(text.partition(".")[2])
    assert decimals <= max(0, -int(step.normalize().as_tuple().exponent))


def sent(request: Any) -> dict[str, Any]:
    frame = json.loads(request.frame)
    params: dict[str, Any] = frame.get("params") or frame["args"][0]
    return params


@pytest.mark.parametrize(
    "count", [1_000, pytest.param(100_000, marks=pytest.mark.campaign)], ids=["few", "many"]
)
def test_random_legal_orders_leave_on_the_grid(count: int) -> None:
    random = seeded("grid", count)
    known = instruments()
    codecs = {
        type: order_codec(
            type, "live", [MarketBinding(i.symbol, i.symbol, i) for i in known
                           if i.exchange_type == type and i.symbol.isascii()
                           and "-" not in i.symbol], credentials())
        for type in TYPES.values()
    }  # fmt: skip
    for _ in range(count):
        each = random.choice(known)
        side = random.choice(list(Side))
        price = float(each.tick) * random.uniform(1, 5_000_000)
        ticks = each.ticks_for(price, side)
        most = float(each.max_qty or each.lot * 10**6)
        least = float(each.min_qty)
        lots = each.lots_for_base(least + (most - least) * random.random() ** 4)
        lots = max(lots, int(each.min_qty / each.lot))
        # never worse than written, and less than one tick off
        exact = each.price(ticks)
        slack = each.tick * Decimal("1e-5")
        assert abs(exact - Decimal(repr(price))) < each.tick + slack
        if side is Side.BUY:
            assert exact <= Decimal(repr(price)) + slack
        else:
            assert exact >= Decimal(repr(price)) - slack
        assert each.min_qty <= each.qty(lots)
        assert not each.max_qty or each.qty(lots) <= each.max_qty
        order = intent(side=side, qty=each.qty_text(lots), price=each.price_text(ticks))
        params = sent(codecs[each.exchange_type].place(journaled(order), 1, "r"))
        legal(params["price"], each.tick)
        legal(params.get("quantity") or params["qty"], each.lot)
        assert Decimal(params["price"]) / each.tick == ticks
