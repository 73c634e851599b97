"""Checks against the catalogue: sizes, repair, and whether a round trip is paid."""

from __future__ import annotations

import pytest

from runner.spec import load

FILE = """
version: 1
name: facts
params:
  clip: {type: USDT, default: 500 USDT, range: [200 USDT, 5000 USDT]}
  level: {type: ratio, default: 60bps, range: [50bps, 90bps]}
exchanges:
  x: {type: binance_usdm, network: testnet}
  y: {type: bybit_linear, network: testnet}
markets:
  a: {exchange: x, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
  b: {exchange: y, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
signals:
  e: gap(a.bid, b.ask) - ema(gap(a.mid, b.mid), 30m)
rules:
  r:
    when: e > params.level
    until: e < 1bps
    max_skew: 100ms
    trade:
      size: params.clip
      legs: [{market: a, side: sell}, {market: b, side: buy}]
      hedge: {max_gap: 0.002 BTC}
risk:
  max_order: 1000 USDT
  max_position: {a: 1 BTC, b: 1 BTC}
  max_orders: {count: 1, per: 1m}
  max_daily_loss: 10 USDT
"""


def codes(*changes: tuple[str, str]) -> list[str]:
    text = FILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return sorted({d.code for d in load(text, environ={}).findings} - {"W0409"})


def size(text: str) -> tuple[str, str]:
    return ("size: params.clip", f"size: {text}")


def test_the_file_itself_is_sound() -> None:
    assert codes() == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("99 USDT", ["E0501"]),
        ("0.0005 BTC", ["E0501"]),
        ("0.001 BTC", ["E0501"]),
        ("0.002 BTC", []),
        ("110 USDT", ["E0503"]),
        ("140 USDT", []),
        ("min(params.clip, 60 USDT)", ["E0501"]),
        ("params.clip / 10", ["E0501"]),
        ("1% * account.x.equity", []),
        ("0 USDT", ["E0501"]),
    ],
)
def test_sizes_against_the_smallest_order_and_the_lot(text: str, found: list[str]) -> None:
    assert codes(size(text)) == found


def test_a_constant_bound_cuts_the_size_that_is_checked() -> None:
    assert codes(("size: params.clip", "size: params.clip\n      max_size: 60 USDT")) == ["E0501"]


def test_weights_count() -> None:
    assert codes(("side: buy}", "side: buy, weight: 0.05}")) == ["E0501"]


WORKED = """
version: 1
name: worked
exchanges:
  x: {type: TYPE, network: testnet}
markets:
  m: {exchange: x, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
rules:
  r:
    when: m.mid > sma(m.mid, 5m)
    max_hold: 1h
    trade:
      size: 900 USDT
      legs: [{market: m, side: buy, order: {tif: gtc, price: m.bid, clip: ENTRY, give_up: 1m}}]
      close: {tif: gtc, give_up: 30s, clip: EXIT, collar: 3bps, worst: 25bps, then: hold}
risk:
  max_order: 1000 USDT
  max_position: {m: 1 BTC}
  max_orders: {count: 60, per: 1m}
  max_daily_loss: 10 USDT
"""
ENTRY, EXIT = "rules.r.trade.legs.0.order.clip", "rules.r.trade.close.clip"


@pytest.mark.parametrize(
    ("type", "entry", "exit", "found"),
    [
        ("bybit_linear", "200 USDT", "200 USDT", []),
        ("bybit_linear", "200 USDT", "4 USDT", [("E0501", EXIT)]),
        ("bybit_linear", "4 USDT", "200 USDT", [("E0501", ENTRY)]),
        ("bybit_linear", "0.0004 BTC", "0.003 BTC", [("E0501", ENTRY)]),
        ("bybit_linear", "0.003 BTC", "0.0004 BTC", [("E0501", EXIT)]),
        ("bybit_linear", "200 USDT", "40 USDT", [("E0501", EXIT)]),
        ("binance_usdm", "200 USDT", "95 USDT", []),
        ("binance_usdm", "95 USDT", "200 USDT", [("E0501", ENTRY)]),
        ("binance_usdm", "119 USDT", "119 USDT", [("E0503", ENTRY)]),
        ("binance_usdm", "200 USDT", "40 USDT", [("E0503", EXIT)]),
        ("binance_usdm", "0.002 BTC", "0.0004 BTC", [("E0503", EXIT)]),
    ],
)
def test_a_clip_is_an_order_of_its_own(
    type: str, entry: str, exit: str, found: list[tuple[str, str]]
) -> None:
    """A reduction is exempt from Binance's smallest order, but not from the lot."""
    text = WORKED.replace("TYPE", type).replace("ENTRY", entry).replace("EXIT", exit)
    errors = [d for d in load(text, environ={}).findings if d.is_error]
    assert [(d.code, d.path) for d in errors] == found


ONE = """\
    order:
      market: m
      side: buy
      size: 900 USDT
      tif: gtc
      price: m.bid
      clip: 4 USDT
      give_up: 1m
risk:
"""


def test_a_clip_of_a_single_order_counts_and_one_of_an_unknown_market_does_not() -> None:
    text = (
        WORKED.replace("TYPE", "bybit_linear").replace("ENTRY", "4 USDT").replace("EXIT", "4 USDT")
    )
    head, tail = text.partition("    max_hold")[0], text.partition("risk:\n")[2]
    found = [(d.code, d.path) for d in load(head + ONE + tail, environ={}).findings if d.is_error]
    assert found == [("E0501", "rules.r.order.clip")]
    unknown = load(text.replace("BTCUSDT", "QQQQUSDT"), environ={})
    assert {d.code for d in unknown.findings if d.is_error} == {"E0502"}


