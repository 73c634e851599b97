"""A compiled strategy: windows shared and fed, what is missing by name, state, warm-up."""

from __future__ import annotations

import json
import math

import pytest

from runner.lang.program import Program
from runner.lang.warming import Past
from runner.market.windows import Ema
from tests.lang.material import World

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
ARB = {
    "basis": "ema(gap(bin.mid, byb.mid), params.window)",
    "sell_bin": "gap(fill_price(bin.book, sell, params.clip), "
                "fill_price(byb.book, buy, params.clip)) - basis",
    "back_bin": "gap(fill_price(bin.book, buy, params.clip), "
                "fill_price(byb.book, sell, params.clip))",
}  # fmt: skip
WHEN = "this.cost + params.profit < sell_bin < params.insane"
UNTIL = "this.exit_return > params.keep or back_bin - entered(basis) < params.exit"


def arb(world: World) -> Program:
    world.streams["bin.book"].quote(60_000.0, 60_001.0)
    world.streams["byb.book"].quote(59_999.0, 60_000.0)
    world.rule.cost = 0.0021
    return world.program(ARB, WHEN, UNTIL)


def run_in(program: Program, minutes: int) -> int:
    for minute in range(minutes + 1):
        for key in ("bin.book", "byb.book"):
            program.on_stream[key](minute * MINUTE)
    return minutes * MINUTE


def test_the_arbitrage_enters_on_a_dislocation_over_the_basis_and_leaves_behind_it() -> None:
    world = World()
    program = arb(world)
    rule = program.rules["r"]
    assert not program.warm("r") and not rule.when.true(0) and not rule.when.false(0)
    now = run_in(program, 30)
    assert program.warm("r") and rule.when.false(now)
    world.streams["bin.book"].quote(60_200.0, 60_201.0)
    assert rule.when.true(now)
    world.streams["bin.book"].quote(60_600.0, 60_601.0)
    assert rule.when.false(now)  # insane
    world.rule.entered = rule.enter(now)
    assert world.rule.entered == [pytest.approx(1 / 60_000, rel=1e-3)]
    assert rule.until is not None and not rule.until.true(now) and not rule.until.false(now)
    world.rule.worth = 0.0
    assert rule.until.false(now)
    world.rule.worth = 1.0
    assert rule.until.true(now)
    assert rule.size.value(now) == 500.0 and math.isnan(rule.size.max(now))  # type: ignore[misc]
    assert rule.when_streams == rule.until_streams == ("bin.book", "byb.book")


def test_a_stale_book_makes_all_that_reads_it_missing() -> None:
    world = World()
    program = arb(world)
    now = run_in(program, 30)
    stream = world.streams["byb.book"]
    stream.quote(math.nan, math.nan, math.nan, math.nan)
    stream.state, stream.aged = "stale", 412_345_678
    program.on_stream["byb.book"](now)
    rule = program.rules["r"]
    assert not rule.when.true(now) and not rule.when.false(now)
    assert program.signal("basis", now) is None
    assert program.missing("r", now) == ["byb.book stale 412ms"]
    assert program.warm("r")  # the window is not lost, it waits


def test_what_the_file_provides_for_is_not_waited_for() -> None:
    world = World()
    world.streams["bin.book"].quote(60_000.0, 60_001.0)
    usual = {"usual": "ema(bin.mid, 30m)"}
    program = world.program(usual, "bin.ask < default(usual, bin.bid * 2)")
    assert program.warm("r") and program.rules["r"].when.true(0)
    program = world.program(usual, "bin.ask < default(usual, bin.bid * 2) and bin.mid > usual")
    assert not program.warm("r")  # read without a replacement beside it


def test_what_is_missing_is_named() -> None:
    world = World()
    program = arb(world)
    world.rule.cost = math.nan
    run_in(program, 12)
    world.streams["bin.book"].state = "waiting"
    assert program.missing("r", 12 * MINUTE) == [
        "bin.book waiting",
        "basis warming 40%",
        "this.cost unknown",
    ]


def test_a_trace_tells_every_sub_expression() -> None:
    world = World()
    program = arb(world)
    now = run_in(program, 30)
    rows = dict(program.explain("r", "when", now))
    assert rows[WHEN] == "false" and rows["this.cost"] == "21bps"
    assert rows["this.cost + params.profit"] == "27bps" and rows["params.clip"] == "500 USDT"
    assert program.explain("r", "until", now)[0][1] == "missing"


