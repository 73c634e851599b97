"""The gate, check by check: the least violation is denied, the most that is allowed passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from runner.engine import checks_order, checks_risk, checks_world
from runner.engine.accounts import CLOCK_MAX_AGE, CLOCK_STEP, CLOCK_UNCERTAINTY, Held
from runner.engine.codes import Refusal, Why
from runner.engine.commands import Intent, OrderType, Purpose, Tif
from runner.engine.events import Budget, ClockReading, Readiness
from runner.engine.gate import Proposal
from runner.engine.limits import Mode
from runner.engine.proof import Approved, _approve
from runner.engine.rule import RuleState
from runner.engine.scenario import Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from runner.market.streams import StreamState
from runner.spec.parts import Rate
from runner.spec.plan import Plan
from runner.spec.risk_plan import Drawdown
from tests.engine.stage import BIN, PAIR, R1, R2, arb_plan, btc, rule, stage, usdt

Change = Callable[[Scenario], None]


def loose(**risk: Any) -> Plan:
    """A plan whose limits are far away but for those given."""
    limits: dict[str, Any] = {
        "max_order": usdt(10**7),
        "max_position": {"bin": btc(100), "byb": btc(100)},
        "max_net_position": {},
        "max_orders": Rate(10**6, SECOND),
        "max_daily_loss": None,
    }
    return arb_plan(rule(R1, PAIR), rule(R2, (Side.BUY, Side.SELL)), **(limits | risk))


_serial = iter(range(10**9))


def intent(s: Scenario, **changes: Any) -> Intent:
    """A buy of 8 lots on bin at its ask."""
    plain: dict[str, Any] = {
        "cid": f"c{next(_serial)}", "rule": R1, "group": 1, "leg": 0, "attempt": 0,
        "purpose": Purpose.ENTRY, "exchange": "binance", "market": "bin", "symbol": "BTCUSDT",
        "side": Side.BUY, "type": OrderType.LIMIT, "tif": Tif.IOC, "lots": 8, "ticks": 600_001,
        "qty_text": "", "price_text": "", "reduce_only": False, "window_ns": SECOND, "t": s.t,
        "wall": 0,
    }  # fmt: skip
    return Intent(**(plain | changes))


def judge(
    s: Scenario,
    *intents: Intent,
    purpose: Purpose = Purpose.ENTRY,
    parents: Any = None,
    **more: Any,
) -> Why | None:
    """The gate's code for a proposal, None when it approves."""
    desk = s.engine.desk
    many = intents or (intent(s),)
    many = tuple(msgspec.structs.replace(i, purpose=purpose) for i in many)
    prices = [i.ticks * 0.1 if i.ticks else 60_000.0 for i in many]
    proposal = Proposal(
        desk.plan.rules[R1], purpose, many, prices, parents or [i.lots for i in many],
        streams=("bin.book", "byb.book"), **more,
    )  # fmt: skip
    verdict = desk.gate.judge(proposal)
    return verdict.code if isinstance(verdict, Refusal) else None


@dataclass(frozen=True)
class Case:
    """One check: what is changed for the violation, and for the most that is allowed."""

    code: Why
    check: str
    bad: Change | None = None
    good: Change | None = None
    plan: Plan | None = None
    bad_order: dict[str, Any] | None = None
    good_order: dict[str, Any] | None = None
    bad_parents: list[int] | None = None


def mode(value: Mode) -> Change:
    return lambda s: setattr(s.engine.desk.limits, "mode", value)


def ready(state: Readiness) -> Change:
    return lambda s: setattr(s.engine.desk.venues["binance"], "state", state)


def stream(state: StreamState) -> Change:
    return lambda s: setattr(s.market.streams["byb.book"], "state", state)


def aged(key: str, ns: int) -> Change:
    return lambda s: setattr(s.market.streams[key], "t", s.engine.desk.now - ns)


def clock(**values: int) -> Change:
    def change(s: Scenario) -> None:
        for name, value in values.items():
            at = s.engine.desk.now - value if name == "at" else value
            setattr(s.engine.desk.venues["binance"].clock, name, at)

    return change


def held(lots: int, rule_name: str = R1, market: str = "bin") -> Change:
    def change(s: Scenario) -> None:
        ledger = s.engine.desk.ledgers.of(rule_name, market)
        ledger.lots, ledger.entry = lots, 60_000.0
        shown(lots, market)(s)

    return change


def shown(lots: int, market: str = "bin") -> Change:
    """The exchange's own word on a position."""

    def change(s: Scenario) -> None:
        desk = s.engine.desk
        desk.venue_of(market).held[desk.instruments[market].symbol] = Held(lots, desk.now)

    return change


