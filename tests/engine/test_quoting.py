"""The verb `quote`: both sides kept where the file wants them, whatever the exchange does."""

from __future__ import annotations

from copy import copy
from itertools import permutations
from random import Random
from typing import Any

import pytest

from runner.engine.amending import Change as Wish
from runner.engine.amending import amend
from runner.engine.build import compiled
from runner.engine.checks_risk import worst_lots
from runner.engine.commands import Amend, Cancel, Intent, Notify, Purpose, Tif
from runner.engine.events import Amended, AmendReply, Done, End, Event, Operator, Reject
from runner.engine.order import Order
from runner.engine.scenario import Change, Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from runner.spec.load import load
from runner.spec.plan import Plan
from tests.engine.test_restart import journal

TEXT = """
version: 1
name: maker
exchanges:
  x: {type: TYPE, network: sim}
markets:
  m: {exchange: x, symbol: BTCUSDT, streams: {book: {max_age: 400ms}}}
signals:
  load: position.m.qty / 0.02 BTC
rules:
  make:
    when: m.book.spread < 10bps
    until: m.book.spread > 20bps
    cooldown: 5s
    quote:
      market: m
      bid: {price: m.mid * (1 - 5bps), qty: "0.004 BTC * clamp(1 - load, 0, 1)"}
      ask: {price: m.mid * (1 + 5bps), qty: "0.004 BTC * clamp(1 + load, 0, 1)"}
      requote: {when_moved: 1bps, at_most_every: 300ms}
      unattended: true
      inventory: {limit: 0.01 BTC, on_leave: passive, max_age: 10m, stop: 8 USDT}
      MORE
risk:
  max_order: 600 USDT
  max_position: {m: 0.02 BTC}
  max_orders: {count: 480, per: 1m}
  max_daily_loss: 500 USDT
"""
BID, ASK = 60_000.0, 60_001.0


def plan_of(type: str = "bybit_linear", more: str = "", **changes: str) -> Plan:
    text = TEXT.replace("TYPE", type).replace("MORE", more)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    checked = load(text, environ={})
    assert checked.plan is not None, list(checked.findings)
    return checked.plan


def maker(plan: Plan | None = None, **options: Any) -> Scenario:
    """A rule that quotes: both sides rest at the exchange."""
    plan = plan or plan_of()
    s = Scenario(plan, compiled(plan), **options)
    s.exchanges["x"].default = Fate.REST
    s.start(m=(BID, ASK))
    return s.run(2 * SECOND)


def resting(s: Scenario) -> dict[Side, tuple[int, int]]:
    """What rests at the exchange: (ticks, lots not filled) by side."""
    alive = [o for o in s.exchanges["x"].orders.values() if o.status in ("open", "partial")]
    found = {o.intent.side: (o.ticks, o.lots - o.filled) for o in alive}
    assert len(found) == len(alive), "two orders on one side"
    return found


def of(s: Scenario, side: Side) -> str:
    """The client id of a side's resting order."""
    return next(
        cid for cid, o in s.exchanges["x"].orders.items()
        if o.status in ("open", "partial") and o.intent.side is side
    )  # fmt: skip


def believed(s: Scenario) -> dict[Side, tuple[int, int]]:
    orders: list[Order] = list(s.engine.desk.orders.open.values())
    return {o.intent.side: (o.ticks, o.lots - o.filled) for o in orders}


def changes(s: Scenario) -> list[Intent]:
    return [c.order.intent for c in s.commands(Amend)]


def test_both_sides_rest_where_the_file_wants_them() -> None:
    s = maker()
    assert s.state("make") == "active"
    assert resting(s) == {Side.BUY: (599_704, 4), Side.SELL: (600_306, 4)}
    assert [i.tif for i in s.sent] == [Tif.POST_ONLY] * 2
    s.run(10 * SECOND)
    assert len(s.sent) == 2 and not changes(s)


def test_a_move_changes_both_in_place_but_not_too_often() -> None:
    s = maker()
    for n in range(10):
        s.quote("m", BID + 20 * n, ASK + 20 * n)
        s.run(100 * MS)
    assert len(s.sent) == 2
    assert 2 <= len(changes(s)) <= 2 * 4
    s.run(SECOND)
    assert resting(s) == believed(s) == {Side.BUY: (601_504, 4), Side.SELL: (602_106, 4)}


def test_a_move_below_when_moved_changes_nothing() -> None:
    s = maker()
    s.quote("m", BID + 4, ASK + 4)  # 0.7 bps
    s.run(SECOND)
    assert not changes(s)


