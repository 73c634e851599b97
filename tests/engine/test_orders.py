"""The order lifecycle R-15 to R-20: every order of events ends in the exchange's state."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from runner.base.rng import seeded
from runner.engine.commands import Intent, Notify, Query, Reconcile, Record
from runner.engine.events import (
    Ack,
    CancelReply,
    Done,
    End,
    Event,
    Fill,
    Found,
    OrderView,
    Reject,
    Unknown,
)
from runner.engine.order import MOVES, TERMINAL, Order, OrderState, What
from runner.engine.scenario import Scenario, Truth
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from tests.engine.stage import Knobs, arb_plan, rule, stage

SCRIPTS = ("filled", "canceled", "rejected")
ONE = "one"


def stage_one() -> tuple[Scenario, Intent]:
    """A rule of one resting leg whose order was just sent; the exchange is silent."""
    plan = arb_plan(
        rule(ONE, (Side.BUY,), until_streams=(), order_plan={"tif": "gtc"}), max_net_position={}
    )
    knobs = Knobs(enter_at=-1.0, until={ONE: lambda _now: False})
    s = stage(plan, knobs, warm=False, tick_every=3600 * SECOND)
    s.exchanges["binance"].place = lambda intent: None  # type: ignore[method-assign]
    s.run(1 * MS)
    (intent,) = s.sent
    return s, intent


def script(name: str, intent: Intent) -> tuple[list[Event], Truth]:
    """The events of one order's life, and what the exchange has in the end."""
    cid, truth = intent.cid, Truth(intent)
    fills = [
        Fill(cid=cid, trade_id=f"t{i}", lots=lots, price=60_000.0, fee=0.01, fee_asset="USDT")
        for i, lots in enumerate((3, 4, 1))
    ]
    ack, unknown = Ack(cid=cid, exchange_id="x"), Unknown(cid=cid, why="timeout")
    if name == "rejected":
        reject = Reject(cid=cid, outcome="rejected", code="-2019")
        return [reject, unknown, Found(cid=cid, order=None), Found(cid=cid, order=None)], truth
    full = name == "filled"
    truth.fills = fills if full else fills[:2]
    truth.filled = sum(fill.lots for fill in truth.fills)
    truth.status = "filled" if full else "canceled"
    done = Done(cid=cid, end=End.FILLED if full else End.CANCELED, filled_lots=truth.filled)
    partly = OrderView(
        cid=cid, exchange_id="x", symbol=intent.symbol, side="buy", lots=intent.lots,
        filled_lots=3, status="partial",
    )  # fmt: skip
    extra: list[Event] = [] if full else [CancelReply(cid=cid, ok=True)]
    return [ack, unknown, *truth.fills, *extra, done, Found(cid=cid, order=partly)], truth


def histories(events: list[Event]) -> Iterator[list[Event]]:
    """All permutations, each whole, with any one event dropped, and with any one twice."""
    for order in itertools.permutations(events):
        yield list(order)
        for i in range(len(order)):
            yield [e for j, e in enumerate(order) if j != i]
            yield [*order[: i + 1], order[i], *order[i + 1 :]]


def check(name: str, chosen: list[int]) -> None:
    """Play a history and one reconciliation; compare with the exchange."""
    s, intent = stage_one()
    events, truth = script(name, intent)
    for i in chosen:
        s.push(events[i])
    s.run(2 * MS)
    exchange = s.exchanges["binance"]
    if name != "rejected":
        exchange.orders[intent.cid] = truth
        exchange.positions[intent.symbol] = truth.filled
    s.push(exchange.picture(s.t))
    s.run(15 * SECOND)
    order = s.engine.desk.orders.all[intent.cid]
    assert order.settled, (name, chosen, order.state)
    assert order.filled == truth.filled == s.lots("bin"), (name, chosen)
    if name == "rejected":
        assert order.state in (OrderState.REJECTED, OrderState.LOST)
    else:
        assert order.state is OrderState(truth.status), (name, chosen, order.state)
    assert s.sent == [intent] or name == "rejected"
    assert len({i.cid for i in s.sent}) == len(s.sent)


def numbered(name: str) -> Iterator[list[int]]:
    _, intent = stage_one()
    events, _ = script(name, intent)
    index: list[Event] = list(events)
    for history in histories(events):
        yield [next(i for i, e in enumerate(index) if e is event) for event in history]