def resting(count: int = 1, **changes: Any) -> Change:
    def change(s: Scenario) -> None:
        for _ in range(count):
            s.engine.desk.orders.add(intent(s, **changes))

    return change


def free(amount: float) -> Change:
    return lambda s: s.engine.desk.venues["binance"].free.update(USDT=amount)


def equity(amount: float) -> Change:
    return lambda s: setattr(s.engine.desk.venues["binance"].cell, "equity", amount)


def in_state(rule_name: str, state: str) -> Change:
    return lambda s: setattr(s.engine.desk.rules.runs[rule_name], "state", RuleState(state))


def budget(used: int) -> Change:
    def change(s: Scenario) -> None:
        venue = s.engine.desk.venues["binance"]
        venue.budgets["orders"] = Budget(
            exchange="binance", name="orders", used=used, limit=100, resets_at=s.t + SECOND
        )

    return change


def fired(count: int) -> Change:
    def change(s: Scenario) -> None:
        s.engine.desk.gate.firings[R1].extend([s.t] * count)

    return change


def entered(count: int) -> Change:
    return lambda s: s.engine.desk.gate.entries.extend([s.t] * count)


def anchored(mid: float) -> Change:
    return lambda s: s.engine.desk.gate.anchors.update(bin=(mid, mid))


def facts_gone(s: Scenario) -> None:
    s.engine.desk.venues["binance"].facts.clear()


def status(value: str) -> Change:
    def change(s: Scenario) -> None:
        changed = replace(BIN, status=value)
        s.engine.desk.markets["bin"].use(changed)
        s.engine.desk.instruments["bin"] = changed

    return change


def unheard(s: Scenario) -> None:
    venue = s.engine.desk.venues["binance"]
    venue.heard = False
    venue.free.clear()


def lost(amount: float) -> Change:
    return lambda s: setattr(s.engine.desk.limits, "value", -amount)


def again(ns: int) -> Change:
    def change(s: Scenario) -> None:
        s.engine.desk.gate.recent["bin", "buy", 8, 600_001] = s.engine.desk.now - ns

    return change


