"""A close of several legs that rests: the others follow each fill of the first (R-76, I-21)."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from runner.engine.commands import Intent, Notify, Purpose, Record, Tif
from runner.engine.events import Operator, Reject
from runner.engine.limits import Mode
from runner.engine.scenario import Change, Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from runner.spec.parts import Rate
from runner.spec.rule_plan import RestPlan
from tests.engine.stage import R1, Knobs, arb_plan, btc, rule, stage
from tests.engine.test_legs import Watch
from tests.engine.test_restart import reborn

GIVE_UP = 30 * SECOND
LOTS = 8
CLIP = 0.002


class Pair:
    """Eight lots sold on bin and bought on byb, whose close rests on bin, two lots at a time."""

    def __init__(self, rest: dict[str, Any] | None = None, **close: Any) -> None:
        resting = RestPlan(**{"give_up_ns": GIVE_UP, "clip": btc(str(CLIP)), **(rest or {})})
        plan = rule(
            R1, (Side.SELL, Side.BUY), hedge={"max_gap": btc("0.002")},
            close={"tif": "post_only", "rest": resting, **close}, cooldown_ns=10**15,
        )  # fmt: skip
        self.when, self.until = False, False
        knobs = Knobs()
        knobs.when[R1] = lambda _now: self.when
        knobs.until[R1] = lambda _now: self.until
        whole = arb_plan(
            plan, max_net_position={"BTC": Decimal("0.02")}, max_orders=Rate(10**6, SECOND)
        )
        self.s = stage(whole, knobs)
        self.watch = Watch(self.s)
        self.when = True
        self.s.run(100 * MS)
        self.when = False
        assert self.s.state(R1) == "active" and self.held == (-LOTS, LOTS)
        self.worst = 0.0
        self.s.watchers.append(self._net)
        self.bin, self.byb = self.s.exchanges["binance"], self.s.exchanges["bybit"]
        self.bin.default = Fate.WORKS

    def _net(self) -> None:
        self.worst = max(self.worst, abs(self.s.net("BTC")))

    @property
    def held(self) -> tuple[int, int]:
        return self.s.truth("bin"), self.s.truth("byb")

    @property
    def resting(self) -> list[tuple[int, int]]:
        orders = self.bin.orders.values()
        return [(t.ticks, t.lots - t.filled) for t in orders if t.status in ("open", "partial")]

    @property
    def followed(self) -> list[Intent]:
        return [i for i in self.s.sent if i.market == "byb" and i.side is Side.SELL]

    def leave(self, for_ns: int = 100 * MS) -> Pair:
        self.until = True
        self.s.run(for_ns)
        return self

    def fill(self, lots: int, for_ns: int = 100 * MS) -> None:
        cid = next(c for c, t in self.bin.orders.items() if t.status in ("open", "partial"))
        self.bin.fill(cid, lots)
        self.s.run(for_ns)


def pages(s: Scenario) -> list[str]:
    return [n.text for n in s.commands(Notify) if n.level == "page"]


def test_a_clip_rests_and_each_fill_is_followed_in_the_pass_that_hears_of_it() -> None:
    p = Pair().leave()
    assert p.resting == [(600_000, 2)] and p.followed == []
    p.fill(1, 5 * MS)
    (first,) = p.followed
    assert (first.lots, first.tif, first.purpose, first.reduce_only) == (
        1, Tif.IOC, Purpose.CLOSE, True,
    )  # fmt: skip
    p.s.run(100 * MS)
    assert p.held == (-7, 7) and p.resting == [(600_000, 1)]
    for lots in (1, 2, 2, 2):
        p.fill(lots)
    assert p.held == (0, 0) and p.s.state(R1) == "cooldown"
    assert [i.lots for i in p.followed] == [1, 1, 2, 2, 2]
    assert p.worst <= CLIP + 1e-9
    assert p.s.engine.desk.limits.mode is Mode.ACTIVE and pages(p.s) == []
    (trade,) = [r.fields for r in p.s.commands(Record) if r.kind == "trade"]
    assert trade["reason"] == "until"


def test_no_further_clip_rests_before_the_last_has_been_followed() -> None:
    p = Pair().leave()
    p.byb.delay = 500 * MS
    p.fill(2, 400 * MS)
    assert p.resting == []
    p.s.run(700 * MS)
    assert p.held == (-6, 6) and p.resting == [(600_000, 2)]


def test_what_did_not_follow_is_tried_again_with_more_collar_while_nothing_rests() -> None:
    p = Pair(rest={"clip": btc("0.002")}).leave()
    p.byb.fates["byb"] = deque([Fate.NOTHING, Fate.NOTHING])
    p.fill(1, 30 * MS)
    assert p.resting == [], "the rest of the clip is taken back"
    p.s.run(900 * MS)
    assert p.held[1] == 7
    one, two, three = (i.ticks for i in p.followed)
    assert one > two > three
    p.s.run(200 * MS)
    assert p.resting == [(600_000, 2)]


def test_a_partner_that_does_not_follow_in_time_is_told_and_parts_the_legs_no_further() -> None:
    p = Pair().leave()
    p.byb.default = Fate.NOTHING
    p.fill(2, 3 * SECOND)
    assert [text for text in pages(p.s) if "did not follow" in text]
    p.s.run(GIVE_UP)
    assert p.held == (-6, 8) and p.resting == [], "over its time it does not take one leg alone"
    p.byb.default, before = Fate.FILLED, len(p.s.sent)
    p.s.run(SECOND)
    assert [(i.market, i.lots) for i in p.s.sent[before:]] == [("byb", 2), ("bin", 6), ("byb", 6)]
    assert p.held == (0, 0)


@pytest.mark.parametrize("how", ["down", "book"])
def test_while_a_partner_could_not_follow_nothing_rests(how: str) -> None:
    p = Pair().leave()
    if how == "down":
        p.byb.go_down()
    else:
        p.s.frozen.add("byb")
    p.s.run(SECOND)
    assert p.resting == [] and p.held == (-LOTS, LOTS)
    if how == "down":
        p.byb.come_up()
    p.s.frozen.clear()
    p.s.run(SECOND)
    assert p.resting == [(600_000, 2)]


def test_a_fill_that_met_the_cancel_on_its_way_is_followed_once_it_can_be() -> None:
    p = Pair().leave()
    p.byb.go_down()
    cid = next(iter(c for c, t in p.bin.orders.items() if t.status == "open"))
    p.bin.fill(cid, 1)
    p.s.run(SECOND)
    assert p.held == (-7, LOTS) and p.resting == []
    p.byb.come_up()
    p.s.run(300 * MS)
    assert p.held == (-7, 7)


def test_when_its_time_is_over_both_legs_take_together() -> None:
    p = Pair().leave()
    p.fill(2)
    p.s.run(GIVE_UP)
    assert p.held == (0, 0)
    last = p.s.sent[-2:]
    assert [(i.market, i.lots, i.tif) for i in last] == [("bin", 6, "ioc"), ("byb", 6, "ioc")]


@pytest.mark.parametrize("command", ["flatten", "limit"])
def test_what_is_graver_takes_both_legs_at_once(command: str) -> None:
    p = Pair().leave()
    p.fill(1)
    if command == "flatten":
        p.s.push(Operator(command="flatten", who="me"))
    else:
        limits = p.s.engine.desk.limits
        p.s.after(0, lambda: limits.add("x", Mode.HALTED, "max_daily_loss", "lost"))
    p.s.run(60 * MS)
    assert p.held == (0, 0)


def test_the_operators_halt_keeps_the_pair_and_lets_a_gap_be_closed() -> None:
    p = Pair().leave()
    p.byb.fates["byb"] = deque([Fate.NOTHING])
    p.fill(1, 20 * MS)
    p.s.push(Operator(command="halt", who="me"))
    p.s.run(2 * GIVE_UP)
    assert p.held == (-7, 7) and p.resting == []
    assert p.followed[-1].purpose is Purpose.REPAIR
    p.s.push(Operator(command="resume", who="me"))
    p.s.run(SECOND)
    assert p.held == (0, 0)


def test_legs_that_others_part_do_not_go_on_resting() -> None:
    """R-79: the exchange takes five lots of the second leg away."""
    p = Pair().leave()
    p.byb.positions["BTCUSDT"] = 3
    p.s.after(0, lambda: p.s.engine.desk.ledgers.of(R1, "byb").move(Side.SELL, 5, 6e4, 0.001))
    p.s.run(SECOND)
    assert p.held == (0, 0)


def test_legs_of_a_trade_that_are_apart_within_max_gap_meet_on_their_way_out() -> None:
    p = Pair()
    p.byb.positions["BTCUSDT"] = 7
    p.s.after(0, lambda: p.s.engine.desk.ledgers.of(R1, "byb").move(Side.SELL, 1, 6e4, 0.001))
    p.s.run(MS)
    p.leave()
    p.fill(1)
    assert p.held == (-7, 7) and p.followed == []
    p.fill(1)
    assert p.held == (-6, 6)


def test_a_clip_under_the_exchanges_minimum_is_no_way_to_leave() -> None:
    p = Pair()
    listed = p.s.engine.desk.markets["bin"]
    listed.use(replace(listed.instrument, min_qty=Decimal("0.003"),
                       reduce_only_exempt_from_min=False))  # fmt: skip
    p.bin.default = Fate.FILLED
    p.leave(SECOND)
    assert p.held == (0, 0)
    assert all(i.tif is Tif.IOC for i in p.s.sent)


def test_a_restart_with_a_fill_that_nobody_heard_of_follows_it() -> None:
    p = Pair().leave()
    cid = next(iter(c for c, t in p.bin.orders.items() if t.status == "open"))
    p.bin.fill(cid, 1, told=False)
    new = reborn(p.s)
    new.exchanges["binance"].default = Fate.WORKS
    new.run(4 * SECOND)
    assert (new.truth("bin"), new.truth("byb")) == (-7, 7)
    new.exchanges["binance"].default = Fate.FILLED
    new.run(GIVE_UP)
    assert (new.truth("bin"), new.truth("byb")) == (0, 0)
    assert new.lots("bin") == new.lots("byb") == 0


@pytest.mark.parametrize("fate", [f for f in Fate if f is not Fate.REST])
def test_whatever_becomes_of_what_follows_both_legs_end_flat_or_told(fate: Fate) -> None:
    p = Pair().leave()
    p.byb.fates["byb"] = deque([fate])
    p.fill(2, 20 * SECOND)
    for exchange in (p.bin, p.byb):
        exchange.default = Fate.FILLED
    p.s.run(2 * GIVE_UP)
    assert p.held == (0, 0) == (p.s.lots("bin"), p.s.lots("byb"))
    assert p.worst <= CLIP + 1e-9
    assert p.watch.longest <= 4 * SECOND or pages(p.s)


def test_a_post_only_that_would_take_parts_no_legs() -> None:
    p = Pair()
    p.bin.fates["bin"] = deque([Fate.LOST] * 3)
    refused: list[str] = []

    def refuse() -> None:
        for i in p.s.sent:
            if i.tif is Tif.POST_ONLY and i.cid not in refused and len(refused) < 3:
                refused.append(i.cid)
                p.s.push(Reject(cid=i.cid, outcome="rejected", code="-5022", by_terms=True))

    p.s.watchers.append(refuse)
    p.leave(2 * SECOND)
    assert p.resting == [(600_000, 2)] and p.held == (-LOTS, LOTS)
    assert pages(p.s) == []


@pytest.mark.parametrize("seed", range(12))
def test_under_random_faults_the_pair_is_never_apart_by_more_than_a_clip(seed: int) -> None:
    """R-76, I-21: the automatic close never leaves more than one clip unmatched, and ends."""
    rng = Random(seed)
    p = Pair(rest={"reprice_ns": 300 * MS, "give_up_ns": 600 * SECOND}).leave()
    for _ in range(50):
        match rng.randrange(9):
            case 0 | 1 if p.resting:
                p.fill(rng.randint(1, 2), rng.randrange(1, 50) * MS)
            case 2:
                move = rng.randrange(-20, 20)
                p.s.quote("bin", 60_000.0 + move, 60_000.1 + move)
            case 3:
                p.bin.changes.append(rng.choice(list(Change)))
            case 4:
                fates = [Fate.PARTIAL, Fate.NOTHING, Fate.UNKNOWN, Fate.LATE, Fate.REJECTED]
                p.byb.fates["byb"] = deque([rng.choice(fates)])
            case 5 if rng.random() < 0.3:
                exchange = rng.choice([p.bin, p.byb])
                if exchange.answers:
                    exchange.go_down()
                    p.s.after(rng.randrange(1, 1500) * MS, exchange.come_up)
            case 6 if rng.random() < 0.3:
                p.s.push(Operator(command=rng.choice(["halt", "resume"]), who="me"))
            case 7:
                market = rng.choice(["bin", "byb"])
                (p.s.frozen.add if rng.random() < 0.5 else p.s.frozen.discard)(market)
            case _:
                p.s.run(rng.randrange(1, 900) * MS)
        assert p.held[0] <= 0 <= p.held[1]
    p.s.frozen.clear()
    p.bin.changes.clear()
    p.byb.fates.clear()
    p.bin.default = p.byb.default = Fate.FILLED
    p.s.run(5 * SECOND)
    p.s.push(Operator(command="resume", who="me"))
    p.s.run(5 * SECOND)
    assert p.worst <= CLIP + 1e-9 and p.held[0] == -p.held[1]
    p.s.push(Operator(command="flatten", who="me"))
    p.s.run(2 * SECOND)
    assert p.held == (0, 0) == (p.s.lots("bin"), p.s.lots("byb")) and p.resting == []
