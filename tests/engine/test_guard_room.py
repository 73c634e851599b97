"""How many stops and targets stand on a symbol: entries that would need more are not sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.engine.commands import Notify, Purpose, Topic, Trace
from runner.engine.events import Operator, OrderView
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import SECOND
from runner.market.instruments import Side
from runner.spec.rule_plan import GuardKind, GuardPlan, RulePlan
from tests.engine.stage import Knobs, arb_plan, btc, rule, stage, usdt
from tests.engine.test_guards import RULE, Signal, enter, restarted, scene
from tests.engine.test_restart import journal

MOST = 10
"""of Bybit's, a symbol"""


def guarded(name: str, target: bool) -> RulePlan:
    one = rule(name, (Side.BUY, Side.SELL), close={"then": "market"})
    assert one.trade is not None
    byb = replace(one.trade.legs[1], side=Side.BUY)
    trade = replace(
        one.trade,
        legs=(byb,),
        hedge=None,
        guard=GuardPlan(),
        target=GuardPlan(kind=GuardKind.TARGET) if target else None,
    )
    return replace(one, trade=trade, max_skew_ns=None, when_streams=("byb.book",))


def crowd(stops: int, pairs: int, *, warm: bool = True) -> Scenario:
    """Rules with a stop, and rules with a stop and a target, all on one symbol of Bybit."""
    rules = [guarded(f"pair{i}", True) for i in range(pairs)]
    rules += [guarded(f"stop{i}", False) for i in range(stops)]
    plan = arb_plan(
        *rules,
        max_net_position={},
        max_position={"bin": btc(9), "byb": btc(9)},
        max_order=usdt(6000),
        same_order_within_ns=0,
    )
    knobs = Knobs(stop=59_000.0, target=61_000.0, min=None)
    for each in rules:
        knobs.when[each.name] = lambda _now: True
        knobs.until[each.name] = lambda _now: False
    return stage(plan, knobs, warm=warm)


def standing(s: Scenario) -> int:
    orders = s.exchanges["bybit"].orders.values()
    return sum(bool(t.intent.trigger_text) and t.status == "open" for t in orders)


def refusals(s: Scenario) -> set[str]:
    return {t.refusal for t in s.commands(Trace) if t.refusal.startswith("stops and")}


@pytest.mark.parametrize(
    ("stops", "pairs", "stand", "why"),
    [
        (9, 0, 9, set()),
        (11, 0, 9, {"stops and targets of BTCUSDT: 10 / 9"}),
        (0, 5, 8, {"stops and targets of BTCUSDT: 10 / 9"}),
        (2, 4, 9, {"stops and targets of BTCUSDT: 10 / 9"}),
    ],
)
def test_what_finds_no_place_for_its_stop_and_target_does_not_enter(
    stops: int, pairs: int, stand: int, why: set[str]
) -> None:
    s = crowd(stops, pairs).run(10 * SECOND)
    assert standing(s) == stand and refusals(s) == why
    entered = [i for i in s.sent if i.purpose is Purpose.ENTRY]
    trades = [r for r in s.engine.desk.rules.runs.values() if r.trade is not None]
    assert len(entered) == len(trades) < 10 or not why


def by_hand(n: int, *, waits: bool = True, symbol: str = "BTCUSDT") -> OrderView:
    """An order that the exchange's own app placed: it has no client id."""
    return OrderView(
        cid="", exchange_id=f"hand{n}{symbol}", symbol=symbol, side="sell", lots=1, filled_lots=0,
        status="open", waits=waits,
    )  # fmt: skip


def test_stops_of_others_take_places_too_until_they_are_gone() -> None:
    s = crowd(9, 0, warm=False)
    bybit = s.exchanges["bybit"]
    bybit.others = [by_hand(n) for n in range(4)]
    bybit.others += [by_hand(n, waits=False) for n in range(4, 8)]  # plain orders take none
    bybit.others += [by_hand(n, symbol="ETHUSDT") for n in range(3)]
    s.run(10 * SECOND)
    assert standing(s) == 5 and refusals(s) == {"stops and targets of BTCUSDT: 10 / 9"}
    assert len(s.engine.world.foreign_orders) == 11, "none without a client id hides another"
    bybit.others = bybit.others[2:]
    bybit.reconcile()
    s.run(10 * SECOND)
    assert standing(s) == 7


def test_a_place_that_is_free_again_is_taken() -> None:
    s = crowd(11, 0).run(5 * SECOND)
    assert standing(s) == 9
    s.exchanges["bybit"].fire("byb")
    s.run(10 * SECOND)
    entered = [i for i in s.sent if i.purpose is Purpose.ENTRY]
    assert standing(s) == 9 and len(entered) >= 10


def test_two_that_shrink_do_not_meet_in_the_one_free_place() -> None:
    s = crowd(9, 0).run(5 * SECOND)
    bybit, most = s.exchanges["bybit"], 0

    def watch() -> None:
        nonlocal most
        most = max(most, standing(s))

    s.watchers.append(watch)
    for run in list(s.engine.desk.rules.runs.values()):
        s.engine.desk.trades.reduce(run, "reduced by test", (3,))
    s._carry_out(s.engine.lasting())
    s.run(30 * SECOND)
    assert most == MOST and standing(s) == 9
    orders = [t.intent for t in bybit.orders.values() if t.intent.trigger_text]
    left = [t.intent for t in bybit.orders.values() if t.intent.trigger_text and t.status == "open"]
    assert len(orders) == 18 and {i.lots for i in left} == {3}


def test_an_exchange_whose_limit_is_not_known_says_no_by_itself() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    assert s.state(RULE) == "active" and refusals(s) == set()


def pages(s: Scenario) -> list[str]:
    return [n.text for n in s.commands(Notify) if n.topic is Topic.RULE and n.level == "page"]


def again(s: Scenario, signal: Signal) -> None:
    """Let the rule's condition be false, then true once more."""
    signal.when = False
    s.run(3 * SECOND)
    enter(s, signal, 3 * SECOND)


def test_a_rule_whose_stops_are_refused_is_disabled_after_the_third_trade() -> None:
    s, signal, _ = scene()
    s.exchanges["binance"].stops.extend([Fate.REJECTED] * 9)
    for _ in range(5):
        again(s, signal)
    assert s.state(RULE) == "disabled" and s.truth("bin") == 0
    assert len([i for i in s.sent if i.purpose is Purpose.ENTRY]) == 3
    assert pages(s) == [
        f"rule {RULE} disabled: 3 trades in a row closed for want of a stop: stop refused"
    ]
    s.exchanges["binance"].stops.clear()
    s.push(Operator(command="resume", rule=RULE, who="ann"))
    again(s, signal)
    assert s.state(RULE) == "active"


def test_a_trade_that_has_its_stop_ends_the_count_and_a_restart_does_not() -> None:
    s, signal, knobs = scene()
    binance = s.exchanges["binance"]
    binance.stops.extend([Fate.REJECTED, Fate.REJECTED])
    again(s, signal)
    again(s, signal)
    new = restarted(s, journal(s), knobs)
    new.run(20 * SECOND)  # its clock begins anew: the rest of the old one is still ahead
    new.exchanges["binance"].stops.append(Fate.REJECTED)
    again(new, signal)
    assert new.state(RULE) == "disabled"
    again(s, signal)
    signal.until = True
    s.run(SECOND)
    signal.until = False
    binance.stops.extend([Fate.REJECTED, Fate.REJECTED])
    again(s, signal)
    again(s, signal)
    assert s.state(RULE) == "idle" and s.truth("bin") == 0
