"""Streams: values only while live, and every way of not being live."""

from __future__ import annotations

from math import isnan, nan

import pytest

from runner.engine.events import History
from runner.market.events import (
    Bar,
    ClockReading,
    Depth,
    Feed,
    Funding,
    Level,
    Mark,
    SocketState,
    Top,
    Trade,
)
from runner.market.state import MarketState, StreamWant
from runner.market.streams import (
    BarsStream,
    BookStream,
    FundingStream,
    MarkStream,
    StreamState,
    TradesStream,
)

MS = 1_000_000
SECOND = 1_000 * MS
WALL = 1_700_000_000 * SECOND
AGE = 250 * MS


def market(*kinds: str, synced: bool = True, deep: bool = False) -> MarketState:
    wants = [
        StreamWant(f"m.{kind}", "m", "x", kind, AGE, 60 * SECOND, deep and kind == "book")
        for kind in kinds or ("book",)
    ]
    state = MarketState(wants)
    if synced:
        state.on_clock(ClockReading(exchange="x", offset=0, uncertainty=5 * MS))
    feed(state, SocketState.UP, 0)
    return state


def feed(state: MarketState, what: SocketState, t: int, conn: int = 1) -> list[str]:
    event = Feed(
        exchange="x", socket="public", kind="public", state=what, conn=conn, markets=("m",), t=t
    )
    return [stream.key for stream in state.on_feed(event)]


def book(state: MarketState) -> BookStream:
    stream = state.streams["m.book"]
    assert isinstance(stream, BookStream)
    return stream


def top(t: int, u: int = 0, bid: float = 100.0, ask: float = 101.0, late: int = 0) -> Top:
    return Top(
        market="m", bid=bid, ask=ask, bid_qty=2.0, ask_qty=3.0, u=u, t=t, wall=WALL + t,
        ts=WALL + t - 5 * MS - late, conn=1,
    )  # fmt: skip


def depth(
    t: int, last: int, bids: list[Level], asks: list[Level], snapshot: bool = False, conn: int = 1
) -> Depth:
    return Depth(
        market="m", snapshot=snapshot, bids=bids, asks=asks, first=last, last=last, t=t,
        wall=WALL + t, ts=WALL + t - 5 * MS, conn=conn,
    )  # fmt: skip


def hidden(stream: BookStream) -> bool:
    values = (stream.bid, stream.ask, stream.bid_qty, stream.ask_qty)
    walked = stream.walk(True, 1.0)
    assert all(isnan(v) for v in values) or not any(isnan(v) for v in values)
    assert isnan(values[0]) == isnan(walked[1])
    return isnan(values[0])


def test_a_top_makes_a_book_live_and_counts() -> None:
    state = market()
    assert book(state).state is StreamState.WAITING and hidden(book(state))
    for n in range(3):
        assert state.apply(top(n * MS, u=n + 1, bid=100.0 + n / 10)) is book(state)
    stream = book(state)
    assert stream.state is StreamState.LIVE
    assert (stream.bid, stream.ask, stream.bid_qty, stream.ask_qty) == (100.2, 101.0, 2.0, 3.0)
    assert (stream.seq, stream.t, stream.ts) == (3, 2 * MS, WALL - 3 * MS)


def test_staleness_is_noticed_by_the_timer_one_nanosecond_after_the_limit() -> None:
    state = market()
    state.apply(top(0, u=1))
    assert state.due == AGE + 1
    assert state.on_timer(AGE) == [] and not hidden(book(state))
    assert state.due == AGE + 1
    assert state.on_timer(AGE + 1) == [book(state)]
    assert book(state).state is StreamState.STALE and hidden(book(state))
    assert (book(state).last_bid, book(state).last_ask) == (100.0, 101.0)
    state.apply(top(AGE + MS, u=1))
    assert book(state).state is StreamState.LIVE and book(state).bid == 100.0


def test_the_deadline_moves_on_lazily() -> None:
    state = market()
    for n in range(100):
        state.apply(top(n * 10 * MS, u=n + 1))
        if n * 10 * MS >= state.due:
            assert state.on_timer(n * 10 * MS) == []
    assert state.due <= 99 * 10 * MS + AGE + 1
    assert state.on_timer(99 * 10 * MS + AGE + 1) == [book(state)]


def test_a_frame_that_was_late_itself_is_stale_at_once() -> None:
    state = market()
    state.apply(top(0, u=1))
    state.apply(top(MS, u=2, late=AGE + MS))
    assert book(state).state is StreamState.STALE and hidden(book(state))


