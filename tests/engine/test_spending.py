"""`max_spend`: what purchases on spot may cost, whatever becomes of the orders."""

from __future__ import annotations

from collections import deque

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.engine.build import compiled
from runner.engine.scenario import Fate, Scenario
from runner.engine.spending import under_way
from runner.engine.timers import MS, SECOND
from runner.spec.load import load
from runner.spec.plan import Plan
from tests.engine.test_restart import journal

TEXT = """\
version: 1
name: buyer
exchanges:
  spot: {type: binance_spot, network: testnet, auth: {key: {env: A}, secret: {env: B}}}
markets:
  btc: {exchange: spot, symbol: BTCUSDT, streams: {book: {max_age: 5s}}}
rules:
  buy:
    when: btc.book.spread < 1
    cooldown: 1s
    order: {market: btc, side: buy, size: 30 USDT, type: limit, tif: ioc, collar: 10bps}
risk:
  max_order: 110 USDT
  max_orders: {count: 1000, per: 1h}
  max_spend: {amount: 100 USDT, per: 1h}
  price_collar: 5%
"""
ONE = 0.0005 * 60_000 * 1.001
"""what one purchase costs, about, with the fee"""


def plan(text: str = TEXT) -> Plan:
    checked = load(text, environ={})
    assert checked.plan is not None, [(d.code, d.message) for d in checked.findings.items]
    return checked.plan


def stage(saved: object = None, **options: object) -> Scenario:
    p = plan()
    s = Scenario(p, compiled(p), restored=saved, tick_every=100 * MS, **options)  # type: ignore[arg-type]
    return s.start(btc=(60_000.0, 60_000.1))


def refusals(s: Scenario) -> dict[str, int]:
    return dict(s.engine.funnels["buy"].refusals)


def test_three_purchases_of_30_fit_into_100_a_fourth_waits_for_the_hour() -> None:
    s = stage().run(60 * SECOND)
    assert len(s.sent) == 3
    assert refusals(s)["max_spend"] >= 1
    assert 3 * ONE * 0.98 < s.engine.desk.spending.total(s.engine.desk.wall) <= 100
    s.run(3500 * SECOND)
    assert len(s.sent) == 3
    s.run(70 * SECOND)
    assert len(s.sent) == 6, "the first three are an hour old"


def test_what_was_spent_is_known_after_a_restart_and_in_its_time() -> None:
    s = stage().run(30 * SECOND)
    assert len(s.sent) == 3
    new = stage(journal(s), run_id="run0000002")
    new.wall_at_zero = s.wall_at_zero + s.t + 600 * SECOND
    for name, exchange in new.exchanges.items():
        exchange.positions = s.exchanges[name].positions
    new.run(60 * SECOND)
    assert new.sent == []
    assert refusals(new)["max_spend"] >= 1
    new.run(3000 * SECOND)
    assert len(new.sent) == 3


def test_an_order_of_which_nothing_is_known_counts_at_its_full_size() -> None:
    s = stage()
    s.exchanges["spot"].default = Fate.LOST
    s.run(3 * SECOND)
    assert len(s.sent) == 1
    assert 29 < under_way(s.engine.desk) < 31


def test_one_that_never_was_costs_nothing() -> None:
    s = stage()
    s.exchanges["spot"].fates["btc"] = deque([Fate.REJECTED])
    s.run(60 * SECOND)
    assert len(s.sent) == 4


def test_a_sale_and_a_trade_are_not_purchases() -> None:
    text = TEXT.replace("side: buy", "side: sell").replace(
        "  max_spend", "  max_position: {btc: 1 BTC}\n  max_daily_loss: 100 USDT\n  max_spend"
    )
    p = plan(text)
    s = Scenario(p, compiled(p), tick_every=100 * MS).start(btc=(60_000.0, 60_000.1))
    s.exchanges["spot"].free = 1000.0
    s.run(30 * SECOND)
    assert "max_spend" not in refusals(s)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    fates=st.lists(
        st.sampled_from(
            [Fate.FILLED, Fate.PARTIAL, Fate.UNKNOWN, Fate.REJECTED, Fate.LATE, Fate.LOST]
        ),
        min_size=1,
        max_size=12,
    ),
    restart=st.booleans(),
)
def test_the_sum_of_all_purchases_of_an_hour_never_passes_the_limit(
    fates: list[Fate], restart: bool
) -> None:
    s = stage()

    def cost(s: Scenario) -> float:
        return sum(leg.volume for leg in s.engine.desk.ledgers if leg.rule == "buy")

    s.exchanges["spot"].fates["btc"] = deque(fates)
    s.watchers.append(lambda: _within(cost(s)))
    s.run(40 * SECOND)
    if restart:
        new = stage(journal(s), run_id="run0000002")
        for name, exchange in new.exchanges.items():
            before = s.exchanges[name]
            exchange.orders, exchange.positions = before.orders, before.positions
            exchange._count = before._count
        new.wall_at_zero = s.wall_at_zero + s.t + SECOND
        new.watchers.append(lambda: _within(cost(new)))
        new.run(60 * SECOND)


def _within(cost: float) -> None:
    assert cost <= 100 + 1e-6