MID = 60_000.05
COLLARED = int(MID * 1.01 * 10)
W = "checks_world"
NEED = 8 * 0.001 * 60_000.1 * (1 / 2 + 0.0005)
CASES = [
    Case(Why.REDUCING, "run_state", mode(Mode.REDUCING)),
    Case(Why.PAUSED, "run_state", mode(Mode.PAUSED)),
    Case(Why.HALTED, "run_state", mode(Mode.HALTED)),
    Case(Why.FROZEN, "run_state", mode(Mode.FROZEN)),
    Case(Why.SYMBOL_REDUCING, "run_state",
         lambda s: s.engine.desk.gate.reducing_symbols.update(bin="differs"),
         lambda s: s.engine.desk.gate.reducing_symbols.update(byb="differs")),
    Case(Why.RULE_DISABLED, "run_state",
         lambda s: setattr(s.engine.desk.rules.runs[R1], "state", "disabled") or
         s.engine.desk.rules.disable(s.engine.desk.rules.runs[R1], "test")),
    Case(Why.ID_USED, "identity", resting(cid="used", market="byb", ticks=1),
         bad_order={"cid": "used"}),
    Case(Why.PARENT_BUDGET, "identity", bad_parents=[7]),
    Case(Why.STARTING, "exchange_ready", ready(Readiness.STARTING)),
    Case(Why.RECONCILING, "exchange_ready", ready(Readiness.RECONCILING)),
    Case(Why.DOWN, "exchange_ready", ready(Readiness.DOWN)),
    Case(Why.MAINTENANCE, "exchange_ready", ready(Readiness.MAINTENANCE)),
    Case(Why.EXCHANGE_FROZEN, "exchange_ready", ready(Readiness.FROZEN)),
    Case(Why.STREAM_WAITING, "data_age", stream(StreamState.WAITING)),
    Case(Why.STALE, "data_age", aged("byb.book", 250 * MS + 1), aged("byb.book", 90 * MS)),
    Case(Why.CROSSED, "data_age", stream(StreamState.CROSSED)),
    Case(Why.GAP, "data_age", stream(StreamState.GAP)),
    Case(Why.STREAM_DOWN, "data_age", stream(StreamState.DOWN)),
    Case(Why.SKEW, "data_age",
         lambda s: (aged("byb.book", 100 * MS + 1)(s), aged("bin.book", 0)(s)),
         lambda s: (aged("byb.book", 100 * MS)(s), aged("bin.book", 0)(s))),
    Case(Why.CLOCK_UNREAD, "clock",
         lambda s: setattr(s.engine.desk.venues["binance"].clock, "at", -(1 << 62))),
    Case(Why.CLOCK_OLD, "clock", clock(at=CLOCK_MAX_AGE + 1), clock(at=CLOCK_MAX_AGE)),
    Case(Why.CLOCK_UNCERTAIN, "clock", clock(uncertainty=CLOCK_UNCERTAINTY + 1),
         clock(uncertainty=CLOCK_UNCERTAINTY)),
    Case(Why.CLOCK_STEPPED, "clock", clock(stepped=CLOCK_STEP + 1), clock(stepped=CLOCK_STEP)),
    Case(Why.INSTRUMENT_UNKNOWN, "instrument", facts_gone),
    Case(Why.INSTRUMENT_HALTED, "instrument", status("break"), status("trading")),
    Case(Why.TICK, "exchange_rules", bad_order={"ticks": 0}),
    Case(Why.SIZE_ZERO, "exchange_rules", bad_order={"lots": 0}),
    Case(Why.MIN_NOTIONAL, "exchange_rules", bad_order={"lots": 1}, good_order={"lots": 2}),
    Case(Why.MAX_QTY, "exchange_rules", bad_order={"lots": 1_000_001}, good_order={"lots": 9000},
         plan=loose()),
    Case(Why.COLLAR, "collar", bad_order={"ticks": COLLARED + 1}, good_order={"ticks": COLLARED}),
    Case(Why.NO_REFERENCE, "collar",
         lambda s: setattr(s.market.streams["bin.book"], "ask", float("nan"))),
    Case(Why.PRICE_WALK, "collar", anchored(MID / 1.0101), anchored(MID / 1.0099)),
    Case(Why.MAX_ORDER, "max_order", plan=loose(max_order=usdt("479.9")),
         good_order={"lots": 7}),
    Case(Why.MAX_POSITION, "max_position", held(93), held(92),
         plan=loose(max_position={"bin": btc("0.1"), "byb": btc(100)})),
    Case(Why.MAX_POSITION, "max_position", resting(lots=93, side=Side.BUY), resting(lots=92),
         plan=loose(max_position={"bin": btc("0.1"), "byb": btc(100)})),
    Case(Why.MAX_NET_POSITION, "max_position", held(-3, R2, "byb"), held(-4, R2, "byb"),
         plan=loose(max_net_position={"BTC": Decimal("0.004")})),
    Case(Why.MAX_EXPOSURE, "max_exposure", held(9, R2, "byb"), held(8, R2, "byb"),
         plan=loose(max_exposure={"all": usdt(970)})),
    Case(Why.MAX_LEVERAGE, "max_leverage", equity(240.0), equity(240.1),
         plan=loose(max_leverage={"binance": 2.0})),
    Case(Why.MAX_LEVERAGE, "max_leverage",
         lambda s: (equity(480.0)(s), resting(lots=8, ticks=500_000)(s)),
         lambda s: (equity(480.0)(s), resting(lots=7, ticks=500_000)(s)),
         plan=loose(max_leverage={"binance": 2.0})),
    Case(Why.EQUITY_UNKNOWN, "max_leverage", equity(float("nan")), equity(10_000.0),
         plan=loose(max_leverage={"binance": 2.0})),
    Case(Why.MIN_FREE_MARGIN, "min_free_margin",
         lambda s: (equity(1000.0)(s), free(400 + NEED - 0.01)(s)),
         lambda s: (equity(1000.0)(s), free(400 + NEED + 0.01)(s)),
         plan=loose(min_free_margin=0.4)),
    Case(Why.EQUITY_UNKNOWN, "min_free_margin", equity(0.0), plan=loose(min_free_margin=0.4)),
    Case(Why.MAX_OPEN_TRADES, "max_open_trades", in_state(R2, "leaving"), in_state(R2, "cooldown"),
         plan=loose(max_open_trades=1)),
    Case(Why.BALANCE, "balance", free(NEED - 0.01), free(NEED + 0.01)),
    Case(Why.BALANCE_UNKNOWN, "balance", unheard),
    Case(Why.MAX_OPEN_ORDERS, "max_open_orders", resting(3, ticks=500_000),
         resting(2, ticks=500_000), plan=loose(max_open_orders={"bin": 3})),
    Case(Why.SELF_CROSS, "self_cross", resting(side=Side.SELL, ticks=600_001),
         resting(side=Side.SELL, ticks=600_002)),
    Case(Why.SAME_ORDER, "same_order", again(50 * MS - 1), again(50 * MS)),
    Case(Why.MAX_ORDERS, "order_rate", entered(5), entered(4),
         plan=loose(max_orders=Rate(5, SECOND))),
    Case(Why.MAX_FIRINGS, "order_rate", fired(20), fired(19)),
    Case(Why.LOSS_UNCERTAIN, "loss", lambda s: setattr(s.engine.desk.limits, "uncertain", "byb")),
    Case(Why.DAILY_LOSS, "loss", lost(20.0), lost(19.99), plan=loose(
        max_daily_loss=arb_plan().risk.max_daily_loss)),
    Case(Why.DRAWDOWN, "loss", lost(15.0), lost(14.99),
         plan=loose(max_drawdown=Drawdown(usdt(15)))),
    Case(Why.RATE_BUDGET, "rate_budget", budget(80), budget(79)),
]  # fmt: skip


