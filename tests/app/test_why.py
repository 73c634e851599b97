"""`why` names the reason that kept a rule out of the market first, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from math import nan
from typing import Any

import msgspec
import pytest

from runner import spec
from runner.app.why.answer import answer, decision_row, stamp
from runner.app.why.gather import gather
from runner.app.why.hints import change
from runner.app.why.shape import About, Decision
from runner.app.why.text import text
from runner.engine.build import catalogue_facts, compiled
from runner.engine.codes import Why
from runner.engine.commands import Tif
from runner.engine.events import Budget, ClockReading, Facts, Feed, Host, Operator, SocketState
from runner.engine.limits import Mode
from runner.engine.order import What
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from runner.spec.parts import Rate
from runner.spec.risk_plan import DailyLoss
from tests.engine import sourcelab
from tests.engine import test_quoting as quotes
from tests.engine import test_trips as trips
from tests.engine.stage import PAIR, R1, R2, Knobs, arb_plan, btc, narrow, rule, stage, usdt, widen
from tests.engine.test_gate import intent, loose
from tests.engine.test_spending import stage as spending

HOUR = 3600 * SECOND
Situation = Callable[[], Scenario]
ABOUT = About(strategy="test", run="r1", kind="dry-run", live=True)


def ask(s: Scenario, name: str = R1, **how: Any) -> dict[str, Any]:
    return answer(gather(s.engine, name), ABOUT, **how)


# -- what the engine refuses: the arb by hand, whose `when` is true once the gap is wide


def refused(
    risk: dict[str, Any] | None = None,
    knobs: Knobs | None = None,
    change: Callable[[Scenario], object] | None = None,
    **rule_changes: Any,
) -> Situation:
    def situation() -> Scenario:
        plan = loose(**(risk or {}))
        plan = replace(plan, rules=plan.rules | {R1: rule(R1, PAIR, **rule_changes)})
        s = stage(plan, knobs)
        if change is not None:
            change(s)
            s.run(10 * MS)
        widen(s)
        return s.run(8 * SECOND)

    return situation


def event(make: Callable[[Scenario], Any]) -> Callable[[Scenario], object]:
    return lambda s: s.push(make(s))


def books_apart(s: Scenario) -> None:
    """Each book comes every 240 ms, 120 ms after the other."""
    s.frozen.update(("bin", "byb"))
    s._top("bin")

    def turn(market: str, other: str) -> None:
        s._top(market)
        s.after(120 * MS, lambda: turn(other, market))

    s.after(120 * MS, lambda: turn("byb", "bin"))


def resting_buy(s: Scenario) -> None:
    order = intent(s, side=Side.BUY, ticks=700_000, rule=R2, tif=Tif.GTC)
    s.engine.desk.orders.add(order).meet(What.ACK)


def exchange_halts_symbol(s: Scenario) -> None:
    facts = catalogue_facts(s.plan, "binance")
    halted = tuple(msgspec.structs.replace(each, status="break") for each in facts)
    s.push(Facts(exchange="binance", instruments=halted))


def position_differs(s: Scenario) -> None:
    s.exchanges["binance"].positions["BTCUSDT"] = 5
    s.push(s.exchanges["binance"].account())
    s.run(5 * SECOND)


def poor(s: Scenario) -> None:
    s.exchanges["binance"].free = 1.0
    s.push(s.exchanges["binance"].account())


def all_reject(s: Scenario) -> None:
    for exchange in s.exchanges.values():
        exchange.default = Fate.REJECTED


def skewed() -> Scenario:
    held = [False]
    s = stage(loose(), Knobs(when={R1: lambda _now: held[0], R2: lambda _now: False}))
    books_apart(s)
    s.run(1 * SECOND)
    held[0] = True
    return s.run(8 * SECOND)


def opposed() -> Scenario:
    knobs = Knobs(when={R1: lambda _now: True, R2: lambda _now: True})
    knobs.until = {R1: lambda _now: False}
    return stage(loose(), knobs).run(8 * SECOND)


def single_leg_over_the_net() -> Scenario:
    plan = replace(loose(max_net_position={"BTC": Decimal("0.002")}))
    plan = replace(plan, rules={R1: rule(R1, (Side.SELL,))})
    return stage(plan, Knobs(when={R1: lambda _now: True})).run(8 * SECOND)


def traded(*, again: bool = False, **changes: Any) -> Scenario:
    """It trades once; with `again` the gap opens anew."""
    risk = changes.pop("risk", {})
    plan = loose(**risk)
    s = stage(replace(plan, rules={R1: rule(R1, PAIR, **changes)}))
    widen(s)
    s.run(100 * MS)
    if changes.get("max_hold_ns") is None:
        narrow(s)
        s.run(100 * MS)
    if again:
        s.run(3 * SECOND)
        widen(s)
    return s.run(10 * SECOND)


def lost_its_day() -> Scenario:
    knobs = Knobs(until={R1: lambda _now: False})
    s = stage(arb_plan(rule(R1, PAIR), max_daily_loss=DailyLoss(usdt(3), "halt")), knobs)
    widen(s)
    s.run(20 * MS)
    s.quote("bin", 60_900.0, 60_900.1)
    return s.run(10 * SECOND)


def drawn_down() -> Scenario:
    s = trips.holding(trips.DRAWN.format(5, "halt"))
    trips.widen(s, 0.02)
    return s.run(60 * SECOND)


def broken() -> Scenario:
    s = trips.holding(trips.broken("halt"))
    trips.widen(s, 0.04)
    return s.run(60 * SECOND)


def never_ready() -> Scenario:
    s = stage(loose(), warm=False)
    s.exchanges["bybit"].start = lambda: None  # type: ignore[method-assign]
    return s.run(10 * SECOND)


def jumped() -> Scenario:
    s = stage(loose()).run(2 * SECOND)
    s.quote("bin", 61_000.0, 61_000.1)
    s.quote("byb", 60_700.0, 60_700.1)
    return s.run(6 * SECOND)


ENGINE: dict[str, Situation] = {
    "refused max_order": refused({"max_order": usdt(100)}),
    "refused max_position": refused({"max_position": {"bin": btc("0.001"), "byb": btc(1)}}),
    "refused max_net_position": single_leg_over_the_net,
    "refused max_exposure": refused({"max_exposure": {"all": usdt(100)}}),
    "refused max_open_orders": refused({"max_open_orders": {"bin": 0}}),
    "refused max_orders": refused({"max_orders": Rate(1, HOUR)}),
    "refused balance": refused(change=poor),
    "refused price_collar": refused({"price_collar": 1e-6}),
    "refused price_walk": jumped,
    "refused self_cross": refused(change=resting_buy),
    "refused same_order": lambda: traded(again=True, risk={"same_order_within_ns": HOUR}),
    "refused skew": skewed,
    "refused max_leverage": refused({"max_leverage": {"binance": 1e-6}}),
    "refused min_free_margin": refused({"min_free_margin": 0.9999}),
    "refused max_open_trades": refused({"max_open_trades": 0}),
    "refused max_spend": lambda: spending().run(60 * SECOND),
    "refused clock_uncertain": refused(
        change=event(lambda s: ClockReading(exchange="binance", offset=0, uncertainty=200 * MS))
    ),
    "refused clock_stepped": refused(
        change=event(lambda s: ClockReading(exchange="binance", offset=-SECOND, uncertainty=MS))
    ),
    "refused instrument_halted": refused(change=exchange_halts_symbol),
    "refused rate_budget": refused(
        change=event(
            lambda s: Budget(
                exchange="binance", name="orders", used=95, limit=100, resets_at=s.t + HOUR
            )
        )
    ),
    "refused missing_size": refused(knobs=Knobs(size=nan)),
    "refused missing_price": refused(knobs=Knobs(prices=(nan, None))),
    "refused missing_weight": refused(knobs=Knobs(weights=(nan, 1.0))),
    "refused size_zero": refused(knobs=Knobs(size=5.0)),
    "refused size_min": refused(knobs=Knobs(min=1000.0)),
    "refused min_notional": refused(knobs=Knobs(size=70.0)),
    "refused max_qty": refused(
        {"max_order": usdt(10**12), "max_position": {"bin": btc(10**9), "byb": btc(10**9)}},
        Knobs(size=1e9),
    ),
    "refused opposed": opposed,
    "for": refused(for_ns=HOUR),
    "cooldown": lambda: traded(cooldown_ns=HOUR),
    "unarmed": lambda: traded(max_hold_ns=1 * SECOND),
    "done": lambda: traded(once=True),
    "disabled": refused(change=all_reject, cooldown_ns=0),
    "exchange bybit": never_ready,
    "run exchange_down": refused(change=lambda s: s.exchanges["binance"].go_down()),
    "run operator": refused(change=event(lambda s: Operator(command="halt", who="me"))),
    "run journal": refused(change=event(lambda s: Host(fault="journal", text="disk full"))),
    "run loop": refused(change=event(lambda s: Host(fault="loop", text="it lags"))),
    "run rejects": refused(
        change=lambda s: s.engine.desk.limits.add("rejects", Mode.PAUSED, "rejects", "11 / 10")
    ),
    "run facts": refused(
        change=lambda s: s.engine.desk.limits.add("facts", Mode.FROZEN, "facts", "lot changed")
    ),
    "run difference": refused(change=position_differs),
    "run max_daily_loss": lost_its_day,
    "run max_drawdown": drawn_down,
    "run breaker": broken,
}


@pytest.mark.parametrize("reason", ENGINE)
def test_the_reason_of_the_engine_is_named_first(reason: str) -> None:
    s = ENGINE[reason]()
    names = {"refused opposed": R2, "refused max_spend": "buy"}
    told = ask(s, names.get(reason, R1) if R1 in s.plan.rules else next(iter(s.plan.rules)))
    assert told["blocked"][0]["reason"] == reason, told["blocked"]
    assert told["now"][0]["reason"] == reason
    assert told["blocked"][0]["change"], "it says what would have to change"
    assert text(told)


def test_a_rule_that_fires_too_often_is_disabled_and_says_by_what() -> None:
    s = refused(max_firings=Rate(0, HOUR))()
    told = ask(s)
    assert told["blocked"][0]["reason"] == "disabled"
    assert "max_firings: 1 / 0 per 1h" in told["blocked"][0]["text"]


def test_a_refusal_has_its_value_and_its_limit() -> None:
    told = ask(refused({"max_position": {"bin": btc("0.001"), "byb": btc(1)}})())
    (refusal,) = [each for each in told["decisions"] if each["code"]]
    assert (refusal["code"], refusal["value"], refusal["limit"]) == (
        "max_position",
        "0.008 BTC",
        "0.001 BTC",
    )
    assert told["refusals"]["max_position"] == told["blocked"][0]["refused"] > 20


def test_a_million_looks_do_not_push_out_the_one_refusal() -> None:
    s = refused({"max_orders": Rate(1, HOUR)})()
    for _ in range(100):
        narrow(s)
        s.run(100 * MS)
        widen(s)
        s.run(100 * MS)
    codes = [each["code"] for each in ask(s, last=1000)["decisions"]]
    assert "max_orders" in codes
    assert len(codes) < 300, "rings are bounded"


def test_every_code_of_a_refusal_says_what_would_have_to_change() -> None:
    """But those that only a mistake of ours can bring about."""
    silent = {code for code in Why if not change("refused", code.value)}
    assert silent <= {
        Why.ID_USED, Why.PARENT_BUDGET, Why.EXIT_OVER_LEDGER, Why.EXIT_OVER_POSITION, Why.TICK,
        Why.NOT_OPEN,
    }  # fmt: skip


# -- what the words of a file say: compiled strategies


STRATEGY = """
version: 1
name: asked
exchanges:
  binance: {{type: binance_usdm, network: testnet, auth: {{key: {{env: K}}, secret: {{env: S}}}}}}
  bybit: {{type: bybit_linear, network: testnet, auth: {{key: {{env: K}}, secret: {{env: S}}}}}}
