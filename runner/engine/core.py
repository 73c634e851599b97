"""The engine: `handle(event) -> commands`, pure and deterministic (interfaces.md, section 2).

Theory of operation. An event sets the time, moves the state it belongs to, and lets the parts
react; what they want from the world collects in the desk's output. Nothing here reads a clock,
opens a socket or draws a random number: the same events give the same commands.

A market event takes the short way: apply it, feed the windows that read the stream, ask the test of
each rule that reads it; if none answers and nothing is held there, the shared empty tuple returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from runner.engine import build, orderflow, restoring, snapshot
from runner.engine.commands import Command, Resync, Trace
from runner.engine.desk import MarketLike
from runner.engine.drill import Drill
from runner.engine.events import (
    Account,
    Ack,
    Amended,
    AmendReply,
    Bar,
    Budget,
    CancelReply,
    ClockReading,
    Depth,
    Done,
    Event,
    External,
    Facts,
    Feed,
    Fill,
    Found,
    Funding,
    History,
    Host,
    Mark,
    Operator,
    Pulse,
    Ready,
    Reconciled,
    Reject,
    Signal,
    Timer,
    Top,
    Trade,
    Unknown,
)
from runner.engine.history import past_of
from runner.engine.parts import make_parts
from runner.engine.saved import Saved
from runner.engine.sources import SourceStream
from runner.engine.timers import SECOND
from runner.engine.trace import Funnel
from runner.engine.watches import Watch, build_watches
from runner.engine.worldflow import World
from runner.spec.plan import Plan

NOTHING: Final[tuple[Command, ...]] = ()
ANCHOR_EVERY: Final = 5 * SECOND
SWEEP_EVERY: Final = 10 * SECOND


class Engine:
    """One strategy's state machine.

    `program` is a builder that gets the streams and the cells (see `build.compiled`). `restored`
    is what `saved.Saved` describes; the first event then restores it, because only then the
    times are known. `watching` False leaves no traces. FileError when the plan asks for something
    that this version does not do.
    """

    def __init__(
        self,
        plan: Plan,
        program: build.Builder,
        market: MarketLike,
        run_id: str,
        *,
        restored: Saved | None = None,
        adopt: bool = False,
        watching: bool = True,
    ) -> None:
        build.check_known(plan)
        self.plan = plan
        self.market = market
        self.restored = restored
        self._adopt = adopt
        self.orphans: list[str] = []
        """rules of open trades in the journal that the file does not have, or not any more as
        they were: refuse the start, nothing is sent meanwhile"""
        parts = make_parts(plan, program, market, run_id, watching)
        self.desk = desk = parts.desk
        self.trade_cells, self.held_cells = parts.trade_cells, parts.held_cells
        self.sources, self.streams = parts.sources, parts.streams
        self.sources.on_change = self._source_changed
        self.sources.run_after = self._run_after
        desk.rules.on_flush = self._write_rows
        self.drill = Drill(desk)
        """for a host that waits on sockets: keeps the way of an entry warm"""
        self.world = World(desk, market, adopt=adopt)
        self._watches = build_watches(desk, self.streams)
        self._apply = market.apply
        self._started = False
        self.due = min(desk.timers.due, market.due, desk.program.due)
        """monotonic ns of the next timer; the host hands over a `Timer` at it"""
        self._acts: dict[type, Callable[[Any], None]] = {
            Feed: self._on_feed,
            ClockReading: self._on_clock,
            Ready: self.world.on_ready,
            Budget: self.world.on_budget,
            Facts: self._on_facts,
            Account: self.world.on_account,
            Reconciled: self.world.on_reconciled,
            External: self.world.on_external,
            Operator: self.world.on_operator,
            Host: self.world.on_host,
            History: self._on_history,
            Ack: lambda e: orderflow.on_ack(desk, e),
            Reject: lambda e: orderflow.on_reject(desk, e),
            Unknown: lambda e: orderflow.on_unknown(desk, e),
            Fill: lambda e: orderflow.on_fill(desk, e),
            Done: lambda e: orderflow.on_done(desk, e),
            Found: lambda e: orderflow.on_found(desk, e),
            CancelReply: lambda e: orderflow.on_cancel_reply(desk, e),
            AmendReply: lambda e: orderflow.on_amend_reply(desk, e),
            Amended: lambda e: orderflow.on_amended(desk, e),
            Signal: self._on_signal,
            Pulse: self.sources.on_pulse,
            Timer: self._on_timer,
        }

    # -- what the host calls

    def handle(self, event: Event) -> Sequence[Command]:
        """Take one event; return what the host must do, in order."""
        desk = self.desk
        if desk.after:
            self._run_after()
        desk.now = now = event.t
        desk.wall = event.wall
        kind = type(event)
        if kind in _MARKET and self._started:
            stream = self._apply(event)
            if self.market.resyncs:
                self._resyncs()
            if stream is not None:
                watch = self._watches[stream.key]
                if watch.feed is not None:
                    watch.feed(now)
                if watch.edge is not None and not event.more:  # type: ignore[attr-defined]
                    watch.edge(now)
                if watch.breakers:
                    self._look(stream, watch)
                if event.more:  # type: ignore[attr-defined]
                    for run in watch.rules:
                        if run.test(now):
                            desk.cause = stream
                            desk.rules.step(run, True)
                elif watch.held or desk.rules.deferred:
                    self._held(stream, watch, now)
                else:
                    for run in watch.rules:
                        if run.test(now):
                            desk.cause = stream
                            desk.rules.step(run)
            elif desk.rules.deferred and not event.more:  # type: ignore[attr-defined]
                desk.rules.run_deferred()
        else:
            self._other(event, kind)
        due, other = desk.timers.due, self.market.due
        if other < due:
            due = other
        other = desk.program.due
        self.due = other if other < due else due
        if not desk.out:
            return NOTHING
        out, desk.out = desk.out, []
        return out

    def later(self) -> Sequence[Command]:
        """Return what could wait until the commands of `handle` were carried out: traces.

        Calling it is optional: the next `handle` returns them first otherwise.
        """
        if self.desk.after:
            self._run_after()
        return self._take()

    def lasting(self) -> Sequence[Command]:
        """Return the rows of what changed since the last call: traces, rules, trades, the run.

        To be called before the journal is written. What a `Send` needs comes with it, before it.
        """
        self.desk.traces.rows()
        self.desk.rules.flush(whole=True)
        return self._take()

    def settle_traces(self) -> None:
        """Write the traces that still wait; their commands come with the next `handle`."""
        self._run_after()

    def why(self, rule: str, count: int = 5) -> list[tuple[int, int, Trace]]:
        """Return the last traces of a rule: (monotonic ns, wall ns, trace)."""
        self.settle_traces()
        return self.desk.traces.last(rule, count)

    @property
    def funnels(self) -> Mapping[str, Funnel]:
        """Counts per rule for the report."""
        return self.desk.traces.funnels

    @property
    def evaluations(self) -> dict[str, int]:
        """How often each rule was looked at: once per frame of every stream it reads."""
        streams = self.streams
        return {
            name: sum(streams[key].seq for key in run.program.when_streams)
            for name, run in self.desk.rules.runs.items()
        }

    @property
    def quiet(self) -> bool:
        """Whether every order is settled, but for stops that guard what is held."""
        orders = self.desk.orders
        return not orders.open and not any(o.cancel_asked for o in orders.guards.values())

    @property
    def flat(self) -> bool:
        """Whether no rule holds a trade."""
        runs = self.desk.rules.runs.values()
        return all(
            run.trade is None or (run.plan.quote is not None and run.trade.empty) for run in runs
        )

    def snapshot(self) -> Saved:
        """Return all lasting state, as the journal's youngest rows would give it."""
        desk = self.desk
        rules = {name: snapshot.rule_row(desk, run) for name, run in desk.rules.runs.items()}
        return Saved(
            rules=rules,
            run=snapshot.run_row(desk),
            fills=frozenset(desk.orders.seen_fills),
            keys=frozenset(desk.keys),
            sources={name: self.sources.row(name) for name in self.sources.streams},
            heard=self.sources.heard,
        )

    # -- the ways of an event

    def _take(self) -> Sequence[Command]:
        if not self.desk.out:
            return NOTHING
        out, self.desk.out = self.desk.out, []
        return out

    def _look(self, stream: Any, watch: Watch) -> None:
        """Look at the breakers of a stream, before any rule; they may read what we are worth."""
        self.desk.cause = stream
        if watch.held and watch.worth:
            self.desk.limits.revalue()
        for breaker in watch.breakers:
            if breaker.since >= 0 or breaker.test(self.desk.now):
                self.desk.trips.look(breaker)

    def _held(self, stream: Any, watch: Watch, now: int) -> None:
        """A market event while something is held there or waited for the last frame."""
        rules = self.desk.rules
        self.desk.cause = stream
        if watch.held:
            self.desk.limits.revalue()  # first: what trips comes before what would send
        if rules.deferred:
            rules.run_deferred()
        for run in watch.rules:
            if run.test(now):
                rules.step(run)

    def _other(self, event: Event, kind: type) -> None:
        desk = self.desk
        desk.cause = event
        if not self._started:
            self._start()
        if desk.trips.breakers:
            desk.trips.look_all()
        if desk.rules.deferred and kind is not Timer:
            desk.rules.run_deferred()
        if kind in _MARKET:
            self._first_market(event)
            return
        act = self._acts.get(kind)
        if act is None:
            raise TypeError(f"the engine knows no event {kind.__name__}")
        act(event)
        if kind is not Timer:
            self._refresh()
            desk.program.look(desk.now)
            desk.trips.look_all()
            desk.rules.step_all()

    def _first_market(self, event: Event) -> None:
        """The first event of a run is a market event: the long way round."""
        stream = self._apply(event)
        self._resyncs()
        if stream is not None:
            watch = self._watches[stream.key]
            if watch.feed is not None:
                watch.feed(self.desk.now)
            self.desk.program.look(self.desk.now)
            self.desk.cause = stream
            self.desk.trips.look_all()
            self.desk.rules.step_all(hold=bool(getattr(event, "more", False)))

    def _start(self) -> None:
        """Do what needs the time: restore, the day, the regular timers."""
        self._started = True
        desk = self.desk
        for cell in self.trade_cells.values():
            cell.price_fees(desk.now)
        if self.restored is not None:
            self.orphans = restoring.restore(desk, self.restored, adopt=self._adopt)
            self.sources.restore(self.restored.sources, self.restored.heard)
            self.world.after_restore()
        self.sources.start()
        desk.limits.start_day()
        desk.rules.holding.start_beat()
        desk.traces.start()
        desk.trips.start_beat()
        desk.timers.at(desk.now + ANCHOR_EVERY, self._anchors)
        desk.timers.at(desk.now + SWEEP_EVERY, self._sweep)
        self._refresh()

    def _on_timer(self, event: Timer) -> None:
        desk, now = self.desk, self.desk.now
        stale = self.market.on_timer(now) if self.market.due <= now else ()
        turned = desk.program.due <= now and desk.program.on_timer(now)
        for stream in stale:
            self._stream_changed(stream)
        if stale:
            desk.program.look(now)
        if desk.timers.due <= now and desk.timers.run(now):
            self._refresh()
        if turned:
            desk.trips.look_all()
        if stale or turned:
            desk.rules.step_all()
        while desk.timers.due <= now:  # what this very event set for now
            desk.timers.run(now)

    def _on_feed(self, event: Feed) -> None:
        for stream in self.market.on_feed(event):
            self._stream_changed(stream)
        self._resyncs()

    def _on_clock(self, event: ClockReading) -> None:
        self.world.on_clock(event)
        self.market.on_clock(event)

    def _on_history(self, event: History) -> None:
        program, now = self.desk.program, self.desk.now
        if event.state:
            program.restore(event.state, now, event.gap)
        changed = self.market.on_history(event)
        program.warm_up(past_of(event, self.market.streams), now)
        for stream in changed:
            self._stream_changed(stream)

    def _on_signal(self, event: Signal) -> None:
        accepted = self.sources.on_signal(event)
        if accepted is not None:
            self._stream_changed(self.sources.streams[event.source])
            self.desk.rules.triggers.arrived(*accepted)

    def _source_changed(self, stream: SourceStream) -> None:
        """A source went stale or down, or came back, and no signal says so."""
        self._stream_changed(stream)
        for run in self._watches[stream.key].rules:
            if run.test(self.desk.now):
                self.desk.rules.step(run)

    def _on_facts(self, event: Facts) -> None:
        self.world.on_facts(event)
        for cell in self.trade_cells.values():
            cell.price_fees(self.desk.now)

    def _stream_changed(self, stream: Any) -> None:
        watch = self._watches[stream.key]
        if watch.feed is not None:
            watch.feed(self.desk.now)
        if watch.held:
            self.desk.limits.revalue()
        if watch.breakers:
            self._look(stream, watch)

    def _resyncs(self) -> None:
        for market, reason in self.market.resyncs:
            self.desk.emit(Resync(market=market, reason=reason))
        self.market.resyncs.clear()

    def _anchors(self, _: Any) -> None:
        self.desk.gate.mark_anchors()
        self.desk.timers.at(self.desk.now + ANCHOR_EVERY, self._anchors)

    def _sweep(self, _: Any) -> None:
        self.world.sweep()
        self.desk.timers.at(self.desk.now + SWEEP_EVERY, self._sweep)

    # -- keeping the derived up to date

    def _refresh(self) -> None:
        """Bring cells and the marks of held markets up to date after orders or accounts moved."""
        by_market = self.desk.ledgers.by_market
        held = {x.market for ledgers in by_market.values() for x in ledgers if x.lots}
        for cell in self.held_cells.values():
            cell.refresh()
        for watch in self._watches.values():
            watch.held = watch.market in held

    def _run_after(self) -> None:
        waiting, self.desk.after = self.desk.after, []
        for act in waiting:
            act()
        self.sources.hide()

    def _write_rows(self, names: list[str]) -> None:
        desk = self.desk
        for name in names:
            if name:
                run = desk.rules.runs.get(name)
                row = snapshot.rule_row(desk, run) if run is not None else snapshot.gone_row()
                desk.record("rule", name=name, json=row)
            else:
                desk.record("run", json=snapshot.run_row(desk))


_MARKET: Final = frozenset({Top, Depth, Trade, Mark, Funding, Bar})
