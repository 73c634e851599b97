"""Keys of orders that rest: what they become, and what may not stand together."""

from __future__ import annotations

from decimal import Decimal

import pytest

from runner.spec.load import Checked, load
from runner.spec.parts import Quantity
from runner.spec.rule_plan import GiveUpPlan, OrderPlan, RestPlan, SingleOrderPlan

TEXT = """
version: 1
name: resting
exchanges:
  bybit: {type: bybit_linear, network: sim}
markets:
  m: {exchange: bybit, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
rules:
  buy:
    when: m.book.spread < 5bps
    order: {market: m, side: buy, size: 100 USDT, tif: gtc, price: m.bid, GIVE}
risk:
  max_order: 1000 USDT
  max_position: {m: 1 BTC}
  max_orders: {count: 40, per: 1m}
  max_daily_loss: 20 USDT
"""


def single(keys: str) -> SingleOrderPlan:
    plan = load(TEXT.replace("GIVE", keys), environ={}).plan
    assert plan is not None and plan.rules["buy"].order is not None
    return plan.rules["buy"].order


def test_give_up_is_a_duration_or_says_how_the_rest_goes() -> None:
    assert single("give_up: 10m").leg.order.give_up == GiveUpPlan(600_000_000_000)
    after = single("give_up: {after: 10m, then: {tif: fok, collar: 10bps}}").leg.order.give_up
    assert after == GiveUpPlan(600_000_000_000, OrderPlan("limit", "fok", 0.001))


def test_purchases_are_kept_unless_the_file_says_otherwise() -> None:
    assert single("give_up: 1m").keep
    assert not single("keep: false").keep
    assert single("key: 'w-{week}'").key == "w-{week}"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("give_up: 1m, ttl: 2m", "not both"),
        ("key: '{rule}-{minute}'", "no field `{minute}`"),
        ("key: '{rule'", "no field `{`"),
        ("keep: false, reduce_only: true", "holds nothing"),
        ("give_up: {then: {tif: ioc}}", "lacks `after`"),
        ("give_up: {after: 1m, then: {tif: gtc}}", "not a value of `tif`"),
    ],
)
def test_what_does_not_fit_is_said(keys: str, message: str) -> None:
    (found,) = load(TEXT.replace("GIVE", keys), environ={}).findings
    assert found.code == "E0203"
    assert message in found.message


def test_only_what_rests_is_given_up() -> None:
    text = TEXT.replace("tif: gtc, price: m.bid, GIVE", "give_up: 1m")
    (found,) = load(text, environ={}).findings
    assert (found.code, "an order that rests" in found.message) == ("E0203", True)


QUOTE = """
version: 1
name: quoting
exchanges:
  x: {type: TYPE, network: sim}
markets:
  m: {exchange: x, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
rules:
  make:
    when: m.book.spread < 5bps
    quote:
      market: m
      bid: {price: m.mid * (1 - 5bps), qty: 0.004 BTC}
      ask: {price: m.mid * (1 + 5bps), qty: 250 USDT}
      requote: {when_moved: 1bps, at_most_every: 300ms}
      inventory: {limit: 0.01 BTC}
      MORE
risk:
  max_order: 1000 USDT
  max_position: {m: 1 BTC}
  max_orders: {count: 400, per: 1m}
  max_daily_loss: 20 USDT
"""


def quoted(more: str = "unattended: true", type: str = "bybit_linear", **changes: str) -> Checked:
    text = QUOTE.replace("TYPE", type).replace("MORE", more)
    for old, new in changes.items():
        text = text.replace(old, new)
    return load(text, environ={})


def test_a_quote_becomes_a_plan() -> None:
    plan = quoted().plan
    assert plan is not None
    quote = plan.rules["make"].quote
    assert quote is not None and quote.bid is not None and quote.ask is not None
    assert (quote.bid.unit, quote.ask.unit) == ("BTC", "USDT")
    assert quote.join and quote.post_only and quote.inventory.on_leave == "passive"
    assert (quote.at_most_every_ns, quote.close.worst) == (300_000_000, 0.01)


def test_quotes_rest_guarded_or_say_that_they_do_not() -> None:
    assert [d.code for d in quoted("").findings] == ["E0512"]
    guarded = quoted("", "binance_usdm", sim="sim, dead_man: 120s")
    assert guarded.plan is not None