@pytest.mark.parametrize(
    ("gap", "found"),
    [("0.0005 BTC", ["E0510"]), ("0.001 BTC", []), ("50 USDT", ["E0510"]), ("150 USDT", [])],
)
def test_max_gap_against_the_smallest_order_that_can_repair(gap: str, found: list[str]) -> None:
    assert codes(("max_gap: 0.002 BTC", f"max_gap: {gap}")) == found


def test_an_instrument_without_a_known_price_is_judged_by_what_is_known() -> None:
    other = (("symbol: BTCUSDT", "symbol: ETHUSDT"), ("1 BTC", "1 ETH"), ("0.002 BTC", "50 USDT"))
    assert codes(*other, size("19 USDT")) == ["E0501"]
    assert codes(*other, size("21 USDT")) == []


@pytest.mark.parametrize(
    ("when", "until", "found"),
    [
        ("e > 30bps", "e < 4bps", ["W0505"]),
        ("e > 60bps", "e < 4bps", []),
        ("e > params.level", "e < 10bps", ["W0505"]),
        ("e > this.cost + 25bps", "e < 4bps", []),
        ("e > this.cost + 5bps", "e < 4bps", ["W0505"]),
        ("e < -30bps", "e > -4bps", ["W0505"]),
        ("e > 30bps", "this.exit_return > 3bps", []),
        ("gap(a.bid, b.ask) > 60bps", "this.exit_return > 3bps", ["W0508"]),
        ("0.6% < gap(a.bid, b.ask) < 2%", "this.exit_return > 3bps", ["W0508"]),
        ("gap(a.bid, a.ask) > -60bps", "this.exit_return > 3bps", []),
        ("gap(a.bid, b.ask) > -5bps", "this.exit_return > 3bps", ["W0508"]),
        ("e > 60bps and gap(a.bid, b.ask) > -5bps", "this.exit_return > 3bps", []),
        ("e > 60bps and gap(a.bid, b.ask) > 5bps", "this.exit_return > 3bps", ["W0508"]),
        ("zscore(gap(a.mid, b.mid), 1h) > 3", "this.exit_return > 3bps", []),
    ],
)
def test_what_a_round_trip_costs_and_what_a_gap_is_compared_with(
    when: str, until: str, found: list[str]
) -> None:
    assert codes(("e > params.level", when), ("e < 1bps", until)) == found


def test_nothing_is_said_about_a_market_whose_exchange_did_not_resolve() -> None:
    found = codes(("exchange: y", "exchange: z"), size("60 USDT"))
    assert found == ["E0204", "E0501"]
    text = FILE.replace("exchange: y", "exchange: z").replace("params.clip", "60 USDT")
    assert "`b`" not in " ".join(d.message for d in load(text, environ={}).findings)


GUARDED = """\
version: 1
name: guarded
exchanges:
  y: {type: bybit_linear, network: testnet}
markets:
  m: {exchange: y, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
rules:
RULESrisk:
  max_order: 600 USDT
  max_position: {m: 1 BTC}
  max_orders: {count: 120, per: 1m}
  max_daily_loss: 20 USDT
"""
GUARDED_RULE = """\
  SIDE_NAME:
    when: m.mid > sma(m.mid, NAMEm)
    max_hold: 1h
    trade:
      size: 200 USDT
      legs: [{market: m, side: SIDE}]
      stop: {price: m.mid * 0.98}
      target: {price: m.mid * 1.03}
"""


def crowd(buys: int, sells: int, *changes: tuple[str, str]) -> list[str]:
    rules = [GUARDED_RULE.replace("SIDE", "buy").replace("NAME", str(i + 1)) for i in range(buys)]
    rules += [
        GUARDED_RULE.replace("SIDE", "sell").replace("NAME", str(i + 1)) for i in range(sells)
    ]
    text = GUARDED.replace("RULES", "".join(rules))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    checked = load(text, environ={})
    return [d.code for d in checked.findings if d.code not in ("W0408", "W0505")]


LOSS = ("stop: {price: m.mid * 0.98}", "stop: {loss: 9 USDT}")
NET = ("    max_hold: 1h\n", "    max_hold: 1h\n    mode: net\n")


@pytest.mark.parametrize(
    ("buys", "sells", "changes", "found"),
    [
        (4, 0, (), []),
        (5, 0, (), ["W0509"]),
        (4, 4, (), []),
        (3, 3, (NET,), ["W0509"]),
        (2, 2, (NET,), []),
        (6, 0, (("  max_daily", "  max_open_trades: 4\n  max_daily"),), []),
        (6, 0, (("  max_daily", "  max_open_trades: 5\n  max_daily"),), ["W0509"]),
        (9, 0, (("      target: {price: m.mid * 1.03}\n", ""),), []),
        (10, 0, (("      target: {price: m.mid * 1.03}\n", ""),), ["W0509"]),
        (12, 0, (LOSS, ("      target: {price: m.mid * 1.03}\n", "")), []),
        (6, 0, (("bybit_linear", "binance_usdm"),), []),
    ],
)  # fmt: skip
def test_stops_and_targets_against_what_the_exchange_lets_stand(
    buys: int, sells: int, changes: tuple[tuple[str, str], ...], found: list[str]
) -> None:
    assert crowd(buys, sells, *changes) == found
