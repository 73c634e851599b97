"""What is not known is not taken for good: NaN, no picture, other lots, the same news twice."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from math import nan

import pytest

from runner.engine.codes import Why
from runner.engine.events import External, Facts
from runner.engine.scenario import Scenario
from runner.engine.timers import MS, SECOND
from runner.spec.risk_plan import DailyLoss
from tests.engine.stage import BIN, PAIR, R1, Knobs, arb_plan, rule, stage, usdt, widen
from tests.engine.test_gate import judge, loose
from tests.engine.test_restart import journal


def holding() -> Scenario:
    s = stage(arb_plan(rule(R1, PAIR)))
    widen(s)
    s.run(20 * MS)
    assert s.state(R1) == "active"
    return s


def test_a_loss_that_is_no_number_takes_no_new_risk() -> None:
    s = stage(loose())
    assert judge(s) is None
    s = stage(loose(max_daily_loss=DailyLoss(usdt(20))))
    s.engine.desk.ledgers.of(R1, "bin").realised = nan
    s.engine.desk.limits.evaluate()
    assert judge(s) is Why.LOSS_UNCERTAIN
    s.engine.desk.limits.uncertain = ""
    assert judge(s) is Why.DAILY_LOSS


def test_no_new_risk_before_the_first_whole_picture_whatever_readiness_says() -> None:
    s = stage(warm=False)
    picture = s.exchanges["binance"].picture
    s.exchanges["binance"].picture = (  # type: ignore[method-assign, assignment]
        lambda _t: Facts(exchange="binance", instruments=())
    )
    s.run(4 * SECOND)
    widen(s)
    s.run(1 * SECOND)
    assert s.sent == []
    s.push(picture(s.t))
    s.run(1 * SECOND)
    assert len(s.sent) == 2


@pytest.mark.parametrize(("lot", "frozen"), [(Decimal("0.001"), False), (Decimal("0.0001"), True)])
def test_a_restart_compares_lots_with_those_of_the_trade_not_of_the_catalogue(
    lot: Decimal, frozen: bool
) -> None:
    s = holding()
    saved = journal(s)
    plan = s.plan
    # the catalogue of the new version guesses another tick; the exchange tells `lot`
    guess = replace(BIN, tick=Decimal("0.5"))
    told = replace(BIN, lot=lot)
    markets = dict(plan.markets, bin=replace(plan.markets["bin"], instrument=guess))
    knobs = Knobs(until={R1: lambda _now: False})
    new = stage(
        replace(plan, markets=markets), knobs, restored=saved, warm=False, run_id="run0000002"
    )
    new.wall_at_zero = s.wall_at_zero + s.t
    for name, exchange in new.exchanges.items():
        exchange.orders, exchange.positions = s.exchanges[name].orders, s.exchanges[name].positions
    new.plan = replace(
        plan, markets=dict(plan.markets, bin=replace(markets["bin"], instrument=told))
    )
    new.run(1 * SECOND)
    assert (new.engine.desk.limits.code == "facts") is frozen


def test_the_same_funding_told_twice_is_booked_once() -> None:
    s = holding()
    for identity in ("7", "7", "8"):
        s.push(
            External(
                exchange="binance", what="funding", market="bin", amount=-0.5, asset="USDT",
                id=identity,
            )
        )  # fmt: skip
    s.run(1 * MS)
    assert s.engine.desk.ledgers.of(R1, "bin").funding == pytest.approx(-1.0)


def test_an_entry_rests_on_the_books_of_its_legs_whatever_when_reads() -> None:
    plan = arb_plan(rule(R1, PAIR, when_streams=("byb.book",)))
    s = stage(plan)
    run = s.engine.desk.rules.runs[R1]
    assert run.entry_streams == ("byb.book", "bin.book")
    s.frozen.add("bin")
    s.quote("bin", 60_300.0, 60_300.1)
    s.run(200 * MS)
    stream = s.market.streams["bin.book"]
    stream.max_age = 50 * MS  # old now, though no timer has said so yet
    s.quote("byb", 59_000.0, 59_000.1)
    s.run(1 * MS)
    assert s.sent == []


def test_a_day_that_begins_without_prices_starts_at_the_first_that_come() -> None:
    s = holding()
    saved = journal(s)
    new = stage(
        s.plan, Knobs(until={R1: lambda _now: False}), restored=saved, warm=False,
        run_id="run0000002",
    )  # fmt: skip
    new.wall_at_zero = s.wall_at_zero + 86_400 * SECOND
    for name, exchange in new.exchanges.items():
        exchange.orders, exchange.positions = s.exchanges[name].orders, s.exchanges[name].positions
    new.frozen |= {"bin", "byb"}
    new.run(2 * SECOND)
    limits = new.engine.desk.limits
    assert limits.uncertain
    new.frozen.clear()
    new.quotes.update(bin=(61_000.0, 61_000.1), byb=(59_999.9, 60_000.0))  # 5 USDT lost overnight
    new.run(200 * MS)
    assert not limits.uncertain
    assert limits.day_loss == pytest.approx(0.0, abs=1e-6), "it was lost the day before"


def test_a_trade_taken_up_under_a_halt_is_closed() -> None:
    s = holding()
    saved = journal(s)
    saved.run = saved.run.replace('"causes":{}', '"causes":{"x":["halted","max_daily_loss","x"]}')
    assert "max_daily_loss" in saved.run
    new = stage(s.plan, Knobs(), restored=saved, warm=False, run_id="run0000002")
    new.wall_at_zero = s.wall_at_zero + s.t
    new.quotes.update(s.quotes)
    for name, exchange in new.exchanges.items():
        exchange.orders, exchange.positions = s.exchanges[name].orders, s.exchanges[name].positions
        exchange._count = 100
    new.run(5 * SECOND)
    assert (new.truth("bin"), new.truth("byb")) == (0, 0)
