"""A strategy's life over several processes: things happen to it at random, restarts among them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from runner.base.rng import seeded
from runner.engine.build import compiled
from runner.engine.commands import OrderType
from runner.engine.events import Operator
from runner.engine.limits import Mode
from runner.engine.saved import Saved
from runner.engine.scenario import Fate, Scenario, Truth
from runner.engine.scripted import Change, ScriptedExchange
from runner.engine.timers import MS, SECOND
from runner.spec.plan import Plan
from tests.engine.test_restart import journal

OPEN = ("open", "partial")
FATES = [fate for fate in Fate if fate is not Fate.REST]
WARM = 4500 * MS
HAPPENINGS = 40


class Life(ABC):
    """One strategy over all its processes; a subclass says what happens and what must hold.

    `hurt_at` is when something last happened to it: what needs peace is asked for later.
    """

    quotes: dict[str, tuple[float, float]]
    """of a quiet market"""

    def __init__(self, name: str, seed: int) -> None:
        self.rng = seeded(name, seed)
        self.plan = self.make()
        self.saved = Saved()
        self.runs = 0
        self.hurt_at = 0
        self.happen: Sequence[Callable[[], None]] = self.happenings()
        self.s = self.begin(None)

    # -- what a subclass says

    @abstractmethod
    def make(self) -> Plan:
        """Return the strategy."""

    @abstractmethod
    def happenings(self) -> Sequence[Callable[[], None]]:
        """Return what may happen, the likely more than once."""

    @abstractmethod
    def law(self) -> None:
        """Assert what holds after every event."""

    def end(self) -> None:
        """Assert what holds when all faults are off and everything was closed."""
        for market in self.quotes:
            held = (self.s.lots(market), self.s.truth(market))
            assert held[0] == held[1], f"{market}: (ledger, exchange) is {held}"
        assert self.s.engine.quiet

    # -- its course

    def play(self) -> None:
        """Live and end in peace."""
        for _ in range(HAPPENINGS):
            self.hurt_at = self.s.t
            self.rng.choice(self.happen)()
            self.s.run(int(self.rng.expovariate(1.0) * SECOND))
            if self.rng.random() < 0.06:
                self.crash()
        self.heal()
        self.end()

    def begin(self, old: Scenario | None) -> Scenario:
        """Start a process at the exchanges as they are."""
        self.runs += 1
        self.s = s = Scenario(
            self.plan, compiled(self.plan), restored=self.saved if old else None,
            run_id=f"run{self.runs:07d}",
        )  # fmt: skip
        self.hurt_at = 0
        for name, exchange in s.exchanges.items():
            exchange.default = Fate.WORKS
            if old is not None:
                before = old.exchanges[name]
                exchange.orders, exchange.positions = before.orders, before.positions
                exchange._count = before._count
        if old is not None:
            s.wall_at_zero = old.wall_at_zero + old.t + 2 * SECOND
        s.watchers.append(self.law)
        return s.start(**(old.quotes if old is not None else self.quotes)).run(WARM)

    def crash(self) -> None:
        """End the process now; the next begins from what the journal holds."""
        new, old = journal(self.s), self.saved
        self.saved = Saved(
            rules=old.rules | new.rules, run=new.run or old.run, fills=old.fills | new.fills
        )
        self.begin(self.s)

    def heal(self) -> None:
        """All faults off, the operator resumes and closes everything."""
        s = self.s
        s.frozen.clear()
        for market, quote in self.quotes.items():
            s.quote(market, *quote)
        for exchange in s.exchanges.values():
            exchange.default = Fate.WORKS
            exchange.fates.clear()
            exchange.stops.clear()
            exchange.targets.clear()
            exchange.changes.clear()
            if not exchange.answers or not exchange.key:
                exchange.come_up()
        self.hurt_at = s.t
        for _ in range(2):
            s.push(Operator(command="resume", who="healer"))
            s.run(40 * SECOND)
        s.push(Operator(command="flatten", who="healer"))
        s.run(60 * SECOND)

    # -- what is there

    @property
    def active(self) -> bool:
        """Whether nothing restrains the run."""
        return self.s.engine.desk.limits.mode is Mode.ACTIVE

    def exchange(self) -> ScriptedExchange:
        """Return one of the exchanges."""
        return self.s.exchanges[self.rng.choice([*self.s.exchanges])]

    def resting(self, type: OrderType = OrderType.LIMIT) -> list[Truth]:
        """Return the limits (or stops, or targets) that rest at any exchange."""
        return [
            truth
            for exchange in self.s.exchanges.values()
            for truth in exchange.orders.values()
            if truth.status in OPEN and truth.intent.type is type
        ]

    # -- what may happen to any

    def moods(self) -> None:
        """An exchange treats orders differently from now on."""
        self.exchange().default = self.rng.choice(FATES)

    def good_mood(self) -> None:
        """An exchange works as it should."""
        self.exchange().default = Fate.WORKS

    def outage(self) -> None:
        """An exchange goes away for a while."""
        exchange = self.exchange()
        if exchange.answers:
            exchange.go_down()
            self.s.after(int(self.rng.uniform(0.1, 4) * SECOND), exchange.come_up)

    def key_refused(self) -> None:
        """An exchange refuses our key for a while; what rests there goes on."""
        exchange = self.exchange()
        if exchange.answers and exchange.key:
            exchange.refuse_key()
            self.s.after(int(self.rng.uniform(0.1, 8) * SECOND), exchange.come_up)

    def run_frozen(self) -> None:
        """Something freezes the run, until somebody resumes it."""
        self.s.engine.desk.limits.add("dice", Mode.FROZEN, "facts", "dice")
        self.s._carry_out(self.s.engine.lasting())

    def operate(self) -> None:
        """Somebody commands."""
        command = self.rng.choice(["halt", "resume", "resume", "flatten"])
        self.s.push(Operator(command=command, who="dice"))

    def freeze(self) -> None:
        """A market's quotes stop, or come again."""
        self.s.frozen ^= {self.rng.choice([*self.quotes])}

    def fill(self) -> None:
        """Limits that rest are filled, in part or wholly."""
        for truth in self.resting():
            lots = self.rng.randint(1, truth.lots)
            self.s.exchanges[truth.intent.exchange].fill(
                truth.intent.cid, lots, told=self.rng.random() < 0.9
            )

    def change(self) -> None:
        """The next change of an order goes wrong."""
        self.exchange().changes.append(self.rng.choice([*Change]))
