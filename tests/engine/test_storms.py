"""Random lives of whole strategies: faults, operators, parts closed, restarts, all together.

Whatever happens, what is held in peace is guarded or hedged, nothing is turned round, and in the
end the exchange agrees with us and nothing of ours is left there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest

from runner.engine.commands import Notify, OrderType
from runner.engine.events import Account, External
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.engine.trade import Trade
from runner.market.instruments import Side
from runner.spec.plan import Plan
from tests.engine import test_quoting, written
from tests.engine.life import Life
from tests.engine.test_legs import AWAY
from tests.engine.written import narrow, widen

SHORT = """\
  short:
    when: gap(bin.bid, byb.ask) > 30bps
    until: gap(bin.ask, byb.bid) < 5bps
    cooldown: 100ms
    trade:
      size: 0.009 BTC
      legs: [{market: bin, side: sell, order: ENTRY}]
      stop: {price: "bin.ask * 1.01", trigger: last, confirm_within: 1s, if_refused: REFUSED}
      target: {price: "bin.bid * 0.99"}
      close: {EXIT, collar: 2bps, retry: 250ms, worst: 100bps, then: THEN}
"""
PAIR = """\
  pair:
    when: gap(bin.bid, byb.ask) > 30bps
    until: gap(bin.ask, byb.bid) < 5bps
    cooldown: 100ms
    max_skew: 100ms
    trade:
      size: 0.02 BTC
      legs:
        - {market: bin, side: sell, order: LEAD}
        - {market: byb, side: buy, order: {type: limit, tif: ioc, collar: 3bps}}
      hedge: {policy: first_then_rest, max_gap: 0.005 BTC, repair: REPAIR, repair_within: 2s, worst: 100bps, on_failure: FAILURE}
      stop: {loss: 30 USDT}
      close: {EXIT, collar: 2bps, retry: 250ms, worst: 100bps, then: THEN}
"""  # noqa: E501
LEAD = (
    "{type: limit, tif: post_only, price: bin.ask, clip: 0.004 BTC,"
    " reprice_every: 700ms, give_up: 10s}"
)
SHRINK = """\
  shrink:
    when: account.binance.margin_used > 50%
    cooldown: 500ms
    do: [{reduce: {rule: NAME, by: BY}}]
