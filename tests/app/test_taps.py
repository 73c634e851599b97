"""Taps: values as they pass, a bounded queue, nothing left behind; the screen of `top`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from runner.app import taps
from runner.app.assembly import Parts, host_of
from runner.app.bench.setup import GAP_STRATEGY, make_ready, parts_of, plan_of, scratch_journal
from runner.app.control import FOLLOW, ControlServer, follow
from runner.app.host import Host
from runner.app.offline import NoOrders
from runner.app.taps import MOST_WAITING, Tap
from runner.base.clock import SystemClock
from runner.cli.top_text import screen
from runner.engine.events import Top
from tests.engine import sourcelab
from tests.patience import PATIENCE_S

GOLDEN = Path(__file__).parent / "golden" / "top.txt"
WALL = 1_760_000_000_000_000_000
MS = 1_000_000


@contextmanager
def running() -> Iterator[tuple[Parts, Host]]:
    clock, plan = SystemClock(), plan_of(GAP_STRATEGY)
    parts = parts_of(plan, clock)
    with scratch_journal(clock, plan, parts.run_id) as journal:
        host, _ = host_of(parts, NoOrders(), journal, virtual=True, timed=False)
        make_ready(parts, host, 0, WALL)
        yield parts, host


def top(host: Host, market: str, bid: float, i: int) -> None:
    t = i * MS
    host.feed(
        Top(
            market=market, bid=bid, ask=bid + 0.1, bid_qty=1, ask_qty=2, u=100 + i,
            ts=WALL + t, conn=1 + (market == "p"), t=t, wall=WALL + t,
        )
    )  # fmt: skip


def test_each_value_of_a_stream_is_told_once_and_in_its_order() -> None:
    async def follow_it() -> list[dict[str, Any]]:
        with running() as (parts, host):
            rows = Tap(host, parts.engine, "s.book").rows()
            assert await anext(rows) == []
            for i in range(5):
                top(host, "s", 60_000.0 + i, i)
                top(host, "p", 60_000.0, i)
            found = await anext(rows)
            await rows.aclose()
            assert not any(isinstance(each, Tap) for each in host.observers)
            return found

    found = asyncio.run(follow_it())
    assert [row["values"]["bid"] for row in found] == [60_000.0 + i for i in range(5)]
    assert [row["seq"] for row in found] == list(range(found[0]["seq"], found[0]["seq"] + 5))
    assert found[0]["state"] == "live"


def test_a_slow_reader_loses_the_oldest_counted_and_holds_up_nothing() -> None:
    async def follow_it() -> list[dict[str, Any]]:
        with running() as (parts, host):
            rows = Tap(host, parts.engine, "s.book").rows()
            await anext(rows)
            for i in range(MOST_WAITING + 250):
                top(host, "s", 60_000.0 + i, i)
            found = await anext(rows)
            await rows.aclose()
            return found

    found = asyncio.run(follow_it())
    assert found[0] == {"dropped": 250}
    assert len(found) == MOST_WAITING + 1
    assert found[-1]["values"]["bid"] == 60_000.0 + MOST_WAITING + 249


def test_a_rule_s_decisions_are_followed_and_what_is_not_there_is_named() -> None:
    async def follow_it() -> list[dict[str, Any]]:
        with running() as (parts, host):
            with pytest.raises(ValueError, match=r"s\.book.*dear"):
                Tap(host, parts.engine, "nix")
            for field in ("s.book.bid", "s.mid"):
                with pytest.raises(ValueError, match=r"`runner tap s\.book` follows"):
                    Tap(host, parts.engine, field)
            with pytest.raises(ValueError, match="no stream"):
                Tap(host, parts.engine, "s.nix")
            rows = Tap(host, parts.engine, "dear").rows()
            await anext(rows)
            top(host, "s", 60_000.0, 3)
            top(host, "p", 62_500.0, 4)  # over 3 %
            found = await anext(rows)
            await rows.aclose()
            return found

    found = asyncio.run(follow_it())
    moves = [(row["before"], row["after"]) for row in found]
    assert moves == [("warming", "idle"), ("pending", "entering")], "pending is only passed"
    first = found[-1]
    assert first["rule"] == "dear" and first["origin"]["name"] == "p.book"
    assert first["conjuncts"] == [["gap(p.bid, s.ask) > 3%", "true", "4.166% > 3%"]]


def test_over_the_socket_rows_come_until_the_client_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taps, "EVERY_S", 0.001)

    async def serve() -> None:
        with running() as (parts, host):

            def answer(command: str, fields: Any) -> dict[str, Any]:
                return {FOLLOW: Tap(host, parts.engine, fields["name"]).rows()}

            server = ControlServer(tmp_path / "c.sock", answer)
            await server.start()
            found: list[dict[str, Any]] = []

            def read() -> None:
                rows = follow(tmp_path / "c.sock", "tap", name="s.book")
                assert next(rows)["ok"]
                for row in rows:
                    found.append(row)
                    if len(found) == 3:
                        break
                rows.close()

            reader = asyncio.create_task(asyncio.to_thread(read))
            i, end = 0, time.monotonic() + PATIENCE_S
            while not reader.done():
                assert time.monotonic() < end, f"three answers; came {found}"
                top(host, "s", 60_000.0 + i, i)
                i += 1
                await asyncio.sleep(0.001)
            await reader
            for _ in range(5000):
                if not any(isinstance(each, Tap) for each in host.observers):
                    break
                await asyncio.sleep(0.001)
            assert not any(isinstance(each, Tap) for each in host.observers)
            await server.close()
            assert len(found) == 3 and found[0]["stream"] == "s.book"

    asyncio.run(asyncio.wait_for(serve(), 30))


def test_the_screen_of_top_is_this() -> None:
    stages = {
        "decode": {"n": 833, "p50": 14.6, "p95": 35.8, "p99": 67.6},
        "journal": {"n": 6, "p50": 184.3, "p95": 335.9, "p99": 335.9},
    }
    rule = {"entries": 1, "exits": 1, "leaving": "", "disabled": "", "pnl": 1.0572}
    found = screen(
        {
            "name": "spread-arb-btc", "kind": "dry-run", "run": "tp4oysximv", "uptime_s": 14.2,
            "state": "active", "reason": "", "day_loss": -3.36, "orders": {"open": 2},
            "exchanges": {"binance": {"state": "ready"}, "bybit": {"state": "reconciling"}},
            "rules": {
                "sell_bin_buy_byb": rule | {
                    "state": "idle", "refusals": {}, "reason": "sell_bin > 27bps is false"
                },
                "buy_bin_sell_byb": rule | {
                    "state": "active", "refusals": {"max_orders": 3, "stale": 1}, "reason": ""
                },
            },
            "streams": {
                "bin.book": {"state": "live", "age_ms": 12.0},
                "bin.mark": {"state": "live", "age_ms": 900.0},
                "byb.book": {"state": "stale", "age_ms": 412.0},
                "byb.mark": {"state": "waiting", "age_ms": None},
            },
            "positions": {"bin": "-0.008", "byb": "0.008"},
            "latency_us": stages,
        }
    )  # fmt: skip
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text()


def test_an_event_is_told_with_what_it_said_and_a_signal_of_cells_when_they_move() -> None:
    text = sourcelab.SIGNAL.replace("rules:", "signals: {load: position.btc.qty}\nrules:")
    s = sourcelab.listening(text)
    said, load = (Tap(cast(Host, None), s.engine, name)._look for name in ("voc", "load"))
    assert [row["value"] for row in load()] == [0] and load() == [] and said() == []
    sourcelab.voc(s, "a1", "long")
    (row,) = said()
    assert row["values"]["action"] == "long" and row["values"]["stop"] == 59_400.0
    assert row["values"]["target"] is None
    s.run(100 * MS)
    (row,) = load()
    assert row["value"] > 0 and row["shown"].endswith("BTC")
