"""A restarted run's report: what was open before is there, at its entry, and is booked once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.app.takeover import compare, take_over
from runner.engine import proof
from runner.engine.commands import Purpose, Record, Send
from runner.engine.events import Done, End, External, Fill, Unknown
from runner.engine.ledger import Ledger
from runner.engine.saved import Saved
from runner.sim.launch import launch
from tests.app.runlab import RunLab
from tests.app.simlab import TYPES, Lab

SHORT = {"market": "bin", "lots": -8, "entry": 60_000.0, "realised": 1.5, "fills": 3}


def lab_with(*ledgers: dict[str, Any], orders: Sequence[Any] = (), **saved: Any) -> RunLab:
    lab = RunLab()
    row = json.dumps({"v": 1, "state": "active", "ledgers": list(ledgers), "orders": list(orders)})
    take_over(lab.collector, Saved(rules={"spread": row}, **saved))
    return lab


def decided(lab: RunLab, side: str, lots: int) -> str:
    intent = lab._intent(Purpose.CLOSE, "bin", side, lots, "60000")
    lab.collector.command(Send(group=1, orders=(proof._approve(intent),)), lab.now)
    return intent.cid


def fill(cid: str, trade: str, lots: int, price: float) -> Fill:
    return Fill(cid=cid, trade_id=trade, price=price, lots=lots, fee=0.0, fee_asset="USDT")


def test_an_open_position_is_reported_at_its_entry() -> None:
    lab = lab_with(SHORT)
    lab.quote("bin", 60_099.9, 60_100.0)
    report = lab.report()
    assert report.positions["bin"].qty == "-0.008"
    assert report.positions["bin"].entry == "60000"
    assert report.rules["spread"].waterfall["open"] == "-0.8"
    assert report.pnl.net == "-0.8"
    assert any(
        "earlier run" in note and note.endswith("fees of opening them are that run's")
        for note in report.unaccounted
    )


def test_closing_it_realises_against_the_entry_of_the_earlier_run() -> None:
    lab = lab_with(SHORT)
    money = lab.collector.rules["spread"]
    assert money.legs["bin"].lots == -8
    lab.quote("bin", 59_899.9, 59_900.0)
    cid = decided(lab, "buy", 8)
    lab.collector.event(fill(cid, "t1", 8, 59_900.0))
    report = lab.report()
    assert report.positions == {}
    assert Decimal(report.rules["spread"].realised) == Decimal("0.8")
    assert not any("waterfall" in note for note in report.unaccounted)


def test_an_order_of_the_earlier_run_is_booked_but_for_what_that_run_booked() -> None:
    intent = RunLab()._intent(Purpose.ENTRY, "bin", "sell", 12, "60000")
    order = {"intent": msgspec.to_builtins(intent)}
    lab = lab_with(SHORT, orders=[order], fills=frozenset({f"{intent.cid}:t1"}))
    lab.collector.event(fill(intent.cid, "t1", 8, 60_000.0))
    lab.collector.event(fill(intent.cid, "t2", 4, 60_000.0))
    assert lab.collector.rules["spread"].legs["bin"].lots == -12
    assert lab.collector.exchanges["binance"].sent == 0
    assert lab.collector.unresolved() == [intent.cid]


def test_the_engine_s_word_ends_an_order_that_no_message_ended() -> None:
    lab = RunLab()
    cid = decided(lab, "buy", 8)
    lab.collector.event(Unknown(cid=cid, why="timeout"))
    assert lab.collector.unresolved() == [cid]
    lab.collector.command(Record(kind="order", fields={"cid": cid, "state": "open"}), 1)
    assert lab.collector.unresolved() == [cid]
    lab.collector.command(Record(kind="order", fields={"cid": cid, "state": "canceled"}), 1)
    lab.collector.event(Done(cid=cid, end=End.CANCELED, filled_lots=0))
    assert lab.collector.unresolved() == []
    assert lab.collector.exchanges["binance"].canceled == 1


def test_a_flat_ledger_and_a_rule_that_is_gone_are_left_out() -> None:
    lab = RunLab()
    flat = json.dumps({"ledgers": [{"market": "bin", "lots": 0, "entry": None}]})
    gone = json.dumps({"ledgers": [SHORT]})
    take_over(lab.collector, Saved(rules={"spread": flat, "gone": gone}))
    assert lab.collector.notes == [] and lab.collector.rules["spread"].legs == {}


def test_a_ledger_that_differs_from_the_report_is_said() -> None:
    lab = lab_with(SHORT)
    same, other = Ledger("spread", "bin", lots=-8), Ledger("spread", "byb", lots=3)
    assert compare(lab.collector, [same], {}) == []
    (note,) = compare(lab.collector, [same, other], {})
    assert "0 lots of byb" in note and "3" in note
    (foreign,) = compare(lab.collector, [same], {"bin": 10, "byb": 0})
    assert "0.01 BTC" in foreign


def test_what_the_exchange_took_leaves_the_report_too() -> None:
    lab = lab_with(SHORT)
    lab.quote("bin", 60_099.9, 60_100.0)
    lab.collector.event(
        External(exchange="binance", what="liquidation", market="bin", lots=8, price=60_500.0)
    )
    report = lab.report()
    assert report.positions == {}
    assert report.rules["spread"].waterfall["failed"] == "-4"
    assert not any("waterfall" in note for note in report.unaccounted)


@pytest.mark.campaign
def test_a_restarted_run_reports_the_position_it_found(tmp_path: Path) -> None:
    with launch(
        seed=7, exchanges=list(TYPES.values()), dislocations=False, limit_factor=100, leverage=2
    ) as sim:
        lab = Lab(sim, tmp_path, on_stop="keep", hold="60s")
        code, first, err = lab.run("1s")
        assert code == 0 and set(first["positions"]) == {"bin", "byb"}, err
        lab.on_stop = "flatten"
        code, second, err = lab.run("500ms")
        assert code == 0 and second["positions"] == {} and lab.positions() == {}, err
    rule = second["rules"]["churn"]
    assert rule["fills"] == 2 and rule["entries"] == 0
    assert sum("earlier run" in note for note in second["unaccounted"]) == 2
    assert not any("ledger" in note for note in second["unaccounted"])
    assert abs(float(second["pnl"]["gross"])) < 1, "only the way since the entry, not the position"
