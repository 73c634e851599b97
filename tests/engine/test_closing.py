"""Leaving: tries, the growing collar, and hedged legs that leave together (R-76)."""

from __future__ import annotations

from collections import deque

from runner.engine.commands import Notify, OrderType, Purpose
from runner.engine.events import Operator
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from tests.engine.stage import PAIR, R1, Knobs, arb_plan, narrow, rule, stage, widen


def holding(**changes: object) -> Scenario:
    """A trade of 8 lots on each leg, active."""
    s = stage(arb_plan(rule(R1, PAIR, **changes)))
    widen(s)
    s.run(20 * MS)
    assert s.state(R1) == "active"
    return s


def pages(s: Scenario) -> list[str]:
    return [n.text for n in s.commands(Notify) if n.level == "page"]


def test_a_partial_close_is_tried_again_until_nothing_is_left() -> None:
    s = holding()
    s.exchanges["binance"].fates["bin"] = deque([Fate.PARTIAL])
    narrow(s)
    s.run(100 * MS)
    assert (s.truth("bin"), s.truth("byb")) == (-4, 0)
    assert s.state(R1) == "leaving"
    s.run(300 * MS)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert s.state(R1) == "cooldown"
    exits = [i for i in s.sent if i.purpose is Purpose.CLOSE]
    assert [(i.market, i.lots) for i in exits] == [("bin", 8), ("byb", 8), ("bin", 4)]


def test_the_collar_grows_to_worst_then_it_holds_and_tells() -> None:
    s = holding()
    narrow(s)
    s.exchanges["binance"].default = Fate.NOTHING
    s.exchanges["bybit"].default = Fate.NOTHING
    s.run(3 * SECOND)
    buys = [int(i.ticks) for i in s.sent if i.purpose is Purpose.CLOSE and i.market == "bin"]
    assert buys[0] < buys[1] < buys[2] < buys[-1]
    mid = 60_000.05
    assert max(buys) * 0.1 <= mid * 1.002 + 0.1
    s.quote("bin", 60_200.0, 60_200.1)  # past worst: 20 bps over the mid at the decision
    s.run(3 * SECOND)
    assert s.state(R1) == "leaving"
    assert any("held" in text and "past worst" in text for text in pages(s))
    assert (s.truth("bin"), s.truth("byb")) == (-8, 8), "paired: neither leg went alone"
    count = len(s.sent)
    s.run(5 * SECOND)
    assert len(s.sent) == count, "held: nothing is sent while the price is past worst"
    s.exchanges["binance"].default = s.exchanges["bybit"].default = Fate.FILLED
    narrow(s)
    s.run(1100 * MS)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0), "the price came back"


def test_then_market_goes_at_any_price_once_the_collar_has_grown() -> None:
    knobs = Knobs(until={R1: lambda now: now > 5 * SECOND})
    plan = arb_plan(rule(R1, PAIR, close={"then": "market", "worst": 0.0008}))
    s = stage(plan, knobs)
    widen(s)
    s.run(1400 * MS)
    assert s.state(R1) == "active"
    s.exchanges["binance"].default = s.exchanges["bybit"].default = Fate.NOTHING
    s.run(200 * MS)
    s.exchanges["binance"].default = s.exchanges["bybit"].default = Fate.FILLED
    s.quote("bin", 60_400.0, 60_400.1)
    s.run(3 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert OrderType.MARKET in {i.type for i in s.sent if i.market == "bin"}
    assert all(i.reduce_only for i in s.sent if i.type is OrderType.MARKET)


def test_when_the_partners_exchange_is_down_at_the_close_both_legs_stay() -> None:
    s = holding()
    s.exchanges["bybit"].go_down()
    s.run(1 * MS)
    narrow(s)
    s.run(10 * SECOND)
    assert s.state(R1) == "leaving"
    assert (s.truth("bin"), s.truth("byb")) == (-8, 8)
    assert [i.purpose for i in s.sent] == [Purpose.ENTRY] * 2
    assert sum("held" in text for text in pages(s)) == 1, "told once"
    s.exchanges["bybit"].come_up()
    s.run(500 * MS)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)


