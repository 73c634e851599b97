"""Rules that can never fire, always do, or leave where they enter; and those that are sound."""

from __future__ import annotations

import pytest

from runner.spec import load

FILE = """
version: 1
name: firing
params:
  enter: {{type: ratio, default: 20bps}}
  leave: {{type: ratio, default: 4bps}}
  on_: {{type: bool, default: false}}
exchanges:
  x: {{type: binance_usdm, network: testnet}}
  y: {{type: bybit_linear, network: testnet}}
markets:
  a: {{exchange: x, symbol: BTCUSDT, streams: {{book: {{max_age: 1s}}, funding: {{max_age: 1m}}}}}}
  b: {{exchange: y, symbol: BTCUSDT, streams: {{book: {{max_age: 1s}}}}}}
signals:
  e: gap(a.bid, b.ask) - ema(gap(a.mid, b.mid), 30m)
  z: zscore(a.mid, 5m)
  sane: corr(ret(a.mid, 1m), ret(b.mid, 1m), 4h) > 0.6
rules:
  r:
    when: '{when}'
    until: '{until}'
    max_hold: 1h
    trade: {{size: 500 USDT, legs: [{{market: a, side: buy}}]}}
risk:
  max_order: 1000 USDT
  max_position: {{a: 1 BTC}}
  max_orders: {{count: 1, per: 1m}}
  max_daily_loss: 10 USDT
"""


def codes(when: str, until: str = "this.age > 5m") -> set[str]:
    findings = load(FILE.format(when=when, until=until), environ={}).findings
    return {d.code for d in findings} - {"W0409", "W0505", "W0508"}


@pytest.mark.parametrize(
    "when",
    [
        "a.book.imbalance > 1.2",
        "1.2 < a.book.imbalance",
        "a.bid < 0",
        "a.book.spread < -1bps",
        "z > 2 and z < -2",
        "2 < z < 1",
        "sane and corr(ret(a.mid, 1m), ret(b.mid, 1m), 4h) < 0.5",
        "z > 1 and not z > 0",
        "2 * z > 4 and z + 1 < 2",
        "e > params.enter and e < params.leave",
        "a.bid > b.bid and a.bid < b.bid",
        "params.on_ and z > 1",
        "false",
        "z > 1 and abs(z) < 0",
        "not (z > 1 or z <= 1) and z > 3",
    ],
)
def test_what_can_never_be_true_is_e0401(when: str) -> None:
    assert codes(when) == {"E0401"}


def test_a_rule_that_can_never_leave_by_until_is_e0401() -> None:
    assert codes("z > 2", "a.book.imbalance > 1") == {"E0401"}


@pytest.mark.parametrize(
    "when", ["a.book.imbalance < 2", "a.bid > 0", "a.book.spread >= 0 or z > 1", "not a.bid < 0"]
)
def test_what_is_always_true_is_w0402(when: str) -> None:
    assert codes(when) == {"W0402"}


@pytest.mark.parametrize(
    ("when", "until"),
    [
        ("e > 14bps", "e < 18bps"),
        ("e > 14bps", "e > 10bps"),
        ("params.leave < e", "params.enter > e"),
        ("e > 14bps and z > 1", "e < 18bps"),
        ("e > 14bps", "this.age > 1m or e < 18bps"),
        ("e > this.cost + 12bps", "e < this.cost + 20bps"),
        ("e - 5bps > 14bps", "e < 20bps"),
        ("z > 2 and sane", "z < 3 and sane"),
        ("a.bid > b.ask", "b.ask < a.bid"),
        ("14bps < e < 80bps", "e > 60bps"),
    ],
)
def test_leaving_where_it_enters_is_e0403(when: str, until: str) -> None:
    assert codes(when, until) == {"E0403"}


@pytest.mark.parametrize(
    ("when", "until"),
    [
        ("e > 18bps", "e < 4bps"),
        ("params.enter < e", "e < params.leave"),
        ("2.2 < z < 5 and sane", "z < 0.4 or not sane"),
        ("-5 < z < -2.2 and sane", "z > -0.4 or not sane"),
        ("e > 14bps", "e < 18bps and z < 0"),
        ("e > 14bps", "e - entered(e) < 18bps"),
        ("e > this.cost + 20bps", "e < this.cost"),
        ("a.bid > b.ask", "a.bid < b.ask"),
        ("a.funding.rate > 0", "a.funding.rate < 0"),
        ("z > 2 or z < -2", "abs(z) < 0.5"),
        ("z != 0", "this.exit_return > 3bps"),
    ],
)
def test_what_could_work_is_left_alone(when: str, until: str) -> None:
    assert codes(when, until) == set()


def test_the_values_in_force_decide_not_the_defaults() -> None:
    text = FILE.format(when="e > params.enter", until="e < params.leave")
    found = load(text, sets={"leave": "30bps"}, environ={}).findings
    assert "E0403" in {d.code for d in found}
