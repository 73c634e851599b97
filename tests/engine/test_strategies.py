"""The strategies of the repository, compiled from their files, through the whole engine."""

from __future__ import annotations

from pathlib import Path

from runner.engine.build import compiled
from runner.engine.commands import Purpose
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.spec.load import load

STRATEGIES = Path(__file__).parents[2] / "strategies"
RULE = "sell_bin_buy_byb"


def arb(**sets: str) -> Scenario:
    """`arb.yaml` with a basis of one minute, warm, on quiet quotes."""
    checked = load(STRATEGIES / "arb.yaml", sets={"window": "1m", **sets})
    assert checked.plan is not None, [d.message for d in checked.findings.items]
    s = Scenario(checked.plan, compiled(checked.plan), tick_every=200 * MS)
    for exchange in s.exchanges.values():
        exchange.free = 10_000.0
    s.start(bin=(60_000.0, 60_000.1), byb=(59_999.9, 60_000.0))
    return s.run(70 * SECOND)


def test_a_dislocation_over_the_basis_opens_and_closes_both_legs_alike() -> None:
    s = arb()
    assert s.state(RULE) == "idle"
    assert s.engine.trade_cells[RULE].cost == 2 * (0.0005 + 0.00055)
    s.quote("bin", 60_300.0, 60_300.1)
    s.run(20 * MS)
    assert s.state(RULE) == "active"
    assert [(i.market, i.side, i.qty_text) for i in s.sent] == [
        ("bin", "sell", "0.008"),
        ("byb", "buy", "0.008"),
    ]
    s.quote("bin", 60_000.0, 60_000.1)
    s.run(1 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert s.engine.funnels[RULE].exits == 1
    assert s.engine.desk.limits.day_loss < 0, "it was a profit, after all fees"
    trace = next(t for _, _, t in s.engine.why(RULE, 9) if t.after == "entering")
    assert any("sell_bin" in text for text, _ in trace.values)


def test_a_standing_basis_is_no_trade() -> None:
    s = arb()
    for step in range(25):
        s.quote("bin", 60_000.0 + 6 * step, 60_000.1 + 6 * step)
        s.run(30 * SECOND)
    assert s.sent == []


def test_one_per_cent_is_refused_as_insane() -> None:
    s = arb()
    s.quote("bin", 60_600.0, 60_600.1)
    s.run(1 * SECOND)
    assert s.sent == []


def test_it_stays_out_while_one_book_is_stale() -> None:
    s = arb()
    s.frozen.add("byb")
    s.run(1 * SECOND)
    s.quote("bin", 60_300.0, 60_300.1)
    s.run(1 * SECOND)
    assert s.sent == []
    assert any("byb.book" in why for why in s.engine.desk.program.missing(RULE, s.t))


def test_the_leg_that_filled_alone_is_undone_within_two_seconds() -> None:
    s = arb()
    s.exchanges["bybit"].default = Fate.REJECTED
    s.quote("bin", 60_200.0, 60_200.1)
    s.run(2 * SECOND)
    assert s.sent[0].purpose is Purpose.ENTRY
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)


def test_pairs_sizes_its_second_leg_from_what_is_left_of_the_first() -> None:
    checked = load(STRATEGIES / "pairs.yaml")
    assert checked.plan is not None, [d.message for d in checked.findings.items]
    plan = checked.plan
    s = Scenario(plan, compiled(plan))
    s.start(btc=(60_000.0, 60_000.1), eth=(3_000.0, 3_000.1)).run(1 * SECOND)
    assert {run.state.value for run in s.engine.desk.rules.runs.values()} == {"warming"}
    assert s.engine.trade_cells["dear_btc"].cost == 4 * 0.0005
