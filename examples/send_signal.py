#!/usr/bin/env python3
"""Send one signed signal to a webhook of runner. Nothing but Python is needed.

    VOC_SECRET=sim python examples/send_signal.py long --stop 59400 --target 61000
    VOC_SECRET=sim python examples/send_signal.py close
    VOC_SECRET=sim python examples/send_signal.py --heartbeat

The body is JSON, signed with HMAC-SHA256 over the time, a dot and the bytes of the body:
`X-Signature: hex(hmac(secret, timestamp + "." + body))`, `X-Timestamp: seconds since 1970`.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid


def signed(secret: str, body: bytes, timestamp: str) -> dict[str, str]:
    """Return the headers that prove a body."""
    content = timestamp.encode() + b"." + body
    digest = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
    return {
        "X-Timestamp": timestamp,
        "X-Signature": digest,
        "Content-Type": "application/json",
    }


def main() -> int:
    """Send what the command line says; 0 when it was accepted."""
    parser = argparse.ArgumentParser(description="send one signed signal")
    parser.add_argument("signal", nargs="?", default="long", help="long, short or close")
    parser.add_argument("--url", default="http://127.0.0.1:8089/voc")
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--stop", type=float, help="where the trade is given up")
    parser.add_argument("--target", type=float, help="where the profit is taken")
    parser.add_argument("--confidence", type=float, default=0.9)
    parser.add_argument("--id", default=uuid.uuid4().hex, help="the same id again is refused")
    parser.add_argument("--heartbeat", action="store_true", help="only say that we are alive")
    options = parser.parse_args()
    secret = os.environ.get("VOC_SECRET", "")
    if not secret:
        parser.error("put the shared secret into the environment: VOC_SECRET=...")
    message: dict[str, object] = {"id": options.id, "signal": options.signal}
    message |= {"symbol": options.symbol, "confidence": options.confidence}
    if options.stop is not None:
        message["stop_loss"] = options.stop
    if options.target is not None:
        message["take_profit"] = options.target
    body = b"" if options.heartbeat else json.dumps(message).encode()
    headers = signed(secret, body, f"{time.time():.3f}")
    request = urllib.request.Request(options.url, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            sys.stdout.write(f"{answer.status} {answer.read().decode()}\n")
            return 0
    except urllib.error.HTTPError as no:
        sys.stdout.write(f"{no.code} {no.read().decode()}\n")
    except urllib.error.URLError as error:
        sys.stderr.write(f"{options.url} cannot be reached: {error.reason}\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
