"""R-46: each refusal has the exchange's own code, and comes the way that exchange gives it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from runner.engine.commands import Tif
from runner.engine.events import Done, End, Event, Reject
from runner.exchanges.paper.rules import RULES, Why
from runner.market.instruments import Instrument, Kind
from tests.exchanges.paper.paperlab import Lab, ListBook, instrument, names

TYPES = {
    "binance_usdm": Kind.PERPETUAL,
    "bybit_linear": Kind.PERPETUAL,
    "binance_spot": Kind.SPOT,
}
BIG = 10**9
"""a balance that never matters"""


def listed(type: str, **changes: Any) -> Instrument:
    exempt = RULES[type].reduce_only_exempt_from_min
    return instrument(TYPES[type], type, reduce_only_exempt_from_min=exempt, **changes)


def lab(type: str, balance: int = BIG, **changes: Any) -> Lab:
    return Lab(instrument=listed(type, **changes), balance=Decimal(balance))


# Each case: how the market is, the order, and the codes by type. The book is 100 / 100.1, 1 each.
CASES: list[tuple[str, dict[str, Any], tuple[Any, ...], dict[str, Any], dict[str, str]]] = [
    ("not trading", {"status": "break"}, ("buy", 100, "101"), {},
     {"binance_usdm": "-4108", "bybit_linear": "110023", "binance_spot": "-2010"}),
    ("price off the grid", {}, ("buy", 100, "100.05"), {},
     {"binance_usdm": "-4014", "bybit_linear": "10001", "binance_spot": "-1013"}),
    ("a price of nothing", {}, ("buy", 100, "0"), {},
     {"binance_usdm": "-4013", "bybit_linear": "10001", "binance_spot": "-1013"}),
    ("a negative price", {}, ("sell", 100, "-1"), {},
     {"binance_usdm": "-4013", "bybit_linear": "10001", "binance_spot": "-1013"}),
    ("quantity off the grid", {}, ("buy", 100, "101"), {"qty_text": "0.1005"},
     {"binance_usdm": "-1111", "bybit_linear": "10001", "binance_spot": "-1013"}),
    ("no quantity", {}, ("buy", 0, "101"), {},
     {"binance_usdm": "-4003", "bybit_linear": "10001", "binance_spot": "-1013"}),
    ("quantity too small", {"min_qty": Decimal("0.2")}, ("buy", 100, "101"), {},
     {"binance_usdm": "-4004", "bybit_linear": "10001", "binance_spot": "-1013"}),
    ("quantity too large", {"max_qty": Decimal("0.05")}, ("buy", 100, "101"), {},
     {"binance_usdm": "-4005", "bybit_linear": "10001", "binance_spot": "-1013"}),
    ("market order too large", {"max_qty": Decimal("0.05")}, ("sell", 100), {},
     {"binance_usdm": "-4005", "bybit_linear": "10001", "binance_spot": "-1013"}),
    ("value too small", {"min_notional": Decimal(11)}, ("buy", 100, "101"), {},
     {"binance_usdm": "-4164", "bybit_linear": "110094", "binance_spot": "-1013"}),
    ("market order of too little value", {"min_notional": Decimal(11)}, ("sell", 100), {},
     {"binance_usdm": "-4164", "bybit_linear": "110094", "binance_spot": "-1013"}),
    ("buy far above", {}, ("buy", 100, "130"), {},
     {"binance_usdm": "-4016", "bybit_linear": "110003", "binance_spot": "-1013"}),
    ("sell far below", {}, ("sell", 100, "70"), {},
     {"binance_usdm": "-4024", "bybit_linear": "110003", "binance_spot": "-1013"}),
    ("reduce-only without a position", {}, ("sell", 100, "99"), {"reduce_only": True},
     {"binance_usdm": "-2022", "bybit_linear": "110017", "binance_spot": "-1106"}),
    ("post-only that would buy", {}, ("buy", 100, "100.1"), {"tif": Tif.POST_ONLY},
     {"binance_usdm": "-5022", "bybit_linear": "EC_PostOnlyWillTakeLiquidity",
      "binance_spot": "-2010"}),
    ("post-only that would sell", {}, ("sell", 100, "100"), {"tif": Tif.POST_ONLY},
     {"binance_usdm": "-5022", "bybit_linear": "EC_PostOnlyWillTakeLiquidity",
      "binance_spot": "-2010"}),
    ("fill or kill beyond the depth", {}, ("buy", 2000, "101"), {"tif": Tif.FOK},
     {"binance_usdm": "-5021", "bybit_linear": "EC_NoImmediateQtyToFill",
      "binance_spot": "EXPIRED"}),
    ("fill or kill beyond its limit", {}, ("sell", 100, "100.5"), {"tif": Tif.FOK},
     {"binance_usdm": "-5021", "bybit_linear": "EC_NoImmediateQtyToFill",
      "binance_spot": "EXPIRED"}),
    ("immediate and nothing there", {}, ("buy", 100, "99"), {},
     {"binance_usdm": "EXPIRED", "bybit_linear": "EC_NoImmediateQtyToFill",
      "binance_spot": "EXPIRED"}),
]  # fmt: skip


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_a_refusal_has_the_exchanges_code(type: str, case: tuple[Any, ...]) -> None:
    _, market, order, fields, codes = case
    told = lab(type, **market).trade(*order, **fields)
    expect(type, told, codes[type])


def expect(type: str, told: list[Event], code: str) -> None:
    """One refusal: at once, or after an acknowledgement where that exchange does it so."""
    last = next(e for e in reversed(told) if isinstance(e, Reject | Done))
    assert last.code == code
    late = code == "EXPIRED" or code.startswith("EC_")
    assert names(told) == (["Ack", "Done"] if late else ["Reject"])
    if isinstance(last, Done):
        assert last.filled_lots == 0
        assert last.end is (End.CANCELED if type == "bybit_linear" else End.EXPIRED)


@pytest.mark.parametrize(
    ("type", "code"),
    [("binance_usdm", "-2019"), ("bybit_linear", "110007"), ("binance_spot", "-2010")],
)
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_what_is_not_covered_is_refused(type: str, code: str, side: str) -> None:
    price = "100.1" if side == "buy" else "100"
    poor = lab(type, balance=9)
    expect(type, poor.trade(side, 100, price), code)
    assert names(lab(type, balance=11).trade(side, 100, price)) == ["Ack", "Fill", "Done"]


@pytest.mark.parametrize("type", ["binance_usdm", "bybit_linear"])
def test_leverage_decides_what_is_covered(type: str) -> None:
    def outcome(leverage: int) -> list[str]:
        bench = Lab(instrument=listed(type), balance=Decimal(6), leverage={"BTCUSDT": leverage})
        return names(bench.trade("buy", 100, "100.1"))

    assert outcome(1) == ["Reject"]
    assert outcome(2) == ["Ack", "Fill", "Done"]


@pytest.mark.parametrize("type", TYPES)
def test_resting_orders_lock_what_they_may_cost(type: str) -> None:
    bench = lab(type, balance=25)
    for _ in range(2):
        assert names(bench.trade("buy", 100, "99", tif=Tif.GTC)) == ["Ack"]
    refused = bench.trade("buy", 100, "99", tif=Tif.GTC)
    assert names(refused) == ["Reject"]
    bench.paper.cancel("c1", "BTCUSDT", bench.now)
    bench.run()
    assert names(bench.trade("buy", 100, "99", tif=Tif.GTC)) == ["Ack"]


@pytest.mark.parametrize(
    ("type", "code"),
    [("binance_usdm", "-4116"), ("bybit_linear", "110072"), ("binance_spot", "-2010")],
)
def test_a_client_id_is_taken_once(type: str, code: str) -> None:
    bench = lab(type)
    bench.trade("buy", 100, "99", tif=Tif.GTC, cid="same")
    expect(type, bench.trade("buy", 100, "99", tif=Tif.GTC, cid="same"), code)


@pytest.mark.parametrize(
    ("type", "code"),
    [("binance_usdm", "-2025"), ("bybit_linear", "110020"), ("binance_spot", "-1013")],
)
def test_there_is_a_most_of_resting_orders(type: str, code: str) -> None:
    bench = lab(type)
    for _ in range(RULES[type].max_open):
        bench.send("buy", 100, "99", tif=Tif.GTC)
    assert set(names(bench.run())) == {"Ack"}
    expect(type, bench.trade("buy", 100, "99", tif=Tif.GTC), code)


def test_reduce_only_is_exempt_from_the_minimum_on_binance_only() -> None:
    for type, free in (("binance_usdm", True), ("bybit_linear", False)):
        bench = lab(type, min_notional=Decimal(5))
        bench.trade("buy", 100, "101")
        told = bench.trade("sell", 10, "99", reduce_only=True)
        assert names(told) == (["Ack", "Fill", "Done"] if free else ["Reject"])


@pytest.mark.parametrize("type", TYPES)
def test_a_market_order_walks_no_further_than_the_band(type: str) -> None:
    bench = lab(type)
    far = 100.05 * (1 + float(RULES[type].band)) + 1
    bench.book.asks = [(100.1, 0.04), (round(far, 1), 1.0)]
    told = bench.trade("buy", 100)
    done = next(e for e in told if isinstance(e, Done))
    assert done.filled_lots == 40 and done.end is RULES[type].ioc_end


@pytest.mark.parametrize("type", TYPES)
def test_every_reason_has_a_code_for_every_exchange(type: str) -> None:
    assert set(RULES[type].refusals) == set(Why)
    for refusal in RULES[type].refusals.values():
        assert refusal.late or refusal.code


def test_a_book_with_an_empty_side_is_no_valid_book() -> None:
    bench = Lab(ListBook(asks=[]), instrument=listed("binance_usdm"))
    (reject,) = bench.trade("buy", 100, "100.1")
    assert isinstance(reject, Reject) and reject.code == "stale_market"
