"""Open trades without a rule: refused, adopted, closed first, or held (trading.md, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest

from runner.base.errors import UsageError, WorldError
from runner.engine.caretaking import with_care
from runner.engine.commands import Notify, Purpose, Record
from runner.engine.events import External, Operator
from runner.engine.orphans import settle
from runner.engine.saved import Saved
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from runner.spec.plan import Plan
from runner.spec.rule_plan import Care, RulePlan
from tests.engine.stage import R1, R2, Knobs, arb_plan, narrow, rule, stage, widen
from tests.engine.test_guards import enter, scene, stops
from tests.engine.test_restart import PAIR, holding, journal

OTHER = (Side.BUY, Side.SELL)


def newborn(
    old: Scenario,
    rules: Sequence[RulePlan],
    *,
    adopt: Sequence[tuple[str, str]] = (),
    care: Care | None = None,
    saved: Saved | None = None,
    run_id: str = "run0000002",
    knobs: Knobs | None = None,
) -> Scenario:
    """A new process with other rules, at the same exchanges."""
    plan = arb_plan(*rules)
    left = settle(plan, saved or journal(old), adopt, care)
    return started(old, with_care(plan, left), left, run_id, knobs)


def started(
    old: Scenario, plan: Plan, left: Saved, run_id: str, knobs: Knobs | None = None
) -> Scenario:
    knobs = knobs or Knobs(until=dict.fromkeys(plan.rules, lambda _now: False))
    knobs.when |= {x.rule: (lambda _now: False) for x in left.settled if x.how != "adopt"}
    new = stage(plan, knobs, restored=left, warm=False, run_id=run_id)
    new.wall_at_zero = old.wall_at_zero + old.t + 5 * SECOND
    for name, exchange in new.exchanges.items():
        before = old.exchanges[name]
        exchange.orders, exchange.positions = before.orders, before.positions
        exchange._count = before._count
    new.quotes.update(old.quotes)
    return new


def later(old: Scenario) -> Saved:
    """The rows of both runs: the youngest of a name stands."""
    assert old.engine.restored is not None
    now = journal(old)
    known = msgspec.structs.replace(old.engine.restored, settled=())
    rules = {**known.rules, **now.rules}
    return msgspec.structs.replace(known, rules=rules, run=now.run or known.run)


def truth(s: Scenario) -> tuple[int, int]:
    return s.truth("bin"), s.truth("byb")


def test_without_a_word_nothing_is_touched() -> None:
    s = holding()
    new = newborn(s, [rule("other", PAIR)])
    new.run(5 * SECOND)
    assert new.engine.orphans == [R1] and new.sent == [] and truth(new) == (-8, 8)
    lone = newborn(s, [rule("lone", (Side.SELL,))])
    lone.run(5 * SECOND)
    assert lone.engine.orphans == [R1] and lone.sent == [], "nor does another rule enter meanwhile"
    assert lone.engine.desk.limits.mode == "frozen"


def test_closed_together_before_any_rule_may_enter() -> None:
    s = holding()
    new = newborn(s, [rule("other", PAIR)], care=Care.CLOSE)
    usual, new.exchanges["bybit"].default = new.exchanges["bybit"].default, Fate.NOTHING
    new.run(4 * SECOND)
    assert new.engine.orphans == []
    assert {i.rule for i in new.sent} == {R1}, "the other's `when` is true, but it waits"
    assert "closing" in new.engine.desk.limits.reason
    first = new.sent[:2]
    assert [i.lots for i in first] == [8, 8] and {i.side for i in first} == {Side.BUY, Side.SELL}
    assert all(i.reduce_only and i.purpose is Purpose.CLOSE for i in first)
    new.exchanges["bybit"].default = usual
    new.run(30 * SECOND)
    assert (new.lots("bin"), new.lots("byb")) == truth(new)
    assert any(i.rule == "other" for i in new.sent)
    assert new.engine.desk.ledgers.of(R1, "bin").lots == 0
    kinds = [c.fields for c in new.commands(Record) if c.kind == "orphan"]
    assert kinds == [{"rule": R1, "of": R1, "how": "close"}]
    assert new.engine.funnels[R1].exits == 1
    again = newborn(new, [rule("other", PAIR)], saved=later(new), run_id="run0000003")
    again.run(3 * SECOND)
    assert again.engine.orphans == []


def test_what_cannot_be_matched_is_kept_matched() -> None:
    s = holding()
    new = newborn(s, [rule("other", PAIR)], care=Care.CLOSE)
    new.exchanges["bybit"].start = lambda: None  # type: ignore[method-assign]
    new.run(10 * SECOND)
    assert new.sent == [] and truth(new) == (-8, 8), "one leg's exchange is away: both stay"


def test_held_it_counts_and_only_the_operator_closes_it() -> None:
    s = holding()
    narrow(s)
    new = newborn(s, [rule("other", PAIR), rule("against", OTHER)], care=Care.HOLD)
    new.run(20 * SECOND)
    assert new.sent == [] and new.state(R1) == "active"
    assert (new.lots("bin"), new.lots("byb")) == (-8, 8)
    why = new.engine.desk.rules.attempt(new.engine.desk.rules.runs["against"])
    assert why is not None and why.text == f"opposed {R1}"
    again = newborn(new, [rule("other", PAIR)], saved=later(new), run_id="run0000003")
    again.run(3 * SECOND)
    assert again.engine.orphans == [R1], "each start says anew what becomes of it"
    third = newborn(
        again, [rule("other", PAIR)], saved=later(again), run_id="run0000004", care=Care.HOLD
    )
    third.run(3 * SECOND)
    third.push(Operator(command="flatten", rule=R1))
    third.run(3 * SECOND)
    assert truth(third) == (0, 0)


def test_held_it_is_the_old_rule_s_again_when_that_is_back() -> None:
    s = holding()
    narrow(s)
    new = newborn(s, [rule("other", PAIR)], care=Care.HOLD)
    new.run(5 * SECOND)
    trade = s.engine.desk.rules.runs[R1].trade
    back = newborn(
        new, [rule(R1, PAIR, max_hold_ns=60 * SECOND)], saved=later(new), run_id="run0000003"
    )
    back.run(5 * SECOND)
    again = back.engine.desk.rules.runs[R1].trade
    assert back.engine.orphans == [] and back.state(R1) == "active"
    assert trade is not None and again is not None and again.entered == trade.entered
    back.run(60 * SECOND)
    assert truth(back) == (0, 0), "max_hold counts from the entry"


@pytest.mark.parametrize("generations", [1, 2])
@pytest.mark.parametrize(("taken", "left"), [(3, 5), (8, 0)])
def test_held_legs_belong_together_when_the_exchange_takes_of_one(
    generations: int, taken: int, left: int
) -> None:
    new, saved = holding(), None
    narrow(new)
    for n in range(generations):
        run_id = f"run000000{n + 2}"
        new = newborn(new, [rule("other", PAIR)], care=Care.HOLD, saved=saved, run_id=run_id)
        new.run(5 * SECOND)
        saved = later(new)
    assert truth(new) == (-8, 8)
    new.exchanges["binance"].positions["BTCUSDT"] += taken
    adl = External(exchange="binance", what="adl", market="bin", lots=taken, price=60_300.0)
    new.push(adl)
    new.run(500 * MS)
    assert truth(new) == (-left, left) == (new.lots("bin"), new.lots("byb"))
    assert [i.purpose for i in new.sent] == [Purpose.REPAIR]
    assert new.state(R1) == ("active" if left else "done")


def test_held_legs_that_cannot_be_matched_are_told_and_kept() -> None:
    s = holding()
    narrow(s)
    new = newborn(s, [rule("other", PAIR)], care=Care.HOLD)
    new.run(5 * SECOND)
    new.exchanges["bybit"].default = Fate.REJECTED
    new.exchanges["binance"].positions["BTCUSDT"] = -5
    new.push(External(exchange="binance", what="adl", market="bin", lots=3, price=60_300.0))
    new.run(5 * SECOND)
    assert (new.lots("bin"), new.lots("byb")) == (-5, 8) and new.state(R1) == "active"
    assert any("apart" in n.text and n.level == "page" for n in new.commands(Notify))
    assert {i.market for i in new.sent} == {"byb"}, "nothing is bought back where it was taken"


def test_a_row_without_a_hedge_is_held_as_before() -> None:
    s = holding()
    narrow(s)
    saved = journal(s)
    row = msgspec.json.decode(saved.rules[R1])
    del row["trade"]["hedge"]
    rules = saved.rules | {R1: msgspec.json.encode(row).decode()}
    old = msgspec.structs.replace(saved, rules=rules)
    new = newborn(s, [rule("other", PAIR)], care=Care.HOLD, saved=old)
    new.run(5 * SECOND)
    assert new.state(R1) == "active" and truth(new) == (-8, 8) and new.sent == []


def test_the_loss_limit_closes_what_is_held() -> None:
    s = holding()
    new = newborn(s, [rule("other", PAIR)], care=Care.HOLD)
    new.run(4 * SECOND)
    new.quote("bin", 64_000.0, 64_000.1)
    new.run(5 * SECOND)
    assert new.engine.desk.limits.mode == "halted" and truth(new) == (0, 0)


def test_adopted_by_another_rule() -> None:
    s = holding()
    narrow(s)
    knobs = Knobs()
    new = newborn(s, [rule("other", PAIR)], adopt=[(R1, "other")], knobs=knobs)
    new.run(1 * MS)
    new.run(10 * SECOND)
    assert new.engine.orphans == [] and {i.rule for i in new.sent} == {"other"}
    assert truth(new) == (0, 0), "the gap is closed: the new rule's `until` says so"
    (trade,) = [c.fields for c in new.commands(Record) if c.kind == "trade"]
    settled = sum(x.settled_pnl for x in new.engine.desk.ledgers)
    assert trade["rule"] == "other" and trade["pnl"] == pytest.approx(settled)
    rows = later(new).rules
    assert msgspec.json.decode(rows[R1])["ledgers"] == []
    again = newborn(new, [rule("other", PAIR)], saved=later(new), run_id="run0000003")
    again.run(3 * SECOND)
    assert again.engine.orphans == [], "the old row is emptied: nothing is counted twice"
    assert again.engine.desk.limits.carried == 0.0


def test_a_trade_in_flight_is_adopted_with_its_orders() -> None:
    s = stage(arb_plan(rule(R1, PAIR)))
    widen(s)
    s.run(1 * MS)  # sent, nothing heard
    new = newborn(s, [rule("other", PAIR)], adopt=[(R1, "other")])
    new.run(10 * SECOND)
    assert new.sent == [] and new.state("other") == "active"
    assert (new.lots("bin"), new.lots("byb")) == truth(new) == (-8, 8)


@pytest.mark.parametrize("care", Care)
def test_a_trade_in_flight_is_resolved_before_it_is_held_or_closed(care: Care) -> None:
    s = stage(arb_plan(rule(R1, PAIR)))
    s.exchanges["bybit"].default = Fate.LOST
    widen(s)
    s.run(1 * MS)
    new = newborn(s, [rule("other", OTHER)], care=care)
    new.run(30 * SECOND)
    assert (new.lots("bin"), new.lots("byb")) == truth(new)
    assert truth(new) == (0, 0), "one leg alone is not a trade: held, it is trimmed away"
    assert new.engine.desk.limits.mode == "active"


def test_adoption_is_refused_where_it_does_not_fit() -> None:
    s = holding()
    saved = journal(s)
    plan = arb_plan(rule("turned", OTHER), rule("single", (Side.SELL,)), rule("fits", PAIR))
    for name in ("turned", "single"):
        with pytest.raises(WorldError, match=r"bin sell, byb buy, but .* trades"):
            settle(plan, saved, [(R1, name)])
    with pytest.raises(UsageError, match="no rule is named 'nix'; there are turned"):
        settle(plan, saved, [(R1, "nix")])
    assert settle(plan, saved, [("nix", "fits")]) is saved, "nothing to adopt"
    busy = msgspec.structs.replace(saved, rules={**saved.rules, "fits": saved.rules[R1]})
    with pytest.raises(WorldError, match="open trade of its own"):
        settle(plan, busy, [(R1, "fits")])
    with pytest.raises(WorldError, match="as it was"):
        both = arb_plan(rule(R1, PAIR, max_hold_ns=60 * SECOND), rule("fits", PAIR))
        settle(replace(both), saved, [(R1, "fits")])


def test_a_rule_of_the_same_name_but_other_sides_begins_anew_beside_its_orphan() -> None:
    s = holding()
    name = f"{R1}.orphan"
    new = newborn(s, [rule(R1, OTHER)], care=Care.HOLD)
    new.run(5 * SECOND)
    assert new.state(name) == "active" and new.state(R1) in ("idle", "warming")
    assert (new.lots("bin"), new.lots("byb")) == (-8, 8)
    rows = later(new).rules
    assert msgspec.json.decode(rows[R1])["ledgers"] == []
    taken = newborn(
        new, [rule(R2, PAIR)], saved=later(new), run_id="run0000003", adopt=[(name, R2)]
    )
    taken.run(5 * SECOND)
    assert taken.engine.orphans == [] and taken.state(R2) == "active"


def test_a_market_that_is_not_in_the_file_is_named() -> None:
    plan = arb_plan(rule("other", (Side.SELL,)))
    plan = replace(plan, markets={"bin": plan.markets["bin"]})
    left = settle(plan, journal(holding()), care=Care.CLOSE)
    with pytest.raises(WorldError, match="byb is not in the file"):
        with_care(plan, left)


def test_a_name_that_stands_for_another_symbol_now_is_another_market() -> None:
    s = holding()
    plan = arb_plan(rule(R1, PAIR, max_hold_ns=60 * SECOND))
    other = replace(plan.markets["bin"].instrument, symbol="ETHUSDT")
    moved = replace(plan.markets["bin"], symbol="ETHUSDT", instrument=other)
    plan = replace(plan, markets={**plan.markets, "bin": moved})
    saved = journal(s)
    says = "bin was binance_usdm BTCUSDT, and is binance_usdm ETHUSDT in the file"
    with pytest.raises(WorldError, match=says):
        settle(plan, saved, [(R1, R1)])
    for care in Care:
        with pytest.raises(WorldError, match=says):
            with_care(plan, settle(plan, saved, care=care))
    new = started(s, plan, saved, "run0000002")
    new.run(1 * MS)
    assert new.engine.orphans == [f"{R1} ({says})"], "its own rule does not go on with it"


def test_a_market_that_no_rule_trades_is_traded_for_its_orphan() -> None:
    plan = arb_plan(rule("other", (Side.SELL,)))
    idle = replace(plan.markets["byb"], traded=False)
    plan = replace(plan, markets={**plan.markets, "byb": idle})
    s = holding()
    left = settle(plan, journal(s), care=Care.CLOSE)
    cared = with_care(plan, left)
    assert cared.markets["byb"].traded
    assert {"byb.mark", "byb.funding"} <= set(cared.streams)
    new = started(s, cared, left, "run0000002")
    new.run(10 * SECOND)
    assert (new.truth("byb"), new.engine.desk.ledgers.of(R1, "bin").lots) == (0, 0)


@pytest.mark.parametrize("care", Care)
def test_its_stop_at_the_exchange_stays_until_it_is_closed(care: Care) -> None:
    s, signal, _ = scene()
    enter(s, signal)
    assert len(stops(s)) == 1
    plan = arb_plan(rule("other", OTHER))
    left = settle(plan, journal(s), care=care)
    new = started(s, with_care(plan, left), left, "run0000002")
    new.run(10 * SECOND)
    working = [o for o in new.engine.desk.orders.guards.values() if not o.terminal]
    if care is Care.HOLD:
        assert new.sent == [] and len(working) == 1 and new.truth("bin") != 0
    else:
        assert new.truth("bin") == 0 and working == []


def test_the_words_of_a_row_outlive_being_read() -> None:
    left = settle(arb_plan(rule("other", PAIR)), journal(holding()), care=Care.HOLD)
    back = msgspec.convert(msgspec.to_builtins(left), Saved)
    assert back == left
    told = [n.text for n in newborn(holding(), [rule("x", PAIR)]).commands(Notify)]
    assert told == []
