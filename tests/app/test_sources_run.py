"""From a signed webhook to an order at the exchange: the running program over real sockets."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.send_signal import signed
from runner.sim.launch import launch
from tests.app.simlab import TYPES, Lab
from tests.patience import PATIENCE_S

SECRET = "not-a-real-secret"
LISTENS = """
version: 1
name: churn
about: Buys when a signed signal says so, sells when another does.
exchanges:
{exchanges}
markets:
  btc: {{exchange: {second}, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
sources:
  voc:
    type: webhook
    listen: {{port: 0, path: /voc}}
    auth: {{hmac_sha256: {{secret: {{env: VOC_SECRET}}}}}}
    dedupe: {{by: id, within: 1d}}
    max_age: 10s
    fields:
      id: {{type: text}}
      action: {{from: /signal, type: enum, values: [long, close]}}
      stop: {{from: /stop_loss, type: price, of: btc, optional: true}}
  minute: {{type: schedule, cron: "* * * * *"}}
rules:
  go_long:
    trigger: voc
    when: voc.action == "long" and voc.stop < btc.ask
    until: voc.action == "close"
    max_hold: 1h
    cooldown: 100ms
    trade:
      size: 300 USDT
      legs: [{{market: btc, side: buy, order: {{type: limit, tif: ioc, collar: 20bps}}}}]
      close: {{tif: ioc, collar: 20bps, retry: 250ms, worst: 90bps, then: market}}
  never:
    trigger: minute
    when: btc.ask < btc.bid * 0.5
    order: {{market: btc, side: buy, size: 300 USDT}}
run: {{on_stop: {on_stop}, stop_within: {within}}}
risk:
  max_order: 600 USDT
  max_position: {{btc: 0.05 BTC}}
  max_daily_loss: {{amount: 1000 USDT, day: "{day}"}}
  max_orders: {{count: 1000, per: 1m}}
  price_collar: 5%
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with launch(
        seed=7, exchanges=list(TYPES.values()), dislocations=False, limit_factor=100, leverage=2
    ) as sim:
        yield Lab(sim, tmp_path, text=LISTENS, environment={"VOC_SECRET": SECRET})


def post(
    port: int, id_: str, action: str, *, age_s: float = 0.0, secret: str = SECRET, **more: Any
) -> int:
    """Post a signal and return the status of the answer."""
    body = json.dumps({"id": id_, "signal": action, **more}).encode()
    headers = signed(secret, body, f"{time.time() - age_s:.3f}")
    url = f"http://127.0.0.1:{port}/voc"
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as no:
        no.close()
        return no.code


def listening(lab: Lab, child: subprocess.Popen[str], state: str = "idle") -> int:
    """Wait until the door is open and the rule is where it should be; return the port."""
    status = lab.until(
        child, "open", lambda s: s["sources"]["voc"]["port"]
        and s["rules"]["go_long"]["state"] == state,
    )  # fmt: skip
    return int(status["sources"]["voc"]["port"])


def test_a_signed_signal_becomes_an_order_once_also_over_a_kill(lab: Lab) -> None:
    with lab.running() as child:
        port = listening(lab, child)
        assert post(port, "a0", "long", secret="guess", stop_loss=100) == 401
        assert post(port, "a0", "long", age_s=40, stop_loss=100) == 401
        assert post(port, "a0", "long", age_s=15, stop_loss=100) == 422, "older than max_age"
        assert post(port, "a0", "long", stop_loss="nan") == 422
        assert post(port, "a1", "long", stop_loss=100) == 202
        assert post(port, "a1", "long", stop_loss=100) == 409
        lab.until(child, "a trade", lambda s: s["rules"]["go_long"]["state"] == "active")
        held = lab.positions()
        assert held["bybit_linear"] > 0 and len(held) == 1
        child.kill()
        child.wait(PATIENCE_S)
    with lab.running() as child:
        port = listening(lab, child, "active")
        assert post(port, "a1", "long", stop_loss=100) == 409, "known over the kill"
        assert post(port, "a2", "close") == 202
        lab.until(child, "the end", lambda s: s["rules"]["go_long"]["exits"] == 1)
        assert lab.positions() == {}
        code, report, _ = lab.stop(child)
    assert code == 0 and lab.doubled() == []
    voc = report["sources"]["voc"]
    assert voc["accepted"] == 1 and voc["refused"] == {"duplicate": 1}
    for path in (lab.folder / "state").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    again = subprocess.run(
        lab.command("replay", str(newest(lab))), capture_output=True, text=True, env=lab.env(),
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert "identical" in again.stdout, again


def newest(lab: Lab) -> Path:
    runs = (lab.folder / "state" / "churn" / "runs").iterdir()
    return max(runs, key=lambda path: path.stat().st_mtime)
