"""A close that rests at the touch of its own side, and takes when its time is over."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any, cast

import pytest

from runner.base.errors import FileError
from runner.engine.commands import (
    Amend,
    Cancel,
    Intent,
    Notify,
    OrderType,
    Purpose,
    Record,
    Tif,
)
from runner.engine.events import Done, End, Operator, Reject
from runner.engine.limits import Mode
from runner.engine.scenario import Change, Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.lang.tree import Expr
from runner.market.instruments import Side
from runner.spec.parts import Rate
from runner.spec.plan import Plan
from runner.spec.rule_plan import GuardPlan, LegPlan, RestPlan
from tests.engine.stage import SPOT, Knobs, arb_plan, btc, market, rule, stage
from tests.engine.test_restart import reborn
from tests.engine.written import ready

RULE = "go_long"
GIVE_UP = 30 * SECOND
LOTS = 8
BID, ASK = 60_000.0, 60_000.1


class Stage:
    """A trade of one leg whose close rests; a test says when it is left."""

    def __init__(
        self, side: Side = Side.BUY, *, tif: str = "post_only", on: str = "bin",
        rest: dict[str, Any] | None = None, close: dict[str, Any] | None = None,
        stop: float | None = None, listed: dict[str, Any] | None = None, **changes: Any,
    ) -> None:  # fmt: skip
        self.when, self.until = False, False
        self.on = on
        knobs = Knobs(stop=stop, size=500.0)
        knobs.when[RULE] = lambda _now: self.when
        knobs.until[RULE] = lambda _now: self.until
        self.knobs = knobs
        self.s = stage(
            plan_of(side, tif, on, rest, close, stop is not None, listed, changes), knobs
        )
        self.s.watchers.append(self.check)
        self.when = True
        self.s.run(100 * MS)
        self.when = False
        assert self.state == "active", self.state
        self.exchange.default = Fate.WORKS

    @property
    def exchange(self) -> Any:
        return self.s.exchanges["binance" if self.on == "bin" else "bybit"]

    @property
    def state(self) -> str:
        return self.s.state(RULE)

    @property
    def held(self) -> int:
        return self.s.truth(self.on)

    @property
    def exits(self) -> list[Intent]:
        return [i for i in self.s.sent if i.purpose is Purpose.CLOSE]

    @property
    def resting(self) -> list[tuple[int, int]]:
        """(ticks, lots left) of what rests of it at the exchange."""
        return [(t.ticks, t.lots - t.filled) for t in self._open()]

    def leave(self, for_ns: int = 100 * MS) -> Stage:
        self.until = True
        self.s.run(for_ns)
        return self

    def fill(self, lots: int, for_ns: int = 100 * MS) -> None:
        self.exchange.fill(self._open()[0].intent.cid, lots)
        self.s.run(for_ns)

    def quote(self, bid: float, ask: float, for_ns: int = 100 * MS) -> None:
        self.s.quote(self.on, bid, ask)
        self.s.run(for_ns)

    def check(self) -> None:
        """Exits in flight are never more than what the exchange says we hold."""
        if self.held:
            open_lots = sum(t.lots - t.filled for t in self._open())
            assert open_lots <= abs(self.held), (open_lots, self.held)

    def _open(self) -> list[Any]:
        orders = self.exchange.orders.values()
        return [
            t for t in orders
            if t.status in ("open", "partial") and t.intent.purpose is Purpose.CLOSE
        ]  # fmt: skip


def plan_of(
    side: Side, tif: str, on: str, rest: dict[str, Any] | None, close: dict[str, Any] | None,
    guarded: bool, listed: dict[str, Any] | None, changes: dict[str, Any],
) -> Plan:  # fmt: skip
    resting = RestPlan(**{"give_up_ns": GIVE_UP, **(rest or {})})
    one = rule(RULE, (side,), close={"tif": tif, "rest": resting, **(close or {})})
    assert one.trade is not None
    guard = GuardPlan(cast(Expr, None)) if guarded else None
    legs = (LegPlan(on, side, None, one.legs[0].order),)
    keys = (f"{on}.book",)
    plan = replace(
        one, trade=replace(one.trade, legs=legs, guard=guard), when_streams=keys,
        until_streams=keys, cooldown_ns=SECOND, **changes,
    )  # fmt: skip
    whole = arb_plan(plan, max_net_position={}, max_orders=Rate(10**6, SECOND))
    if listed is None:
        return whole
    base = whole.markets[on].instrument
    changed = market(on, whole.markets[on].exchange, replace(base, **listed))
    return replace(whole, markets={**whole.markets, on: changed})


def pages(s: Scenario) -> list[str]:
    return [n.text for n in s.commands(Notify) if n.level == "page"]


# --- how it rests ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "ticks"), [(Side.BUY, 600_001), (Side.SELL, 600_000)])
@pytest.mark.parametrize("tif", ["post_only", "gtc"])
def test_until_lets_the_exit_rest_at_the_touch_of_its_own_side(
    side: Side, ticks: int, tif: str
) -> None:
    t = Stage(side, tif=tif).leave()
    (exit_,) = t.exits
    assert (exit_.type, exit_.tif, exit_.reduce_only) == (OrderType.LIMIT, Tif(tif), True)
    assert t.resting == [(ticks, LOTS)]
    assert t.state == "leaving"
    t.fill(LOTS)
    assert (t.held, t.state) == (0, "cooldown")
    assert t.s.run(GIVE_UP) and len(t.exits) == 1
    fees = t.s.engine.desk.ledgers.of(RULE, "bin").fees
    notional = LOTS * 0.001 * 60_000
    assert fees == pytest.approx(notional * (0.0005 + 0.0002), rel=1e-4), "the maker's fee back"


def test_max_hold_rests_too_and_until_meanwhile_changes_nothing() -> None:
    t = Stage(max_hold_ns=5 * SECOND)
    t.s.run(5 * SECOND)
    assert t.resting == [(600_001, LOTS)]
    t.leave()
    assert len(t.exits) == 1
    t.fill(LOTS)
    assert t.state == "cooldown"


def test_it_follows_the_market_in_place_at_most_every_so_often_and_never_away_from_it() -> None:
    t = Stage().leave()
    t.quote(BID + 20, ASK + 20, 3 * SECOND)
    assert t.resting == [(600_001, LOTS)], "alone at the front it stays"
    t.quote(BID - 5, ASK - 5, 20 * MS)
    assert t.resting == [(599_951, LOTS)]
    t.quote(BID - 9, ASK - 9, 500 * MS)
    assert t.resting == [(599_951, LOTS)], "a second has not passed"
    t.s.run(SECOND)
    assert t.resting == [(599_911, LOTS)]
    assert len(t.exits) == 1 and len(t.s.commands(Amend)) == 2 and not t.s.commands(Cancel)


def test_where_nothing_changes_in_place_the_next_waits_for_the_end_of_the_last() -> None:
    t = Stage()
    plan = t.s.plan.exchanges["binance"]
    t.s.plan.exchanges["binance"] = replace(plan, type="binance_spot")  # type: ignore[index]
    t.leave(SECOND + 100 * MS).quote(BID - 5, ASK - 5, 3 * MS)
    assert len(t.s.commands(Cancel)) == 1 and len(t.exits) == 1
    t.s.run(100 * MS)
    assert t.resting == [(599_951, LOTS)]
    assert len(t.exits) == 2


def test_a_part_that_filled_is_not_sold_again_and_the_rest_rests_on() -> None:
    t = Stage().leave()
    t.fill(3)
    assert t.resting == [(600_001, 5)]
    t.quote(BID - 5, ASK - 5, 2 * SECOND)
    assert t.resting == [(599_951, 5)]
    t.fill(5)
    assert (t.held, t.state) == (0, "cooldown")


def test_clips_rest_one_after_the_other_and_the_last_takes_what_would_be_too_small() -> None:
    t = Stage(on="byb", rest={"clip": btc("0.003")}, listed={"min_qty": Decimal("0.003")}).leave()
    seen = []
    for _ in range(4):
        if t.resting:
            seen.append(t.resting[0][1])
            t.fill(t.resting[0][1])
    assert seen == [3, 5]
    assert (t.held, t.state) == (0, "cooldown")


def test_why_says_what_rests_where_and_for_how_long_yet() -> None:
    t = Stage().leave(10 * SECOND)
    (block,) = t.s.engine.desk.traces.present(RULE)
    assert block.text == "leaving by until: 0.008 BTC rest at 60000.1, takes in 20.1s"
    t.fill(LOTS)
    assert block.text == "cooldown"


# --- its time is over -----------------------------------------------------------------------------


def test_when_its_time_is_over_what_is_left_is_taken_at_once_and_worst_counts_from_then() -> None:
    t = Stage(close={"worst": 0.002}).leave()
    t.fill(3)
    t.quote(BID - 400, ASK - 400, GIVE_UP - 500 * MS)  # 67 bps down: it has followed
    assert t.resting == [(596_001, 5)]
    t.s.run(500 * MS)
    assert (t.held, t.state) == (0, "cooldown")
    last = t.exits[-1]
    assert (last.tif, last.lots, last.reduce_only) == (Tif.IOC, 5, True)
    assert last.ticks >= 595_880, "2 bps of collar, not a doubled one"


def test_past_worst_it_holds_as_any_close_does() -> None:
    t = Stage(close={"worst": 0.0002, "collar": 0.0002}).leave(GIVE_UP - SECOND)
    t.exchange.default = Fate.NOTHING
    t.s.run(3 * SECOND)
    t.quote(BID - 100, ASK - 100, 2 * SECOND)
    assert t.held == LOTS
    assert any("past worst" in text for text in pages(t.s))


def test_without_a_book_nothing_rests_and_a_book_that_comes_back_is_followed() -> None:
    t = Stage().leave()
    t.s.frozen.add("bin")
    t.s.run(SECOND)
    assert t.resting == [] and t.held == LOTS
    t.s.frozen.clear()
    t.s.run(SECOND)
    assert t.resting == [(600_001, LOTS)]


def test_a_book_that_stays_away_ends_in_a_market_order_after_its_time() -> None:
    t = Stage().leave()
    t.s.frozen.add("bin")
    t.s.run(GIVE_UP + 3 * SECOND)
    assert (t.held, t.state) == (0, "idle")
    assert t.exits[-1].type is OrderType.MARKET and t.exits[-1].reduce_only


def test_a_rest_below_the_minimum_is_not_taken_off_the_book_to_be_moved() -> None:
    """Cancelled it could not come back: it stays where it is, and may yet fill."""
    t = Stage(on="byb", listed={"min_qty": Decimal("0.003")})
    plan = t.s.plan.exchanges["bybit"]
    t.s.plan.exchanges["bybit"] = replace(plan, type="binance_spot")  # type: ignore[index]
    t.leave()
    t.fill(6)
    t.quote(BID - 5, ASK - 5, 5 * SECOND)
    assert t.resting == [(600_000, 2)] and not t.s.commands(Cancel)
    t.s.run(GIVE_UP)
    assert (t.resting, t.held, t.state) == ([], 2, "idle"), "a residual"


# --- what is graver -------------------------------------------------------------------------------


def test_the_operators_flatten_takes_at_once() -> None:
    t = Stage().leave()
    t.s.push(Operator(command="flatten", rule=RULE, who="me"))
    t.s.run(20 * MS)
    assert (t.held, t.state) == (0, "cooldown")
    assert [i.tif for i in t.exits] == [Tif.POST_ONLY, Tif.IOC]


@pytest.mark.parametrize("mode", [Mode.HALTED, Mode.FLATTENED])
def test_a_limit_that_closes_takes_at_once(mode: Mode) -> None:
    t = Stage().leave()
    t.s.after(0, lambda: t.s.engine.desk.limits.add("x", mode, "max_daily_loss", "lost"))
    t.s.run(60 * MS)
    assert t.held == 0
    assert t.exits[-1].tif is Tif.IOC


def test_a_stop_by_loss_is_watched_while_it_rests_and_takes_at_once() -> None:
    s = ready(LONG)
    assert s.state("long") == "active"
    s.exchanges["binance"].default = Fate.WORKS
    s.quote("bin", 60_050.0, 60_050.1)
    s.run(200 * MS)
    assert s.state("long") == "leaving"
    assert [i.tif for i in s.sent] == [Tif.IOC, Tif.POST_ONLY]
    s.quote("bin", 59_700.0, 59_700.1)  # 2.4 USDT and fees
    s.run(200 * MS)
    assert s.truth("bin") == 0
    closed = [r.fields for r in s.commands(Record) if r.kind == "trade"]
    assert [f["reason"] for f in closed] == ["stop"]


LONG = """\
  long:
    when: bin.bid * 1 BTC < 60_030 USDT
    until: bin.bid * 1 BTC > 60_040 USDT
    once: true
    trade:
      size: 0.008 BTC
      legs: [{market: bin, side: buy}]
      close: {tif: post_only, give_up: 1m, collar: 2bps, worst: 50bps, then: market}
      stop: {loss: 2 USDT}
