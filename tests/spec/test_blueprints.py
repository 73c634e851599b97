"""`use`: what joins a strategy, what its names become, and how both files are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.cli import blueprint_page, pages
from runner.lang.render import as_object, as_text
from runner.spec import Checked, load

BLUEPRINT = """\
about: Buy a market whose fast mean is above its slow one, m is its name here.
inputs:
  m:    {type: market}
  fast: {type: duration, default: 5m}
  clip: {type: USDT, range: [10 USDT, 1000 USDT]}
signals:
  quick: ema(m.mid, inputs.fast)
  calm:  m.book.spread < 5bps
sizing:
  one: {size: inputs.clip, max: 900 USDT}
rules:
  up:
    when: gap(quick, ema(m.mid, 1h)) > this.cost + 10bps and calm and position.m.qty == 0
    until: gap(quick, m.mid) < 0 or rule.up.age > 1h
    max_hold: 8h
    trade: {size: sizing.one, legs: [{market: m, side: buy}]}
"""
STRATEGY = """\
version: 1
name: uses
params:
  clip: {type: USDT, default: 500 USDT}
exchanges:
  binance: {type: binance_usdm, network: testnet}
markets:
  btc: {exchange: binance, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
  eth: {exchange: binance, symbol: ETHUSDT, streams: {book: {max_age: 1s}}}
use:
  - {file: ../blueprints/cross.yaml, prefix: b, with: {m: btc, clip: params.clip}}
  - {file: ../blueprints/cross.yaml, prefix: e, with: {m: eth, clip: 300 USDT, fast: 10m}}
risk:
  max_order: 1000 USDT
  max_position: {btc: 1 BTC, eth: 2 ETH}
  max_orders: {count: 40, per: 1m}
  max_daily_loss: 20 USDT
"""


def checked(folder: Path, strategy: str = STRATEGY, blueprint: str = BLUEPRINT) -> Checked:
    for name, text in (("strategies/s.yaml", strategy), ("blueprints/cross.yaml", blueprint)):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return load(folder / "strategies" / "s.yaml", environ={})


def test_a_blueprint_joins_under_its_prefix(tmp_path: Path) -> None:
    found = checked(tmp_path)
    plan = found.plan
    assert plan is not None, as_text(found)
    assert list(plan.rules) == ["b_up", "e_up"]
    assert plan.rules["e_up"].legs[0].market == "eth"
    assert plan.signal_texts["b_quick"] == "ema(btc.mid, params.b_fast)"
    assert plan.signal_texts["e_calm"] == "eth.book.spread < 5bps"
    assert {n: p.text for n, p in plan.params.items()} == {
        "clip": "500 USDT", "b_fast": "5m", "e_fast": "10m", "e_clip": "300 USDT",
    }  # fmt: skip
    assert "position.eth.qty" in plan.rules["e_up"].when_text
    assert "rule.e_up.age" in plan.rules["e_up"].until_text


def test_the_record_of_a_run_needs_no_other_file(tmp_path: Path) -> None:
    """The text of the plan holds both files: a replay reads it as it stands."""
    plan = checked(tmp_path).plan
    assert plan is not None
    again = load(plan.text, name="s", environ={})
    assert again.plan is not None, as_text(again)
    assert (again.plan.sha, again.plan.text) == (plan.sha, plan.text)
    assert {n: r.when_text for n, r in again.plan.rules.items()} == {
        n: r.when_text for n, r in plan.rules.items()
    }


def test_a_mistake_shows_its_place_in_the_blueprint_and_who_uses_it(tmp_path: Path) -> None:
    found = checked(tmp_path, blueprint=BLUEPRINT.replace("gap(quick, m.mid)", "gap(quik, m.mid)"))
    told = as_text(found)
    assert told.count("error[E0304]: nothing is named `quik` (and 1 more place)") == 1
    assert "blueprints/cross.yaml:14:12" in told and "14 |     until: gap(quik" in told
    assert f"used by line 11 of {tmp_path}/strategies/s.yaml" in told
    (shown,) = as_object(found)["diagnostics"]
    assert shown["line"] == 14 and shown["file"].endswith("blueprints/cross.yaml")


def test_a_mistake_in_the_strategy_stays_where_it_is(tmp_path: Path) -> None:
    told = as_text(checked(tmp_path, STRATEGY.replace("max_order: 1000 USDT", "max_order: 1 BTC")))
    assert "strategies/s.yaml:14:" in told and "blueprints" not in told


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        ("m: btc, ", "", "E0203", "the blueprint needs `m`"),
        ("m: btc", "m: btcc", "E0204", "no market is named `btcc`"),
        ("m: btc", "m: btc, mm: eth", "E0201", "the blueprint has no input `mm`"),
        ("params.clip", "params.clap", "E0304", "no param is named `clap`"),
        ("type: USDT, default: 500 USDT", "type: ratio, default: 5bps", "E0316",
         "`clip` is USDT, `params.clip` is ratio"),
        ("300 USDT", "3000 USDT", "E0203", "outside of its range"),
        ("prefix: e", "prefix: b", "E0203", "is there already"),
        ("prefix: e", "prefix: 9", "E0203", "is no prefix"),
        ("prefix: e", "as: e", "E0201", "unknown key `as`"),
        ("{file: ../blueprints/cross.yaml, prefix: e", "{file: ../blueprints/x.yaml, prefix: e",
         "E0204", "No such file"),
        ("{file: ../blueprints/cross.yaml, prefix: e", "{file: /etc/passwd, prefix: e", "E0204",
         "is no path of a blueprint"),
        ("{file: ../blueprints/cross.yaml, prefix: e", "{file: ../../x/y.yaml, prefix: e", "E0204",
         "is no path of a blueprint"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(
    old: str, new: str, code: str, message: str, tmp_path: Path
) -> None:
    assert old in STRATEGY
    found = checked(tmp_path, STRATEGY.replace(old, new, 1))
    assert found.plan is None
    assert any(d.code == code and message in d.message for d in found.findings), as_text(found)


def test_blueprints_do_not_use_each_other_and_do_not_leave_their_folder(tmp_path: Path) -> None:
    """No cycles, and no link out of the folder above the strategy's."""
    found = checked(tmp_path, blueprint=BLUEPRINT + "use: {file: ../strategies/s.yaml}\n")
    assert any("a blueprint has no `use`" in d.message for d in found.findings)
    outside = tmp_path / "outside.yaml"
    outside.write_text(BLUEPRINT)
    inner = tmp_path / "in"
    inner.mkdir()
    checked(inner)
    link = inner / "blueprints" / "cross.yaml"
    link.unlink()
    link.symlink_to(outside)
    refused = load(inner / "strategies" / "s.yaml", environ={})
    assert any("is no path of a blueprint" in d.message for d in refused.findings)


def test_a_text_alone_has_no_folder() -> None:
    found = load(STRATEGY, environ={})
    assert any("cannot be found from here" in d.message for d in found.findings)


def test_a_line_that_divides_files_is_not_for_files(tmp_path: Path) -> None:
    found = checked(tmp_path, blueprint=BLUEPRINT + "# -- blueprint x\n")
    assert any("divides files" in d.message for d in found.findings)


def test_a_market_of_for_each_may_be_given(tmp_path: Path) -> None:
    markets = STRATEGY[STRATEGY.index("markets:") : STRATEGY.index("use:")]
    one = markets.splitlines()[1].replace("btc:", '"p_{base}":').replace("BTCUSDT", '"{base}USDT"')
    alike = STRATEGY.replace(markets, f"for_each: {{base: [BTC, ETH]}}\nmarkets:\n{one}\n")
    for base in ("btc", "eth"):
        alike = alike.replace(f"m: {base}", f"m: p_{base}").replace(f"{base}: ", f"p_{base}: ")
    found = checked(tmp_path, alike)
    assert found.plan is not None, [d.message for d in found.findings.items]
    assert [found.plan.rules[f"{p}_up"].legs[0].market for p in "be"] == ["p_btc", "p_eth"]


def test_the_example_of_its_page_holds_and_a_blueprint_alone_is_known_for_one(
    tmp_path: Path,
) -> None:
    used = STRATEGY[: STRATEGY.index("use:")] + blueprint_page.USE.replace("up.yaml", "cross.yaml")
    found = checked(tmp_path, used + STRATEGY[STRATEGY.index("risk:") :], blueprint_page.BLUEPRINT)
    assert found.plan is not None, as_text(found)
    assert {"b_up", "e_up"} == set(found.plan.rules)
    assert blueprint_page.BLUEPRINT.splitlines()[2].strip() in pages.page("inputs")
    alone = load(blueprint_page.BLUEPRINT, environ={})
    (told,) = [d for d in alone.findings.items if d.code == "E0201"]
    assert "checked where a strategy uses it" in told.help[0]
