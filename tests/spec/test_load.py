"""From text to plan: values in their final units, params from four places, all mistakes at once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from runner.base.errors import UsageError, WorldError
from runner.lang.tree import Entered, find
from runner.market.instruments import Kind, Side
from runner.spec import Checked, load
from runner.spec.market_plan import Network, StreamKind
from runner.spec.parts import Quantity, Rate
from runner.spec.plan import Plan
from runner.spec.rule_plan import OrderPlan

ROOT = Path(__file__).parents[2]
ARB = ROOT / "strategies" / "arb.yaml"
EXAMPLES = ROOT.parent / "shared" / "design" / "examples"


def codes(checked: Checked) -> list[str]:
    return [d.code for d in checked.findings]


def arb(**more: str) -> Plan:
    plan = load(ARB, sets=more, environ={}).plan
    assert plan is not None
    return plan


# --- the shipped strategies ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["arb", "pairs", "maker", "dca"])
def test_the_shipped_strategies_are_without_finding(name: str) -> None:
    assert codes(load(ROOT / "strategies" / f"{name}.yaml", environ={})) == []


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the design's examples are not beside the repo")
@pytest.mark.parametrize("name", ["arb", "pairs", "maker", "carry", "dca", "signal", "sentiment"])
def test_the_designs_examples_have_no_errors_but_what_is_not_there_yet(name: str) -> None:
    findings = load(EXAMPLES / f"{name}.yaml", environ={}).findings
    errors = {d.code for d in findings if d.is_error}
    assert errors <= {"E0207", "E0412"}  # carry lacks `max_skew`
    assert not errors or name in ("carry", "sentiment")


def test_arb_becomes_a_plan_with_every_number_in_its_unit() -> None:
    plan = arb()
    rule = plan.rules["sell_bin_buy_byb"]
    assert rule.max_skew_ns == 100_000_000
    assert rule.max_hold_ns == 8 * 3_600_000_000_000
    assert rule.cooldown_ns == 2_000_000_000
    assert rule.trade is not None and rule.trade.hedge is not None
    assert rule.trade.hedge.max_gap == Quantity(Decimal("0.002"), "BTC")
    assert rule.trade.hedge.worst == pytest.approx(0.0015)
    assert rule.trade.hedge.on_failure == "keep"
    assert rule.trade.close.collar == pytest.approx(0.0002)
    assert rule.trade.close.worst == pytest.approx(0.002)
    assert rule.trade.size.unit == "USDT" and rule.trade.size.name == "clip"
    assert rule.trade.size.max is not None
    assert [(leg.market, leg.side) for leg in rule.legs] == [("bin", Side.SELL), ("byb", Side.BUY)]
    assert rule.legs[0].order == OrderPlan("limit", "ioc", pytest.approx(0.0001), None, None)
    assert rule.when_streams == ("bin.book", "byb.book")
    assert len(rule.entered) == 1 and rule.until is not None
    assert len(list(find(rule.until, Entered))) == 1


def test_limits_exchanges_and_streams_of_arb() -> None:
    plan = arb()
    assert plan.risk.max_order == Quantity(Decimal(600), "USDT")
    assert plan.risk.max_position["byb"] == Quantity(Decimal("0.02"), "BTC")
    assert plan.risk.max_net_position == {"BTC": Decimal("0.002")}
    assert plan.risk.max_orders == Rate(40, 60_000_000_000)
    assert plan.risk.max_daily_loss is not None and plan.risk.max_daily_loss.then == "halt"
    assert plan.risk.max_open_orders == {"bin": 20, "byb": 20}
    assert plan.exchanges["binance"].network is Network.TESTNET
    assert plan.exchanges["bybit"].auth["secret"].file == "/run/secrets/bybit"
    market = plan.markets["bin"]
    assert market.instrument.kind is Kind.PERPETUAL and market.traded
    assert market.streams[StreamKind.BOOK].max_age_ns == 250_000_000
    assert market.streams[StreamKind.MARK].implied and market.streams[StreamKind.FUNDING].implied
    assert set(plan.streams) == {
        f"{m}.{k}" for m in ("bin", "byb") for k in ("book", "mark", "funding")
    }


def test_signals_stand_in_an_order_of_use() -> None:
    text = ARB.read_text().replace("  basis:    ema(gap(bin.mid, byb.mid), params.window)", "", 1)
    text = text.replace(
        "\nsizing:", "  basis: ema(gap(bin.mid, byb.mid), params.window)\n\nsizing:", 1
    )
    plan = load(text, environ={}).plan
    assert plan is not None
    assert next(iter(plan.signals)) == "basis"


def test_the_sha_is_of_the_text() -> None:
    assert arb().sha == arb().sha and len(arb().sha) == 64
    assert load(ARB.read_text() + "\n", environ={}).plan.sha != arb().sha  # type: ignore[union-attr]


# --- params --------------------------------------------------------------------------------------

PARAMS = """
version: 1
name: params
params: {clip: {type: USDT, default: 500 USDT, range: [200 USDT, 900 USDT], env: CLIP}}
exchanges: {x: {type: binance_usdm, network: testnet}}
markets: {m: {exchange: x, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}}
rules:
  r:
    when: m.book.imbalance > 0.5
    max_hold: 1h
    trade: {size: params.clip, legs: [{market: m, side: buy}]}