markets:
  bin: {{exchange: binance, symbol: BTCUSDT, streams: {{book: {{max_age: 1s}}}}}}
  byb: {{exchange: bybit, symbol: BTCUSDT, streams: {{book: {{max_age: 1s}}}}}}
signals:
  edge: gap(bin.bid, byb.ask)
  slow: ema(edge, 10m)
  deep: fill_price(byb.book, buy, 100 BTC)
rules:
  r:
    when: {when}
    order: {{market: byb, side: buy, size: 500 USDT, type: limit, tif: ioc, collar: 1bps}}
risk:
  max_order: 600 USDT
  max_position: {{byb: 0.02 BTC}}
  max_orders: {{count: 40, per: 1m}}
  max_daily_loss: 20 USDT
"""


def asked(when: str, change: Callable[[Scenario], object] | None = None) -> Scenario:
    checked = spec.load(STRATEGY.format(when=when), name="asked.yaml")
    assert checked.plan is not None, [d.message for d in checked.findings.items]
    s = Scenario(checked.plan, compiled(checked.plan), tick_every=250 * MS)
    s.start(bin=(60_060.0, 60_060.1), byb=(59_999.9, 60_000.0))  # an edge of 10bps
    s.run(4 * SECOND)
    if change is not None:
        change(s)
    return s.run(20 * SECOND)


def feed(state: SocketState) -> Callable[[Scenario], object]:
    down = {"exchange": "bybit", "socket": "public", "kind": "public", "conn": 2}

    def tell(s: Scenario) -> None:
        if state is SocketState.DOWN:
            s.frozen.add("byb")
        s.push(Feed(**down, state=state, markets=("byb",)))

    return tell


WORDS: dict[str, tuple[str, Callable[[Scenario], object] | None]] = {
    "stream byb.book stale": ("edge > 15bps", lambda s: s.frozen.add("byb")),
    "stream byb.book down": ("edge > 15bps", feed(SocketState.DOWN)),
    "stream byb.book gap": ("edge > 15bps", feed(SocketState.RESYNC)),
    "stream byb.book crossed": ("edge > 15bps", lambda s: s.quote("byb", 60_000.0, 59_000.0)),
    "window slow warming": ("edge - slow > 1bps", None),
    "cell account.bybit.margin_used unknown": ("account.bybit.margin_used < 50%", None),
    "missing deep > bin.bid": ("deep > bin.bid", None),
    "false edge > 15bps": ("edge > 15bps", None),
    "false edge < 5bps": ("-80bps < edge < 5bps", None),
    "false 15bps < edge": ("15bps < edge < 80bps and bin.book.imbalance > -0.5", None),
    "false bin.book.imbalance > 0.5": ("edge > 5bps and bin.book.imbalance > 0.5", None),
    "false edge > 15bps or edge < -15bps": ("edge > 15bps or edge < -15bps", None),
    "false not edge > 5bps": ("not edge > 5bps", None),
}


@pytest.mark.parametrize("reason", WORDS)
def test_the_part_of_when_that_is_not_true_is_named_first(reason: str) -> None:
    when, change = WORDS[reason]
    told = ask(asked(f'"{when}"', change), "r")
    assert told["blocked"][0]["reason"] == reason, told["blocked"]
    assert told["now"][0]["reason"] == reason
    assert told["blocked"][0]["change"]


def test_a_book_that_never_came_is_waited_for() -> None:
    checked = spec.load(STRATEGY.format(when="edge > 15bps"), name="asked.yaml")
    assert checked.plan is not None
    s = Scenario(checked.plan, compiled(checked.plan), tick_every=250 * MS)
    s.start(bin=(60_060.0, 60_060.1)).run(20 * SECOND)
    told = ask(s, "r")
    assert told["state"] == "warming"
    assert told["blocked"][0]["reason"] == "stream byb.book waiting"
    first = told["decisions"][-1]
    assert {r["stream"]: r["age_ms"] for r in first["reads"]}["byb.book"] is None
    assert "byb.book never seen" in text(told)


def test_the_nearest_miss_is_the_least_distance_seen_and_when() -> None:
    s = asked("edge > 15bps")
    s.quote("bin", 60_084.0, 60_084.1)  # 14 bps for two seconds
    s.run(2 * SECOND)
    before = (s.wall_at_zero + s.t) // SECOND
    s.quote("bin", 60_030.0, 60_030.1)
    s.run(10 * SECOND)
    near = ask(s, "r")["blocked"][0]["nearest"]
    assert near["by"] == "1bps" and near["text"] == "14bps > 15bps"
    assert stamp((before - 2) * SECOND) <= near["at"] <= stamp((before + 1) * SECOND)


def test_time_is_shared_among_reasons_that_stand_at_once_and_adds_up() -> None:
    s = asked('"edge > 15bps and bin.book.imbalance > 0.5"')
    rows = {row["reason"]: row for row in ask(s, "r")["blocked"]}
    edge = rows["false edge > 15bps"]
    other = rows["false bin.book.imbalance > 0.5"]
    assert edge["share"] == other["share"] == pytest.approx(edge["whole"] / 2, abs=1e-3)
    assert edge["alone"] == other["alone"] == 0
    told = ask(s, "r")
    total = told["in_trade"] + sum(row["share"] for row in told["blocked"])
    assert total == pytest.approx(1, abs=2e-3)


def test_a_rule_that_comes_back_within_a_look_is_booked_on_what_was_found_there_before() -> None:
    s = traded(cooldown_ns=20 * MS, rearm="level")
    for exchange in s.exchanges.values():
        exchange.default = Fate.NOTHING
    for _ in range(40):  # it rests and waits for less than a quarter second each time
        widen(s)
        s.run(10 * MS)
        narrow(s)
        s.run(90 * MS)
    tally = s.engine.desk.traces.tallies(R1).since()
    assert tally.entered > 10
    assert tally.time["cooldown"].whole == tally.entered * 20 * MS, "states are exact"
    waited = sum(share.part for key, share in tally.time.items() if key.startswith("false"))
    assert waited > tally.watched / 2
    assert sum(share.part for share in tally.time.values()) == pytest.approx(tally.watched)


def test_since_leaves_out_what_was_before() -> None:
    s = asked("edge > 15bps", lambda s: s.frozen.add("byb"))
    s.run(120 * SECOND)
    s.frozen.clear()
    s.run(180 * SECOND)
    assert ask(s, "r")["blocked"][1]["reason"] == "stream byb.book stale"
    (only,) = ask(s, "r", since_ns=60 * SECOND)["blocked"]
    assert only["reason"] == "false edge > 15bps"
    assert ask(s, "r", since_ns=60 * SECOND)["watched_s"] < 130


def test_each_message_that_was_refused_is_told_with_what_it_said() -> None:
    s = sourcelab.listening()
    sourcelab.voc(s, "b1", "long", confidence=0.1)
    sourcelab.voc(s, "b2", "long", confidence=0.2)
    s.run(20 * SECOND)
    told = ask(s, sourcelab.RULE, last=20)
    assert told["blocked"][0]["reason"] == "trigger voc"
    refusals = [each for each in told["decisions"] if each["code"] == "when_false"]
    assert [each["refusal"].split(":")[0] for each in refusals] == ["voc b1", "voc b2"]
    assert [each["values"]["voc.confidence"] for each in refusals] == ["0.1", "0.2"]
    assert refusals[0]["origin"]["name"] == "signal voc"


def test_a_message_that_waits_says_what_for() -> None:
    s = sourcelab.listening()
    s.frozen.add("btc")
    s.run(5 * SECOND)
    sourcelab.voc(s, "c1", "long")
    s.run(1 * SECOND)
    told = ask(s, sourcelab.RULE)
    assert told["now"][0]["reason"] == "refused when_missing"
    assert "voc c1: missing btc.book stale" in told["now"][0]["text"]


def test_a_trade_that_a_halt_keeps_says_so() -> None:
    s = traded(max_hold_ns=HOUR)
    s.push(Operator(command="halt", who="me", why="news"))
    s.run(1 * SECOND)
    (only,) = ask(s)["now"]
    assert only["reason"] == "in_trade"
    assert only["text"] == "active; it does not leave while halted: news"


VETOED = """
version: 1
name: vetoed
exchanges: {bybit: {type: bybit_linear, network: testnet}}
markets: {btc: {exchange: bybit, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}}
sources:
  mood:
    {type: llm, base_url: "https://llm.example.org/v1", model: m, about: load, max_age: 1m,
     prompt: Judge., answer: {score: {type: number, range: [-1, 1]}}}
