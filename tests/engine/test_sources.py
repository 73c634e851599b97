"""Messages from outside: what they start and end, what they never do, what outlives a restart."""

from __future__ import annotations

from math import inf, nan

import msgspec
import pytest

from runner.engine.commands import Send
from runner.engine.events import AnyEvent, Operator, Signal
from runner.engine.saved import Saved
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from tests.engine.sourcelab import RULE, SIGNAL, listening, lost, pulse, refused, say, told, voc

MINUTE = 60 * SECOND


def test_a_signal_opens_a_trade_and_a_close_ends_it() -> None:
    s = listening()
    voc(s, "a1", "long")
    s.run(50 * MS)
    assert [(i.market, i.side) for i in s.sent] == [("btc", Side.BUY)]
    assert s.state(RULE) == "active"
    trace = next(t for _, _, t in s.engine.why(RULE, 9) if t.after == "entering")
    values = dict(trace.values)
    assert values["voc.action"] == '"long"' and values["voc.stop"] == "59400"
    voc(s, "a2", "close", symbol="ETHUSDT")
    s.run(SECOND)
    assert s.state(RULE) == "active", "a close for another symbol is not ours"
    voc(s, "a3", "close")
    s.run(SECOND)
    assert s.truth("btc") == 0 and s.state(RULE) == "cooldown"


def test_the_order_leaves_on_the_event_of_the_signal() -> None:
    s = listening()
    voc(s, "a1", "long")
    at = next(t for t, c in s.log if isinstance(c, Send))
    assert s.t - at == MS, "no timer, no tick between"


def test_the_same_signal_again_does_nothing() -> None:
    s = listening()
    voc(s, "a1", "long")
    voc(s, "a1", "long")
    s.run(MINUTE)
    assert len(s.sent) == 1 and refused(s) == ["duplicate"]


def test_without_a_message_the_fields_are_missing_and_nothing_fires() -> None:
    s = listening()
    voc(s, "a1", "long", confidence=0.2)
    assert s.engine.desk.program.missing(RULE, s.t)
    cells = s.engine.sources.streams["voc"].cells
    s.run(SECOND)
    assert cells["action"].value is None and cells["stop"].value != cells["stop"].value
    s.run(10 * MINUTE)
    assert s.sent == []


@pytest.mark.parametrize("stop", [59_995.0, 40_000.0, 60_500.0])
def test_a_stop_that_makes_no_sense_is_refused_by_the_rule(stop: float) -> None:
    s = listening()
    voc(s, "b1", "long", stop=stop)
    s.run(MINUTE)
    assert s.sent == [] and s.engine.funnels[RULE].refusals["when_false"] == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"stop": nan}, {"stop": inf}, {"stop": -1.0}, {"stop": 0.0}, {"stop": 1e300},
        {"confidence": 1.5}, {"confidence": True}, {"confidence": "0.9"}, {"action": "sell"},
        {"action": 1.0}, {"symbol": None}, {"symbol": "x" * 1000}, {"id": None},
        {"target": -1.0}, {"target": "61000"},
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_never_gets_in(bad: dict[str, str | float | bool | None]) -> None:
    s = listening()
    fields = {"id": "a1", "action": "long", "symbol": "BTCUSDT", "stop": 59_400.0, **bad}
    say(s, "voc", "a1", **fields)
    s.run(MINUTE)
    assert s.sent == [] and refused(s) == ["bad_field"]


def test_an_old_signal_starts_nothing_and_one_from_the_future_neither() -> None:
    s = listening()
    voc(s, "a1", "long", age=10 * SECOND + MS)
    voc(s, "a2", "long", age=-31 * SECOND)
    voc(s, "a3", "long", age=11 * MINUTE)
    assert refused(s) == ["late", "from_the_future", "late"] and s.sent == []
    voc(s, "a4", "long", age=9 * SECOND)
    assert len(s.sent) == 1


def test_a_late_close_still_closes_and_a_very_late_one_does_not() -> None:
    s = listening()
    voc(s, "a1", "long")
    s.run(SECOND)
    voc(s, "a2", "close", age=11 * MINUTE)
    s.run(SECOND)
    assert s.state(RULE) == "active" and refused(s) == ["late"]
    voc(s, "a3", "close", age=9 * MINUTE)
    s.run(SECOND)
    assert s.truth("btc") == 0
    assert s.engine.sources.counts["voc"].late == 1