risk:
  max_order: 1000 USDT
  max_position: {m: 1 BTC}
  max_orders: {count: 1, per: 1m}
  max_daily_loss: 10 USDT
"""


def clip(**more: object) -> float | str | bool:
    plan = load(PARAMS, **{"environ": {}, **more}).plan  # type: ignore[arg-type]
    assert plan is not None
    return plan.params["clip"].value


def test_set_goes_before_file_before_environment_before_default(tmp_path: Path) -> None:
    file = tmp_path / "prod.yaml"
    file.write_text("clip: 400 USDT\n")
    env = {"CLIP": "300 USDT"}
    assert clip() == 500
    assert clip(environ=env) == 300
    assert clip(environ=env, params_file=file) == 400
    assert clip(environ=env, params_file=file, sets={"clip": "600USDT"}) == 600


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ({"clap": "1 USDT"}, "did you mean `clip`"),
        ({"clip": "500 BTC"}, "--set clip"),
        ({"clip": "15bps"}, "--set clip"),
        ({"clip": "1 USDT"}, "outside"),
        ({"clip": "abc("}, "--set clip"),
        ({"clip": ""}, "--set clip"),
    ],
)
def test_a_wrong_value_on_the_command_line_is_a_usage_error(
    sets: dict[str, str], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        load(PARAMS, sets=sets, environ={})


def test_a_wrong_value_in_the_environment_is_the_worlds_fault() -> None:
    with pytest.raises(WorldError, match="CLIP"):
        load(PARAMS, environ={"CLIP": "much"})


@pytest.mark.parametrize("body", ["- 1", "clip: [1]", "clip: 1\nclip: 2", "clap: 1 USDT", "a: ["])
def test_a_wrong_params_file_is_a_usage_error(tmp_path: Path, body: str) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(body)
    with pytest.raises(UsageError, match="--params"):
        load(PARAMS, params_file=file, environ={})


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_a_default_outside_of_its_range_is_found() -> None:
    assert codes(load(PARAMS.replace("default: 500", "default: 1000"), environ={})) == ["E0203"]


# --- all mistakes at once ------------------------------------------------------------------------

TWENTY = """\
version: 1
name: twenty
params:
  clip: {type: USDT, default: 500 USDT}
  late: {type: duration, default: 12:30}
  kind: {type: ration, default: 3bps}
exchanges:
  binance: {type: binance_usdm, network: testnet, auth: {key: AKIA12345}}
  bybit: {type: bybit_linear, network: testnet}
  okx: {type: okx_swap, network: demo}
