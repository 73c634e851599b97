"""`runner plan`: what it says of a close that rests, defaults included."""

from __future__ import annotations

from pathlib import Path

from runner.cli.plan_text import as_text
from runner.spec import load
from tests.engine.test_sources import TARGET
from tests.spec.test_resting import TAKES, swung


def words(close: str) -> str:
    plan = swung(close, loss="50 USDT").plan
    assert plan is not None
    return " ".join(as_text(plan).split())


def test_how_long_an_exit_rests_how_it_is_moved_and_how_it_takes_then_is_said() -> None:
    said = words(f"tif: post_only, give_up: 30s, {TAKES}")
    assert "its exit rests at the touch (post_only) for 30s, moved every 1s" in said
    assert "then it takes by 5bps, growing to 25bps, past that holds and tells" in said
    assert "round trip 7bps m = 7bps; collars may take 5bps more" in said
    assert "an exit that takes after all costs 3bps more in fees" in said


def test_an_exit_that_may_take_is_counted_as_one_that_takes() -> None:
    said = words(f"tif: gtc, give_up: 30s, clip: 250 USDT, {TAKES}")
    assert "rests at the touch (gtc) 250 USDT at a time for 30s" in said
    assert "round trip 10bps m = 10bps; collars may take 10bps more" in said


def test_a_close_that_takes_says_nothing_of_resting() -> None:
    assert "rests at the touch" not in words(f"tif: ioc, {TAKES}")


def test_a_quote_is_told_with_its_ends_and_what_its_fills_cost() -> None:
    plan = load(Path(__file__).parents[2] / "strategies" / "maker.yaml", environ={}).plan
    assert plan is not None
    said = " ".join(as_text(plan).split())
    assert "leaves when vol(btc.mid, 10s) > params.wild or inventory after 30m" in said
    assert "or inventory that would lose 8 USDT" in said
    assert "what it holds then rests at the touch after `until`" in said
    assert "make: a fill 2bps btc, a round trip of the inventory 4bps" in said
    assert "what is closed at once pays 5.5bps and up to its collar" in said
    assert "unmatched" not in said, "one market has nothing to match"


def shipped(name: str, text: str = "") -> str:
    path = Path(__file__).parents[2] / "strategies" / f"{name}.yaml"
    plan = load(path.read_text().replace(*text.split("=>")) if text else path, environ={}).plan
    assert plan is not None
    return " ".join(as_text(plan).split())


def test_an_order_is_told_with_its_key_and_what_it_may_cost_when_it_is_given_up() -> None:
    said = shipped("dca")
    assert "then buy btc; once for each key {rule}-{week}; left alone by halts and flatten" in said
    assert "one order 10bps btc = 10bps; collars may take 10bps more" in said


def test_what_a_model_may_cost_and_what_a_target_asks_for_is_said() -> None:
    said = shipped("sentiment", "{calls: 300, per=>{calls: 300, tokens: 9000, per")
    assert "told of headlines, at most 300 questions and 9000 tokens in 1d;" in said
    found = load(TARGET, environ={})
    assert found.plan is not None, [d.message for d in found.findings.items]
    said = " ".join(as_text(found.plan).split())
    assert "the position it wants: long 1, short -1, flat 0" in said