def test_only_the_unmatched_part_is_reduced_while_the_partner_is_down() -> None:
    s = holding()
    narrow(s)
    s.exchanges["bybit"].fates["byb"] = deque([Fate.PARTIAL])
    s.exchanges["binance"].fates["bin"] = deque([Fate.NOTHING])
    s.run(50 * MS)
    assert (s.truth("bin"), s.truth("byb")) == (-8, 4)
    s.exchanges["bybit"].go_down()
    s.run(2 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (-4, 4), "trimmed to what matches"
    assert s.net("BTC") == 0


def test_the_operator_can_close_one_leg_alone() -> None:
    s = holding()
    s.push(Operator(command="flatten", rule=R1, market="bin", who="me"))
    s.run(50 * MS)
    assert (s.truth("bin"), s.truth("byb")) == (0, 8)
    assert s.state(R1) == "active"


def test_a_missing_book_is_waited_for_then_closed_reduce_only_at_market() -> None:
    s = holding()
    s.frozen.add("byb")
    s.run(400 * MS)
    s.push(Operator(command="flatten", rule=R1, who="me"))
    s.run(1500 * MS)
    assert (s.truth("bin"), s.truth("byb")) == (-8, 8), "both wait: they leave together"
    s.run(1 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    (market,) = [i for i in s.sent if i.type is OrderType.MARKET]
    assert market.market == "byb" and market.reduce_only


def test_a_rest_below_the_exchanges_minimum_is_a_residual_and_blocks_nothing() -> None:
    from dataclasses import replace
    from decimal import Decimal

    from tests.engine.stage import BYB, market

    plan = arb_plan(rule(R1, (Side.SELL,), until_streams=("bin.book",)), max_net_position={})
    plain = replace(BYB, min_notional=Decimal(400))
    plan = replace(plan, markets={**plan.markets, "bin": market("bin", "binance", plain)})
    knobs = Knobs(enter_at=-1.0, until={R1: lambda now: now > 4 * SECOND})
    s = stage(plan, knobs, warm=False)
    s.run(3900 * MS)
    assert s.lots("bin") == -8
    s.exchanges["binance"].fates["bin"] = deque([Fate.PARTIAL])
    knobs_when = s.engine.desk.rules.runs[R1].program.when
    knobs_when.test = lambda _now: False  # type: ignore[attr-defined]
    s.run(2 * SECOND)
    assert s.lots("bin") == -4, "4 lots are 240 USDT, under the minimum of 400"
    assert s.state(R1) in ("cooldown", "idle")


def test_an_exit_is_never_more_than_the_exchange_says_we_hold() -> None:
    s = holding()
    s.exchanges["binance"].positions["BTCUSDT"] = -5
    s.run(1500 * MS)
    s.push(s.exchanges["binance"].account())
    s.run(1 * MS)
    narrow(s)
    s.run(10 * MS)
    exits = {i.market: i.lots for i in s.sent if i.purpose is not Purpose.ENTRY}
    assert exits["bin"] == 5


def test_a_close_that_took_one_leg_only_is_reducing_and_told_after_repair_within() -> None:
    s = holding()
    s.exchanges["binance"].default = Fate.NOTHING
    narrow(s)
    s.run(1900 * MS)
    assert (s.truth("bin"), s.truth("byb")) == (-8, 0)
    assert s.engine.desk.limits.mode == "active" and not pages(s)
    s.run(200 * MS)
    assert s.engine.desk.limits.code == "unmatched"
    assert any("legs still apart" in text for text in pages(s))
    s.exchanges["binance"].default = Fate.FILLED
    s.run(1100 * MS)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert s.engine.desk.limits.mode == "active", "the cause is gone, so is the state"
