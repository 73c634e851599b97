"""A dry-run over recordings keeps time: cron times and recorded signals come at their instants."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from runner import spec
from runner.app.offline import MarketReplay
from runner.base.errors import WorldError
from runner.engine.commands import Command, Record, Send
from runner.engine.events import ClockReading, Depth, Event, Signal
from runner.store.journal import Journal
from runner.store.lines import AnyLine, event_bytes

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
START = round(datetime(2026, 11, 30, 7, 59, 30, tzinfo=UTC).timestamp()) * SECOND
STRATEGY = """
version: 1
name: clocked
exchanges:
  bybit: {type: bybit_linear, network: testnet}
markets:
  btc: {exchange: bybit, symbol: BTCUSDT, streams: {book: {max_age: 5s}}}
sources:
  voc:
    type: webhook
    listen: {port: 0, path: /voc}
    auth: {token: {env: T}}
    dedupe: {by: id, within: 1d}
    max_age: 10s
    fields: {id: {type: text}}
rules:
  weekly:
    trigger: {cron: "0 8 * * MON", zone: UTC, retry: {every: 1s, within: 1m}}
    order: {market: btc, side: buy, size: 200 USDT}
  told:
    trigger: voc
    order: {market: btc, side: buy, size: 300 USDT}
risk:
  max_order: 400 USDT
  max_position: {btc: 0.1 BTC}
  max_daily_loss: 20 USDT
  max_orders: {count: 10, per: 1m}
"""


class Orders:
    """Writes down when which rule sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, str]] = []
        self.records: list[str] = []

    def event(self, event: Event) -> None:
        """Events do not matter here."""

    def command(self, command: Command, t: int) -> None:
        if isinstance(command, Send):
            self.sent += [(t, a.intent.rule) for a in command.orders]
        if isinstance(command, Record):
            self.records.append(command.kind)


def line(event: Event) -> AnyLine:
    found: AnyLine = msgspec.json.decode(event_bytes(event), type=AnyLine)
    return found


def lines() -> list[AnyLine]:
    """A quiet minute around 08:00 on a Monday, ten looks at the book a second."""
    found = [line(ClockReading(exchange="bybit", offset=0, uncertainty=1, t=0, wall=START))]
    for i in range(600):
        t = i * SECOND // 10
        book = Depth(market="btc", snapshot=True, bids=[(60_000.0, 5.0)], asks=[(60_000.1, 5.0)],
                     last=t + 1, ts=START + t, conn=1, t=t, wall=START + t)  # fmt: skip
        found.append(line(book))
        if i in (100, 110):
            said = Signal(source="voc", id="a1", fields={"id": "a1"}, sent_at=START + t, t=t,
                          wall=START + t)  # fmt: skip
            found.append(line(said))
    return found


def test_cron_and_signals_come_in_virtual_time_and_twice_the_same(tmp_path: Path) -> None:
    checked = spec.load(STRATEGY)
    assert checked.plan is not None
    runs = []
    for name in ("one", "two"):
        journal, orders = Journal.open(tmp_path / f"{name}.db"), Orders()
        replay = MarketReplay(checked.plan, "run0000001", journal, Decimal(10_000), [orders])
        replay.run(lines())
        journal.close()
        runs.append(orders)
    assert runs[0].sent == [(10 * SECOND, "told"), (30 * SECOND, "weekly")], "to the nanosecond"
    assert runs[0].sent == runs[1].sent
    assert runs[0].records.count("signal_refused") == 1, "the second a1"


def test_recordings_of_other_times_are_not_replayed_as_one(tmp_path: Path) -> None:
    checked = spec.load(STRATEGY)
    assert checked.plan is not None
    later = line(
        ClockReading(exchange="bybit", offset=0, uncertainty=1, t=9 * DAY, wall=START + 9 * DAY)
    )
    journal = Journal.open(tmp_path / "j.db")
    replay = MarketReplay(checked.plan, "run0000001", journal, Decimal(10_000))
    with pytest.raises(WorldError, match="lie apart, 2026-11-30 and 2026-12-09"):
        replay.run([*lines(), later])
    journal.close()


def test_a_market_of_which_the_recording_holds_nothing_is_named(tmp_path: Path) -> None:
    checked = spec.load(STRATEGY)
    assert checked.plan is not None
    for seen, unseen in ((lines(), []), (lines()[:1], ["btc (BTCUSDT on bybit_linear)"])):
        journal = Journal.open(tmp_path / f"{len(seen)}.db")
        replay = MarketReplay(checked.plan, "run0000001", journal, Decimal(10_000))
        replay.run(seen)
        journal.close()
        assert replay.unseen() == unseen
