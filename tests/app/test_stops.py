"""A trade that is guarded at the exchange, with signed orders over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.sim.launch import Running, launch
from tests.app.simlab import TYPES, Lab

GUARDED = """
version: 1
name: churn
about: Buys at once, between a stop and a target close by.
exchanges:
{exchanges}
markets:
  bin: {{exchange: bin, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
  byb: {{exchange: byb, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
rules:
  churn:
    when: gap({first}.bid, {second}.ask) > -10%
    until: this.age > {hold}
    cooldown: 100ms
    rearm: level
    trade:
      size: 300 USDT
      legs: [{{market: {first}, side: buy, order: {{type: limit, tif: ioc, collar: 20bps}}}}]
      stop: {{price: {first}.bid * (1 - 0.1bps), trigger: mark}}
      target: {{price: {first}.ask * (1 + 0.1bps), trigger: last}}
      close: {{tif: ioc, collar: 20bps, retry: 250ms, worst: 90bps, then: market}}
run: {{on_stop: {on_stop}, stop_within: {within}}}
risk:
  max_order: 600 USDT
  max_position: {{bin: 0.05 BTC, byb: 0.05 BTC}}
  max_daily_loss: {{amount: 1000 USDT, day: "{day}"}}
  max_orders: {{count: 1000, per: 1m}}
  max_firings: {{count: 1000, per: 1m}}
  price_collar: 5%
"""


@pytest.fixture(scope="module")
def market() -> Iterator[Running]:
    kinds = list(TYPES.values())
    with launch(seed=7, exchanges=kinds, dislocations=False, limit_factor=100, leverage=2) as sim:
        yield sim


@pytest.mark.parametrize("first", ["bin", "byb"])
def test_stops_and_targets_stand_fire_and_go_and_nothing_is_left(
    market: Running, tmp_path: Path, first: str
) -> None:
    """A trade ends by its stop, one by its target, the last may by `until`; nothing is left."""
    lab = Lab(market, tmp_path, first=first, on_stop="flatten", hold="1500ms", text=GUARDED)
    lab.second = "byb" if first == "bin" else "bin"
    kind = TYPES[first]
    child = lab.start()
    for n, bps in ((1, -30), (2, 30)):

        def over(state: dict[str, Any], n: int = n) -> bool:
            return bool(state["rules"]["churn"]["exits"] >= n)

        lab.until(
            child, f"both {n}", lambda s: over(s) or len(market.ledger()[kind]["waiting"]) > 1
        )
        move = {"exchange": kind, "symbol": "BTCUSDT", "move_bps": bps, "for_s": 0.4}
        market.market(move)  # through what is a tenth of a basis point away
        lab.until(child, f"trade {n} is over", over)
    lab.until(child, "three trades", lambda s: s["rules"]["churn"]["exits"] >= 3)
    code, report, err = lab.stop(child)
    assert code == 0, err
    decisions = next((tmp_path / "state").rglob("decisions.jsonl")).read_text()
    # refusals are not counted: the price may have passed a stop while it was on its way
    orders = report["exchanges"][first]["orders"]
    rule = report["rules"]["churn"]
    assert rule["entries"] == rule["exits"] >= 3
    notes = [note for note in report["unaccounted"] if "no funding came" not in note]
    assert notes == []  # that one is of a machine too busy to hear of it in time
    assert orders["sent"] >= 2 * rule["entries"], "each entry had its stop"
    assert '"type":"target"' in decisions, "a target beside a stop that stood"
    assert lab.positions() == {}
    assert all(held["waiting"] == [] for held in market.ledger().values())
    assert decisions.count('"purpose":"close"') < rule["exits"], "at least one fired"
