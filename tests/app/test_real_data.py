"""Strategies over real captures: the report is honest, and the books rebuild without a gap.

The captures belong to others and are not part of the project: where they are absent, this skips.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_S

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no captures at {DATA}")

SPREAD = """
version: 1
name: spread
about: Spot against perpetual, a simple spread rule.
exchanges:
  spot: {type: binance_spot, network: testnet}
  perp: {type: binance_usdm, network: testnet, leverage: 2}
markets:
  s: {exchange: spot, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
  p: {exchange: perp, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
signals:
  usual: ema(gap(p.mid, s.mid), 30s)
  rich: gap(p.bid, s.ask) - usual
rules:
  sell_perp:
    when: rich > 1bps
    max_skew: 500ms
    until: rich < 0bps
    max_hold: 30s
    cooldown: 1s
    trade:
      size: 300 USDT
      legs:
        - {market: p, side: sell, order: {type: limit, tif: ioc, collar: 2bps}}
        - {market: s, side: buy, order: {type: limit, tif: ioc, collar: 2bps}}
      hedge: {policy: together, max_gap: 0.002 BTC, repair: cheaper, repair_within: 2s,
              worst: 20bps, on_failure: flatten}
      close: {tif: ioc, collar: 5bps, retry: 250ms, worst: 50bps, then: hold}
risk:
  max_order: 600 USDT
  max_position: {s: 0.05 BTC, p: 0.05 BTC}
  max_daily_loss: 100 USDT
  max_orders: {count: 100, per: 1m}
"""
BYBIT = """
version: 1
name: watch
about: Looks at two books of Bybit and never trades.
exchanges:
  byb: {type: bybit_linear, network: testnet, leverage: 2}
markets:
  btc: {exchange: byb, symbol: BTCUSDT, streams: {book: {max_age: 5s, depth: 200}}}
rules:
  never:
    when: btc.ask < btc.bid * 0.5
    order: {market: btc, side: buy, size: 100 USDT, type: limit, tif: ioc, price: btc.ask}
risk:
  max_order: 600 USDT
  max_position: {btc: 0.05 BTC}
  max_daily_loss: 100 USDT
  max_orders: {count: 100, per: 1m}
"""


LOT = Decimal("0.00001")
"""of spot: a fee taken from the coin bought leaves less than one lot of each trade"""


def runner(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", "from runner.cli.main import main; main()", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=3 * PATIENCE_S, check=False)


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Import the two Binance captures of 2024-08-08, one machine, the same 344 s."""
    out = []
    for kind in ("spot", "usdm"):
        source = DATA / "hftbacktest" / f"binance_{kind}_btcusdt_20240808.gz"
        target = tmp_path_factory.mktemp("captures") / kind
        done = runner(
            "import", "hftbacktest", str(source), "--exchange", f"binance_{kind}",
            "--symbol", "BTCUSDT", "--out", str(target),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        out += ["--replay", str(target)]
    yield out


def replayed(folder: Path, text: str, *arguments: str) -> dict[str, Any]:
    path = folder / "strategy.yaml"
    path.write_text(text)
    done = runner("dry-run", str(path), *arguments, "--state", str(folder / "state"), "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def judge(report: dict[str, Any]) -> None:
    """Whatever the market did, the report's sums hold and nothing was left out of them."""
    assert report["market"] == "recorded" and report["kind"] == "dry-run"
    rule = report["rules"]["sell_perp"]
    parts = {k: Decimal(v) for k, v in rule["waterfall"].items()}
    net = parts.pop("net")
    assert abs(sum(parts.values()) - net) <= Decimal("1e-8")
    assert Decimal(rule["fees"]) > 0 and rule["fills"] >= 4 and rule["evaluations"] > rule["true"]
    volume, fees = Decimal(rule["volume"]), Decimal(rule["fees"])
    assert fees / volume > Decimal("0.0007"), "four taker legs: 5 and 10 bps"
    assert Decimal(report["pnl"]["net"]) < 0, "this data holds no profit for a simple spread rule"
    for each in report["exchanges"].values():
        assert each["gaps"] == 0 and each["reconnects"] == 0
        assert each["orders"]["rejected"] == each["orders"]["unknown"] == 0
    assert any("no funding" in note for note in report["unaccounted"]), "the capture has none"
    dust = {market: Decimal(held["qty"]) for market, held in report["positions"].items()}
    assert dust.keys() <= {"s"} and all(q < rule["trades"] * LOT for q in dust.values())


def test_a_simple_spread_on_real_binance_data_earns_nothing_after_fees(
    captures: list[str], tmp_path: Path
) -> None:
    judge(replayed(tmp_path, SPREAD, *captures, "--for", "120s"))


@pytest.mark.campaign
def test_the_whole_capture_is_replayed_and_is_the_same_each_time(
    captures: list[str], tmp_path: Path
) -> None:
    reports = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        report = replayed(tmp_path / name, SPREAD, *captures, "--seed", "7")
        judge(report)
        reports.append((report["rules"], report["pnl"], report["positions"]))
    assert reports[0] == reports[1]


def test_bybit_s_capture_rebuilds_without_a_gap(tmp_path: Path) -> None:
    (source,) = (DATA / "cryptofeed_v3").glob("bybit_v5_linear_spot*.jsonl.zst")
    capture = tmp_path / "capture"
    done = runner("import", "cryptofeed", str(source), "--out", str(capture))
    assert done.returncode == 0, done.stderr
    report = replayed(tmp_path, BYBIT, "--replay", str(capture))
    assert report["exchanges"]["byb"]["gaps"] == 0
    stream = report["streams"]["btc.book"]
    assert stream["frames"] > 100 and stream["stale_share"] == 0
    assert report["rules"]["never"]["true"] == 0