def test_the_same_window_in_two_places_is_one() -> None:
    world = World()
    program = world.program(
        {"z": "zscore(bin.mid, 2h)", "s": "stdev(bin.book.mid, 7200s) / sma(bin.mid, 2h)"},
        when="z > 2 and s > 0 and zscore(bin.mid, 120m) < 5",
    )
    assert list(program._windows) == ["moments(bin.book.mid, 7200000000000ns)"]


def test_slots_close_on_timers_and_the_mean_is_that_of_the_slots() -> None:
    world = World()
    program = world.program({"m": "sma(bin.mid, 1s)"}, when="m > 0")
    book = world.streams["bin.book"]
    book.quote(100.0, 100.0)
    program.on_timer(program.due)
    seen = []
    for i in range(100):
        book.quote(100.0 + i, 100.0 + i)
        seen.append(100.0 + i)
        program.on_timer(program.due)
    assert program.signal("m", program.due) == pytest.approx(sum(seen) / len(seen))


def test_the_written_out_ema_is_that_of_the_window() -> None:
    """Generated code repeats `Ema.feed` for speed: over known, missing and equal times."""
    world = World()
    program = world.program({"m": "ema(bin.mid, 3s)"}, when="m > 0")
    ema, book, now = Ema("", 3 * SECOND), world.streams["bin.book"], 0
    for i in range(200):
        price = math.nan if i % 7 == 3 else 100.0 + math.sin(i)
        now += (i % 3) * SECOND // 4
        book.quote(price, price)
        program.on_stream["bin.book"](now)
        ema.feed(now, price)
        expected = None if math.isnan(ema.value) else pytest.approx(ema.value, rel=1e-15)
        assert program.signal("m", now) == expected
    assert ema.full


def test_windows_of_bars_advance_when_a_bar_closes() -> None:
    world = World()
    program = world.program({"m": "sma(bin.bars.close, 3bars)"}, when="m > 0")
    bars = world.streams["bin.bars"]
    for price in (1.0, 2.0, 6.0):
        bars.close, bars.closed = price, bars.closed + 1
        program.on_stream["bin.bars"](0)
        program.on_stream["bin.bars"](0)  # an update that closes nothing
    assert program.signal("m", 0) == 3.0


def test_state_survives_as_json_and_continues_where_it_was() -> None:
    first, second = World(), World()
    program, other = arb(first), arb(second)
    now = run_in(program, 40)
    saved = json.loads(json.dumps(program.state(now)))
    assert list(saved) == ["ema(gap(bin.book.mid, byb.book.mid), 1800000000000ns)"]
    assert other.restore(saved, 5 * SECOND, MINUTE) == list(saved)
    other.on_stream["bin.book"](5 * SECOND)
    assert other.signal("basis", 5 * SECOND) == pytest.approx(program.signal("basis", now))
    assert arb(World()).restore(saved, 0, 10 * MINUTE) == []
    assert arb(World()).restore({"ema": 1, **{key: [1] for key in saved}}, 0, 0) == []


def test_windows_over_mids_are_filled_from_bars() -> None:
    world = World()
    signals = {
        "basis": "ema(gap(bin.mid, byb.mid), 30m)",
        "z": "zscore(bin.mid / byb.mid, 2h)",
        "sane": "corr(ret(bin.mid, 1m), ret(byb.mid, 1m), 4h) > 0.6",
        "short": "sma(bin.mid, 1m)",
        "micro": "sma(bin.book.micro, 30m)",
    }
    program = world.program(
        signals, when="basis < 1 and z < 5 and sane and short > 0 and micro > 0"
    )
    assert program.history_ns == (4 * 60 + 2) * MINUTE
    closes = [60_000.0 + 50 * math.sin(i / 7) + i for i in range(260)]
    bars = {
        "bin": [((i - 260) * MINUTE, price) for i, price in enumerate(closes)],
        "byb": [((i - 260) * MINUTE, price * 0.999) for i, price in enumerate(closes)],
    }
    filled = program.warm_up(Past(bars), 0)
    assert len(filled) == 3 and not any("micro" in name for name in filled)
    world.streams["bin.book"].quote(60_300.0, 60_301.0)
    world.streams["byb.book"].quote(60_240.0, 60_241.0)
    program.on_stream["bin.book"](1)
    program.on_timer(1)
    assert program.signal("basis", 1) == pytest.approx(1 / 0.999 - 1, rel=1e-3)
    assert program._windows[filled[0]].warmed and not program.warm("r")
    assert program.warm_up(Past(), 0) == []


