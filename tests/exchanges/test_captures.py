"""Decoders and books on real frames: what they hold is what the independent answer key says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice

import pytest

from runner.engine.events import Bar, Depth, Event, Funding, Mark, Top, Trade
from runner.exchanges.api import Decoded
from runner.exchanges.bybit_linear.market import BybitMarket
from runner.exchanges.registry import market_codec
from runner.market.book import Book, Step
from runner.market.state import MarketState, StreamWant
from runner.market.streams import BookStream, StreamState
from tests.exchanges.captures import DATA, binding, cryptofeed_lines, hft_lines, need

CHAINS = [
    ("binance_usdm", "BTCUSDT", ["usdm_btcusdt_20230404"], 310),
    ("binance_usdm", "BTCUSDT", ["usdm_btcusdt_20240718", "usdm_btcusdt_20240719"], 625),
    ("binance_usdm", "BTCUSDT", ["usdm_btcusdt_20240808"], 629),
    ("binance_spot", "BTCUSDT", ["spot_btcusdt_20240808", "spot_btcusdt_20240809"], 1072),
    # COIN-M speaks USD-M's dialect on its public side
    ("binance_usdm", "BTCUSD_PERP", ["coinm_btcusd_perp_20240808"], 1124),
]
"""Type, symbol, files that continue each other, comparisons they hold."""


@dataclass
class Oracle:
    """Rebuilds a book and compares it with bookTicker at every equal update id."""

    book: Book = field(default_factory=Book)
    tops: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)
    steps: Counter[Step] = field(default_factory=Counter)
    compared: int = 0
    different: int = 0

    def take(self, event: Event) -> None:
        if isinstance(event, Depth):
            self.steps[self.book.apply(event)] += 1
            self._compare(self.book.last)
        elif isinstance(event, Top):
            self.tops[event.u] = (event.bid, event.ask, event.bid_qty, event.ask_qty)
            if event.u == self.book.last:
                self._compare(event.u)

    def _compare(self, u: int) -> None:
        top = self.tops.get(u)
        if top is not None and self.book.in_step:
            self.compared += 1
            self.different += self.book.best() != top


def decoded(
    type: str, lines: Iterable[tuple[int, bytes]], counts: Counter[str], symbol: str = "BTCUSDT"
) -> Iterator[Event]:
    """Decode hftbacktest lines; a line without a stream is the REST snapshot."""
    codec = market_codec(type, "live", [binding(type, "m", symbol)])
    start = 0
    for at, frame in lines:
        start = start or at
        out = Decoded()
        if b'"stream"' in frame[:12]:
            codec.decode("public", frame, at - start, at, 1, False, out)
        else:
            out.events.append(codec.parse_snapshot("m", frame, at - start, at))
            counts["snapshot"] += 1
        counts["unrecognised"] += out.unrecognised
        yield from out.events


@pytest.mark.parametrize(("type", "symbol", "files", "comparisons"), CHAINS)
def test_snapshot_and_differences_equal_the_touch_at_every_equal_update_id(
    type: str, symbol: str, files: list[str], comparisons: int
) -> None:
    oracle = Oracle()
    lines = (line for name in files for line in hft_lines(f"binance_{name}.gz"))
    counts: Counter[str] = Counter()
    for event in decoded(type, lines, counts, symbol):
        oracle.take(event)
    assert counts["unrecognised"] == 0
    assert oracle.different == 0
    assert oracle.steps[Step.GAP] == oracle.steps[Step.TOO_OLD] == 0
    assert oracle.compared == comparisons


@pytest.mark.parametrize(
    ("type", "name"),
    [
        ("binance_usdm", "binance_usdm_btcusdt_20230404.gz"),
        ("binance_usdm", "binance_usdm_btcusdt_20240808.gz"),
        ("binance_spot", "binance_spot_btcusdt_20240808.gz"),
    ],
)
def test_counts_volume_and_last_quote_equal_the_answer_key(type: str, name: str) -> None:
    key = json.loads(need(DATA / "EXPECTED.json").read_text())[f"hftbacktest/{name}"]
    counts: Counter[str] = Counter()
    bought = sold = Decimal(0)
    top: Top | None = None
    first = None
    for event in decoded(type, hft_lines(name), counts):
        counts[event.__class__.__name__] += 1
        if isinstance(event, Trade):
            qty = Decimal(repr(event.qty))
            bought += qty if event.taker == "buy" else 0
            sold += qty if event.taker == "sell" else 0
        elif isinstance(event, Top):
            top = event
        elif isinstance(event, Depth) and not event.snapshot and first is None:
            first = event.wall
    channels = {
        channel.split("@")[1]: n for channel, n in key["channels"].items() if "@" in channel
    }
    assert counts["unrecognised"] == 0
    assert counts["Top"] == channels["bookTicker"]
    assert counts["Trade"] == key["trades"]
    assert counts["Depth"] == channels["depth"] + counts["snapshot"]
    assert counts["Mark"] == counts["Funding"] == channels.get("markPrice", 0)
    assert bought == Decimal(key["trade_taker_buy_qty"])
    assert bought + sold == Decimal(key["trade_qty_sum"])
    quote = key["last_bookTicker"]
    assert top is not None and top.u == quote["u"]
    assert (top.bid, top.ask, top.bid_qty, top.ask_qty) == tuple(
        float(quote[name]) for name in ("b", "a", "B", "A")
    )


def test_the_state_is_live_from_the_end_of_warming_on() -> None:
    """The clocks of this capture differ by 1.27 s; a naive age would be negative throughout."""
    state = MarketState([StreamWant("m.book", "m", "x", "book", 250_000_000)])
    stream = state.streams["m.book"]
    assert isinstance(stream, BookStream)
    seen: Counter[StreamState] = Counter()
    counts: Counter[str] = Counter()
    lines = islice(hft_lines("binance_usdm_btcusdt_20240808.gz"), 20_000)
    for event in decoded("binance_usdm", lines, counts):
        if event.t >= state.due:
            state.on_timer(event.t)
        state.apply(event)
        seen[stream.state] += 1
        if stream.state is StreamState.LIVE:
            assert stream.bid < stream.ask and event.t > 2_900_000_000
            assert 0 <= stream.age(event.t) <= 250_000_000
    assert set(seen) == {StreamState.WAITING, StreamState.LIVE}
    assert seen[StreamState.LIVE] > 18_000
    assert stream.fill_price(True, 1.0, float("nan")) >= stream.ask


def test_bybits_capture_rebuilds_without_a_gap() -> None:
    codecs: dict[str, BybitMarket] = {}
    books: dict[tuple[str, str], Book] = {}
    counts: Counter[str] = Counter()
    steps: Counter[Step] = Counter()
    for line in cryptofeed_lines("bybit_v5_linear_spot_BTC_DOGE_20260809.jsonl.zst"):
        if line["t"] == "connect":
            category = line["addr"].rsplit("/", 1)[1]
            symbols = [binding(f"bybit_{category}", s, s) for s in ("BTCUSDT", "DOGEUSDT")]
            codecs[line["conn"]] = BybitMarket("live", symbols, {}, category)
        elif line["t"] == "recv":
            out = Decoded()
            codec, frame = codecs[line["conn"]], line["data"].encode()
            at = round(line["ts"] * 1e9)
            codec.decode("public", frame, at, at, 1, False, out)
            counts.update(out.notices)
            counts[f"{codec.type} unrecognised"] += out.unrecognised
            for event in out.events:
                counts[event.__class__.__name__] += 1
                if isinstance(event, Depth):
                    book = books.setdefault((codec.type, event.market), Book())
                    steps[book.apply(event)] += 1
                    bid, ask, _, _ = book.best()
                    assert bid < ask
                elif isinstance(event, Mark | Funding | Bar | Trade):
                    assert event.ts > 0
    assert steps == {Step.APPLIED: 1094}  # 3 snapshots, 1,091 differences
    assert counts["subscribed"] == 24
    assert counts["bybit_linear unrecognised"] == 0
    assert counts["bybit_spot unrecognised"] == 41  # spot's tickers carry nothing we use
    assert counts["Mark"] == counts["Funding"] == 349
    assert counts["Bar"] == 51