signals: {load: btc.book.imbalance}
rules:
  r:
    when: WHEN
    max_hold: 1h
    trade: {size: 300 USDT, legs: [{market: btc, side: buy}]}
risk:
  max_order: 450 USDT
  max_position: {btc: 0.5 BTC}
  max_daily_loss: 20 USDT
  max_orders: {count: 6, per: 1m}
"""
SPENT = "the budget is spent: 3 calls / 3"


@pytest.mark.parametrize(
    ("when", "said", "reason", "text"),
    [
        ("mood.score > 0", {"score": -0.5}, "stream mood stale", f"mood stale 90s ({SPENT})"),
        ("mood.score > 0", None, "stream mood down", f"mood down ({SPENT})"),
        (
            "default(mood.score, -1) > 0",
            {"score": -0.5},
            "false default(mood.score, -1) > 0",
            f"-1 > 0, 1 short; mood stale 90s ({SPENT})",
        ),
    ],
)
def test_a_source_that_fell_silent_is_named_with_what_silenced_it(
    when: str, said: dict[str, float] | None, reason: str, text: str
) -> None:
    s = sourcelab.listening(VETOED.replace("WHEN", when))
    if said is not None:
        sourcelab.say(s, "mood", "m1", **said)
    sourcelab.pulse(s, "mood", False, SPENT)
    s.run(90 * SECOND)
    told = ask(s, "r")
    (only,) = told["now"]
    assert only["reason"] == reason and only["text"] == text
    first = next(row for row in told["blocked"] if row["reason"] == reason)
    assert first["alone"] == first["whole"] > 0, "nothing else stood in its way"
    assert "symbol" not in first["change"], "a source has no symbol"


def test_a_look_decides_nothing() -> None:
    """A run that is watched sends exactly what one that is not does."""
    sent = []
    for watching in (True, False):
        s = stage(loose())
        s.engine.desk.traces.watching = watching
        widen(s)
        s.run(5 * SECOND)
        narrow(s)
        s.run(5 * SECOND)
        sent.append([(i.cid, i.t, i.ticks, i.lots) for i in s.sent])
    assert sent[0] == sent[1] and sent[0]


# -- a quote: each of its sides


def quoting(**changes: str) -> Scenario:
    return quotes.maker(quotes.plan_of(**changes))


def test_a_quote_is_counted_and_its_sides_are_told_apart() -> None:
    s = quoting()
    s.run(18 * SECOND)
    told = ask(s, "make")
    assert told["sides"]["bid"] == {"there": pytest.approx(1, abs=0.1), "lacked": []}
    assert told["funnel"]["approved"] == 1 and told["funnel"]["trips"] == 0
    assert "1 entry approved -> never left, 0 round trips of the inventory" in " ".join(
        text(told).split()
    )


LACKS: dict[str, tuple[dict[str, str], str]] = {
    "a price that is not known": (
        {"m.mid * (1 - 5bps)": "m.mid / (m.mid - m.mid) * 1 BTC * m.mid / (1 BTC)"},
        "refused missing_price",
    ),
    "a quantity that rounds to nothing": ({'"0.004 BTC * clamp(1 - load, 0, 1)"': "0.0001 BTC"},
                                          "refused size_zero"),
    "a gate that refuses": (
        {'"0.004 BTC * clamp(1 - load, 0, 1)"': "0.01 BTC", "order: 600": "order: 500"},
        "refused max_order",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LACKS)
def test_a_side_that_is_not_quoted_says_why(case: str) -> None:
    changes, reason = LACKS[case]
    s = quoting(**changes)
    s.run(20 * SECOND)
    told = ask(s, "make")
    assert told["sides"]["ask"]["there"] > 0.9
    bid = told["sides"]["bid"]
    assert bid["there"] < 0.1
    assert bid["lacked"][0]["reason"] == reason and bid["lacked"][0]["change"]
    assert "bid not there, " in text(told)


def test_no_room_in_the_inventory_is_told_as_that_and_a_round_trip_is_counted() -> None:
    s = quoting(**{"limit: 0.01 BTC": "limit: 0.004 BTC"})
    s.exchanges["x"].fill(quotes.of(s, Side.BUY), 4)
    s.run(10 * SECOND)
    told = ask(s, "make")
    assert [each["text"] for each in told["now"]] == [
        "active", "bid not there, bid: 0 BTC of room / 0.004 BTC",
    ]  # fmt: skip
    lacked = told["sides"]["bid"]["lacked"]
    assert lacked[0]["reason"] == "refused inventory"
    assert lacked[0]["text"] == "bid: 0 BTC of room / 0.004 BTC"
    s.exchanges["x"].fill(quotes.of(s, Side.SELL), 4)
    s.run(1 * SECOND)
    told = ask(s, "make")
    assert told["funnel"]["trips"] == 1
    assert "1 round trip of the inventory" in " ".join(text(told).split())


def test_a_path_tells_when_each_stage_was_reached_first() -> None:
    """What follows at the same instant, as an order's answer on paper, is no part of it."""
    s = stage(loose())
    widen(s)
    s.run(5 * SECOND)
    moment = s.engine.desk.traces.moments(R1)[-1]
    steps = (("decided", 1.0), ("journaled", 2.0), ("sent", 3.0), ("decided", 9.0))
    found = decision_row(Decision(moment.t, moment.wall, moment.trace(), steps))
    assert list(found["path_us"].items()) == [("decided", 1.0), ("journaled", 2.0), ("sent", 3.0)]


