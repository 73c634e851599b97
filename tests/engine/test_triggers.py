"""Times and messages as triggers: retried, made up for, lost; commands by message."""

from __future__ import annotations

from runner.engine.commands import Send
from runner.engine.scenario import Scenario
from runner.engine.timers import SECOND
from tests.engine.sourcelab import listening, lost, refused, say, told

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
HEAD = """
version: 1
name: timed
exchanges:
  bybit: {type: bybit_linear, network: testnet, auth: {key: {env: A}, secret: {env: B}}}
markets:
  btc: {exchange: bybit, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
"""
TAIL = """
risk:
  max_order: 300 USDT
  max_position: {btc: 0.1 BTC}
  max_daily_loss: 20 USDT
  max_orders: {count: 20, per: 1m}
"""
WEEKLY = (
    HEAD
    + """
rules:
  weekly:
    trigger: {cron: "0 8 * * MON", missed: {run_once_within: 6h}, retry: {every: 10s, within: 30m}}
    order: {market: btc, side: buy, size: 200 USDT}
"""
    + TAIL
)
HOOK = """
sources:
  x:
    type: webhook
    listen: {port: 80, path: /x}
    auth: {token: {env: T}}
    dedupe: {by: id, within: 1h}
    max_age: 1m
    fields: {id: {type: text}, level: {type: number}}
"""


def ring(s: Scenario, id_: str, late: int = 0) -> None:
    """Let the weekly time come, noticed `late` ns after it."""
    say(s, "weekly.cron", id_, age=late)


def test_a_time_buys_once_and_the_same_time_again_does_not() -> None:
    s = listening(WEEKLY)
    ring(s, "w1")
    assert len(s.sent) == 1
    ring(s, "w1")
    ring(s, "w0", late=HOUR)
    assert len(s.sent) == 1 and refused(s) == ["duplicate", "duplicate"]


def test_a_stale_second_does_not_cost_a_week() -> None:
    s = listening(WEEKLY)
    s.frozen.add("btc")
    s.run(3 * SECOND)
    ring(s, "w1")
    s.run(10 * MINUTE)
    assert s.sent == []
    s.frozen.clear()
    s.run(11 * SECOND)
    assert len(s.sent) == 1 and lost(s) == []


def test_half_an_hour_later_the_week_is_lost_and_told() -> None:
    s = listening(WEEKLY)
    s.frozen.add("btc")
    s.run(3 * SECOND)
    ring(s, "w1")
    s.run(31 * MINUTE)
    s.frozen.clear()
    s.run(MINUTE)
    assert s.sent == [] and len(lost(s)) == 1
    assert any("weekly.cron w1 was lost" in text for text in told(s))


def test_a_missed_time_is_made_up_for_within_six_hours_and_retried_from_then_on() -> None:
    s = listening(WEEKLY)
    ring(s, "w1", late=6 * HOUR + SECOND)
    assert s.sent == [] and refused(s) == ["late"]
    assert any("not acted on: weekly.cron w1" in text for text in told(s))
    s.frozen.add("btc")
    s.run(3 * SECOND)
    ring(s, "w2", late=5 * HOUR)
    s.run(20 * MINUTE)
    s.frozen.clear()
    s.run(11 * SECOND)
    assert len(s.sent) == 1


def test_a_time_that_waits_survives_a_restart_once() -> None:
    s = listening(WEEKLY)
    s.frozen.add("btc")
    s.run(3 * SECOND)
    ring(s, "w1")
    again = listening(WEEKLY, restored=s.engine.snapshot())
    again.run(20 * SECOND)
    assert len(again.sent) == 1
    ring(again, "w1", late=20 * SECOND)
    third = listening(WEEKLY, restored=again.engine.snapshot())
    third.run(MINUTE)
    assert len(again.sent) == 1 and third.sent == []


def test_a_newer_message_takes_the_place_of_one_that_waits() -> None:
    text = HEAD + HOOK + """
rules:
  r:
    trigger: x
    when: btc.ask > 0 and x.level > 1
    order: {market: btc, side: buy, size: "200 USDT * x.level"}
""" + TAIL.replace("300", "1500")  # fmt: skip
    s = listening(text)
    s.frozen.add("btc")
    s.run(3 * SECOND)
    say(s, "x", "one", id="one", level=2.0)
    say(s, "x", "two", id="two", level=0.5)
    assert lost(s) == [], "the second is not for this rule"
    say(s, "x", "three", id="three", level=5.0)
    assert lost(s) == ["three came after it"]
    s.frozen.clear()
    s.run(MINUTE)
    assert [i.qty_text for i in s.sent] == ["0.016"], "1000 USDT: sized by the third"


def test_a_second_order_waits_for_the_first() -> None:
    text = HEAD + HOOK + """
rules:
  r:
    trigger: x
    order: {market: btc, side: buy, size: "200 USDT * x.level"}
""" + TAIL  # fmt: skip
    s = listening(text)
    say(s, "x", "a", id="a", level=1.0)
    assert s.state("r") == "entering"
    say(s, "x", "b", id="b", level=1.4)
    s.run(SECOND)
    assert [i.qty_text for i in s.sent] == ["0.003", "0.004"]


def test_the_run_that_is_halted_refuses_and_tells() -> None:
    text = HEAD + HOOK + """
rules:
  r:
    trigger: x
    order: {market: btc, side: buy, size: 200 USDT}
  stop:
    trigger: x
    when: x.level < 0
    do: [{halt: said so}]
""" + TAIL  # fmt: skip
    s = listening(text)
    say(s, "x", "a", id="a", level=-1.0)
    say(s, "x", "b", id="b", level=1.0)
    s.run(2 * MINUTE)
    sent = [c for c in s.commands(Send) for _ in c.orders]
    assert len(sent) == 1, "the first came before the halt it caused"
    assert len(lost(s)) == 1 and "halt" in lost(s)[0]
