"""What conditions read besides the streams they name, and trades whose rule has changed since."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.engine.build import compiled
from runner.engine.commands import Notify, Record
from runner.engine.events import Fill, Operator
from runner.engine.reading import cell_streams, identity
from runner.engine.restoring import split_fills
from runner.engine.saved import Saved
from runner.engine.scenario import Scenario
from runner.engine.timers import MS, SECOND
from runner.spec.load import load
from runner.spec.plan import Plan
from tests.engine.test_restart import journal

FILE = """
version: 1
name: one
params:
  most: {{type: duration, default: 300ms}}
exchanges:
  binance: {{type: binance_usdm, network: testnet}}
markets:
  bin: {{exchange: binance, symbol: BTCUSDT, streams: {{book: {{max_age: 5s}}}}}}
rules:
  r:
    when: {when}
    until: {until}
    cooldown: 60s
    trade:
      legs: [{{market: bin, side: buy}}]
      size: 500 USDT
      close: {{tif: ioc, collar: 5bps, worst: 100bps}}
risk:
  max_order: 600 USDT
  max_position: {{bin: 0.02 BTC}}
  max_orders: {{count: 40, per: 1m}}
  max_daily_loss: 50 USDT
"""
WHEN = "bin.bid * 1 BTC > 60_100 USDT"


def plan_of(tmp_path: Path, until: str, when: str = WHEN, **sets: str) -> Plan:
    path = tmp_path / "one.yaml"
    path.write_text(FILE.format(when=when, until=until))
    checked = load(path, sets=sets)
    assert checked.plan is not None, [d.message for d in checked.findings.items]
    return checked.plan


def running(plan: Plan, **options: object) -> Scenario:
    """Warm, on quotes that come only when they change: a quiet market."""
    s = Scenario(plan, compiled(plan), tick_every=1 * SECOND, **options)  # type: ignore[arg-type]
    s.start(bin=(60_000.0, 60_000.1))
    return s.run(1500 * MS)


def active(plan: Plan) -> Scenario:
    s = running(plan)
    s.quote("bin", 60_200.0, 60_200.1)
    s.run(20 * MS)
    assert s.state("r") == "active"
    return s


@pytest.mark.parametrize(
    "until",
    [
        "this.exit_return < -0.5%",
        "this.exit_pnl < -2 USDT",
        "pnl.day < -2 USDT",
        "position.bin.pnl < -2 USDT",
    ],
)
def test_what_a_position_is_worth_is_looked_at_when_its_book_moves(
    tmp_path: Path, until: str
) -> None:
    s = active(plan_of(tmp_path, until))
    s.run(300 * MS)
    assert s.state("r") == "active"
    s.quote("bin", 59_850.0, 59_850.1)
    s.run(20 * MS)
    assert s.truth("bin") == 0


def test_the_books_behind_a_cell_are_watched(tmp_path: Path) -> None:
    for until, want in (
        ("this.exit_pnl > 1 USDT", ("bin.book",)),
        ("position.bin.qty > 1 BTC", ("bin.book",)),
        ("pnl.day > 1 USDT", ("bin.book",)),
        ("bin.bid * 1 BTC < 1 USDT", ()),
    ):
        plan = plan_of(tmp_path, until)
        assert cell_streams(plan, plan.rules["r"]) == want
        s = running(plan)
        run = s.engine.desk.rules.runs["r"]
        assert run in s.engine._watches["bin.book"].rules


def test_an_age_is_looked_at_when_nothing_else_happens(tmp_path: Path) -> None:
    s = active(plan_of(tmp_path, "this.age > params.most"))
    opened = s.sent[0].t
    s.run(200 * MS)
    assert s.state("r") == "active"
    s.run(200 * MS)
    assert s.truth("bin") == 0
    assert 300 * MS <= s.sent[1].t - opened <= 320 * MS


def restarted(s: Scenario, plan: Plan, *, adopt: bool = False) -> Scenario:
    new = Scenario(
        plan, compiled(plan), restored=journal(s), run_id="run0000002", adopt=adopt,
        tick_every=1 * SECOND,
    )  # fmt: skip
    new.wall_at_zero = s.wall_at_zero + s.t
    for name, exchange in new.exchanges.items():
        exchange.orders, exchange.positions = s.exchanges[name].orders, s.exchanges[name].positions
        exchange._count = 100
    new.start(**s.quotes)
    return new.run(5 * SECOND)


def test_an_open_trade_whose_rule_has_changed_is_refused_and_not_touched(tmp_path: Path) -> None:
    s = active(plan_of(tmp_path, "this.age > 1h"))
    new = restarted(s, plan_of(tmp_path, "this.age > 1s"))
    assert len(new.engine.orphans) == 1 and "have changed" in new.engine.orphans[0]
    assert new.sent == [] and new.truth("bin") != 0
    new.push(Operator(command="stop"))
    new.run(5 * SECOND)
    assert new.sent == []
    new.engine.desk.rules.touch("r")
    new.run(1 * SECOND)
    third = restarted(new, plan_of(tmp_path, "this.age > 1h"))
    assert third.engine.orphans == [] and third.state("r") == "active"


def test_adopted_it_goes_on_by_the_new_words(tmp_path: Path) -> None:
    s = active(plan_of(tmp_path, "entered(bin.bid) * 1 BTC > 100_000 USDT"))
    other = "this.age > 1s and not (entered(bin.ask) * 1 BTC > 100_000 USDT)"
    new = restarted(s, plan_of(tmp_path, other), adopt=True)
    assert new.engine.orphans == []
    assert new.state("r") == "active", "what it did not remember is missing, so `until` is"
    assert any("as it is now" in n.text for n in new.commands(Notify))
    again = restarted(new, plan_of(tmp_path, other))
    assert again.engine.orphans == []


@pytest.mark.parametrize(
    ("until", "when", "sets", "same"),
    [
        ("this.age > params.most", WHEN, {}, True),
        ("this.age  >  params.most   # later", WHEN, {}, True),
        ("this.age > params.most", "bin.bid * 1 BTC > 60_101 USDT", {}, False),
        ("this.age > 300ms", WHEN, {}, False),
        ("this.age > params.most", WHEN, {"most": "400ms"}, False),
    ],
)
def test_words_and_params_make_a_rule_not_its_place_in_the_file(
    tmp_path: Path, until: str, when: str, sets: dict[str, str], same: bool
) -> None:
    first = plan_of(tmp_path, "this.age > params.most")
    other = plan_of(tmp_path, until, when, **sets)
    assert (identity(first, first.rules["r"]) == identity(other, other.rules["r"])) is same


def test_a_fill_that_was_journaled_before_its_row_is_booked_once_at_the_start(
    tmp_path: Path,
) -> None:
    plan = plan_of(tmp_path, "this.age > 1h")
    s = running(plan)
    s.quote("bin", 60_200.0, 60_200.1)
    s.run(1 * MS)
    before = journal(s)  # the order is out, nothing was heard
    s.run(100 * MS)
    assert s.lots("bin") == 8
    fills = [f for t in s.exchanges["binance"].orders.values() for f in t.fills]
    assert all(isinstance(f, Fill) for f in fills)
    keys, late = split_fills(before.rules, fills)
    assert (keys, late) == ([], fills), "the row of the crash does not know them"
    assert split_fills(journal(s).rules, fills)[1] == [], "the row after it does"
    saved = Saved(rules=before.rules, run=before.run, fills=frozenset(keys), late=tuple(late))
    new = Scenario(plan, compiled(plan), restored=saved, run_id="run0000002")
    new.wall_at_zero = s.wall_at_zero + s.t
    exchange = new.exchanges["binance"]
    exchange.orders, exchange.positions = (
        s.exchanges["binance"].orders,
        s.exchanges["binance"].positions,
    )
    begin, exchange.start = exchange.start, lambda: None  # type: ignore[method-assign]
    new.start(**s.quotes)
    new.run(1 * MS)
    assert new.lots("bin") == 8, "from the journal, before the exchange has said a word"
    begin()
    new.run(10 * SECOND)
    assert (new.lots("bin"), new.state("r"), new.sent) == (8, "active", [])
    assert new.engine.quiet
    assert not [r for r in new.commands(Record) if r.kind == "alarm"]


def test_an_exit_by_what_closing_would_leave_needs_no_other_word_for_its_book(
    tmp_path: Path,
) -> None:
    s = running(plan_of(tmp_path, "this.exit_return < -0.5%", "this.cost < 50%"))
    assert s.state("r") == "active"
    s.quote("bin", 59_500.0, 59_500.1)
    s.run(20 * MS)
    assert s.truth("bin") == 0