def test_a_lag_shortens_the_deadline() -> None:
    state = market()
    state.apply(top(0, u=1))
    state.apply(top(MS, u=2, late=200 * MS))
    assert book(state).lag == 200 * MS
    assert state.due == MS + 50 * MS + 1
    assert state.on_timer(state.due) == [book(state)]


def test_without_a_time_sync_a_connection_warms_first() -> None:
    state = market(synced=False)
    state.apply(top(0, u=1))
    assert book(state).state is StreamState.WAITING
    assert state.due == 3 * SECOND
    state.apply(top(2_900 * MS, u=2))
    assert state.on_timer(3 * SECOND) == [book(state)]
    assert book(state).state is StreamState.LIVE


def test_a_time_sync_ends_the_warming() -> None:
    state = market(synced=False)
    state.apply(top(0, u=1))
    reading = ClockReading(exchange="x", offset=0, uncertainty=5 * MS, t=MS)
    assert state.on_clock(reading) == [book(state)]
    assert book(state).state is StreamState.LIVE


@pytest.mark.parametrize("bid", [101.0, 102.0])
def test_a_crossed_or_locked_book_is_invalid_until_it_uncrosses(bid: float) -> None:
    state = market()
    state.apply(top(0, u=1))
    state.apply(top(MS, u=2, bid=bid))
    assert book(state).state is StreamState.CROSSED and hidden(book(state))
    assert book(state).last_bid == 100.0
    state.apply(top(2 * MS, u=3))
    assert book(state).state is StreamState.LIVE


def test_an_older_top_proves_the_book_but_changes_nothing() -> None:
    state = market()
    state.apply(top(0, u=10))
    assert state.apply(top(MS, u=9, bid=50.0)) is None
    assert (book(state).bid, book(state).t, book(state).seq) == (100.0, MS, 1)


def test_the_touch_comes_from_the_newer_of_levels_and_top() -> None:
    state = market()
    state.apply(depth(0, 10, [(100.0, 1.0), (99.0, 5.0)], [(101.0, 1.0)], True, conn=0))
    state.apply(depth(MS, 11, [(99.5, 4.0)], []))
    assert book(state).bid == 100.0
    state.apply(top(2 * MS, u=15, bid=99.5))
    assert (book(state).bid, book(state).bid_qty) == (99.5, 2.0)
    state.apply(depth(3 * MS, 12, [(98.0, 1.0)], []))  # older than the top
    assert book(state).bid == 99.5
    # a seller takes the top first, then what lies behind it: not the 100.0 that is gone
    assert book(state).walk(False, 3.0) == (3.0, (2 * 99.5 + 1 * 99.0) / 3)
    for u in (13, 14):
        state.apply(depth(4 * MS, u, [], []))
    state.apply(depth(5 * MS, 15, [(100.0, 0.0), (99.5, 2.0)], []))
    state.apply(depth(6 * MS, 16, [(99.6, 7.0)], []))
    assert (book(state).bid, book(state).bid_qty) == (99.6, 7.0)


def test_a_deep_book_waits_for_its_snapshot_and_asks_for_it_once() -> None:
    state = market(deep=True)
    state.apply(top(0, u=1))
    assert book(state).state is StreamState.WAITING
    for n in range(3):
        state.apply(depth(n * MS, 10 + n, [], []))
    assert state.resyncs == [("m", "no snapshot")]
    state.apply(depth(5 * MS, 11, [(100.0, 1.0)], [(101.0, 1.0)], True, conn=0))
    assert book(state).state is StreamState.LIVE
    state.resyncs.clear()
    state.apply(depth(6 * MS, 13, [], []))
    assert state.resyncs == [] and book(state).book.last == 13


def test_a_snapshot_that_does_not_come_is_asked_for_again() -> None:
    state = market()
    state.apply(depth(0, 10, [], []))
    state.apply(depth(6 * SECOND, 11, [], []))
    assert len(state.resyncs) == 2


def test_a_gap_hides_the_book_until_a_snapshot_even_when_tops_go_on() -> None:
    state = market()
    state.apply(depth(0, 10, [(100.0, 1.0)], [(101.0, 1.0)], True, conn=0))
    state.apply(depth(MS, 11, [], []))
    assert book(state).state is StreamState.LIVE
    state.apply(depth(2 * MS, 15, [], []))
    assert book(state).state is StreamState.GAP and hidden(book(state))
    assert state.resyncs == [("m", "gap")]
    state.apply(top(3 * MS, u=16))
    assert book(state).state is StreamState.GAP and hidden(book(state))
    state.apply(depth(4 * MS, 15, [(100.0, 1.0)], [(101.0, 1.0)], True, conn=0))
    assert book(state).state is StreamState.LIVE and book(state).u == 16