@pytest.mark.parametrize(
    ("more", "changes", "code"),
    [
        ("unattended: true\n      post_only: perhaps", {}, "E0203"),
        ("unattended: true", {"300ms": "0ms"}, "E0203"),
        ("unattended: true", {"300ms": "240ms"}, "W0506"),
        ("unattended: true", {"0.004 BTC": "5bps"}, "E0316"),
        ("unattended: true", {"m.mid * (1 - 5bps)": "5 USDT"}, "E0316"),
        ("unattended: true", {"limit: 0.01 BTC": "limit: 0.01 BTC, on_leave: run"}, "E0203"),
    ],
)
def test_what_does_not_fit_a_quote_is_said(more: str, changes: dict[str, str], code: str) -> None:
    checked = quoted(more, **changes)
    assert [d.code for d in checked.findings if d.is_error] == [code]
    assert checked.plan is None


PAIR = """
version: 1
name: pair
exchanges:
  a: {type: binance_usdm, network: sim}
  b: {type: bybit_linear, network: sim}
markets:
  m: {exchange: a, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
  n: {exchange: b, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
rules:
  carry:
    when: m.book.spread < 5bps
    max_hold: 1d
    max_skew: 1s
    trade:
      size: 2000 USDT
      legs:
        - {market: m, side: buy, order: {FIRST}}
        - {market: n, side: sell, order: {SECOND}}
      hedge: {policy: POLICY, max_gap: 0.004 BTC}
      close: {tif: ioc, collar: 3bps}
risk:
  max_order: 3000 USDT
  max_position: {m: 1 BTC, n: 1 BTC}
  max_orders: {count: 40, per: 1m}
  max_daily_loss: 20 USDT
"""
RESTS = "tif: post_only, price: m.bid"


def paired(policy: str, first: str = RESTS, second: str = "tif: ioc, collar: 3bps") -> Checked:
    text = PAIR.replace("POLICY", policy).replace("FIRST", first).replace("SECOND", second)
    return load(text, environ={})


def test_the_first_leg_may_rest_clip_by_clip() -> None:
    plan = paired("first_then_rest", f"{RESTS}, clip: 250 USDT, reprice_every: 15s, give_up: 30m")
    assert plan.plan is not None
    order = plan.plan.rules["carry"].legs[0].order
    assert order.clip is not None and order.clip.unit == "USDT"
    assert (order.reprice_ns, order.give_up) == (15 * 10**9, GiveUpPlan(1_800 * 10**9))


@pytest.mark.parametrize(
    ("policy", "first", "second", "message"),
    [
        ("first_then_rest", "tif: ioc", "tif: ioc", "needs a first leg that rests"),
        ("first_then_rest", RESTS, "tif: gtc, price: n.ask", "follows at once"),
        ("thin_first", RESTS, "tif: ioc", "follows at once"),
        ("together", f"{RESTS}, clip: 250 USDT", "tif: ioc", "goes first"),
        ("first_then_rest", f"{RESTS}, reprice_every: 0s", "tif: ioc", "more than zero"),
        ("first_then_rest", f"{RESTS}, clip: 250 USDT, ttl: 5s", "tif: ioc", "`ttl` does not go"),
        ("thin_first", "tif: ioc, clip: 250 USDT", "tif: ioc", "an order that rests"),
    ],
)
def test_what_cannot_go_one_after_the_other_is_said(
    policy: str, first: str, second: str, message: str
) -> None:
    found = [d for d in paired(policy, first, second).findings if d.is_error]
    assert [d.code for d in found] == ["E0203"]
    assert message in found[0].message


SWING = """
version: 1
name: swing
exchanges:
  a: {type: binance_usdm, network: sim}
markets:
  m: {exchange: a, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
rules:
  swing:
    when: gap(m.mid, ema(m.mid, 1m)) > ENTER
    until: gap(m.mid, ema(m.mid, 1m)) < 0bps
    trade:
      size: 500 USDT
      legs: [{market: m, side: buy}]
      close: {CLOSE}
      stop: {loss: LOSS}
risk:
  max_order: 3000 USDT
  max_position: {m: 1 BTC}
  max_orders: {count: 40, per: 1m}
  max_daily_loss: 20 USDT
"""
TAKES = "collar: 5bps, worst: 25bps, then: hold"


def swung(close: str, enter: str = "60bps", loss: str = "5 USDT") -> Checked:
    text = SWING.replace("CLOSE", close).replace("ENTER", enter).replace("LOSS", loss)
    return load(text, environ={})