def test_the_side_that_the_market_runs_into_is_moved_first() -> None:
    s = maker()
    s.quote("m", BID + 100, ASK + 100)
    s.run(SECOND)
    assert next(i.side for i in changes(s)) is Side.SELL
    s.quote("m", BID, ASK)
    s.run(SECOND)
    assert [i.side for i in changes(s)][2] is Side.BUY


def test_where_nothing_can_be_changed_orders_are_replaced_after_a_proven_cancel() -> None:
    plan = plan_of("binance_spot")
    s = Scenario(plan, compiled(plan))
    s.exchanges["x"].default = Fate.REST
    s.exchanges["x"].free_base["BTC"] = 10.0
    s.start(m=(BID, ASK)).run(2 * SECOND)
    before = len(s.sent)
    s.quote("m", BID + 100, ASK + 100)
    s.run(2 * SECOND)
    assert not changes(s)
    assert len(s.commands(Cancel)) == len(s.sent) - before == 2
    assert {side: ticks for side, (ticks, _) in resting(s).items()} == {
        Side.BUY: 6_007_044, Side.SELL: 6_013_056,
    }  # fmt: skip


def test_missing_prices_cancel_and_fresh_ones_quote_again() -> None:
    s = maker()
    s.frozen.add("m")
    s.run(SECOND)
    assert s.state("make") == "active" and resting(s) == {}
    s.frozen.clear()
    s.run(SECOND)
    assert len(resting(s)) == 2


def test_a_fill_makes_the_quotes_lean_and_never_passes_the_limit() -> None:
    s = maker()
    for _ in range(12):
        if Side.BUY in resting(s):
            s.exchanges["x"].fill(of(s, Side.BUY), 4)
        s.run(SECOND)
        high, low = worst_lots(s.engine.desk, "m")
        assert -10 <= low <= high <= 10
    assert s.lots("m") == s.truth("m") == 10
    assert resting(s) == {Side.SELL: (600_306, 4)}  # no room for more
    bought = [i.lots for i in s.sent if i.side is Side.BUY]
    assert bought == sorted(bought, reverse=True) and bought[0] > bought[-1]


def test_until_cancels_and_the_inventory_leaves_at_the_touch() -> None:
    s = maker()
    s.exchanges["x"].fill(of(s, Side.BUY), 4)
    s.run(SECOND)
    s.quote("m", BID, BID + 200)
    s.run(SECOND)
    assert s.state("make") == "leaving"
    assert resting(s) == {Side.SELL: (602_000, 4)}
    exit_ = s.sent[-1]
    assert (exit_.purpose, exit_.tif, exit_.reduce_only) == (Purpose.CLOSE, Tif.POST_ONLY, True)
    s.quote("m", BID - 50, BID + 100)
    s.run(SECOND)
    assert resting(s) == {Side.SELL: (601_000, 4)}
    s.exchanges["x"].fill(of(s, Side.SELL), 4)
    s.run(SECOND)
    assert s.state("make") == "cooldown"
    assert s.lots("m") == s.truth("m") == 0


def test_inventory_that_is_too_old_goes_at_once() -> None:
    s = maker()
    s.exchanges["x"].fill(of(s, Side.BUY), 4)
    s.run(9 * 60 * SECOND)
    s.exchanges["x"].default = Fate.FILLED
    s.run(70 * SECOND)
    closes = [i for i in s.sent if i.purpose is Purpose.CLOSE]
    assert closes and closes[0].tif is Tif.IOC
    assert s.truth("m") == 0


def test_inventory_that_loses_too_much_goes_at_once() -> None:
    s = maker()
    s.exchanges["x"].fill(of(s, Side.BUY), 4)
    s.run(SECOND)
    s.exchanges["x"].default = Fate.FILLED
    s.quote("m", BID - 1000, ASK - 1000)  # 4 USDT
    s.run(100 * MS)
    assert s.state("make") == "active"
    s.quote("m", BID - 2000, ASK - 2000)
    s.run(SECOND)
    assert s.state("make") in ("cooldown", "idle", "pending", "active")
    assert s.sent[2:] and any(i.purpose is Purpose.CLOSE for i in s.sent)
    assert s.truth("m") <= 4


@pytest.mark.parametrize("command", ["halt", "flatten"])
def test_the_operator_cancels_all_quotes(command: str) -> None:
    s = maker()
    s.exchanges["x"].fill(of(s, Side.BUY), 4)
    s.run(SECOND)
    s.exchanges["x"].default = Fate.FILLED
    s.push(Operator(command=command, who="test"))
    s.run(2 * SECOND)
    assert resting(s) == {}
    assert s.truth("m") == (4 if command == "halt" else 0)


