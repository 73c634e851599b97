"""The waterfall's pieces sum up to the net, and each piece is what its name says."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from runner.app.report_text import text
from runner.app.waterfall import RuleMoney
from runner.engine import proof
from runner.engine.commands import Amend, Purpose, Send
from runner.engine.events import External, Fill
from tests.app.runlab import MS, RunLab, S


def test_a_round_trip_is_split_into_edge_walk_latency_and_fees() -> None:
    lab = RunLab(entry=5 * MS)
    lab.quote("bin", 101.0, 101.1)
    lab.books["byb"].asks = [(100.0, 0.05), (100.2, 10.0)]
    lab.send("entry", ("bin", "sell", 100, "100"), ("byb", "buy", 100, "101"))
    lab.now = 1 * MS
    lab.quote("bin", 100.9, 101.0)  # a tick is gone when the order arrives
    lab.run(1 * S)
    lab.quote("bin", 100.0, 100.1)
    lab.quote("byb", 100.2, 100.3)
    lab.send("close", ("bin", "buy", 100, "101"), ("byb", "sell", 100, "99"))
    lab.run(2 * S)
    pieces = lab.collector.rules["spread"].pieces
    assert pieces.edge == Decimal("0.09") + Decimal("0.02")  # by touches: 101-100.1 and 100.2-100
    assert pieces.walk == Decimal("-0.01")  # half of it at 100.2
    assert pieces.latency == Decimal("-0.01")
    turnover = [Decimal("10.09") + Decimal("10.01"), Decimal("10.01") + Decimal("10.02")]
    fees = turnover[0] * Decimal("0.0005") + turnover[1] * Decimal("0.00055")
    assert pieces.fees == -fees
    assert pieces.failed == pieces.funding == pieces.open == 0
    assert pieces.net == Decimal("0.09") - fees
    report = lab.report()
    assert report.unaccounted == []
    assert report.rules["spread"].waterfall["net"] == report.pnl.net


def test_a_leg_undone_goes_to_the_failed_legs_not_to_the_edge() -> None:
    lab = RunLab()
    lab.quote("bin", 101.0, 101.2)
    lab.send("entry", ("bin", "sell", 100, "100"))
    lab.run(1 * S)
    lab.send("repair", ("bin", "buy", 100, "102"))
    lab.run(2 * S)
    pieces = lab.collector.rules["spread"].pieces
    assert (pieces.edge, pieces.failed) == (0, Decimal("-0.02"))


def test_a_leg_completed_late_costs_the_way_from_the_decision() -> None:
    lab = RunLab()
    lab.quote("byb", 99.9, 100.0, 0.04)
    lab.send("entry", ("byb", "buy", 100, "100"))
    lab.run(1 * S)
    lab.quote("byb", 100.2, 100.3)
    lab.send("repair", ("byb", "buy", 60, "101"))
    lab.run(2 * S)
    lab.report()
    pieces = lab.collector.rules["spread"].pieces
    assert pieces.failed == -Decimal("0.06") * Decimal("0.3")
    assert pieces.open == Decimal("0.1") * Decimal("0.2")


def test_what_is_open_is_valued_at_the_price_that_closes_it() -> None:
    lab = RunLab()
    lab.quote("byb", 99.9, 100.0)
    lab.send("entry", ("byb", "buy", 100, "100"))
    lab.run(1 * S)
    lab.quote("byb", 102.0, 102.5)
    report = lab.report()
    assert report.rules["spread"].waterfall["open"] == "0.2"
    assert report.rules["spread"].unrealised == "0.2"
    assert report.rules["spread"].residual == {"byb": "0.1"}
    assert report.positions["byb"].entry == "100"
    assert lab.report().pnl.net == report.pnl.net  # asking twice changes nothing


def test_funding_is_shared_among_those_who_hold() -> None:
    lab = RunLab()
    lab.quote("byb", 99.9, 100.0)
    lab.send("entry", ("byb", "buy", 100, "100"))
    lab.run(1 * S)
    lab.collector.rules["other"] = RuleMoney("other")
    lab.tell(External(exchange="bybit", what="funding", market="byb", amount=-0.5, asset="USDT"))
    assert lab.collector.rules["spread"].pieces.funding == Decimal("-0.5")
    assert lab.collector.rules["other"].pieces.funding == 0


@pytest.mark.parametrize("seed", range(20))
def test_pieces_sum_to_an_independent_net_over_random_runs(seed: int) -> None:
    """R-47: fills, fees, funding and open value counted a second way, from cash alone."""
    rng = random.Random(seed)
    lab = RunLab(entry=3 * MS, response=2 * MS)
    cash = Decimal(0)
    for _ in range(60):
        for market in ("bin", "byb"):
            bid = round(100 + rng.random() * 3, 1)
            book = lab.books[market]
            book.bids = [(round(bid - i / 10, 1), rng.randint(1, 90) / 1000) for i in range(3)]
            book.asks = [
                (round(bid + (i + 1) / 10, 1), rng.randint(1, 90) / 1000) for i in range(3)
            ]
        side = rng.choice(("buy", "sell"))
        price = "105" if side == "buy" else "98"
        purpose = rng.choice(("entry", "entry", "close", "repair"))
        lab.send(purpose, (rng.choice(("bin", "byb")), side, rng.randint(60, 150), price))
        lab.run(lab.now + rng.randint(1, 20) * MS)
        if rng.random() < 0.2:
            amount = round(rng.uniform(-1, 1), 6)
            legs = lab.collector.rules["spread"].legs
            market = next((name for name, leg in legs.items() if leg.lots), None)
            if market is not None:
                lab.tell(External(exchange="x", what="funding", market=market, amount=amount))
                cash += Decimal(repr(amount))
    lab.run(lab.now + S)
    report = lab.report()
    assert report.rules["spread"].fills > 40
    held: dict[str, int] = {"bin": 0, "byb": 0}
    for exchange in lab.desk.exchanges.values():
        for fill in exchange.venue.fills:
            intent = lab.collector.orders[fill.cid].intent
            value = Decimal(fill.lots) / 1000 * Decimal(repr(fill.price))
            rate = Decimal("0.0005") if intent.market == "bin" else Decimal("0.00055")
            cash -= value * intent.side.sign + value * rate
            held[intent.market] += fill.lots * intent.side.sign
    for market, lots in held.items():
        if lots:
            price, _ = lab.collector.exit_price(market, lots, lab.now)
            assert price is not None
            cash += Decimal(lots) / 1000 * price
    assert abs(cash - Decimal(report.pnl.net)) <= Decimal("1e-8")
    parts = dict(report.rules["spread"].waterfall)
    net = Decimal(parts.pop("net"))
    assert abs(sum(Decimal(part) for part in parts.values()) - net) <= Decimal("1e-7")
    assert not [note for note in report.unaccounted if "misses the cash" in note]


def test_a_trade_counts_though_its_first_order_fills_nothing() -> None:
    """A bid that rests and is placed anew fills by a later try; so do all clips after it."""
    lab = RunLab()
    lab.quote("byb", 99.9, 100.0)
    for trade in (1, 2):
        for attempt, lots, price in ((0, 200, "99"), (1, 120, "100"), (2, 80, "100")):
            lab.attempt = attempt
            lab.send("entry", ("byb", "buy", lots, price))
            lab.run(lab.now + 1 * S)
        lab.send("close", ("byb", "sell", 200, "99.9"))
        lab.run(lab.now + 1 * S)
        report = lab.report()
        assert report.rules["spread"].trades == trade
    first, second = (float(each) for each in lab.collector.rules["spread"].results())
    assert [first, second] == pytest.approx([-0.02 - (20 + 19.98) * 0.00055] * 2)


def _maker(lab: RunLab) -> RuleMoney:
    money = lab.collector.rules["spread"] = RuleMoney("spread", quotes=True)
    return money


def test_a_trade_of_a_quote_is_a_round_trip_of_its_inventory() -> None:
    """Two bids, one ask that sells more than is held, a bid that buys the rest back."""
    lab = RunLab()
    money = _maker(lab)
    lab.quote("byb", 99.9, 100.0)
    for side, lots in (("buy", 100), ("buy", 100), ("sell", 300), ("buy", 100)):
        lab.send("entry", ("byb", side, lots, "100" if side == "buy" else "99.9"))
        lab.run(lab.now + 1 * S)
    assert (money.trips, money.fills, len(money.results())) == (2, 4, 2)
    fee = Decimal("0.00055")
    first = -Decimal("0.02") - (Decimal("20.0") + Decimal("19.98")) * fee
    second = -Decimal("0.01") - (Decimal("9.99") + Decimal("10.0")) * fee
    assert [float(each) for each in money.results()] == pytest.approx([float(first), float(second)])
    lab.send("entry", ("byb", "sell", 100, "99.9"))
    lab.run(lab.now + 1 * S)
    report = lab.report()
    assert report.unaccounted == []
    rule = report.rules["spread"]
    assert (rule.round_trips, rule.trades) == (2, 3), "one is still open"
    assert "2 round trips of the inventory and one still open, 5 fills" in text(report)


def test_inventory_of_an_earlier_run_is_closed_as_a_round_trip_too() -> None:
    lab = RunLab()
    money = _maker(lab)
    money.take_over("byb", lab.instruments["byb"], 100, 100.0)
    lab.quote("byb", 99.9, 100.0)
    lab.send("entry", ("byb", "sell", 100, "99.9"))
    lab.run(1 * S)
    assert (money.trips, len(money.results())) == (1, 1)


def test_a_changed_order_was_decided_when_it_was_changed() -> None:
    """The waterfall sees the touch of the last change, not that of the first placing."""
    lab = RunLab()
    _maker(lab)
    lab.quote("byb", 99.9, 100.0)
    intent = lab._intent(Purpose.ENTRY, "byb", "buy", 10, "99.9")
    lab.collector.command(Send(group=1, orders=(proof._approve(intent),)), lab.now)
    lab.quote("byb", 98.9, 99.0)
    lab.collector.command(Amend(order=proof._approve(intent)), lab.now)
    lab.collector.event(Fill(cid=intent.cid, trade_id="1", lots=10, price=98.9, maker=True))
    pieces = lab.collector.rules["spread"].pieces
    assert pieces.latency == Decimal("0.001"), "a dime under the touch, where it rested"
