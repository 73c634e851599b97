"""The report: its shape, its words, its honesty."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from runner.app.report import Report, encode
from runner.app.report_text import text
from runner.app.why.shape import Reason, RuleStory
from runner.engine.commands import Notify, Resync, RunState, Trace
from runner.engine.events import ClockReading, Feed, Fill, SocketState
from runner.engine.tally import Near, Tallies
from tests.app.runlab import MS, RunLab, S

GOLDEN = Path(__file__).parent / "golden" / "report.txt"
KEYS = {
    "format", "kind", "run", "strategy", "from", "to", "market", "exit", "pnl", "rules",
    "exchanges", "streams", "sources", "positions", "latency_us", "paper", "unaccounted", "verdict",
}  # fmt: skip
RULE_KEYS = {
    "evaluations", "true", "entries", "exits", "no_fill", "undone", "rejected", "refusals",
    "blocked", "nearest", "fills",
    "volume", "fees", "funding", "realised", "unrealised", "residual", "waterfall",
}  # fmt: skip


def trip() -> RunLab:
    """Run one trade: in, out, a refusal, a reconnect."""
    lab = RunLab(entry=5 * MS, response=5 * MS)
    lab.quote("bin", 101.0, 101.1)
    lab.quote("byb", 100.1, 100.2)
    for exchange in ("binance", "bybit"):
        lab.collector.event(ClockReading(exchange=exchange, offset=1_500_000, uncertainty=200_000))
    up = Feed(exchange="bybit", socket="public", kind="public", state=SocketState.UP)
    lab.collector.event(up)
    lab.collector.event(up)
    for reason in ("no snapshot", "gap"):
        lab.collector.command(Resync(market="byb", reason=reason), 0)
    lab.collector.command(RunState(state="active", code="start"), 0)
    lab.collector.command(Notify(level="warn", text="x"), 0)
    refusal = Trace(
        rule="spread", cause="top", before="pending", after="pending", refusal="skew: 1"
    )
    lab.collector.command(refusal, 0)
    lab.send("entry", ("bin", "sell", 100, "100"), ("byb", "buy", 100, "101"))
    lab.run(1 * S)
    lab.quote("bin", 100.4, 100.5)
    lab.quote("byb", 100.3, 100.4)
    lab.send("close", ("bin", "buy", 100, "101"), ("byb", "sell", 100, "99"))
    lab.run(20 * S)
    lab.funnel.true, lab.funnel.entries, lab.funnel.exits = 7, 1, 1
    lab.funnel.refusals = {"skew": 6}
    lab.stories = {"spread": story()}
    return lab


def story() -> RuleStory:
    """It was kept out for 15 of 20 s by its threshold, then by a stale book."""
    tallies = Tallies()
    tally = tallies.at(0)
    tally.hold(["false gap(bin.bid, byb.ask) > 15bps"], 15 * S)
    tally.hold(["stream byb.book stale"], 2 * S)
    tally.hold(["in_trade"], 3 * S)
    near = Near(0.00012, "1.2bps", "13.8bps > 15bps", 0, 0)
    tally.miss("gap(bin.bid, byb.ask) > 15bps", near)
    reasons = {key: Reason(*key.split(" ", 1), "") for key in tally.time if " " in key}
    return RuleStory(
        rule="spread", state="idle", t=20 * S, wall=0, now=[], part="when", reads=[],
        tallies=tallies, reasons=reasons, counts={}, decisions=[],
    )  # fmt: skip


def test_the_text_of_a_report_is_this() -> None:
    assert text(trip().report()) == GOLDEN.read_text()


def test_no_line_is_wider_than_a_terminal() -> None:
    assert max(len(line) for line in text(trip().report()).splitlines()) <= 100


def test_the_json_has_every_key_of_the_interface_and_money_is_text() -> None:
    report = json.loads(encode(trip().report()))
    assert set(report) == KEYS
    assert set(report["rules"]["spread"]) >= RULE_KEYS
    for amount in (*report["pnl"].values(), *report["rules"]["spread"]["waterfall"].values()):
        assert isinstance(amount, str)
    assert report["exchanges"]["bybit"]["orders"] == {
        "sent": 2, "accepted": 2, "rejected": 0, "unknown": 0, "canceled": 0,
    }  # fmt: skip
    assert report["exchanges"]["bybit"]["reconnects"] == 1
    assert report["exchanges"]["bybit"]["gaps"] == 1
    assert report["exchanges"]["bybit"]["clock"] == {"offset_ms": 1.5, "uncertainty_ms": 0.2}
    assert report["latency_us"]["ack"]["n"] == 4
    assert 9_500 < report["latency_us"]["ack"]["p50"] < 10_500


def test_a_simulated_market_is_said_in_text_and_json() -> None:
    report = trip().report()
    assert json.loads(encode(report))["market"] == "made by the simulator; profit means nothing"
    assert "profit means nothing" in text(report)


def test_a_short_run_concludes_nothing_and_a_long_one_may() -> None:
    lab = trip()
    assert text(lab.report()).splitlines()[0].startswith("too little to conclude: 1 trade in 20 s")
    lab.collector.rules["spread"].trades += [Decimal(1)] * 29
    lab.run(4 * 86_400 * S)
    assert text(lab.report()).splitlines()[0] == "30 trades in 4.0 days"
    lab.collector.rules["spread"].trades.pop()
    assert lab.report().verdict.startswith("too little")


def net(report: Report, cut: str) -> Decimal:
    assert report.paper is not None
    return Decimal(report.paper.haircuts[cut]["net"])


def test_in_a_market_that_stands_still_only_the_fees_differ() -> None:
    report = trip().report()
    assert net(report, "latency_x3") == net(report, "contested") == Decimal(report.pnl.net)
    worse = Decimal(report.pnl.net) - Decimal(report.pnl.fees) / 4
    assert net(report, "fees_worse") == worse


def test_the_slower_haircut_meets_the_later_book() -> None:
    lab = RunLab(entry=5 * MS)
    lab.quote("byb", 100.0, 100.1)
    lab.send("entry", ("byb", "buy", 100, "101"))
    lab.run(10 * MS)
    lab.quote("byb", 100.0, 100.9)
    lab.run(1 * S)
    report = lab.report()
    rate = Decimal("0.00055")
    at = {
        price: Decimal("0.1") * (100 - price * (1 + rate))
        for price in (Decimal("100.1"), Decimal("100.9"))
    }
    assert Decimal(report.pnl.net) == at[Decimal("100.1")]
    assert net(report, "latency_x3") == at[Decimal("100.9")]


def test_a_stop_that_is_not_set_off_asks_for_nothing() -> None:
    lab = RunLab()
    lab.quote("byb", 100.0, 100.1)
    lab.send("entry", ("byb", "buy", 100, "101"))
    lab.send("protect", ("byb", "sell", 100, "90"))
    assert lab.desk.shadows["bybit"][2].held["spread", "byb"].asked == 100


def test_the_contested_haircut_keeps_only_what_stays() -> None:
    lab = RunLab(entry=5 * MS)
    lab.quote("byb", 100.0, 100.1)
    lab.send("entry", ("byb", "buy", 100, "101"))
    lab.run(30 * MS)
    lab.quote("byb", 100.0, 100.1, qty=0.02)
    lab.run(1 * S)
    held = lab.desk.shadows["bybit"][1].held["spread", "byb"]
    assert (held.asked, held.filled, held.lots) == (100, 20, 20)
    assert (lab.desk.filled_share(1), lab.desk.filled_share(2)) == (0.2, 1.0)
    assert lab.collector.rules["spread"].legs["byb"].lots == 100
    lab.quote("byb", 100.0, 100.1)
    lab.send("close", ("byb", "sell", 100, "99"))
    lab.run(2 * S)
    assert held.lots == 0  # it sold what it held, and never went short


def test_a_repeated_fill_is_counted_once_and_a_strangers_is_named() -> None:
    lab = trip()
    fill = lab.desk.exchanges["bybit"].venue.fills[0]
    before = lab.report()
    lab.collector.event(fill)
    lab.collector.event(Fill(cid="nobody", trade_id="1", lots=1, price=1.0))
    after = lab.report()
    assert after.pnl == before.pnl
    assert after.unaccounted == ["1 fills of orders that this run did not send"]


def test_the_fee_of_a_trade_that_is_told_twice_is_the_second_ones() -> None:
    lab = RunLab(entry=5 * MS)
    lab.send("entry", ("byb", "buy", 100, "101"))
    first = Fill(cid="c1", trade_id="7", lots=100, price=100.0)
    lab.collector.event(first)
    assert lab.report().pnl.fees == "0.0055"  # by the rate, while it is not told
    told = Fill(cid="c1", trade_id="7", lots=100, price=100.0, fee=0.004, fee_asset="USDT")
    for _ in range(2):
        lab.collector.event(told)
    lab.collector.event(first)
    assert lab.report().pnl.fees == "0.004"
    assert lab.collector.rules["spread"].legs["byb"].lots == 100


def test_an_order_that_never_ended_is_unaccounted() -> None:
    lab = RunLab(entry=5 * MS)
    lab.send("entry", ("byb", "buy", 100, "101"))
    assert "order without an end: c1" in lab.report().unaccounted


def test_an_order_decided_without_a_book_is_split_nowhere_and_said() -> None:
    lab = RunLab(entry=5 * MS)
    lab.books["byb"].ok = False
    lab.send("entry", ("byb", "buy", 100, "101"))
    lab.books["byb"].ok = True
    lab.run(1 * S)
    report = lab.report()
    assert report.rules["spread"].waterfall["walk"] == "0"
    assert any("decided without a valid book" in note for note in report.unaccounted)


def test_an_entry_that_was_undone_is_counted_as_that() -> None:
    lab = trip()
    lab.funnel.undone = 2
    assert " 0 without fill, 2 undone (legs apart), 0 rejected" in text(lab.report())