def test_a_signal_refused_for_a_stale_book_is_taken_when_the_book_is_back() -> None:
    s = listening()
    s.frozen.add("btc")
    s.run(3 * SECOND)
    voc(s, "a1", "long")
    s.run(4 * SECOND)
    assert s.sent == [] and s.state(RULE) == "idle"
    s.frozen.clear()
    s.run(SECOND)
    assert len(s.sent) == 1 and lost(s) == []


def test_a_signal_whose_reason_never_passes_is_lost_and_told() -> None:
    s = listening()
    s.frozen.add("btc")
    s.run(3 * SECOND)
    voc(s, "a1", "long")
    s.run(12 * SECOND)
    s.frozen.clear()
    s.run(MINUTE)
    assert s.sent == [] and len(lost(s)) == 1 and "btc.book" in lost(s)[0]
    assert any("a1 was lost" in text for text in told(s))
    assert s.engine.sources.counts["voc"].lost == 1


def test_a_long_in_the_cooldown_is_recorded_as_refused_and_then_lost() -> None:
    s = listening()
    voc(s, "a1", "long")
    s.run(SECOND)
    voc(s, "a2", "close")
    s.run(SECOND)
    voc(s, "a3", "long")
    s.run(15 * SECOND)
    assert s.engine.funnels[RULE].refusals["cooldown"] > 0
    assert len(s.sent) == 2 and "cooldown" in lost(s)[0]


def test_a_second_long_while_one_is_held_is_refused() -> None:
    s = listening()
    voc(s, "a1", "long")
    s.run(SECOND)
    voc(s, "a2", "long")
    s.run(MINUTE)
    assert len(s.sent) == 1 and s.engine.funnels[RULE].refusals["in_trade"] == 1


def test_a_close_that_overtakes_the_fill_of_the_entry_is_not_forgotten() -> None:
    s = listening()
    s.push(Signal(source="voc", id="a1", sent_at=s.wall_at_zero + s.t, fields={
        "id": "a1", "action": "long", "symbol": "BTCUSDT", "stop": 59_400.0, "confidence": 0.9,
    }))  # fmt: skip
    s.after(100_000, Signal(source="voc", id="a2", sent_at=s.wall_at_zero + s.t, fields={
        "id": "a2", "action": "close", "symbol": "BTCUSDT",
    }))  # fmt: skip
    s.run(200_000)
    assert s.state(RULE) == "entering"
    s.run(SECOND)
    assert len(s.sent) == 2 and s.truth("btc") == 0


def test_a_close_takes_back_a_long_that_still_waits() -> None:
    s = listening()
    s.frozen.add("btc")
    s.run(3 * SECOND)
    voc(s, "a1", "long")
    voc(s, "a2", "close")
    s.frozen.clear()
    s.run(MINUTE)
    assert s.sent == [] and lost(s) == ["a2 would end it"]


def test_a_close_during_a_halt_acts_when_the_halt_is_over() -> None:
    s = listening()
    voc(s, "a1", "long")
    s.run(SECOND)
    s.push(Operator(command="halt", who="t"))
    s.run(SECOND)
    voc(s, "a2", "close")
    s.run(5 * SECOND)
    assert s.truth("btc") > 0, "positions are kept by the operator's halt"
    s.push(Operator(command="resume", who="t"))
    s.run(SECOND)
    assert s.truth("btc") == 0


def test_a_quiet_source_is_no_missing_exit_and_a_dead_one_is() -> None:
    s = listening(SIGNAL.replace("on_missing: hold", "on_missing: flatten"))
    voc(s, "a1", "long")
    s.run(30 * MINUTE)
    assert s.state(RULE) == "active", "no message is no reason to leave"
    s.run(30 * MINUTE)
    assert str(s.engine.sources.streams["voc"].state) == "stale", "no heartbeat for an hour"
    s.run(6 * MINUTE)
    assert s.truth("btc") == 0 and s.state(RULE) != "active"


def test_a_sign_of_life_counts_as_freshness() -> None:
    s = listening()
    for _ in range(4):
        s.run(50 * MINUTE)
        pulse(s, "voc", True)
    assert str(s.engine.sources.streams["voc"].state) == "live"
    pulse(s, "voc", False, "refused")
    assert str(s.engine.sources.streams["voc"].state) == "down"