def test_a_book_whose_levels_cross_is_hidden_and_asked_for_anew() -> None:
    state = market()
    state.apply(depth(0, 10, [(100.0, 1.0)], [(101.0, 1.0)], True))
    state.apply(depth(6 * SECOND, 11, [(101.5, 1.0)], []))
    assert book(state).state is StreamState.CROSSED and hidden(book(state))
    assert state.resyncs == [("m", "crossed")]


def test_a_one_sided_book_has_no_touch() -> None:
    state = market()
    state.apply(depth(0, 10, [(100.0, 1.0)], [(101.0, 1.0)], True))
    state.apply(depth(MS, 11, [], [(101.0, 0.0)]))
    assert book(state).state is StreamState.WAITING and hidden(book(state))
    assert book(state).last_ask == 101.0


def test_bybit_restarts_its_ids_with_a_snapshot_on_the_socket() -> None:
    state = market()
    state.apply(depth(0, 900, [(100.0, 1.0)], [(101.0, 1.0)], True))
    state.apply(depth(MS, 1, [(90.0, 1.0)], [(91.0, 1.0)], True))
    assert book(state).bid == 90.0
    state.apply(depth(2 * MS, 2, [(90.5, 1.0)], []))
    assert book(state).bid == 90.5


def test_a_lost_connection_takes_its_streams_down_and_the_next_one_begins_anew() -> None:
    state = market("book", "trades")
    state.apply(depth(0, 10, [(100.0, 1.0)], [(101.0, 1.0)], True, conn=0))
    state.apply(depth(MS, 11, [], []))
    assert feed(state, SocketState.DOWN, 2 * MS) == ["m.book"]
    assert book(state).state is StreamState.DOWN and hidden(book(state))
    assert feed(state, SocketState.UP, 3 * MS, conn=2) == ["m.book"]
    assert book(state).state is StreamState.WAITING
    event = depth(4 * MS, 50, [], [])
    event.conn = 2
    state.apply(event)
    assert state.resyncs == [("m", "no snapshot")]


def test_a_replaced_connection_that_goes_down_later_takes_nothing_with_it() -> None:
    state = market()
    state.apply(top(0, u=1))
    feed(state, SocketState.UP, MS, conn=2)
    event = top(2 * MS, u=2)
    event.conn = 2
    state.apply(event)
    assert feed(state, SocketState.DOWN, 3 * MS, conn=1) == []
    assert book(state).state is StreamState.LIVE


def test_a_stream_that_moves_to_a_new_connection_warms_again() -> None:
    state = market(synced=False)
    state.apply(top(4 * SECOND, u=1))
    assert book(state).state is StreamState.LIVE
    event = top(4 * SECOND + MS, u=2)
    event.conn = 7  # nobody announced it: it opens with its first frame
    state.apply(event)
    assert book(state).state is StreamState.WAITING and hidden(book(state))
    assert state.on_timer(state.due) == [] and state.due == 7 * SECOND + MS


def test_a_resync_of_the_host_hides_the_book() -> None:
    state = market()
    state.apply(depth(0, 10, [(100.0, 1.0)], [(101.0, 1.0)], True))
    assert feed(state, SocketState.RESYNC, MS) == ["m.book"]
    assert book(state).state is StreamState.GAP and state.resyncs == [("m", "gap")]


def test_private_sockets_touch_no_stream() -> None:
    state = market()
    state.apply(top(0, u=1))
    event = Feed(exchange="x", socket="p", kind="private", state=SocketState.DOWN, conn=1)
    assert state.on_feed(event) == [] and book(state).state is StreamState.LIVE


def test_fill_prices_walk_the_book_or_are_missing() -> None:
    state = market()
    asks = [(101.0, 1.0), (102.0, 2.0)]
    state.apply(depth(0, 10, [(100.0, 1.0)], asks, True))
    stream = book(state)
    assert stream.fill_price(True, 2.0, nan) == (101.0 + 102.0) / 2
    assert stream.fill_price(True, nan, 305.0) == 305.0 / 3.0
    assert isnan(stream.fill_price(True, 3.1, nan))
    assert isnan(stream.fill_price(True, nan, 400.0))
    assert isnan(stream.fill_price(True, 0.0, nan))
    assert stream.fill_price(False, 1.0, nan) == 100.0
    state.on_timer(SECOND)
    assert isnan(stream.fill_price(True, 1.0, nan))


