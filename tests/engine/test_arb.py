"""The happy path of a two-leg spread trade, from quotes to quotes."""

from __future__ import annotations

from runner.engine.commands import Purpose, Record, RunState, Send, Trace
from runner.engine.timers import MS, SECOND
from tests.engine.stage import R1, R2, arb_plan, narrow, stage, widen


def test_nothing_happens_without_a_gap() -> None:
    s = stage()
    s.run(10 * SECOND)
    assert s.sent == []
    assert s.state(R1) == s.state(R2) == "idle"
    assert s.engine.evaluations[R1] >= 2 * 10 * 20, "two books, ten seconds, every 50 ms"


def test_a_gap_opens_both_legs_in_one_send_and_closes_them() -> None:
    s = stage()
    widen(s)
    s.run(1 * MS)
    assert s.state(R1) == "entering"
    assert len(s.commands(Send)) == 1
    sell, buy = s.sent
    assert (sell.market, sell.side, buy.market, buy.side) == ("bin", "sell", "byb", "buy")
    assert sell.lots == buy.lots == 8  # 500 USDT at about 60,300 is 0.00829 BTC
    assert sell.price_text == "60294" and buy.price_text == "60006"  # 1 bp past the touch
    assert sell.window_ns == SECOND and not sell.reduce_only
    s.run(20 * MS)
    assert s.state(R1) == "active"
    assert (s.lots("bin"), s.lots("byb")) == (-8, 8)
    narrow(s)
    s.run(20 * MS)
    assert (s.lots("bin"), s.lots("byb")) == (0, 0)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert s.state(R1) == "cooldown"
    exits = s.sent[2:]
    assert [i.purpose for i in exits] == [Purpose.CLOSE, Purpose.CLOSE]
    assert all(i.reduce_only for i in exits)
    s.run(3 * SECOND)
    assert s.state(R1) == "idle"
    assert s.commands(RunState) == []


def test_the_trade_row_tells_what_was_earned() -> None:
    s = stage()
    widen(s)
    s.run(20 * MS)
    narrow(s)
    s.run(20 * MS)
    (row,) = [c for c in s.commands(Record) if c.kind == "trade"]
    qty = 0.008
    gross = qty * ((60_300.0 - 60_000.1) + (59_999.9 - 60_000.0))
    fees = qty * (0.0005 * (60_300.0 + 60_000.1) + 0.00055 * (60_000.0 + 59_999.9))
    assert row.fields["reason"] == "until"
    assert abs(float(str(row.fields["pnl"])) - (gross - fees)) < 1e-9
    assert abs(-s.engine.desk.limits.day_loss - (gross - fees)) < 1e-9


def test_the_opposite_rule_is_refused_while_one_holds() -> None:
    s = stage()
    widen(s)
    s.run(20 * MS)
    s.engine.desk.rules.runs[R2].program.when.test = lambda _now: True  # type: ignore[attr-defined]
    s.run(1 * SECOND)
    assert s.state(R2) == "pending"
    assert s.engine.funnels[R2].refusals["opposed"] >= 3
    refused = [t for t in s.commands(Trace) if t.refusal]
    assert [t.refusal for t in refused] == [f"opposed {R1}"]  # recorded once, then counted


def test_state_rows_come_before_the_send_they_belong_to() -> None:
    s = stage()
    widen(s)
    s.run(1 * MS)
    batch = [c for _, c in s.log]
    send = next(i for i, c in enumerate(batch) if isinstance(c, Send))
    rows = [c.kind for c in batch[:send] if isinstance(c, Record)]
    assert rows[-1] == "rule"


def test_the_same_events_give_the_same_commands() -> None:
    def play() -> list[object]:
        s = stage(arb_plan())
        widen(s)
        s.run(20 * MS)
        narrow(s)
        s.run(5 * SECOND)
        return [(t, repr(c)) for t, c in s.log]

    assert play() == play()