markets:
  bin: {exchange: binance, symbol: BTCUSDT, streams: {book: {depth: 5}}}
  byb: {exchange: bybti, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
  eth: {exchange: binance, symbol: ETH-USDT, streams: {book: {max_age: 1s}}}
signals:
  one: gap(bin.bid, byb.askk)
  two: bin.bid - 15bps
  three: ema(bin.mid, 20)
  four: (bin.bid
  five: six
  six: five
  seven: foo(bin.bid)
rules:
  a:
    when: gap(bin.bid, byb.ask) > 15
    untill: bin.book.imbalance < 0
    max_hold: 1h
    trade: {size: 3 USDT, legs: [{market: bin, side: sell}, {market: byb, side: buy}]}
  b:
    when: bin.book.imbalance > 1.2
    max_hold: 8x
  c:
    when: bin.bid
    max_hold: 1h
    trade: {size: max(1 USDT, 2 USDT), legs: [{market: bin, side: sell}]}
risk: {max_order: 600 USDT, max_order: 700 USDT}
"""


def test_twenty_different_faults_are_twenty_reports() -> None:
    found = {d.code for d in load(TWENTY, environ={}).findings if d.is_error}
    assert "E0101" not in found
    assert len(found) >= 20, sorted(found)


def test_one_broken_signal_is_one_diagnostic() -> None:
    text = ARB.read_text().replace(
        "gap(bin.mid, byb.mid), params.window", "gap(bin.mid, byb.midd), 1m"
    )
    assert [d.code for d in load(text, environ={}).findings if d.is_error] == ["E0304"]


def test_a_secret_is_in_no_output_whatever_else_is_wrong() -> None:
    from runner.lang.render import as_github, as_json, as_sarif, as_text

    secret = "Sup3rSecretValueThatNobodyMaySee"
    for text in (
        TWENTY.replace("AKIA12345", secret),
        TWENTY.replace("AKIA12345", f"'{secret}'"),
        TWENTY.replace("key: AKIA12345", f"api_secret: {secret}"),
        TWENTY.replace("key: AKIA12345}", f"key: {secret}"),
        TWENTY.replace("name: twenty", f"name: twenty\npassword: {secret}"),
        TWENTY.replace("{key: AKIA12345}", f"[{secret}]"),
        TWENTY.replace("{key: AKIA12345}", f"{{key: {{env: {secret}{secret}}}}}"),
    ):
        checked = load(text, environ={})
        assert checked.plan is None
        outputs = [as_text(checked), as_json([checked]), as_github([checked])]
        for output in [*outputs, as_sarif([checked], "0")]:
            assert secret not in output


# --- smaller rules -------------------------------------------------------------------------------


def changed(old: str, new: str) -> list[str]:
    assert old in PARAMS
    return codes(load(PARAMS.replace(old, new, 1), environ={}))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("testnet", "custom", "E0203"),
        ("testnet", "custom, endpoints: {rest: 'ftp://a', public: 'ws://a', private: 'ws://a', "
         "trade: 'ws://a'}", "E0203"),
        ("testnet", "live, endpoints: {rest: 'https://evil.example'}", "E0203"),
        ("testnet", "custom, endpoints: {rest: 'http://u:p@h', public: 'ws://a', "
         "private: 'ws://a', trade: 'ws://a'}", "E0203"),
        ("max_age: 1s", "max_age: 8d", "E0203"),
        ("max_hold: 1h", "max_hold: -1h", "E0203"),
        ("max_hold: 1h", "max_hold: 1h\n    for_each: {a: [1]}", "E0203"),
        ("side: buy", "side: long", "E0203"),
        ("side: buy", "side: buy, order: {tif: gtc}", "E0203"),
        ("side: buy", "side: buy, order: {type: market, collar: 1bps}", "E0203"),
        ("  m: {", "  params: {", "E0203"),
        ("max_order: 1000 USDT", "max_order: 1 BTC", "E0316"),
        ("{m: 1 BTC}", "{m: 100 USDT}", "E0316"),
        ("max_position: {m: 1 BTC}", "max_position: {}", "E0410"),
        ("size: params.clip", "size: 3bps", "E0316"),
    ],
)  # fmt: skip
def test_more_mistakes(old: str, new: str, code: str) -> None:
    if old.startswith("  m"):
        text = PARAMS.replace("{m: {exchange", "{params: {exchange")
        assert "E0203" in codes(load(text, environ={}))
    else:
        assert code in changed(old, new)


def test_custom_endpoints_reach_the_plan() -> None:
    names = enumerate(("public", "private", "trade"), 2)
    sockets = ", ".join(f"{name}: 'ws://127.0.0.1:{port}'" for port, name in names)
    urls = f"{{rest: 'http://127.0.0.1:1', {sockets}}}"
    plan = load(PARAMS.replace("testnet", f"custom, endpoints: {urls}"), environ={}).plan
    assert plan is not None and plan.exchanges["x"].endpoints is not None
    assert plan.exchanges["x"].endpoints["trade"] == "ws://127.0.0.1:4"


def test_close_without_words_takes_the_legs_collar_and_the_price_collar() -> None:
    rule = load(PARAMS, environ={}).plan.rules["r"]  # type: ignore[union-attr]
    assert rule.trade is not None
    assert rule.trade.close.collar == pytest.approx(0.0005)
    assert rule.trade.close.worst == pytest.approx(0.01)
    assert rule.cooldown_ns == 1_000_000_000


def test_the_verb_order_has_no_cooldown_and_nothing_to_unwind() -> None:
    text = PARAMS.replace(
        "    trade: {size: params.clip, legs: [{market: m, side: buy}]}",
        "    order: {market: m, side: buy, size: params.clip, tif: gtc, price: m.bid, ttl: 5m}",
    ).replace("    max_hold: 1h\n", "")
    plan = load(text, environ={}).plan
    assert plan is not None
    rule = plan.rules["r"]
    assert rule.order is not None and rule.trade is None and rule.cooldown_ns == 0
    assert rule.order.leg.order.ttl_ns == 300_000_000_000 and rule.order.leg.order.collar is None


def test_two_names_for_one_symbol_of_one_account_are_refused() -> None:
    more = "; n: {exchange: x, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}".replace(";", ",")
    assert changed("{max_age: 1s}}}}", "{max_age: 1s}}}" + more + "}") == ["E0203"]


def test_a_weight_that_is_not_positive_is_refused() -> None:
    assert changed("side: buy}", "side: buy, weight: -1}") == ["E0203"]


def test_leverage_beyond_the_exchanges_is_refused() -> None:
    assert changed("binance_usdm, network", "bybit_linear, leverage: 120, network") == ["E0504"]


@pytest.mark.parametrize("auth", ["hunter2", "[hunter2]", "{key: hunter2}", "{key: [hunter2]}"])
def test_a_bare_word_under_auth_is_a_secret(auth: str) -> None:
    from runner.lang.render import as_text

    checked = load(PARAMS.replace("testnet", f"testnet, auth: {auth}"), environ={})
    assert codes(checked) == ["E0205"]
    assert "hunter2" not in as_text(checked)


def test_bytes_are_text() -> None:
    assert load(PARAMS.encode(), environ={}).plan is not None
    assert codes(load(b"\xff", environ={})) == ["E0101"]