@pytest.mark.parametrize("name", SCRIPTS)
def test_any_history_of_an_order_ends_in_the_exchanges_state(name: str) -> None:
    """A sample of 1/100, at least 20, of what the campaign plays in full."""
    all_of_them = list(numbered(name))
    count = max(20, len(all_of_them) // 100)
    for chosen in seeded("histories", name).sample(all_of_them, count):
        check(name, chosen)


@pytest.mark.campaign
@pytest.mark.parametrize("name", SCRIPTS)
def test_all_histories_of_an_order(name: str) -> None:
    for chosen in numbered(name):
        check(name, chosen)


def test_terminal_states_absorb_all_but_signs_of_life_of_a_lost_order() -> None:
    for (state, what), after in MOVES.items():
        if state in TERMINAL:
            assert state is OrderState.LOST and what is not What.NEVER
            assert after is not OrderState.REJECTED or what is What.VOID


def test_a_fill_counts_once_in_any_state_after_the_end_too() -> None:
    s, intent = stage_one()
    s.push(Done(cid=intent.cid, end=End.CANCELED, filled_lots=0))
    fill = Fill(cid=intent.cid, trade_id="late", lots=2, price=60_000.0, fee=0.0)
    s.push(fill)
    s.push(fill)
    s.run(1 * MS)
    assert s.lots("bin") == 2


def test_queries_follow_their_schedule_and_nothing_is_sent_again() -> None:
    s, intent = stage_one()
    s.exchanges["binance"].answers = False
    start = s.t
    s.push(Unknown(cid=intent.cid, why="timeout"))
    s.run(40 * SECOND)
    times = [(t - start) // MS for t, c in s.log if isinstance(c, Query)]
    assert times[:4] == [50, 200, 1000, 3000]
    assert all(b - a >= 9_900 for a, b in itertools.pairwise(times[5:]))
    assert s.sent == [intent]


def test_never_arrived_needs_three_answers_the_window_and_a_later_picture() -> None:
    s, intent = stage_one()
    s.push(Unknown(cid=intent.cid, why="timeout"))
    s.run(2900 * MS)
    order = s.engine.desk.orders.all[intent.cid]
    assert order.not_found >= 3
    assert order.state is OrderState.UNKNOWN, "three answers within the window prove nothing"
    s.run(1500 * MS)
    assert order.state is OrderState.LOST
    assert any(c.reason.startswith("prove") for c in s.commands(Reconcile))


def test_a_network_error_is_never_evidence() -> None:
    s, intent = stage_one()
    s.exchanges["binance"].answers = False
    s.push(Unknown(cid=intent.cid, why="disconnect"))
    s.run(120 * SECOND)
    assert s.engine.desk.orders.all[intent.cid].state is OrderState.UNKNOWN


def test_a_lost_order_that_appears_is_adopted_with_an_alarm() -> None:
    s, intent = stage_one()
    s.push(Unknown(cid=intent.cid, why="timeout"))
    s.run(5 * SECOND)
    order = s.engine.desk.orders.all[intent.cid]
    assert order.state is OrderState.LOST
    s.push(Fill(cid=intent.cid, trade_id="ghost", lots=8, price=60_000.0, fee=0.0))
    s.run(1 * MS)
    assert order.state is OrderState.FILLED
    assert s.lots("bin") == 8
    assert any("adopted" in c.text for c in s.commands(Notify)), "an alarm is raised"


def test_an_overfill_is_booked_and_told() -> None:
    s, intent = stage_one()
    s.push(Fill(cid=intent.cid, trade_id="a", lots=8, price=60_000.0, fee=0.0))
    s.push(Fill(cid=intent.cid, trade_id="b", lots=1, price=60_000.0, fee=0.0))
    s.run(1 * MS)
    assert s.lots("bin") == 9
    assert any(c.kind == "alarm" for c in s.commands(Record))


def test_a_refused_cancel_asks_instead_of_assuming() -> None:
    s, intent = stage_one()
    s.exchanges["binance"].answers = False
    s.push(Ack(cid=intent.cid))
    s.push(CancelReply(cid=intent.cid, ok=False, code="-2011"))
    s.run(100 * MS)
    order = s.engine.desk.orders.all[intent.cid]
    assert order.state is OrderState.OPEN
    assert [q.cid for q in s.commands(Query)] == [intent.cid]


def test_open_lots_is_the_worst_case_until_proven() -> None:
    _, intent = stage_one()
    order = Order(intent)
    order.meet(What.SEND)
    assert order.open_lots == 8
    order.end(End.CANCELED, 5, "")
    assert order.terminal and not order.settled
    assert order.open_lots == 5, "five were filled, by the exchange's word, and we saw none"


def test_an_exchange_that_is_back_is_asked_at_once() -> None:
    s, intent = stage_one()
    exchange = s.exchanges["binance"]
    exchange.go_down()
    s.push(Unknown(cid=intent.cid, why="disconnect"))
    s.run(25 * SECOND)
    exchange.come_up()
    back = s.t
    s.run(1500 * MS)
    order = s.engine.desk.orders.all[intent.cid]
    asked = [t for t, c in s.log if isinstance(c, Query) and t > back]
    assert asked[0] - back <= 60 * MS
    assert order.state is OrderState.LOST or order.not_found >= 3