def test_trades_mark_and_funding_are_values_with_an_age() -> None:
    state = market("trades", "mark", "funding")
    common = {"market": "m", "t": 0, "wall": WALL, "ts": WALL - 5 * MS, "conn": 1}
    state.apply(Trade(price=100.5, qty=2.0, taker="buy", **common))
    state.apply(Mark(price=100.4, **common))
    state.apply(Funding(rate=-0.0001, next_at=7, interval=8, **common))
    trades, mark, funding = state.streams.values()
    assert isinstance(trades, TradesStream) and (trades.last, trades.qty) == (100.5, 2.0)
    assert isinstance(mark, MarkStream) and mark.price == 100.4
    assert isinstance(funding, FundingStream) and (funding.rate, funding.next_at) == (-0.0001, 7)
    assert len(state.on_timer(AGE + 1)) == 3
    assert isnan(trades.last) and isnan(mark.price) and isnan(funding.rate)


def test_the_interval_of_funding_is_told_or_measured_between_payments() -> None:
    hour = 3600 * SECOND
    stream = FundingStream("m.funding", "m", "x", AGE)
    stream.schedule(16 * hour, 0, 9 * hour)
    assert stream.interval == 0, "nobody knows yet"
    stream.paid(8 * hour + 3 * MS)
    assert stream.interval == 8 * hour
    stream.schedule(24 * hour, 0, 16 * hour + SECOND)  # paid at 16:00
    assert (stream.last_paid, stream.interval) == (16 * hour, 8 * hour)
    stream.schedule(20 * hour, 0, 17 * hour)  # every 4 h from now on
    assert stream.interval == 4 * hour
    stream.schedule(20 * hour, hour, 17 * hour)
    assert stream.interval == hour, "what the exchange says stands over what we measure"
    late = FundingStream("m.funding", "m", "x", AGE)
    late.paid(hour)
    late.schedule(16 * 24 * hour, 0, 17 * hour)
    assert late.interval == 0, "no two weeks lie between payments: the history was old"


def test_past_bars_are_values_once_a_frame_has_come() -> None:
    state = market("bars")
    stream = state.streams["m.bars"]
    assert isinstance(stream, BarsStream)
    minute = 60 * SECOND
    rows = [(WALL + i * minute, 1.0, 2.0, 0.5, float(i), 9.0) for i in range(3)]
    assert state.on_history(History(closes={}, bars={"m.bars": rows, "x.bars": rows})) == []
    assert stream.closed == 1 and isnan(stream.close)
    running = Bar(market="m", every=minute, open_at=WALL + 3 * minute, open=1.0, high=1.0, low=1.0,
                  close=7.0, volume=1.0, closed=False, t=1, wall=WALL + 1, conn=0)  # fmt: skip
    state.apply(running)
    assert (stream.close, stream.closed) == (2.0, 1), "the last closed one, not the one that runs"
    assert state.on_history(History(closes={}, bars={"m.bars": rows})) == []
    assert stream.closed == 1


def test_only_closed_bars_become_values_and_each_counts_once() -> None:
    state = market("bars")
    stream = state.streams["m.bars"]
    assert isinstance(stream, BarsStream)

    def bar(t: int, open_at: int, close: float, closed: bool, conn: int = 1) -> Bar:
        return Bar(
            market="m", every=60 * SECOND, open_at=open_at, open=1.0, high=3.0, low=0.5,
            close=close, volume=9.0, closed=closed, t=t, wall=WALL + t, conn=conn,
        )  # fmt: skip

    for n in range(3):
        state.apply(bar(0, n, 1.0 + n, True, conn=0))  # warm-up by REST
    assert (stream.closed, stream.close) == (3, 3.0)
    assert state.apply(bar(MS, 3, 9.0, False)) is None
    assert (stream.closed, stream.close, stream.t) == (3, 3.0, MS)
    state.apply(bar(2 * MS, 3, 4.0, True))
    state.apply(bar(3 * MS, 3, 4.5, True))
    assert (stream.closed, stream.close, stream.high) == (4, 4.0, 3.0)


def test_events_of_unknown_markets_are_nobodys() -> None:
    state = market()
    event = top(0, u=1)
    event.market = "other"
    assert state.apply(event) is None