def test_post_only_refusals_are_no_reason_to_stop() -> None:
    s = maker()
    for n in range(40):
        s.quote("m", BID + 30 * n, ASK + 30 * n)
        for order in list(s.engine.desk.orders.open.values()):
            if order.state == "sent":
                s.push(Reject(cid=order.intent.cid, outcome="rejected", code="-5022",
                              by_terms=True))  # fmt: skip
        s.run(300 * MS)
    assert s.state("make") == "active"
    assert s.engine.desk.limits.mode == "active"


def test_three_real_refusals_disable_the_rule() -> None:
    s = Scenario(plan := plan_of(), compiled(plan))
    s.exchanges["x"].default = Fate.REJECTED
    s.start(m=(BID, ASK))
    s.run(10 * SECOND)
    assert s.state("make") == "disabled"
    assert len(s.sent) <= 6
    said = [n.text for n in s.commands(Notify) if "rejected in a row" in n.text]
    assert len(said) == 1, "both sides were refused a third time, and it is told once"


@pytest.mark.parametrize("first", list(Change))
@pytest.mark.parametrize("second", list(Change))
@pytest.mark.parametrize("filled", [0, 2, 4])
def test_whatever_becomes_of_changes_the_end_is_the_exchanges_truth(
    first: Change, second: Change, filled: int
) -> None:
    """All pairs of fates of the two sides' changes, with fills that race them."""
    s = maker()
    worst: list[int] = []

    def look() -> None:
        high, low = worst_lots(s.engine.desk, "m")
        alive = [o for o in s.exchanges["x"].orders.values() if o.status in ("open", "partial")]
        more = {side: sum(o.lots - o.filled for o in alive if o.intent.side is side)
                for side in Side}  # fmt: skip
        worst.append(max(s.truth("m") + more[Side.BUY], more[Side.SELL] - s.truth("m")))
        assert high <= 10 and low >= -10

    s.watchers.append(look)
    s.exchanges["x"].changes.extend([first, second])
    s.quote("m", BID + 60, ASK + 60)
    s.run(1 * MS)
    if Side.SELL not in resting(s):
        filled = 0  # the change has ended it
    if filled:
        s.exchanges["x"].fill(of(s, Side.SELL), filled)
    s.run(20 * SECOND)
    assert max(worst) <= 10
    assert s.lots("m") == s.truth("m") == -filled
    assert resting(s) == believed(s)
    assert len(resting(s)) == 2
    assert not any(o.pending for o in s.engine.desk.orders.open.values())
    buy, sell = resting(s)[Side.BUY], resting(s)[Side.SELL]
    assert (buy[0], sell[0]) == (600_304, 600_906)


def test_a_change_in_doubt_survives_a_restart() -> None:
    s = maker()
    s.exchanges["x"].changes.extend([Change.SILENT, Change.LOST])
    s.quote("m", BID + 60, ASK + 60)
    s.run(100 * MS)
    assert sum(o.pending is not None for o in s.engine.desk.orders.open.values()) == 2
    new = Scenario(s.plan, compiled(s.plan), run_id="run0000002", restored=journal(s))
    new.wall_at_zero = s.wall_at_zero + s.t + 3 * SECOND
    old = s.exchanges["x"]
    new.exchanges["x"].orders, new.exchanges["x"].positions = old.orders, old.positions
    new.exchanges["x"].default = Fate.REST
    new.start(m=(BID + 60, ASK + 60))
    new.run(20 * SECOND)
    assert new.state("make") == "active"
    assert resting(new) == believed(new) == {Side.BUY: (600_304, 4), Side.SELL: (600_906, 4)}
    assert len([o for o in old.orders.values() if o.status == "open"]) == 2


def told_in(order: tuple[int, ...], dropped: int) -> Scenario:
    """A change, two fills, a cancel and its end, told in this order, one of them never."""
    s = maker()
    exchange = s.exchanges["x"]
    exchange.changes.append(Change.SILENT)
    s.quote("m", BID + 60, ASK + 60)
    s.run(1 * MS)
    cid = of(s, Side.SELL)
    truth = exchange.orders[cid]
    for lots in (1, 2):
        exchange.fill(cid, lots, told=False)
    truth.status = "canceled"
    events: list[Event] = [
        AmendReply(cid=cid, ok=True),
        Amended(cid=cid, lots=truth.lots, ticks=truth.ticks, ts=truth.ts),
        truth.fills[0],
        truth.fills[1],
        Done(cid=cid, end=End.CANCELED, filled_lots=3),
    ]
    for i in order:
        if i != dropped:
            s.push(copy(events[i]))
            s.run(MS)
    return s.run(15 * SECOND)