def test_a_side_that_waits_for_its_turn_says_so() -> None:
    s = quoting(**{"at_most_every: 300ms": "at_most_every: 20s"})
    s.exchanges["x"].fill(quotes.of(s, Side.BUY), 4)
    s.run(10 * SECOND)
    told = ask(s, "make")
    assert told["sides"]["bid"]["lacked"][0]["text"] == "waits for `at_most_every`"
    assert "bid not there, waits for `at_most_every`" in text(told)


CALENDAR = """
version: 1
name: calendar
exchanges: {x: {type: bybit_linear, network: sim}}
markets: {m: {exchange: x, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}}
rules:
  weekly:
    trigger: {cron: "0 8 * * MON", zone: Europe/Berlin}
    order: {market: m, side: buy, size: 200 USDT}
risk:
  max_order: 300 USDT
  max_position: {m: 0.01 BTC}
  max_orders: {count: 10, per: 1m}
  max_daily_loss: 20 USDT
"""


def test_a_rule_that_a_calendar_starts_waits_for_its_time() -> None:
    plan = spec.load(CALENDAR, name="calendar.yaml", environ={}).plan
    assert plan is not None
    s = Scenario(plan, compiled(plan)).start(m=(60_000.0, 60_001.0)).run(3 * SECOND)
    (now,) = ask(s, "weekly")["now"]
    assert (now["kind"], now["subject"]) == ("trigger", "weekly.cron")
    assert now["text"] == "waits for its time, `0 8 * * MON` Europe/Berlin"