def test_a_gap_in_the_bars_is_missing_not_flat() -> None:
    world = World()
    program = world.program({"m": "sma(bin.mid, 30m)"}, when="m > 0")
    bars = [(i * MINUTE, 100.0) for i in range(-60, 0) if not -20 < i < -5]
    program.warm_up(Past({"bin": bars}), 0)
    world.streams["bin.book"].quote(100.0, 100.0)
    assert program.signal("m", 0) is None


def hours_of(rates: list[float], every: int, now: int) -> list[tuple[int, float, int]]:
    """Rates of payments that end with the one after `now`."""
    first = now - (len(rates) - 1) * every
    return [(first + i * every - every // 4, rate, every) for i, rate in enumerate(rates)]


def test_windows_over_funding_are_filled_from_what_was_paid() -> None:
    """Each rate counts for the time before its payment; the last one runs still."""
    world = World()
    hour = 60 * MINUTE
    program = world.program(
        {
            "slow": "ema(bin.funding.yearly, 1d)",
            "even": "sma(bin.funding.rate, 1d)",
            "mixed": "sma(bin.funding.rate + gap(bin.mid, byb.mid), 1d)",
        },
        when="slow > 0 and even > 0 and mixed > 0",
    )
    rates = [0.0001] * 3 + [0.0003] * 3
    filled = program.warm_up(Past(funding={"bin.funding": hours_of(rates, 8 * hour, 0)}), 0)
    assert len(filled) == 2 and not any("gap" in name for name in filled)
    stream = world.streams["bin.funding"]
    stream.rate, stream.interval = 0.0003, 8 * hour
    program.on_stream["bin.funding"](1)
    # The day before now: 2 h of the running interval and 16 h at 0.0003, 6 h at 0.0001.
    assert program.signal("even", 1) == pytest.approx((18 * 0.0003 + 6 * 0.0001) / 24, rel=1e-2)
    kept = math.exp(-18 / 24) * 0.0002
    assert program.signal("slow", 1) == pytest.approx((0.0003 - kept) * 3 * 365, rel=1e-2)
    assert all(program._windows[name].full for name in filled)


def test_windows_of_bars_are_filled_and_go_on_with_the_next_bar() -> None:
    world = World()
    program = world.program(
        {
            "index": "rsi(bin.bars.close, 14bars)",
            "mean": "sma(bin.bars.close, 3bars)",
            "slow": "ema(bin.bars.close, 30m)",
        },
        when="index > 50 and mean > 0 and slow > 0",
    )
    closes = [100.0 + 3 * math.sin(i) + 0.1 * i for i in range(60)]
    rows = [((i - 59) * MINUTE, c, c, c, c, 1.0) for i, c in enumerate(closes)]
    bars = world.streams["bin.bars"]
    bars.close, bars.closed = closes[-1], 7
    assert len(program.warm_up(Past(bars={"bin.bars": rows}), 0)) == 3
    program.on_stream["bin.bars"](1)  # the bar that the history held already
    assert program.signal("mean", 1) == pytest.approx(sum(closes[-3:]) / 3)
    index = program.signal("index", 1)
    assert isinstance(index, float) and 50 < index < 100
    slow = program.signal("slow", 1)
    assert isinstance(slow, float) and min(closes) < slow < max(closes)
    bars.close, bars.closed = 200.0, 8
    program.on_stream["bin.bars"](MINUTE)
    assert program.signal("mean", MINUTE) == pytest.approx((closes[-2] + closes[-1] + 200) / 3)


def test_a_window_of_minutes_costs_no_years_of_daily_bars() -> None:
    """Slots begin as long ago as the window needs, not where the history begins."""
    world = World()
    program = world.program({"m": "sma(bin.bars.close, 5m)"}, when="m > 0")
    rows = [((i - 999) * 1440 * MINUTE, 5.0, 5.0, 5.0, 5.0, 1.0) for i in range(1000)]
    pushed = []
    (window,) = program._windows.values()
    made = type(window).push
    try:
        type(window).push = lambda self, x: (pushed.append(x), made(self, x))[1]  # type: ignore[method-assign, assignment, misc, union-attr]
        program.warm_up(Past(bars={"bin.bars": rows}), 0)
    finally:
        type(window).push = made  # type: ignore[method-assign]
    assert len(pushed) < 600
    world.streams["bin.bars"].close = 5.0
    assert program.signal("m", 0) == 5.0