def test_a_restart_knows_what_was_said_and_does_not_act_twice() -> None:
    s = listening()
    voc(s, "a1", "long")
    s.run(50 * MS)
    voc(s, "a2", "close")
    s.run(SECOND)
    again = listening(restored=s.engine.snapshot())
    again.wall_at_zero += 5 * SECOND
    voc(again, "a1", "long")
    again.run(MINUTE)
    assert again.sent == [] and refused(again) == ["duplicate"]


def test_a_waiting_signal_survives_a_restart_and_is_tried_once() -> None:
    s = listening()
    s.frozen.add("btc")
    s.run(3 * SECOND)
    voc(s, "a1", "long")
    saved = msgspec.json.decode(msgspec.json.encode(s.engine.snapshot()), type=Saved)
    again = listening(restored=saved)
    assert len(again.sent) == 1, "it was 4 s old and is good for 10"
    again.run(MINUTE)
    assert len(again.sent) == 1


def test_signals_are_written_and_read_as_events() -> None:
    s = Signal(source="voc", id="a", fields={"x": 1.0, "y": "b", "z": None, "w": True}, sent_at=7)
    assert msgspec.json.decode(msgspec.json.encode(s), type=AnyEvent) == s


TARGET = """
version: 1
name: follow
exchanges:
  bybit: {type: bybit_linear, network: testnet, auth: {key: {env: A}, secret: {env: B}}}
markets:
  btc: {exchange: bybit, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
sources:
  tv:
    type: webhook
    listen: {port: 8089, path: /tv}
    auth: {token: {env: TV_TOKEN}, in: /token}
    max_age: 1h
    fields:
      n: {type: number}
      position: {type: enum, values: [long, short, flat]}
    target: {long: 1, short: -1, flat: 0}
    seq: n
rules:
  long:
    when: tv.target > 0
    until: tv.target <= 0
    max_hold: 1d
    cooldown: 100ms
    trade: {size: 200 USDT, legs: [{market: btc, side: buy}]}
  short:
    when: tv.target < 0
    until: tv.target >= 0
    max_hold: 1d
    cooldown: 100ms
    trade: {size: 200 USDT, legs: [{market: btc, side: sell}]}
risk:
  max_order: 300 USDT
  max_position: {btc: 0.01 BTC}
  max_daily_loss: 20 USDT
  max_orders: {count: 20, per: 1m}
"""


def test_a_target_is_the_wanted_position_repeats_change_nothing_a_lost_one_is_healed() -> None:
    s = listening(TARGET)
    say(s, "tv", "", n=1.0, position="long")
    s.run(SECOND)
    assert s.truth("btc") > 0 and len(s.sent) == 1
    say(s, "tv", "", n=2.0, position="long")
    s.run(SECOND)
    assert len(s.sent) == 1
    say(s, "tv", "", n=2.0, position="flat")  # an old number
    s.run(SECOND)
    assert s.truth("btc") > 0 and refused(s) == ["out_of_order"]
    say(s, "tv", "", n=4.0, position="short")  # 3 (flat) was lost
    s.run(2 * SECOND)
    assert s.truth("btc") < 0
    again = listening(TARGET, restored=s.engine.snapshot())
    assert again.engine.sources.streams["tv"].cells["target"].value == -1.0
    s.run(3600 * SECOND)
    assert str(s.engine.sources.streams["tv"].state) == "stale"
    assert s.truth("btc") < 0, "a silent source does not close"


NEWS = SIGNAL.replace(
    "sources:",
    """sources:
  headlines: {type: rest, url: "https://news.example.org", every: 60s, max_age: 5m}
  mood:
    {type: llm, base_url: "https://llm.example.org/v1", model: m, about: headlines, max_age: 30m,
     prompt: Judge., answer: {score: {type: number, range: [-1, 1]}}}""",
).replace("    until: ", "    until: mood.score < -0.5 or ")


def test_a_poll_without_fields_lives_by_its_answers() -> None:
    s = listening(NEWS)
    stream = s.engine.sources.streams["headlines"]
    assert str(stream.state) == "waiting"
    pulse(s, "headlines", True)
    assert str(stream.state) == "live"
    s.run(299 * SECOND)
    pulse(s, "headlines", True)
    s.run(299 * SECOND)
    assert str(stream.state) == "live" and stream.age(s.engine.desk.now) > 298 * SECOND
    pulse(s, "headlines", False, "status 500")
    s.run(2 * SECOND)
    assert str(stream.state) == "stale"
