"""Requests captured from official clients, signed anew, are understood by the simulator.

Understood: the route exists, its parameters are read, its signature is accepted. What the
account makes of them (no such order, leverage not modified) is another matter.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from runner.sim.launch import Running

pytestmark = pytest.mark.conformance

CAPTURES = Path(__file__).parents[2] / ".." / "shared" / "exchanges" / "sdk-requests.jsonl"
VENUES = ("binance_usdm", "bybit_linear")
NOT_SIMULATED = ("algo", "stop", "trigger", "conditional")
MISREAD = {-1100, -1101, -1102, -1104, -1106, -1111, -1115, -1116, -1117, -1121, -1130,
           -1021, -1022, -2014, -2015, -5000, 10001, 10002, 10003, 10004}  # fmt: skip


def captured() -> list[dict[str, Any]]:
    """Read the REST captures of the simulated venues."""
    if not CAPTURES.exists():
        return []
    rows = [json.loads(line) for line in CAPTURES.read_text().splitlines()]
    return [
        row
        for row in rows
        if row["venue"] in VENUES and not row["method"].startswith("WS")
        and not any(word in json.dumps(row).lower() for word in NOT_SIMULATED)
    ]  # fmt: skip


def name_of(row: dict[str, Any]) -> str:
    """Name a capture."""
    return f"{row['library'].split()[0]}-{row['op']}-{row['path'].rsplit('/', 1)[-1]}"


def binance(row: dict[str, Any], ends: dict[str, str]) -> tuple[str, str, dict[str, str]]:
    """Renew timestamp and signature of a Binance request."""
    query, body = row["query"], row["body"]
    headers = dict(row["headers"])
    if "X-MBX-APIKEY" in headers:
        headers["X-MBX-APIKEY"] = ends["key"]

    def renew(text: str) -> str:
        kept = [p for p in text.split("&") if not p.startswith("signature=")]
        stamp = f"timestamp={int(time.time() * 1000)}"
        return "&".join(stamp if p.startswith("timestamp=") else p for p in kept)

    signed = "signature=" in query + body
    query, body = renew(query), renew(body)
    if signed:
        mac = hmac.new(ends["secret"].encode(), (query + body).encode(), hashlib.sha256)
        suffix = "&signature=" + mac.hexdigest()
        query, body = (query, body + suffix) if body else (query + suffix, body)
    return query, body, headers


def bybit(row: dict[str, Any], ends: dict[str, str]) -> tuple[str, str, dict[str, str]]:
    """Renew timestamp and signature of a Bybit request."""
    headers = dict(row["headers"])
    if "X-BAPI-SIGN" in headers:
        stamp = str(int(time.time() * 1000))
        window = headers.get("X-BAPI-RECV-WINDOW", "")
        text = stamp + ends["key"] + window + (row["body"] or row["query"])
        mac = hmac.new(ends["secret"].encode(), text.encode(), hashlib.sha256)
        headers |= {"X-BAPI-API-KEY": ends["key"], "X-BAPI-TIMESTAMP": stamp,
                    "X-BAPI-SIGN": mac.hexdigest()}  # fmt: skip
    return row["query"], row["body"], headers


@pytest.mark.skipif(not CAPTURES.exists(), reason="captures ../shared/exchanges are not here")
@pytest.mark.parametrize("row", captured(), ids=name_of)
def test_a_captured_request_is_understood(sim: Running, row: dict[str, Any]) -> None:
    ends = sim.endpoints[row["venue"]]
    renew = binance if row["venue"] == "binance_usdm" else bybit
    query, body, headers = renew(row, ends)
    connection = http.client.HTTPConnection(urlsplit(ends["rest"]).netloc, timeout=10)
    path = row["path"] + (f"?{query}" if query else "")
    connection.request(row["method"], path, body or None, headers)
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    value = json.loads(text)
    code = value.get("retCode", value.get("code", 0)) if isinstance(value, dict) else 0
    items = value if isinstance(value, list) else []
    codes = {code, *(item["code"] for item in items if "code" in item)}
    assert reply.status != 404, text
    assert not codes & MISREAD, text
