"""Real captures beside the repository, and how their lines are read."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import zstandard

from runner.exchanges.api import MarketBinding
from runner.market.instruments import Fees, Instrument, Kind

SHARED = Path(__file__).resolve().parents[3] / "shared"
DATA = SHARED / "data"


def need(path: Path) -> Path:
    """Return `path`, or skip the test with the reason."""
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the repository (../shared)")
    return path


def hft_lines(name: str) -> Iterator[tuple[int, bytes]]:
    """Yield (receive time in ns, frame) of an hftbacktest file."""
    with gzip.open(need(DATA / "hftbacktest" / name)) as lines:
        for line in lines:
            stamp, _, frame = line.partition(b" ")
            yield int(stamp) * (1 if len(stamp) == 19 else 1000), frame.rstrip()


def cryptofeed_lines(name: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of a cryptofeed v3 file."""
    with need(DATA / "cryptofeed_v3" / name).open("rb") as raw:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), "utf-8")
        for line in text:
            yield json.loads(line)


def gz_objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a .jsonl.gz file."""
    with gzip.open(need(path)) as lines:
        for line in lines:
            yield json.loads(line)


def fixture(part: str) -> bytes:
    """Return the one nautilus adapter fixture whose path ends with `part`."""
    found = [
        row["text"]
        for row in gz_objects(DATA / "nautilus" / "adapter_fixtures_open.jsonl.gz")
        if row["path"].endswith(part)
    ]
    assert len(found) == 1, f"{len(found)} fixtures end with {part}"
    return str(found[0]).encode()


def instrument(
    type: str, symbol: str, tick: str = "0.1", lot: str = "0.001", kind: Kind = Kind.PERPETUAL
) -> Instrument:
    """Make an instrument with the steps that matter to a codec."""
    return Instrument(
        exchange_type=type, symbol=symbol, kind=kind, base=symbol.removesuffix("USDT"),
        quote="USDT", tick=Decimal(tick), lot=Decimal(lot), min_qty=Decimal(lot),
        min_notional=Decimal(5), fees=Fees(0.0002, 0.0005),
    )  # fmt: skip


def binding(
    type: str, market: str, symbol: str, tick: str = "0.1", lot: str = "0.001"
) -> MarketBinding:
    """Bind a market's name to a symbol."""
    return MarketBinding(market, symbol, instrument(type, symbol, tick, lot))
