"""The paper desk routes to its exchanges and keeps its timers."""

from __future__ import annotations

from runner.app.paper import NoBook, PaperDesk, book_views
from runner.engine.commands import Cancel, CancelAll, Query, Reconcile, Trace
from runner.engine.events import Found, Reconciled
from runner.exchanges.paper.funding import NEVER
from tests.app.runlab import MS, RunLab, S


def test_queries_and_reconciles_reach_the_exchange_they_name() -> None:
    lab = RunLab(entry=5 * MS, response=5 * MS)
    assert lab.desk.due == NEVER
    lab.desk.query(
        Query(cid="c", exchange="bybit", market="byb", symbol="BTCUSDT", attempt=1), 0, 0
    )
    lab.desk.reconcile(Reconcile(exchange="binance", reason="start"), 0, 0)
    assert lab.desk.due == 5 * MS
    assert lab.desk.on_timer(5 * MS, 5 * MS) == []
    assert lab.desk.due == 10 * MS
    told = lab.desk.on_timer(10 * MS, 10 * MS)
    assert {type(event) for event in told} == {Found, Reconciled}
    assert lab.desk.due == NEVER


def test_cancels_reach_the_exchange_they_name() -> None:
    lab = RunLab()
    one = Cancel(cid="c1", exchange="bybit", market="byb", symbol="BTCUSDT")
    lab.desk.cancel(one, 0, 0)
    (reply,) = lab.desk.on_timer(0, 0) or lab.desk.on_timer(0, 0)
    assert (reply.cid, reply.ok, reply.code) == ("c1", False, "110001")
    lab.desk.cancel_all(CancelAll(exchange="bybit", market="byb", symbol="BTCUSDT"), 0, 0)
    assert lab.desk.on_timer(0, 0) == []


def test_each_exchange_has_its_own_balance_and_model() -> None:
    lab = RunLab(entry=5 * MS, response=2 * MS)
    assert [account.equity for account in lab.desk.accounts(0)] == [10_000.0, 10_000.0]
    assert (
        lab.desk.models()["bybit"]
        == "taker-l2; queue prob n=1; entry always 5ms; response always 2ms"
    )


def test_a_market_without_a_book_stream_never_fills() -> None:
    lab = RunLab()
    views = book_views(lab.plan, {})
    assert isinstance(views["bin"], NoBook) and not views["bin"].valid(0)
    desk = PaperDesk(lab.plan, lab.instruments, views, "run")
    lab.desk = desk
    lab.send("entry", ("bin", "sell", 100, "100"))
    lab.run(5 * S)
    assert lab.collector.exchanges["binance"].rejected == 1
    assert lab.collector.rules["spread"].fills == 0


def test_what_closes_after_a_failed_entry_is_not_edge() -> None:
    lab = RunLab()
    lab.quote("bin", 101.0, 101.2)
    lab.send("entry", ("bin", "sell", 100, "100"))
    lab.run(1 * S)
    failed = Trace(rule="spread", cause="failed", before="entering", after="leaving")
    lab.collector.command(failed, lab.now)
    lab.send("close", ("bin", "buy", 100, "102"))
    lab.run(2 * S)
    pieces = lab.collector.rules["spread"].pieces
    assert pieces.edge == 0 and pieces.failed < 0
    lab.send("entry", ("bin", "sell", 100, "100"))
    lab.run(3 * S)
    lab.send("close", ("bin", "buy", 100, "102"))
    lab.run(4 * S)
    assert pieces.edge == pieces.failed  # the next trade is judged afresh