def test_a_close_that_rests_becomes_a_plan() -> None:
    keys = "give_up: 30s, reprice_every: 500ms, clip: 250 USDT"
    plan = swung(f"tif: post_only, {keys}, {TAKES}").plan
    assert plan is not None and plan.rules["swing"].trade is not None
    close = plan.rules["swing"].trade.close
    clip = Quantity(Decimal(250), "USDT")
    assert close.rest == RestPlan(30 * 10**9, 500 * 10**6, clip)
    assert (close.tif, close.collar, close.worst) == ("post_only", 0.0005, 0.0025)
    short = swung(f"tif: gtc, give_up: 1m, {TAKES}").plan
    assert short is not None and short.rules["swing"].trade is not None
    assert short.rules["swing"].trade.close.rest == RestPlan(60 * 10**9, 10**9)


@pytest.mark.parametrize(
    ("close", "message"),
    [
        ("tif: post_only", "needs `give_up`"),
        ("tif: gtc, reprice_every: 1s", "needs `give_up`"),
        ("tif: gtc, give_up: 0s", "`give_up` is more than zero"),
        ("tif: gtc, give_up: 9s, reprice_every: 0s", "`reprice_every` is more than zero"),
        ("tif: gtc, give_up: 9s, clip: 0 USDT", "`clip` must be more than zero"),
        ("give_up: 9s", "a close that rests"),
        ("tif: ioc, clip: 100 USDT", "a close that rests"),
    ],
)
def test_what_does_not_fit_a_close_is_said(close: str, message: str) -> None:
    found = [d for d in swung(close).findings if d.is_error]
    assert [d.code for d in found] == ["E0203"]
    assert message in found[0].message


def test_a_close_of_a_quote_does_not_rest() -> None:
    checked = quoted("unattended: true\n      close: {tif: post_only, give_up: 9s}")
    (found,) = [d for d in checked.findings if d.is_error]
    assert (found.code, "takes at once" in found.message) == ("E0203", True)
    assert found.help


@pytest.mark.parametrize(
    ("clip", "message"),
    [("", "needs `clip`"), (", clip: 0.005 BTC", "more than `max_gap`")],
)
def test_a_clip_bounds_what_several_legs_leave_unmatched(clip: str, message: str) -> None:
    (found,) = [d for d in parting(clip).findings if d.is_error]
    assert (found.code, message in found.message) == ("E0203", True)


def test_the_first_of_several_legs_rests_and_counts_at_the_makers_fee() -> None:
    plan = parting(", clip: 0.004 BTC").plan
    assert plan is not None and plan.rules["carry"].trade is not None
    assert plan.rules["carry"].trade.close.rest is not None


def parting(clip: str) -> Checked:
    text = PAIR.replace("POLICY", "together").replace("FIRST", "tif: ioc")
    text = text.replace("SECOND", "tif: ioc")
    close = f"close: {{tif: post_only, give_up: 9s, collar: 3bps{clip}}}"
    return load(text.replace("close: {tif: ioc, collar: 3bps}", close), environ={})


def test_a_close_that_only_posts_counts_at_the_makers_fee_and_without_its_collar() -> None:
    """Taker in and out is 10 bps and 10 of collars; in as taker, out as maker 7 and 5."""
    posts, takes = f"tif: post_only, give_up: 9s, {TAKES}", f"tif: ioc, {TAKES}"
    rests = f"tif: gtc, give_up: 9s, {TAKES}"

    def warned(close: str, enter: str) -> bool:
        return "W0505" in [d.code for d in swung(close, enter).findings]

    assert [warned(takes, enter) for enter in ("19.9bps", "20.1bps")] == [True, False]
    assert [warned(rests, enter) for enter in ("19.9bps", "20.1bps")] == [True, False]
    assert [warned(posts, enter) for enter in ("11.9bps", "12.1bps")] == [True, False]


def test_a_stop_is_measured_by_what_takes_however_the_close_rests() -> None:
    """500 USDT at 10 bps is 0.5 USDT; by the maker's fee it would be 0.35."""
    posts = f"tif: post_only, give_up: 9s, {TAKES}"
    for loss, warned in (("0.45 USDT", True), ("0.55 USDT", False)):
        assert ("W0505" in [d.code for d in swung(posts, loss=loss).findings]) is warned