def prepared(case: Case, change: Change | None) -> Scenario:
    s = stage(case.plan or loose())
    s.run(20 * MS)
    if change is not None:
        change(s)
    return s


@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c.code))
def test_the_smallest_violation_is_denied_with_exactly_its_code(case: Case) -> None:
    s = prepared(case, case.bad)
    order = intent(s, **(case.bad_order or {}))
    assert judge(s, order, parents=case.bad_parents) is case.code


@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c.code))
def test_the_most_that_is_allowed_passes(case: Case) -> None:
    s = prepared(case, case.good)
    assert judge(s, intent(s, **(case.good_order or {}))) is None


@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c.code))
def test_without_its_check_the_violation_is_not_denied_by_that_code(case: Case) -> None:
    """The table has teeth: each case fails when its check is taken out."""
    s = prepared(case, case.bad)
    gate = s.engine.desk.gate
    before = len(gate.checks)
    gate.checks = [c for c in gate.checks if c.__name__ != case.check]
    assert len(gate.checks) == before - 1
    order = intent(s, **(case.bad_order or {}))
    assert judge(s, order, parents=case.bad_parents) is not case.code


def test_a_denied_group_is_denied_whole_and_leaves_nothing_reserved() -> None:
    s = stage(loose(max_position={"bin": btc(100), "byb": btc("0.007")}))
    both = (intent(s), intent(s, market="byb", exchange="bybit", side=Side.SELL, ticks=599_999))
    assert judge(s, *both) is Why.MAX_POSITION
    assert not s.engine.desk.orders.open
    assert not s.engine.desk.gate.entries


def test_balances_of_all_legs_are_reserved_before_the_first_is_sent() -> None:
    s = stage(loose())
    free(2 * NEED - 0.01)(s)
    two = (intent(s), intent(s, lots=8, ticks=600_000))
    assert judge(s, *two) is Why.BALANCE
    assert judge(s, two[0]) is None


def test_an_order_that_reduces_passes_what_would_only_keep_us_in() -> None:
    s = stage(loose())
    held(8)(s)
    s.engine.desk.limits.uncertain = "byb"
    mode(Mode.REDUCING)(s)
    ready(Readiness.RECONCILING)(s)
    clock(at=10 * CLOCK_MAX_AGE)(s)
    aged("bin.book", 30 * SECOND)(s)
    budget(95)(s)
    fired(50)(s)
    order = intent(s, side=Side.SELL, ticks=599_900)
    more = {"mids": [MID], "worst": 0.002}
    assert judge(s, order, purpose=Purpose.CLOSE, **more) is None
    assert judge(s, order, purpose=Purpose.ENTRY) is Why.REDUCING


def test_an_exit_stays_within_its_ledger_with_all_exits_in_flight() -> None:
    s = stage(loose())
    held(8)(s)
    close = {"purpose": Purpose.CLOSE, "mids": [MID], "worst": 0.002}
    resting(side=Side.SELL, lots=3, ticks=599_990, purpose=Purpose.CLOSE)(s)
    most = intent(s, side=Side.SELL, lots=5, ticks=599_991)
    over = intent(s, side=Side.SELL, lots=6, ticks=599_991)
    assert judge(s, over, **close) is Why.EXIT_OVER_LEDGER
    assert judge(s, most, **close) is None