"""
EXITS = [
    "tif: ioc",
    "tif: post_only, give_up: 6s, reprice_every: 700ms, clip: 0.004 BTC",
    "tif: gtc, give_up: 3s, clip: 0.004 BTC",
]
ENTRIES = [
    "{type: limit, tif: ioc, collar: 1bps}",
    "{type: limit, tif: gtc, price: bin.bid, clip: 0.003 BTC, give_up: 8s}",
]
PLACED = [*[Fate.REST] * 4, Fate.LATE, Fate.LOST, Fate.UNKNOWN, Fate.REJECTED, Fate.UNSENT]
CALM = 4 * SECOND
"""as long as confirm_within, a new try and the repeated questions about a lost order take"""
GAP = 0.005 + 1e-9
GUARDS = (OrderType.STOP, OrderType.TARGET)


def told(page: Notify) -> bool:
    """Whether a page is of trades, and not of an exchange that is away."""
    return page.level == "page" and page.topic not in AWAY


class Spread(Life):
    """A rule on the spread of two markets, and one that reduces its trade."""

    quotes = written.QUOTES

    @abstractmethod
    def text(self) -> tuple[str, str]:
        """Return the rule with its name."""

    def make(self) -> Plan:
        name, rules = self.text()
        pick = self.rng.choice
        for key, values in {
            "NAME": [name], "BY": ["25%", "50%", "80%"], "ENTRY": ENTRIES,
            "EXIT": EXITS, "REFUSED": ["close", "close", "keep"], "THEN": ["market", "hold"],
            "LEAD": [LEAD], "REPAIR": ["cheaper", "complete", "unwind"],
            "FAILURE": ["keep", "flatten"],
        }.items():  # fmt: skip
            rules = rules.replace(key, pick(values))
        return written.plan_of(rules, "  max_net_position: 0.02 BTC\n")

    def wide(self) -> None:
        """The spread opens."""
        widen(self.s, self.rng.choice([0.004, 0.005, 0.006]))

    def tight(self) -> None:
        """The spread closes."""
        narrow(self.s)

    def margin(self) -> None:
        """The exchange tells how much margin is used."""
        share = self.rng.choice([0.6, 0.1])
        self.s.push(Account(exchange="binance", balances=(), positions=(), margin_used=share))

    def adl(self) -> None:
        """The exchange takes two lots of a short away."""
        if self.s.truth("bin") == self.s.lots("bin") < -2:
            self.s.exchanges["binance"].positions["BTCUSDT"] += 2
            event = External(exchange="binance", what="adl", market="bin", lots=2, price=60_000.0)
            self.s.push(event)

    def happenings(self) -> Sequence[Callable[[], None]]:
        return [
            self.wide, self.wide, self.wide, self.tight, self.moods, self.good_mood, self.good_mood,
            self.outage, self.operate, self.freeze, self.fill, self.fill, self.margin, self.adl,
            self.key_refused, self.run_frozen,
        ]  # fmt: skip

    def end(self) -> None:
        super().end()
        assert self.s.truth("bin") == self.s.truth("byb") == 0
        assert not any(self.resting(kind) for kind in GUARDS), "a stop or a target is left"


class Guarded(Spread):
    """One leg with a stop and a target at its exchange (R-77, R-78)."""

    def text(self) -> tuple[str, str]:
        return "short", SHORT + SHRINK

    def happenings(self) -> Sequence[Callable[[], None]]:
        more = [self.stop_fires, self.stop_fires, self.target_fires, self.bad_guards]
        return [*super().happenings(), *more]

    def stop_fires(self) -> None:
        """The price reaches the stop."""
        widen(self.s, 0.018)
        self.s.exchanges["binance"].fire("bin", self.rng.choice([1.0, 1.0, 0.4]))

    def target_fires(self) -> None:
        """The price reaches the target."""
        self.s.exchanges["binance"].fire("bin", self.rng.choice([1.0, 0.4]), OrderType.TARGET)

    def bad_guards(self) -> None:
        """The next stops and targets go wrong."""
        self.s.exchanges["binance"].stops.extend(self.rng.choices(PLACED, k=2))
        self.s.exchanges["binance"].targets.extend(self.rng.choices(PLACED, k=2))

    def law(self) -> None:
        assert self.s.truth("bin") <= 0, "turned round"
        filled_at = self.s.engine.desk.rules.last_fill.get("bin", 0)
        if self.s.t - max(self.hurt_at, filled_at) < CALM or not self.active:
            return
        for run in self.s.engine.desk.rules.runs.values():
            if run.trade is not None and run.state.value == "active":
                self.is_guarded(run.trade)

    def is_guarded(self, trade: Trade) -> None:
        """Nothing is held without the stop and the target it was entered with.

        A target waits until no stop is in doubt: proving that one never arrived takes its time.
        """
        held = trade.legs[0].filled
        guards = self.s.engine.desk.orders.guards.values()
        doubt = any(o.uncertain for o in guards if o.intent.type is OrderType.STOP)
        for guard in trade.guards[:1] if doubt else trade.guards:
            orders = self.resting(OrderType(guard.kind.value))
            mine = (t for t in orders if t.intent.rule == trade.rule.name)
            guarded = sum(t.intent.lots - t.filled for t in mine)
            assert guard.given_up or guarded >= held, f"{held} held, {guarded} by {guard.kind}"


class Beside(Guarded):
    """Two such rules on one market: reduce-only binds their sum, not each of them."""

    def text(self) -> tuple[str, str]:
        other = SHORT.replace("short:", "other:").replace("0.009", "0.007").replace("< 5", "< 12")
        return "short", SHORT + other + SHRINK


class Worked(Spread):
    """A lead that rests in clips, its partner for what it fills (R-30, R-76)."""

    def __init__(self, name: str, seed: int) -> None:
        self.apart_since = -1
        super().__init__(name, seed)

    def begin(self, old: Scenario | None) -> Scenario:
        self.apart_since = -1
        return super().begin(old)

    def text(self) -> tuple[str, str]:
        return "pair", PAIR + SHRINK

    def happenings(self) -> Sequence[Callable[[], None]]:
        return [*super().happenings(), self.fill, self.fill, self.change]

    def law(self) -> None:
        """Nothing is turned round; what is apart, or may be, is bounded and never silent (I-13)."""
        s = self.s
        assert s.truth("bin") <= 0 <= s.truth("byb"), "turned round"
        if s.state("pair") == "entering":
            rests = s.engine.desk.orders.working("bin", Side.SELL)
            apart = sum(o.open_lots for o in rests) - s.lots("bin") - s.lots("byb")
            assert apart <= 5, f"{apart} lots could be unhedged"
        if abs(s.net("BTC")) <= GAP:
            self.apart_since = -1
        elif self.apart_since < 0:
            self.apart_since = s.t
        elif s.t - self.apart_since > 3200 * MS and self.active:
            pages = [t for t, c in s.log if isinstance(c, Notify) and told(c)]
            assert any(t >= self.apart_since for t in pages), "I-13"


class Shared(Guarded):
    """The guarded short, and a pair that holds the same side of its market.

    What the exchange takes is told, and a smaller stop or target stands, before the next fires: no
    order of ours can be cut down in the very moment in which it executes. Nor does one fire between
    the close of a part and the smaller one that follows it.
    """

    taken_at = 0

    def begin(self, old: Scenario | None) -> Scenario:
        self.taken_at = 0
        return super().begin(old)

    def stop_fires(self) -> None:
        if self._later():
            super().stop_fires()

    def target_fires(self) -> None:
        if self._later():
            super().target_fires()

    def adl(self) -> None:
        if self._later():
            super().adl()

    def _later(self) -> bool:
        """Whether what was taken, or closed in part, last is old news."""
        before, self.taken_at = self.taken_at, self.s.t
        filled_at = self.s.engine.desk.rules.last_fill.get("bin", -CALM)
        return self.s.t - max(before, filled_at) > CALM

    def text(self) -> tuple[str, str]:
        pair = PAIR.replace("LEAD", ENTRIES[0]).replace("first_then_rest", "together")
        pair = pair.replace("0.02 BTC", "0.008 BTC")
        return self.rng.choice(["short", "pair"]), SHORT + pair + SHRINK

    def law(self) -> None:
        """In peace no rule's part is turned round, whoever else holds that side.

        A close and a stop that execute while their exchange cannot be reached may do it: that is
        settled between the rules (`netting`), once there is a price to settle it at.
        """
        desk, calm = self.s.engine.desk, self.s.t - self.hurt_at >= CALM
        if not calm or not self.active or desk.orders.open or self.s.frozen:
            return
        for ledger in desk.ledgers:
            sign = 1 if ledger.market == "byb" else -1
            assert ledger.lots * sign >= 0, f"{ledger.rule} holds {ledger.lots} of {ledger.market}"


class Maker(Life):
    """A two-sided quote with changes in place."""

    quotes: ClassVar = {"m": (test_quoting.BID, test_quoting.ASK)}

    def make(self) -> Plan:
        return test_quoting.plan_of(self.rng.choice(["bybit_linear", "binance_usdm"]))

    def happenings(self) -> Sequence[Callable[[], None]]:
        return [
            self.move, self.move, self.move, self.apart, self.fill, self.fill, self.fill,
            self.moods, self.good_mood, self.good_mood, self.outage, self.operate, self.freeze,
            self.key_refused, self.run_frozen, self.change, self.change,
        ]  # fmt: skip

    def move(self) -> None:
        """The market moves."""
        bid = test_quoting.BID + self.rng.randrange(-60, 60)
        self.s.quote("m", bid, bid + 1)

    def apart(self) -> None:
        """The spread is too wide to quote."""
        self.s.quote("m", test_quoting.BID, test_quoting.BID * 1.003)

    def law(self) -> None:
        """Nothing that rests could bring the position past its limit."""
        held = self.s.truth("m")
        high = held + sum(t.lots - t.filled for t in self.resting() if t.intent.side == "buy")
        low = held - sum(t.lots - t.filled for t in self.resting() if t.intent.side == "sell")
        assert low >= -20 and high <= 20, (low, held, high)

    def end(self) -> None:
        super().end()
        assert self.s.truth("m") == 0
        assert not self.resting()


LIVES: list[type[Life]] = [Guarded, Beside, Worked, Shared, Maker]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("life", LIVES)
def test_a_life_ends_in_peace(life: type[Life], seed: int) -> None:
    life(life.__name__, seed).play()


@pytest.mark.campaign
@pytest.mark.parametrize("life", LIVES)
def test_two_thousand_lives_end_in_peace(life: type[Life]) -> None:
    for seed in range(2_000):
        life(life.__name__, seed).play()