"""


# --- the stop at the exchange ---------------------------------------------------------------------


def stops(t: Stage) -> list[Intent]:
    orders = t.exchange.orders.values()
    return [o.intent for o in orders if o.intent.type is OrderType.STOP and o.status == "open"]


def test_the_stop_at_the_exchange_stays_while_the_exit_rests_and_goes_with_the_trade() -> None:
    t = Stage(stop=59_800.0)
    t.s.run(SECOND)
    t.leave(5 * SECOND)
    assert [i.lots for i in stops(t)] == [LOTS] and t.resting == [(600_001, LOTS)]
    t.fill(3)
    assert len(stops(t)) == 1
    t.fill(5)
    t.s.run(SECOND)
    assert (t.held, stops(t)) == (0, [])


def test_a_stop_that_fires_ends_what_rests() -> None:
    t = Stage(stop=59_800.0)
    t.s.run(SECOND)
    t.leave(5 * SECOND)
    t.exchange.fire("bin")
    t.s.run(SECOND)
    assert (t.held, t.resting, t.state) == (0, [], "cooldown")


def test_a_stop_that_is_lost_and_cannot_be_placed_again_takes_what_rests() -> None:
    """R-77: what is held on its way out is guarded as what is held."""
    t = Stage(stop=59_800.0)
    t.s.run(SECOND)
    t.leave(2 * SECOND)
    cid = stops(t)[0].cid
    t.exchange.orders[cid].status = "canceled"
    t.s.push(Done(cid=cid, end=End.CANCELED, filled_lots=0))
    t.s.run(3 * SECOND)
    assert len(stops(t)) == 1 or t.held == 0


# --- halts, freezes, the end of the run -----------------------------------------------------------


def test_the_operators_halt_takes_it_off_the_book_and_resume_lets_it_rest_again() -> None:
    t = Stage().leave()
    t.s.push(Operator(command="halt", who="me"))
    t.s.run(SECOND)
    assert (t.resting, t.held, t.state) == ([], LOTS, "leaving")
    t.s.run(2 * GIVE_UP)
    assert t.held == LOTS and len(t.exits) == 1, "positions are kept, however long"
    t.s.push(Operator(command="resume", who="me"))
    t.s.run(SECOND)
    assert t.held == 0 and t.exits[-1].tif is Tif.IOC, "its time is over"


def test_a_short_halt_lets_it_rest_again() -> None:
    t = Stage().leave()
    t.s.push(Operator(command="halt", who="me"))
    t.s.run(SECOND)
    t.s.push(Operator(command="resume", who="me"))
    t.s.run(SECOND)
    assert t.resting == [(600_001, LOTS)]


def test_a_freeze_takes_it_off_the_book_and_sends_nothing_else() -> None:
    t = Stage().leave()
    t.s.after(0, lambda: t.s.engine.desk.limits.add("x", Mode.FROZEN, "auth", "key"))
    t.quote(BID - 5, ASK - 5, 2 * GIVE_UP)
    assert (t.resting, t.held, len(t.exits)) == ([], LOTS, 1)
    assert len(t.s.commands(Cancel)) == 1 and t.s.commands(Amend) == []
    t.s.push(Operator(command="resume", who="me"))
    t.s.run(SECOND)
    assert t.held == 0 and t.exits[-1].tif is Tif.IOC, "its time is over"


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.REDUCING])
def test_a_pause_and_a_trouble_let_it_rest_on(mode: Mode) -> None:
    t = Stage().leave()
    t.s.after(0, lambda: t.s.engine.desk.limits.add("x", mode, "x", "x"))
    t.quote(BID - 5, ASK - 5, 2 * SECOND)
    assert t.resting == [(599_951, LOTS)]


def test_the_end_of_the_run_takes_it_off_the_book_and_the_next_run_goes_on() -> None:
    t = Stage().leave()
    t.s.push(Operator(command="stop", who="me"))
    t.s.run(SECOND)
    assert (t.resting, t.held) == ([], LOTS)
    assert t.s.engine.quiet
    new = reborn(t.s)
    new.exchanges["binance"].default = Fate.WORKS
    new.run(SECOND)
    assert new.state(RULE) == "leaving"
    assert [i.tif for i in new.sent] == [Tif.POST_ONLY]
    new.run(GIVE_UP - 8 * SECOND)
    assert new.truth("bin") == LOTS, "the clock went on, it did not begin anew"
    new.run(3 * SECOND)
    assert new.truth("bin") == 0 and new.sent[-1].tif is Tif.IOC


# --- restarts and the exchange's moods ------------------------------------------------------------


@pytest.mark.parametrize("filled", [0, 3, 8])
def test_a_restart_in_the_middle_finds_its_order_and_places_no_second(filled: int) -> None:
    t = Stage().leave(2 * SECOND)
    if filled:
        t.exchange.fill(t.exits[0].cid, filled, told=False)  # nobody heard of it
    new = reborn(t.s)
    new.exchanges["binance"].default = Fate.WORKS
    new.run(3 * SECOND)
    assert new.sent == []
    assert new.lots("bin") == new.truth("bin") == LOTS - filled
    new.run(GIVE_UP)
    assert new.truth("bin") == new.lots("bin") == 0
    assert new.state(RULE) in ("cooldown", "idle")


def test_a_restart_after_its_time_takes_once_the_end_of_what_rested_is_proven() -> None:
    t = Stage().leave(2 * SECOND)
    new = reborn(t.s, pause=2 * GIVE_UP)
    new.run(3 * SECOND)
    assert new.truth("bin") == 0
    assert [i.tif for i in new.sent] == [Tif.IOC]


def test_refusals_by_its_own_terms_are_tried_again_without_alarm() -> None:
    t = Stage()
    for _ in range(4):
        t.exchange.fates.setdefault("bin", deque()).append(Fate.LOST)
    refused: list[str] = []

    def refuse() -> None:
        for i in t.exits:
            if i.cid not in refused and len(refused) < 4:
                refused.append(i.cid)
                t.s.push(Reject(cid=i.cid, outcome="rejected", code="-5022", by_terms=True))

    t.s.watchers.append(refuse)
    t.leave(3 * SECOND)
    assert len(refused) == 4 and t.resting == [(600_001, LOTS)]
    assert pages(t.s) == [] and t.s.engine.desk.limits.mode is Mode.ACTIVE
    sent = [at for at, c in t.s.log if getattr(c, "orders", None)][1:]
    assert min(b - a for a, b in pairwise(sent)) >= 250 * MS


def test_real_refusals_wait_longer_and_longer_and_are_told() -> None:
    t = Stage()
    t.exchange.default = Fate.REJECTED
    t.leave(20 * SECOND)
    assert 3 <= len(t.exits) <= 10
    assert any("refused" in text for text in pages(t.s))
    t.exchange.default = Fate.FILLED
    t.s.run(60 * SECOND)
    assert t.held == 0


def test_an_exchange_that_is_down_is_waited_for_and_then_told() -> None:
    t = Stage()
    t.exchange.go_down()
    t.s.run(MS)
    t.leave(5 * SECOND)
    assert t.exits == []
    t.s.run(GIVE_UP)
    assert any("held" in text for text in pages(t.s))
    t.exchange.come_up()
    t.s.run(2 * SECOND)
    assert t.held == 0


def test_what_rests_while_the_exchange_is_down_is_found_again() -> None:
    t = Stage().leave()
    t.exchange.go_down()
    t.s.run(2 * SECOND)
    t.exchange.fill(t.exits[0].cid, 3, told=False)
    t.exchange.come_up()
    t.s.run(2 * SECOND)
    assert t.s.lots("bin") == t.held == 5
    assert len(t.exits) == 1
    t.fill(5)
    assert t.state == "cooldown"


def test_an_order_that_the_exchange_ends_is_placed_again_after_a_moment() -> None:
    t = Stage().leave()
    cid = t.exits[0].cid
    t.exchange.orders[cid].status = "canceled"
    t.s.push(Done(cid=cid, end=End.CANCELED, filled_lots=0))
    t.s.run(200 * MS)
    assert t.resting == []
    t.s.run(200 * MS)
    assert t.resting == [(600_001, LOTS)]


@pytest.mark.parametrize("change", list(Change))
def test_whatever_becomes_of_a_change_it_leaves_whole(change: Change) -> None:
    t = Stage().leave()
    t.exchange.changes.append(change)
    t.quote(BID - 5, ASK - 5, 10 * SECOND)
    assert len(t.resting) == 1 and t.s.lots("bin") == LOTS
    t.exchange.default = Fate.FILLED
    t.s.run(2 * GIVE_UP)
    assert (t.held, t.s.lots("bin"), t.resting) == (0, 0, [])


@pytest.mark.parametrize("fate", list(Fate))
def test_whatever_becomes_of_the_order_it_leaves_whole(fate: Fate) -> None:
    t = Stage()
    t.exchange.fates["bin"] = deque([fate])
    t.leave(10 * SECOND)
    t.exchange.default = Fate.FILLED
    t.s.run(2 * GIVE_UP)
    assert (t.held, t.s.lots("bin"), t.resting) == (0, 0, [])
    assert t.state in ("cooldown", "idle")


def test_on_spot_what_its_own_order_holds_back_is_not_missing() -> None:
    """A plain order: the coin it sells is not free while it rests."""
    listed = {n: getattr(SPOT, n) for n in ("kind", "lot", "min_qty", "min_notional", "fees")}
    t = Stage(listed={**listed, "reduce_only_exempt_from_min": False})
    t.s.run(2 * SECOND)
    t.s.push(t.exchange.account())
    t.leave()
    (first,) = t.exits
    assert not first.reduce_only and t.resting[0][1] == first.lots
    t.exchange.free_base["BTC"] = -first.lots * 0.00001  # free, once the account says so
    t.s.push(t.exchange.account())
    t.s.run(3 * SECOND)
    assert t.resting == [(600_001, first.lots)] and not t.s.commands(Cancel)


@pytest.mark.parametrize("seed", range(12))
def test_under_random_faults_it_is_never_sold_twice_and_always_sold(seed: int) -> None:
    """I-20 and the sum of exits: watched at every event by `Stage.check`."""
    rng = Random(seed)
    clip = btc("0.003") if seed % 2 else None
    t = Stage(rest={"reprice_ns": 300 * MS, "clip": clip}, stop=59_000.0 if seed % 3 else None)
    t.s.run(SECOND)
    t.leave()
    for _ in range(50):
        match rng.randrange(8):
            case 0 if t.resting:
                t.fill(rng.randint(1, 3), rng.randrange(1, 50) * MS)
            case 1:
                move = rng.randrange(-30, 30)
                t.quote(BID + move, ASK + move, MS)
            case 2:
                t.exchange.changes.append(rng.choice(list(Change)))
            case 3:
                t.exchange.fates["bin"] = deque([rng.choice(list(Fate))])
            case 4 if t.exchange.answers and rng.random() < 0.3:
                t.exchange.go_down()
                t.s.after(rng.randrange(1, 2000) * MS, t.exchange.come_up)
            case 5 if rng.random() < 0.3:
                t.s.push(Operator(command=rng.choice(["halt", "resume"]), who="me"))
            case 6:
                (t.s.frozen.add if rng.random() < 0.5 else t.s.frozen.discard)("bin")
            case _:
                t.s.run(rng.randrange(1, 900) * MS)
        assert t.held >= 0
    t.s.frozen.clear()
    t.exchange.changes.clear()
    t.exchange.fates.clear()
    t.exchange.default = Fate.FILLED
    t.s.run(5 * SECOND)
    t.s.push(Operator(command="resume", who="me"))
    t.s.run(3 * GIVE_UP)
    assert (t.held, t.s.lots("bin"), t.resting, stops(t)) == (0, 0, [], [])


def test_a_plan_that_rests_without_an_end_or_unbounded_is_refused() -> None:
    two = rule("two", (Side.SELL, Side.BUY), close={"tif": "post_only", "rest": RestPlan(SECOND)})
    one = rule("one", (Side.BUY,), close={"tif": "gtc"})
    for plan in (two, one):
        with pytest.raises(FileError, match="rests for `give_up`"):
            stage(arb_plan(plan))
