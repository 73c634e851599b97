"""Fields of sources in expressions: known or missing, by age, by a timer; never beyond limits."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runner.engine.commands import Purpose
from runner.engine.events import SignalValue
from runner.engine.scenario import Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from tests.engine.sourcelab import listening, pulse, refused, say

TEXT = """
version: 1
name: moods
exchanges:
  bybit: {type: bybit_linear, network: testnet, auth: {key: {env: A}, secret: {env: B}}}
markets:
  btc: {exchange: bybit, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
sources:
  news:
    type: rest
    url: https://news.example.invalid/mood
    every: 10s
    max_age: 30s
    fields:
      score: {type: number, range: [-1, 1]}
      weight: {type: number, range: [0, 1], optional: true}
      word: {type: enum, values: [bullish, bearish], optional: true}
      calm: {type: bool, optional: true}
      target_price: {type: price, of: btc, optional: true}
signals:
  mood: default(news.score * news.weight, -1)
  words: default(news.word, "none")
  bull: news.word == "bullish"
  bear: news.word != "bullish"
  either: news.word in ["bullish", "bearish"]
  calm: news.calm
  stormy: not news.calm
  heard: known(news.score)
  far: gap(news.target_price, btc.mid)
  smooth: ema(news.score, 20s)
  old: age(news)
rules:
  r:
    when: mood > 0.5 and words == "bullish" and (bull or bear or either or calm or stormy) and heard
      and far > -50% and smooth > -2 and old < 1h
    order: {market: btc, side: buy, size: 200 USDT}
    cooldown: 1h
risk:
  max_order: 300 USDT
  max_position: {btc: 0.1 BTC}
  max_daily_loss: 20 USDT
  max_orders: {count: 20, per: 1m}
"""
NAMES = ("mood", "words", "bull", "bear", "either", "calm", "stormy", "heard")


def values(s: Scenario) -> list[object]:
    return [s.engine.desk.program.signal(name, s.t) for name in NAMES]


NOTHING = [-1.0, "none", None, None, None, None, None, False]


def test_values_are_missing_before_known_after_and_missing_again_when_old() -> None:
    s = listening(TEXT)
    assert values(s) == NOTHING
    say(s, "news", "", score=0.5, weight=0.5, word="bullish", calm=True)
    assert values(s) == [0.25, "bullish", True, False, True, True, False, True]
    say(s, "news", "", score=0.5, word="bearish", calm=False)
    assert values(s) == [-1.0, "bearish", False, True, True, False, True, True], "weight is missing"
    s.run(30 * SECOND - 2 * MS)
    assert values(s)[7] is True
    s.run(2 * MS)
    assert values(s) == NOTHING, "by a timer, without any event"
    assert str(s.engine.sources.streams["news"].state) == "stale"


def test_age_counts_from_the_sender_s_time_and_an_older_word_does_not_replace_a_newer() -> None:
    s = listening(TEXT)
    say(s, "news", "", age=20 * SECOND, score=0.1)
    old = s.engine.desk.program.signal("old", s.t)
    assert isinstance(old, float) and 20.0 <= old < 20.01
    say(s, "news", "", age=25 * SECOND, score=0.9)
    assert refused(s) == ["out_of_order"]
    s.run(10 * SECOND)
    assert values(s) == NOTHING


def test_a_poll_that_fails_does_not_unsay_what_was_said() -> None:
    s = listening(TEXT)
    pulse(s, "news", False, "status 500")
    assert str(s.engine.sources.streams["news"].state) == "down"
    say(s, "news", "", score=0.4, weight=1.0)
    pulse(s, "news", False, "status 500")
    assert values(s)[0] == 0.4, "it is good for its max_age"
    s.run(31 * SECOND)
    assert values(s) == NOTHING


def test_a_state_starts_a_rule_and_windows_are_fed_by_it() -> None:
    s = listening(TEXT)
    for _ in range(30):
        say(s, "news", "", score=0.9, weight=0.5, word="bullish", target_price=61_000.0)
        s.run(SECOND)
    smooth = s.engine.desk.program.signal("smooth", s.t)
    assert isinstance(smooth, float) and abs(smooth - 0.9) < 1e-9
    assert s.sent == [], "0.45 is not above 0.5"
    say(s, "news", "", score=0.9, weight=1.0, word="bullish", calm=True, target_price=61_000.0)
    assert len(s.sent) == 1
    rows = dict(s.engine.desk.program.explain("r", "when", s.t))
    assert rows["news.word"] == '"bullish"' and rows["news.score"] == "0.9"


HOSTILE = """
version: 1
name: trusting
about: Believes everything it is told; only the limits are its own.
exchanges:
  bybit: {type: bybit_linear, network: testnet, auth: {key: {env: A}, secret: {env: B}}}
markets:
  btc: {exchange: bybit, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
sources:
  x:
    type: webhook
    listen: {port: 80, path: /x}
    auth: {token: {env: T}}
    dedupe: {by: id, within: 1h}
    max_age: 1m
    fields:
      id: {type: text}
      size: {type: USDT}
      price: {type: price, of: btc}
rules:
  r:
    trigger: x
    order: {market: btc, side: buy, size: x.size, type: limit, tif: ioc, price: x.price}
risk:
  max_order: 300 USDT
  max_position: {btc: 0.02 BTC}
  max_daily_loss: 20 USDT
  max_orders: {count: 20, per: 1m}
"""
numbers = (
    st.floats() | st.integers() | st.sampled_from([0.0, -1.0, 250.0, 6e4, 1e15, 1e308, 5e-324])
)
wild = st.one_of(numbers, st.none(), st.booleans(), st.text(max_size=3))


@example([(1.0, 0.0625)])
@example([(6.0, 286.0)])  # a low bid is nobody's loss, and the gate lets it pass
@example([(250.0, 60_001.0)] * 12)
@example([(1e15, 1e15), (1e15, 60_001.0), (5e-324, 5e-324)])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(wild, wild), min_size=1, max_size=12))
def test_whatever_a_source_says_no_order_is_beyond_the_limits(
    said: list[tuple[SignalValue, SignalValue]],
) -> None:
    s = listening(HOSTILE)
    for i, (size, price) in enumerate(said):
        say(s, "x", str(i), id=str(i), size=size, price=price)
        s.run(20 * MS)
    lot = s.instrument("btc").lot_base_f
    for intent in s.sent:
        assert intent.purpose is Purpose.ENTRY and intent.lots > 0
        assert intent.lots * lot * float(intent.price_text) <= 300.0
        assert intent.side is Side.BUY
        assert 0 < float(intent.price_text) <= 60_000.5 * 1.01, "the collar: not too dear"
    assert 0 <= s.truth("btc") * lot <= 0.02