def test_an_exit_stays_within_the_position_at_the_exchange_with_all_exits_in_flight() -> None:
    close = {"purpose": Purpose.CLOSE, "mids": [MID], "worst": 0.002}
    over = Why.EXIT_OVER_POSITION
    for there, lots, want in (
        (8, 8, None),
        (7, 8, over),
        (7, 7, None),
        (0, 1, over),
        (-8, 1, over),
    ):
        s = stage(loose())
        held(8)(s)
        shown(there)(s)
        assert judge(s, intent(s, side=Side.SELL, lots=lots, ticks=599_990), **close) is want
    s = stage(loose())
    held(8)(s)
    shown(5)(s)
    resting(side=Side.SELL, lots=3, ticks=599_990, purpose=Purpose.CLOSE)(s)
    assert judge(s, intent(s, side=Side.SELL, lots=3, ticks=599_991), **close) is (
        Why.EXIT_OVER_POSITION
    )
    assert judge(s, intent(s, side=Side.SELL, lots=2, ticks=599_991), **close) is None


def test_a_reduction_is_bound_by_worst_not_by_the_collar() -> None:
    s = stage(loose())
    held(8)(s)
    close = {"purpose": Purpose.CLOSE, "mids": [MID], "worst": 0.002}
    floor = int(MID * 0.998 * 10)
    assert judge(s, intent(s, side=Side.SELL, ticks=floor), **close) is None
    assert judge(s, intent(s, side=Side.SELL, ticks=floor - 2), **close) is Why.COLLAR


def test_the_operators_halt_lets_repairs_but_no_close_pass() -> None:
    s = stage(loose())
    held(8)(s)
    mode(Mode.KEPT)(s)
    more: dict[str, Any] = {"mids": [MID], "worst": 0.002}
    order = intent(s, side=Side.SELL, ticks=599_990)
    assert judge(s, order, purpose=Purpose.CLOSE, **more) is Why.HALTED
    assert judge(s, order, purpose=Purpose.REPAIR, **more) is None


def test_refusals_carry_value_and_limit() -> None:
    s = stage(loose(max_position={"bin": btc("0.02"), "byb": btc(100)}))
    held(16)(s)
    desk = s.engine.desk
    order = intent(s)
    verdict = desk.gate.judge(
        Proposal(desk.plan.rules[R1], Purpose.ENTRY, [order], [60_000.1], [8])
    )
    assert isinstance(verdict, Refusal)
    assert verdict.text == "max_position.bin: 0.024 BTC / 0.02 BTC"


def test_a_stable_offset_is_fine_and_a_step_is_not() -> None:
    s = stage(loose())
    for offset in (0, 249 * MS, 249 * MS):
        s.push(ClockReading(exchange="binance", offset=offset, uncertainty=MS))
    s.run(1)
    assert judge(s) is None
    s.push(ClockReading(exchange="binance", offset=10 * SECOND, uncertainty=MS))
    s.run(1)
    assert judge(s) is Why.CLOCK_STEPPED
    s.push(ClockReading(exchange="binance", offset=10 * SECOND, uncertainty=MS))
    s.run(1)
    venue = s.engine.desk.venues["binance"]
    assert checks_world.clock_refusal(venue, s.t) is None, "large but stable"


@pytest.mark.parametrize(
    ("offset", "uncertainty", "why"),
    [
        (0, MS, Why.CLOCK_STEPPED),  # our own clock was set: the offset is not known any more
        (2 * SECOND, MS, Why.CLOCK_STEPPED),
        (0, 101 * MS, Why.CLOCK_UNCERTAIN),
    ],
)
def test_a_clock_that_is_not_good_takes_no_new_risk_until_it_is(
    offset: int, uncertainty: int, why: Why
) -> None:
    s = stage(loose())
    s.push(ClockReading(exchange="binance", offset=offset, uncertainty=uncertainty, ok=False))
    s.run(1)
    assert judge(s) is why
    s.push(ClockReading(exchange="binance", offset=offset, uncertainty=MS))
    s.run(1)
    assert judge(s) is None


def test_the_checks_stand_in_the_order_of_their_numbers() -> None:
    names = [c.__name__ for c in stage(loose()).engine.desk.gate.checks]
    assert names == [
        "run_state", "identity", "exchange_ready", "data_age", "clock", "instrument",
        "exchange_rules", "collar", "max_order", "max_position", "max_exposure", "balance",
        "max_open_orders", "self_cross", "same_order", "order_rate", "loss", "rate_budget",
    ]  # fmt: skip
    assert len(names) == 18
    for module in (checks_world, checks_order, checks_risk):
        assert module.__doc__


def test_there_are_at_least_thirty_codes() -> None:
    assert len({case.code for case in CASES}) >= 30


def test_only_the_gate_can_make_an_approval() -> None:
    s = stage(loose())
    with pytest.raises(TypeError):
        Approved(intent(s), object())
    assert isinstance(_approve(intent(s)), Approved)
