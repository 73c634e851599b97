"""User streams, trade sockets and private REST answers become the right events."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from runner.base.errors import ExchangeError, Rejected
from runner.engine.events import (
    Account,
    Ack,
    AmendReply,
    Balance,
    CancelReply,
    Done,
    End,
    Event,
    External,
    Fill,
    OrderView,
    Position,
    Reject,
    Unknown,
)
from runner.exchanges.api import Decoded, OrderCodec, Outcome
from runner.exchanges.registry import order_codec
from tests.exchanges.captures import binding, fixture
from tests.exchanges.orders import CID, NOW, codec, credentials, intent, journaled

T, WALL = 5, 1_700_000_000_000_000_000
MS = 1_000_000


def decoded(of: OrderCodec, frame: dict[str, Any] | bytes, socket: str = "private") -> Decoded:
    out = Decoded()
    data = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
    of.decode(socket, data, T, WALL, 1, False, out)
    return out


def order_update(**part: Any) -> dict[str, Any]:
    """ORDER_TRADE_UPDATE with the fields of the documents (binance-usdm.md, section 8)."""
    order = {
        "s": "BTCUSDT", "c": CID, "S": "BUY", "o": "LIMIT", "f": "GTC", "q": "0.002",
        "p": "50000.5", "ap": "0", "sp": "0", "x": "NEW", "X": "NEW", "i": 8886774, "l": "0",
        "z": "0", "L": "0", "T": 1568879465651, "t": 0, "b": "0", "a": "9.91", "m": False,
        "R": False, "wt": "CONTRACT_PRICE", "ot": "LIMIT", "ps": "BOTH", "cp": False,
        "rp": "0", "pP": False, "si": 0, "ss": 0, "V": "EXPIRE_TAKER", "pm": "NONE", "gtd": 0,
    }  # fmt: skip
    return {
        "e": "ORDER_TRADE_UPDATE", "E": 1568879465651, "T": 1568879465650, "o": order | part,
    }  # fmt: skip


def stamped(event: Event) -> Event:
    event.t, event.wall = T, WALL
    return event


TS = 1568879465650 * MS


@pytest.mark.parametrize(
    ("part", "events"),
    [
        ({}, [Ack(cid=CID, exchange_id="8886774", ts=TS)]),
        (
            {"x": "TRADE", "X": "PARTIALLY_FILLED", "l": "0.001", "z": "0.001", "L": "50000.4",
             "n": "0.02", "N": "USDT", "t": 77, "m": True},
            [Fill(cid=CID, trade_id="77", lots=1, price=50000.4, fee=0.02, fee_asset="USDT",
                  maker=True, ts=TS)],
        ),
        (
            {"x": "TRADE", "X": "FILLED", "l": "0.001", "z": "0.002", "L": "50000.4", "n": "0.02",
             "N": "USDT", "t": 78},
            [Fill(cid=CID, trade_id="78", lots=1, price=50000.4, fee=0.02, fee_asset="USDT",
                  ts=TS),
             Done(cid=CID, end=End.FILLED, filled_lots=2, ts=TS)],
        ),
        ({"x": "CANCELED", "X": "CANCELED", "z": "0.001"},
         [Done(cid=CID, end=End.CANCELED, filled_lots=1, ts=TS)]),
        ({"x": "EXPIRED", "X": "EXPIRED"},
         [Done(cid=CID, end=End.EXPIRED, filled_lots=0, code="EXPIRED", ts=TS)]),
        ({"x": "EXPIRED", "X": "EXPIRED_IN_MATCH"},
         [Done(cid=CID, end=End.EXPIRED, filled_lots=0, code="EXPIRED_IN_MATCH", ts=TS)]),
        ({"x": "SOMETHING_NEW", "X": "SOMETHING_NEW"}, []),
    ],
)  # fmt: skip
def test_binance_order_updates(part: dict[str, Any], events: list[Event]) -> None:
    out = decoded(codec("binance_usdm"), order_update(**part))
    assert out.events == [stamped(event) for event in events]
    assert out.unrecognised == ("SOMETHING_NEW" in part.values())


@pytest.mark.parametrize(
    ("cid", "what"),
    [
        ("web_abc", "fill"),
        ("autoclose-1568879465651", "liquidation"),
        ("adl_autoclose", "adl"),
        ("settlement_autoclose-1", "settlement"),
    ],
)
def test_trades_of_others_are_external_and_signed(cid: str, what: str) -> None:
    for kind in ("TRADE", "CALCULATED"):
        part = {"c": cid, "S": "SELL", "x": kind, "X": "FILLED", "l": "0.003", "L": "5", "t": 9}
        (event,) = decoded(codec("binance_usdm"), order_update(**part)).events
        assert isinstance(event, External)
        assert (event.what, event.lots, event.price, event.market) == (what, -3, 5.0, "m")
    assert decoded(codec("binance_usdm"), order_update(c=cid)).events == []


def test_a_fee_that_is_not_told_is_not_nothing() -> None:
    part = {"x": "TRADE", "X": "PARTIALLY_FILLED", "l": "0.001", "z": "0.001", "L": "5", "t": 77}
    for fee, want in (({}, None), ({"n": "0", "N": "USDT"}, 0.0)):
        (fill,) = decoded(codec("binance_usdm"), order_update(**part, **fee)).events
        assert isinstance(fill, Fill) and fill.fee == want
    (paid,) = decoded(codec("bybit_linear"), bybit_execution(execFee="")).events
    assert isinstance(paid, Fill) and paid.fee is None


@pytest.mark.parametrize("code", [-2011, -2013])
def test_a_change_of_an_order_that_is_gone_did_not_happen(code: int) -> None:
    usdm = codec("binance_usdm", "websocket")
    change = msgspec.structs.replace(intent(), revision=1)
    usdm.amend(journaled(change), NOW, "m1")
    answer = {"id": "m1", "status": 400, "error": {"code": code, "msg": "why"}}
    ((_, _, (event,)),) = decoded(usdm, answer, "trade").replies
    assert isinstance(event, AmendReply)
    assert (event.ok, event.outcome) == (False, "rejected")


def test_another_strategys_orders_are_external_when_the_prefix_is_told() -> None:
    part = {"x": "TRADE", "X": "FILLED", "l": "0.003", "L": "5", "t": 9}
    markets = [binding("binance_usdm", "m", "BTCUSDT")]
    own = order_codec("binance_usdm", "live", markets, credentials(), prefix="rzzzzz")
    (event,) = decoded(own, order_update(**part)).events
    assert isinstance(event, External)


def test_a_lite_trade_is_left_to_the_update_that_tells_its_fee() -> None:
    lite = {
        "e": "TRADE_LITE", "E": 1568879465651, "T": 1568879465650, "s": "BTCUSDT", "q": "0.002",
        "p": "50000.5", "m": False, "c": CID, "S": "BUY", "L": "50000.4", "l": "0.001", "t": 77,
        "i": 8886774,
    }  # fmt: skip
    assert decoded(codec("binance_usdm"), lite) == Decoded()


def test_binances_trades_are_named_by_the_orders_asked_for_before_them() -> None:
    usdm = codec("binance_usdm")
    trade = {"symbol": "BTCUSDT", "id": 5, "orderId": 325078477, "price": "5", "qty": "0.001"}
    body = json.dumps([trade]).encode()
    assert [fill.cid for fill in usdm.parse_fills(body)] == [""]
    request = usdm.recent_orders("BTCUSDT", 7, NOW)
    assert request is not None and "startTime=7&" in request.url
    usdm.parse_open_orders(json.dumps([binance_order("FILLED", "0.001")]).encode())
    assert [fill.cid for fill in usdm.parse_fills(body)] == [CID]
    usdm.learn("325078477", "another")
    assert [fill.cid for fill in usdm.parse_fills(body)] == ["another"]
    assert codec("bybit_linear").recent_orders("BTCUSDT", 7, NOW) is None


def test_what_an_exchange_did_itself_is_found_among_the_trades_by_the_id_of_its_stream() -> None:
    usdm = codec("binance_usdm")
    for order_id, name in ((1, "autoclose-7"), (2, "adl_autoclose"), (3, "web_1"), (4, CID)):
        usdm.learn(str(order_id), name)
    trades = [
        {"symbol": "BTCUSDT", "id": 90 + n, "orderId": n, "price": "5", "qty": "0.003",
         "side": "BUY" if n == 2 else "SELL", "time": 7}
        for n in (1, 2, 3, 4, 5)
    ]  # fmt: skip
    forced = usdm.parse_forced(json.dumps(trades).encode())
    assert [(e.what, e.lots, e.id, e.ts) for e in forced] == [
        ("liquidation", -3, "91", 7 * MS), ("adl", 3, "92", 7 * MS),
    ]  # fmt: skip
    part = {"c": "adl_autoclose", "S": "BUY", "x": "TRADE", "X": "FILLED", "l": "0.003", "L": "5",
            "t": 92}  # fmt: skip
    (told,) = decoded(usdm, order_update(**part)).events
    assert isinstance(told, External)
    assert (told.exchange, told.what, told.market, told.id) == ("x", "adl", "m", "92")

    bybit = codec("bybit_linear")
    kinds = ("Trade", "AdlTrade", "BustTrade", "Funding", "Settle")
    rows = [bybit_execution(execType=k, execId=k, orderLinkId="")["data"][0] for k in kinds]
    body = json.dumps({"retCode": 0, "result": {"list": rows}}).encode()
    forced = bybit.parse_forced(body)
    assert [(e.what, e.lots, e.id) for e in forced] == [
        ("adl", -2, "AdlTrade"), ("liquidation", -2, "BustTrade"), ("funding", 0, "Funding"),
        ("settlement", -2, "Settle"),
    ]  # fmt: skip
    assert {e.ts for e in forced} == {1716800399334 * MS}


def test_binance_account_updates_and_funding() -> None:
    update = {
        "e": "ACCOUNT_UPDATE", "E": 1564745798939, "T": 1564745798938,
        "a": {
            "m": "FUNDING_FEE",
            "B": [{"a": "USDT", "wb": "122624.12", "cw": "100.12", "bc": "-0.50"}],
            "P": [{"s": "BTCUSDT", "pa": "-0.005", "ep": "50000.1", "cr": "200", "up": "0",
                   "mt": "cross", "iw": "0", "ps": "BOTH"}],
        },
    }  # fmt: skip
    account, funding = decoded(codec("binance_usdm"), update).events
    assert isinstance(account, Account) and not account.full and account.exchange == "x"
    assert account.balances == (Balance(asset="USDT", total=122624.12),)
    assert account.positions == (Position(symbol="BTCUSDT", lots=-5, entry=50000.1),)
    assert isinstance(funding, External)
    assert (funding.what, funding.amount, funding.asset) == ("funding", -0.5, "USDT")


def funded(*amounts: float, asset: str = "USDT", positions: Any = ()) -> dict[str, Any]:
    return {
        "e": "ACCOUNT_UPDATE", "E": 1564745798939, "T": 1564745798938,
        "a": {"m": "FUNDING_FEE", "P": list(positions),
              "B": [{"a": asset, "wb": "100", "cw": "100", "bc": str(x)} for x in amounts]},
    }  # fmt: skip


def test_funding_of_cross_positions_is_shared_by_what_is_held_in_its_asset() -> None:
    markets = [binding("binance_usdm", "m", "BTCUSDT"), binding("binance_usdm", "n", "ETHUSDT")]
    usdm = order_codec("binance_usdm", "live", markets, credentials(), exchange="x")

    def told(update: dict[str, Any]) -> dict[str, float]:
        events = [e for e in decoded(usdm, update).events if isinstance(e, External)]
        assert len({(e.market, e.id) for e in events}) == len(events)
        return {e.market: round(e.amount, 9) for e in events}

    assert told(funded(-0.5)) == {"": -0.5}, "nothing is held that we know of"
    account = {
        "totalMarginBalance": "1", "totalMaintMargin": "0", "assets": [],
        "positions": [
            {"symbol": "BTCUSDT", "positionAmt": "-0.01", "notional": "-500"},
            {"symbol": "XRPUSDT", "positionAmt": "9", "notional": "250"},
            {"symbol": "BTCUSDC", "positionAmt": "1", "notional": "99999"},
        ],
    }  # fmt: skip
    usdm.parse_account([json.dumps(account).encode()], 0, 0)
    assert told(funded(-0.75)) == {"m": -0.5, "": -0.25}, "a part is of a market of others"
    eth = {"s": "ETHUSDT", "pa": "0.5", "ep": "500", "ps": "BOTH"}
    assert told(funded(0.4, positions=[eth])) == {"n": 0.4}, "an isolated position is named"
    assert told(funded(-1.0)) == {"m": -0.5, "n": -0.25, "": -0.25}
    gone = [{"s": s, "pa": "0", "ep": "0", "ps": "BOTH"} for s in ("BTCUSDT", "XRPUSDT")]
    assert told(funded(0.0, positions=gone)) == {}
    assert told(funded(-1.0)) == {"n": -1.0}


def test_two_payments_of_one_moment_are_two() -> None:
    ids = {
        event.id
        for amount in (-0.5, -0.25)
        for event in decoded(codec("binance_usdm"), funded(amount)).events
        if isinstance(event, External)
    }
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("pnl", "free"), [("-450", 250.0), ("300", 700.0), ("", 700.0), ("-900", 0.0)]
)
def test_open_losses_are_not_free_on_bybit(pnl: str, free: float) -> None:
    row = {"coin": "USDT", "walletBalance": "1000", "locked": "0", "totalOrderIM": "100",
           "totalPositionIM": "200", "unrealisedPnl": pnl}  # fmt: skip
    push = {"topic": "wallet", "creationTime": 1, "data": [{"coin": [row]}]}
    (account,) = decoded(codec("bybit_linear"), push).events
    assert isinstance(account, Account)
    assert account.balances == (Balance(asset="USDT", total=1000.0, free=free),)


def test_binance_notices() -> None:
    usdm = codec("binance_usdm")
    assert decoded(usdm, {"e": "listenKeyExpired", "E": 1}).notices == ["listen_key_expired"]
    assert decoded(usdm, {"e": "neverSeen", "E": 1}).unrecognised == 1


def placed_on_socket(type: str) -> OrderCodec:
    trading = codec(type, "websocket")
    trading.place(journaled(intent()), NOW, "r1")
    trading.cancel("BTCUSDT", CID, NOW, "r2")
    return trading


def binance_order(status: str, executed: str) -> dict[str, Any]:
    return {
        "orderId": 325078477, "symbol": "BTCUSDT", "status": status, "clientOrderId": CID,
        "price": "50000.5", "avgPrice": "50000.4", "origQty": "0.002", "executedQty": executed,
        "cumQty": executed, "cumQuote": "0", "timeInForce": "IOC", "type": "LIMIT",
        "reduceOnly": False, "closePosition": False, "side": "BUY", "positionSide": "BOTH",
        "stopPrice": "0", "workingType": "CONTRACT_PRICE", "priceProtect": False,
        "origType": "LIMIT", "updateTime": 1702555534435,
    }  # fmt: skip


LIMITS = [
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300, "count": 7}
]


def test_an_answer_on_binances_trade_socket_finds_its_order() -> None:
    trading = placed_on_socket("binance_usdm")
    answer = {"id": "r1", "status": 200, "result": binance_order("EXPIRED", "0.001"),
              "rateLimits": LIMITS}  # fmt: skip
    out = decoded(trading, answer, "trade")
    ((request, outcome, events),) = out.replies
    ts = 1702555534435 * MS
    assert (request, outcome) == ("r1", Outcome.ACCEPTED)
    assert events == [
        stamped(Ack(cid=CID, exchange_id="325078477", ts=ts)),
        stamped(Done(cid=CID, end=End.EXPIRED, filled_lots=1, code="EXPIRED", ts=ts)),
    ]
    assert out.budgets == [("orders_10s", 7, 300, 0)]
    (fill,) = trading.parse_fills(
        json.dumps([{"symbol": "BTCUSDT", "id": 5, "orderId": 325078477, "side": "BUY",
                     "price": "50000.4", "qty": "0.001", "commission": "0.02",
                     "commissionAsset": "USDT", "time": 1, "maker": False}]).encode()
    )  # fmt: skip
    assert (fill.cid, fill.lots, fill.fee, fill.source) == (CID, 1, 0.02, "history")


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, -2019, Outcome.REJECTED),
        (400, -1021, Outcome.CLOCK),
        (429, -1003, Outcome.RATE_LIMITED),
        (400, -1007, Outcome.UNKNOWN),
        (400, -4116, Outcome.UNKNOWN),
        (400, -99999, Outcome.UNKNOWN),
        (500, -1000, Outcome.UNKNOWN),
    ],
)
def test_a_refusal_on_binances_trade_socket(status: int, code: int, outcome: Outcome) -> None:
    answer = {"id": "r1", "status": status, "error": {"code": code, "msg": "why"}}
    ((_, got, events),) = decoded(placed_on_socket("binance_usdm"), answer, "trade").replies
    assert got is outcome
    (event,) = events
    if outcome is Outcome.UNKNOWN:
        assert isinstance(event, Unknown)
    else:
        assert isinstance(event, Reject) and event.code == str(code)
        assert event.outcome == outcome.value


def test_a_cancel_that_finds_nothing_is_refused_and_says_so() -> None:
    answer = {"id": "r2", "status": 400, "error": {"code": -2011, "msg": "Unknown order sent."}}
    ((_, outcome, events),) = decoded(placed_on_socket("binance_usdm"), answer, "trade").replies
    assert outcome is Outcome.REJECTED
    assert events == [
        stamped(CancelReply(cid=CID, ok=False, code="-2011", text="Unknown order sent."))
    ]


HTTP = [
    (200, binance_order("NEW", "0"), Outcome.ACCEPTED),
    (200, {"nonsense": 1}, Outcome.UNKNOWN),
    (200, "<html>", Outcome.UNKNOWN),
    (200, {"code": -2010, "msg": "an error that calls itself a success"}, Outcome.UNKNOWN),
    (400, {"code": -2010, "msg": ""}, Outcome.REJECTED),
    (400, {"code": -31337, "msg": ""}, Outcome.UNKNOWN),
    (400, "", Outcome.UNKNOWN),
    (403, "<html>blocked", Outcome.RATE_LIMITED),
    (408, "", Outcome.UNKNOWN),
    (418, "", Outcome.RATE_LIMITED),
    (429, {"code": -1015, "msg": ""}, Outcome.RATE_LIMITED),
    (429, "", Outcome.UNKNOWN),
    (500, "", Outcome.UNKNOWN),
    (502, "bad gateway", Outcome.UNKNOWN),
    (503, "Service Unavailable.", Outcome.REJECTED),
    (503, {"code": 0, "msg": "Service Unavailable."}, Outcome.REJECTED),
    (503, {"code": -1008, "msg": ""}, Outcome.RATE_LIMITED),
    (503, {"code": -1000, "msg": "Unknown error, please check your request or try again later."},
     Outcome.UNKNOWN),
    (503, "Unknown error, please check your request or try again later.", Outcome.UNKNOWN),
    (504, "", Outcome.UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "outcome"), HTTP)
def test_binances_answers_over_http(status: int, body: Any, outcome: Outcome) -> None:
    text = (body if isinstance(body, str) else json.dumps(body)).encode()
    got, events = codec("binance_usdm").reply(CID, "place", status, {}, text, T, WALL)
    assert got is outcome
    kinds = {Outcome.ACCEPTED: Ack, Outcome.UNKNOWN: Unknown}
    assert isinstance(events[0], kinds.get(outcome, Reject))


def test_binance_cancel_all_says_code_200() -> None:
    body = b'{"code":200,"msg":"The operation of cancel all open order is done."}'
    usdm = codec("binance_usdm")
    assert usdm.reply("", "cancel_all", 200, {}, body, T, WALL) == (Outcome.ACCEPTED, [])


def test_a_query_is_definitive_only_when_the_exchange_says_so() -> None:
    usdm = codec("binance_usdm")
    gone = b'{"code":-2013,"msg":"Order does not exist."}'
    assert usdm.parse_query(CID, 400, gone) == (Outcome.REJECTED, None)
    for status, body in ((400, b'{"code":-1021,"msg":""}'), (502, b""), (200, b"[]"), (200, b"")):
        assert usdm.parse_query(CID, status, body) == (Outcome.UNKNOWN, None)
    body = json.dumps(binance_order("PARTIALLY_FILLED", "0.001")).encode()
    outcome, view = usdm.parse_query(CID, 200, body)
    assert outcome is Outcome.ACCEPTED
    assert view == OrderView(
        cid=CID, exchange_id="325078477", symbol="BTCUSDT", side="buy", lots=2, filled_lots=1,
        status="partial", price_ticks=500005, avg_price=50000.4, ts=1702555534435 * MS,
    )  # fmt: skip
    assert usdm.parse_query("another", 200, body) == (Outcome.UNKNOWN, None)


def test_binances_account_is_read_with_its_positions() -> None:
    account = {
        "totalMarginBalance": "1000.0", "totalMaintMargin": "25.0",
        "assets": [{"asset": "USDT", "walletBalance": "900", "availableBalance": "700"},
                   {"asset": "BNB", "walletBalance": "0", "availableBalance": "0"}],
        "positions": [{"symbol": "DOGEUSDT", "positionAmt": "-12.5", "positionSide": "BOTH"}],
    }  # fmt: skip
    risk = fixture("futures/http_json/position_risk.json")
    usdm = codec("binance_usdm")
    event = usdm.parse_account([json.dumps(account).encode(), risk], T, WALL)
    assert event.full and event.equity == 1000.0 and event.margin_used == 0.025
    assert event.balances == (Balance(asset="USDT", total=900.0, free=700.0),)
    assert set(event.positions) == {
        Position(symbol="DOGEUSDT", lots=-12),
        Position(symbol="BTCUSDT", lots=1, entry=50000.0, mark=51000.0, liquidation=45000.0),
    }
    for bodies in ([], [b"{}"], [json.dumps(account).encode(), b"{}"]):
        with pytest.raises(ExchangeError):
            usdm.parse_account(bodies, T, WALL)


def test_settings_that_were_so_already_are_fine_and_others_are_explained() -> None:
    codec("binance_usdm").parse_set(400, b'{"code":-4046,"msg":"No need to change."}')
    codec("bybit_linear").parse_set(200, b'{"retCode":110043,"retMsg":"not modified"}')
    with pytest.raises(Rejected, match="leverage is not valid"):
        codec("binance_usdm").parse_set(400, b'{"code":-4028,"msg":"x"}')
    with pytest.raises(Rejected, match="position open"):
        codec("bybit_linear").parse_set(200, b'{"retCode":110024,"retMsg":"x"}')


def test_setup_and_key_facts() -> None:
    usdm, bybit = codec("binance_usdm"), codec("bybit_linear")
    setup = usdm.parse_setup(
        [b'{"dualSidePosition":false}',
         b'[{"symbol":"BTCUSDT","marginType":"CROSSED","isAutoAddMargin":false,"leverage":21,'
         b'"maxNotionalValue":"1000000"}]']
    )  # fmt: skip
    assert (setup.position_mode, setup.leverage) == ("one_way", {"BTCUSDT": 21})
    assert setup.margin_mode == {"BTCUSDT": "cross"}
    facts = usdm.parse_key_facts(
        b'{"ipRestrict":false,"enableWithdrawals":false,"permitsUniversalTransfer":true,'
        b'"enableFutures":true}'
    )
    assert facts.can_trade and facts.can_withdraw and not facts.ip_bound
    facts = bybit.parse_key_facts(
        b'{"retCode":0,"result":{"readOnly":0,"permissions":{"ContractTrade":["Order","Position"],'
        b'"Wallet":["AccountTransfer"]},"ips":["1.2.3.4"],"expiredAt":"2026-12-01T00:00:00Z"}}'
    )
    assert facts.can_trade and not facts.can_withdraw and facts.ip_bound
    assert facts.expires_ms == 1796083200000
    info = fixture("bybit/test_data/http_get_account_info.json")
    setup = bybit.parse_setup([info, fixture("bybit/test_data/http_get_positions.json")])
    assert setup.margin_mode and set(setup.margin_mode.values()) <= {"cross", "isolated"}


# -- Bybit


def bybit_order(**part: Any) -> dict[str, Any]:
    """The captured order push, made one of ours."""
    push: dict[str, Any] = json.loads(
        fixture("bybit/test_data/ws_account_order_limit_if_touched.json")
    )
    push["data"][0] |= {"orderLinkId": CID, "orderStatus": "New", "stopOrderType": ""} | part
    return push


@pytest.mark.parametrize(
    ("part", "event"),
    [
        ({}, Ack(cid=CID, exchange_id="test-lit-001")),
        ({"orderStatus": "PartiallyFilled"}, Ack(cid=CID, exchange_id="test-lit-001")),
        ({"orderStatus": "Filled", "cumExecQty": "0.100"},
         Done(cid=CID, end=End.FILLED, filled_lots=100)),
        ({"orderStatus": "Cancelled", "cumExecQty": "0.040", "rejectReason": "EC_PerCancelRequest"},
         Done(cid=CID, end=End.CANCELED, filled_lots=40)),
        ({"orderStatus": "Cancelled", "rejectReason": "EC_PostOnlyWillTakeLiquidity"},
         Done(cid=CID, end=End.CANCELED, filled_lots=0, code="EC_PostOnlyWillTakeLiquidity")),
        ({"orderStatus": "Rejected", "rejectReason": "EC_Others"},
         Done(cid=CID, end=End.REJECTED, filled_lots=0, code="EC_Others")),
    ],
)  # fmt: skip
def test_bybit_order_pushes(part: dict[str, Any], event: Any) -> None:
    out = decoded(codec("bybit_linear"), bybit_order(**part))
    event.ts = 1672364262457 * MS
    assert out.events == [stamped(event)]


def test_what_bybits_documents_do_not_have_is_counted_and_costs_nothing_else() -> None:
    bybit = codec("bybit_linear")
    known, new = bybit_order()["data"][0], bybit_order(orderStatus="Frozen")["data"][0]
    out = decoded(bybit, {"topic": "order", "data": [new, known]})
    assert [type(event) for event in out.events] == [Ack] and out.unrecognised == 1
    out = decoded(bybit, bybit_execution(execType="Gift"))
    assert [type(event) for event in out.events] == [Fill] and out.unrecognised == 1


def test_bybit_orders_of_others_are_not_ours() -> None:
    out = decoded(codec("bybit_linear"), fixture("ws_account_order_stop_limit.json"))
    assert (out.events, out.unrecognised) == ([], 0)


def bybit_execution(**part: Any) -> dict[str, Any]:
    row = {
        "category": "linear", "symbol": "BTCUSDT", "execId": "e1", "orderId": "o1",
        "orderLinkId": CID, "side": "Sell", "execPrice": "50000.5", "execQty": "0.002",
        "execValue": "100", "execFee": "0.055", "feeRate": "0.00055", "feeCurrency": "",
        "isMaker": False, "execTime": "1716800399334", "execType": "Trade", "leavesQty": "0",
        "closedSize": "", "seq": 1,
    }  # fmt: skip
    return {"topic": "execution", "id": "i", "creationTime": 1716800399338, "data": [row | part]}


def test_bybit_executions() -> None:
    bybit = codec("bybit_linear")
    assert decoded(bybit, bybit_execution()).events == [
        stamped(Fill(cid=CID, trade_id="e1", lots=2, price=50000.5, fee=0.055, fee_asset="USDT",
                     ts=1716800399334 * MS))
    ]  # fmt: skip
    for part, what, lots in (
        ({"orderLinkId": ""}, "fill", -2),
        ({"orderLinkId": "", "execType": "AdlTrade"}, "adl", -2),
        ({"orderLinkId": "", "execType": "BustTrade"}, "liquidation", -2),
        ({"orderLinkId": "", "execType": "Settle"}, "settlement", -2),
        ({"orderLinkId": "", "execType": "SessionSettlePnL"}, "settlement", 0),
        ({"orderLinkId": "", "execType": "Funding"}, "funding", 0),
    ):
        (event,) = decoded(bybit, bybit_execution(**part)).events
        assert isinstance(event, External)
        assert (event.what, event.lots, event.amount, event.id) == (what, lots, -0.055, "e1")


def test_bybit_positions_and_wallet_as_captured() -> None:
    markets = [binding("bybit_linear", "m", "ETHUSDT", lot="0.01")]
    bybit = order_codec("bybit_linear", "live", markets, credentials())
    (position,) = decoded(bybit, fixture("ws_account_position_short.json")).events
    assert isinstance(position, Account)
    assert position.positions == (
        Position(symbol="ETHUSDT", lots=-1, entry=3641.075, mark=3641.33,
                 liquidation=51764.83003276),
    )  # fmt: skip
    (wallet,) = decoded(bybit, fixture("ws_account_wallet_small_order.json")).events
    assert isinstance(wallet, Account) and wallet.equity == 51333.82543837
    assert wallet.margin_used == pytest.approx(5.0028 / 51333.82543837)
    (usdt,) = wallet.balances
    assert usdt.free == pytest.approx(51333.82543837 - 50.028)


def test_bybit_control_frames() -> None:
    bybit = codec("bybit_linear")
    failed = decoded(bybit, fixture("ws_auth_failure.json")).notices
    assert len(failed) == 1 and failed[0].startswith("login_failed")
    assert decoded(bybit, {"success": True, "op": "auth"}).notices == ["login_ok"]
    login = {"retCode": 0, "retMsg": "OK", "op": "auth", "connId": "c"}
    assert decoded(bybit, login, "trade").notices == ["login_ok"]
    refused = {"retCode": 10004, "retMsg": "error sign", "op": "auth"}
    assert decoded(bybit, refused, "trade").notices == ["login_failed 10004 error sign"]
    pong = {"req_id": "ping", "op": "pong", "args": ["1"], "conn_id": "c"}
    assert decoded(bybit, pong) == Decoded()


def bybit_answer(request: str, code: int, op: str = "order.create") -> dict[str, Any]:
    return {
        "reqId": request, "retCode": code, "retMsg": "text", "op": op,
        "data": {"orderId": "o-1", "orderLinkId": CID} if not code else {}, "retExtInfo": {},
        "header": {"X-Bapi-Limit": "10", "X-Bapi-Limit-Status": "9",
                   "X-Bapi-Limit-Reset-Timestamp": "1795430930500", "Traceid": "t"},
        "connId": "c",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, Outcome.ACCEPTED),
        (110007, Outcome.REJECTED),
        (10002, Outcome.CLOCK),
        (10006, Outcome.RATE_LIMITED),
        (10016, Outcome.UNKNOWN),
        (110072, Outcome.UNKNOWN),
        (987654, Outcome.UNKNOWN),
    ],
)
def test_answers_on_bybits_trade_socket(code: int, outcome: Outcome) -> None:
    out = decoded(placed_on_socket("bybit_linear"), bybit_answer("r1", code), "trade")
    ((request, got, events),) = out.replies
    assert (request, got) == ("r1", outcome)
    kinds = {Outcome.ACCEPTED: Ack, Outcome.UNKNOWN: Unknown}
    assert [type(event) for event in events] == [kinds.get(outcome, Reject)]
    assert events[0].cid == CID  # type: ignore[attr-defined]
    assert out.budgets == [("order_create", 1, 10, 1795430930500 * MS)]


def test_no_such_order_answers_a_cancel_but_leaves_a_place_in_doubt() -> None:
    bybit = placed_on_socket("bybit_linear")
    cancel = decoded(bybit, bybit_answer("r2", 110001, "order.cancel"), "trade").replies[0]
    assert cancel[1] is Outcome.REJECTED
    (event,) = cancel[2]
    assert isinstance(event, CancelReply) and (event.ok, event.code) == (False, "110001")
    place = decoded(bybit, bybit_answer("r1", 110001), "trade").replies[0]
    assert place[1] is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, {"retCode": 0, "result": {"orderId": "o", "orderLinkId": CID}}, Outcome.ACCEPTED),
        (200, {"retCode": 0}, Outcome.UNKNOWN),
        (200, {"retCode": 110004, "retMsg": "", "result": {}}, Outcome.REJECTED),
        (200, {"retCode": 10000, "retMsg": "", "result": {}}, Outcome.UNKNOWN),
        (200, "", Outcome.UNKNOWN),
        (403, "access too frequent", Outcome.RATE_LIMITED),
        (429, "", Outcome.UNKNOWN),
        (500, {"retCode": 0, "result": {}}, Outcome.UNKNOWN),
        (504, "", Outcome.UNKNOWN),
    ],
)
def test_bybits_answers_over_http(status: int, body: Any, outcome: Outcome) -> None:
    text = (body if isinstance(body, str) else json.dumps(body)).encode()
    got, events = codec("bybit_linear").reply(CID, "place", status, {}, text, T, WALL)
    assert got is outcome and len(events) == 1


def test_a_bybit_order_is_looked_for_live_then_in_the_history() -> None:
    bybit = codec("bybit_linear")
    paths = [request.label for request in bybit.query("BTCUSDT", CID, NOW)]
    assert paths == ["GET /v5/order/realtime", "GET /v5/order/history"]
    empty = b'{"retCode":0,"retMsg":"OK","result":{"list":[],"nextPageCursor":""}}'
    assert bybit.parse_query(CID, 200, empty) == (Outcome.REJECTED, None)
    for status, body in ((500, empty), (200, b'{"retCode":10006,"retMsg":""}'), (200, b"x")):
        assert bybit.parse_query(CID, status, body) == (Outcome.UNKNOWN, None)
    body = fixture("http_get_order_partially_filled_rejected.json")
    cid = json.loads(body)["result"]["list"][0]["orderLinkId"]
    outcome, view = bybit.parse_query(cid, 200, body)
    assert outcome is Outcome.ACCEPTED and view is not None and view.cid == cid
    assert bybit.parse_query("another", 200, body) == (Outcome.UNKNOWN, None)


def test_bybits_account_and_open_orders_are_read() -> None:
    bybit = codec("bybit_linear")
    wallet = json.loads(fixture("ws_account_wallet_small_order.json"))["data"]
    body = json.dumps({"retCode": 0, "result": {"list": wallet}}).encode()
    event = bybit.parse_account([body, fixture("bybit/test_data/http_get_positions.json")], T, WALL)
    assert event.full and event.source == "rest" and event.equity == 51333.82543837
    views = bybit.parse_open_orders(fixture("http_get_orders_realtime_tp_sl.json"))
    assert all(view.status in ("open", "partial") for view in views)
    with pytest.raises(ExchangeError, match="10003"):
        bybit.parse_open_orders(b'{"retCode":10003,"retMsg":"API key is invalid.","result":{}}')
