"""Signatures: every published or captured HMAC vector of our exchanges, and a few literal ones."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.base.secret import Secret
from runner.exchanges.hmac_key import HmacKey
from tests.exchanges.captures import SHARED, need
from tests.exchanges.orders import CID, KEY, NOW, codec, intent, journaled

DOC_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"


def vectors() -> list[dict[str, Any]]:
    """The vectors with a text and a signature that HMAC-SHA256 in hex must reproduce."""
    rows = json.loads(need(SHARED / "exchanges" / "signing-vectors.json").read_text())
    return [
        row
        for row in rows
        if row["venue"].startswith(("binance", "bybit")) and "hmac" in row["scheme"]
    ]


def test_every_hmac_vector_of_binance_and_bybit_is_reproduced() -> None:
    rows = vectors()
    assert len(rows) >= 15
    for row in rows:
        signature = HmacKey(Secret(row["secret"])).sign(row["string_to_sign"].encode())
        assert signature == row["signature"].lower(), row["id"]


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        (
            "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1"
            "&recvWindow=5000&timestamp=1499827319559",
            "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
        ),
    ],
)
def test_the_example_of_binances_documents(text: str, signature: str) -> None:
    assert HmacKey(Secret(DOC_SECRET)).sign(text.encode()) == signature


@given(st.text(min_size=1, max_size=150), st.binary(max_size=300), st.binary(max_size=50))
@settings(max_examples=200, deadline=None)
def test_prepared_keys_sign_as_the_standard_library_does(
    secret: str, prefix: bytes, rest: bytes
) -> None:
    key = secret.encode("utf-8", "surrogatepass")
    if key.decode("utf-8", "replace") != secret:
        return
    expected = hmac.new(key, prefix + rest, hashlib.sha256).hexdigest()
    assert HmacKey(Secret(secret)).sign(prefix + rest) == expected
    assert HmacKey(Secret(secret)).after(prefix).sign(rest) == expected


def test_a_binance_socket_order_is_signed_over_its_parameters_sorted_by_name() -> None:
    request = codec("binance_usdm", "websocket").place(
        journaled(intent(reduce_only=True)), NOW, "7"
    )
    params = json.loads(request.frame)["params"]
    signature = params.pop("signature")
    text = "&".join(f"{name}={params[name]}" for name in sorted(params))
    expected = hmac.new(b"testsecret0123456789", text.encode(), hashlib.sha256).hexdigest()
    assert signature == expected
    assert params["apiKey"] == KEY and params["newClientOrderId"] == CID


def test_a_bybit_login_signs_its_expiry() -> None:
    (frame,) = codec("bybit_linear").login("private", NOW)
    key, expires, signature = json.loads(frame)["args"]
    text = f"GET/realtime{expires}".encode()
    assert key == KEY and expires > NOW
    assert signature == hmac.new(b"testsecret0123456789", text, hashlib.sha256).hexdigest()


def test_a_key_shows_nothing_of_its_secret() -> None:
    assert "topsecret" not in repr(HmacKey(Secret("topsecretvalue")))