@pytest.mark.parametrize("dropped", [-1, *range(5)])
def test_in_whatever_order_it_is_told_the_end_is_the_same(dropped: int) -> None:
    for n, order in enumerate(permutations(range(5))):
        if n % 6 == dropped + 1:  # each order once, with one of the six ways to lose something
            s = told_in(order, dropped)
            assert s.lots("m") == s.truth("m") == -3, order
            assert resting(s) == believed(s), order
            assert len(resting(s)) == 2, order


@pytest.mark.parametrize("seed", range(12))
def test_nothing_that_rests_could_ever_pass_the_inventory(seed: int) -> None:
    """R-03 with quotes: at every event, by the exchange's truth, with everything that may fill."""
    rng = Random(seed)
    s = maker(plan_of("bybit_linear" if seed % 3 else "binance_usdm"))
    exchange = s.exchanges["x"]

    def look() -> None:
        alive = [o for o in exchange.orders.values() if o.status in ("open", "partial")]
        up = sum(o.lots - o.filled for o in alive if o.intent.side is Side.BUY)
        down = sum(o.lots - o.filled for o in alive if o.intent.side is Side.SELL)
        assert s.truth("m") - down >= -10 and s.truth("m") + up <= 10

    s.watchers.append(look)
    for _ in range(60):
        alive = [c for c, o in exchange.orders.items() if o.status in ("open", "partial")]
        match rng.randrange(6):
            case 0 | 1:
                shift = rng.randrange(-60, 60)
                s.quote("m", BID + shift, ASK + shift)
            case 2 if alive:
                exchange.fill(rng.choice(alive), rng.randint(1, 4), told=rng.random() < 0.8)
            case 3:
                exchange.changes.append(rng.choice(list(Change)))
            case 4 if exchange.answers and rng.random() < 0.3:
                exchange.go_down()
                s.after(rng.randrange(1, 3000) * MS, exchange.come_up)
            case _:
                s.run(rng.randrange(1, 900) * MS)
        s.run(rng.randrange(1, 30) * MS)
    exchange.changes.clear()
    s.run(30 * SECOND)
    assert s.lots("m") == s.truth("m")
    assert resting(s) == believed(s)


@pytest.mark.parametrize(("lots", "most"), [(8, 8), (2, 4)])
def test_a_change_under_way_counts_at_its_worst(lots: int, most: int) -> None:
    s = maker()
    desk = s.engine.desk
    order = desk.orders.all[of(s, Side.BUY)]
    s.exchanges["x"].changes.append(Change.LOST)
    rule = desk.plan.rules["make"]
    assert amend(desk, Wish(rule, order, lots, order.ticks)) is None
    assert worst_lots(desk, "m") == (most, -4)
    again = amend(desk, Wish(rule, order, 3, order.ticks))
    assert again is not None and again.code == "not_open"


def test_the_gate_judges_a_change_as_it_judges_an_order() -> None:
    s = maker(plan_of(max_position="max_position"))
    desk = s.engine.desk
    order = desk.orders.all[of(s, Side.BUY)]
    rule = desk.plan.rules["make"]
    found = {
        lots: refusal.code
        for lots in (11, 15, 0)
        if (refusal := amend(desk, Wish(rule, order, lots, order.ticks))) is not None
    }
    assert found == {11: "max_order", 15: "max_order", 0: "not_open"}
    desk.gate.max_order_all = None
    over = amend(desk, Wish(rule, order, 21, order.ticks))
    assert over is not None and over.code == "max_position"
    far = amend(desk, Wish(rule, order, 4, order.ticks * 2))
    assert far is not None and far.code == "price_collar"


@pytest.mark.parametrize(("pace", "runs_out"), [(1 * SECOND, False), (300 * MS, True)])
def test_the_pace_that_w0507_names_is_what_max_orders_bears(pace: int, runs_out: bool) -> None:
    plan = plan_of(**{"count: 480": "count: 120"})
    s = maker(plan)
    for i in range(150 * SECOND // pace):
        s.quote("m", BID + 12 * (i % 2), ASK + 12 * (i % 2))
        s.run(pace)
    refused = s.engine.funnels["make"].refusals
    assert ("max_orders" in refused) is runs_out, refused
