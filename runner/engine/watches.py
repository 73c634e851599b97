"""What hangs on each stream: worked out once, so that a frame finds it by one look-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runner.engine.desk import Desk
from runner.engine.reading import breaker_streams, cell_streams, reads_cells
from runner.engine.rule import RuleRun
from runner.engine.trips import Breaker


class Watch:
    """What hangs on one stream: its windows, the rules that read it, and whether it values us."""

    __slots__ = ("breakers", "edge", "feed", "held", "market", "rules", "worth")

    def __init__(
        self,
        market: str,
        feed: Callable[[int], object] | None,
        edge: Callable[[int], object] | None = None,
    ) -> None:
        self.market = market
        self.feed = feed
        self.edge = edge
        """tells the conditions that compare with the last decision"""
        self.rules: list[RuleRun] = []
        self.breakers: list[Breaker] = []
        self.worth = False
        """whether a breaker here reads what we hold or have earned"""
        self.held = False


def build_watches(desk: Desk, streams: Mapping[str, Any]) -> dict[str, Watch]:
    """Return the watch of every stream by key; rules and breakers must be bound."""
    feeds, edges = desk.program.on_stream, desk.program.on_edge
    watches = {
        key: Watch(stream.market, feeds.get(key), edges.get(key)) for key, stream in streams.items()
    }
    for breaker in desk.trips.breakers:
        for key in breaker_streams(desk.plan, breaker.plan.when):
            watches[key].breakers.append(breaker)
            watches[key].worth |= reads_cells(breaker.plan.when)
    for run in desk.rules.runs.values():
        keys = [*run.program.when_streams, *run.program.until_streams]
        keys += cell_streams(desk.plan, run.plan)
        for key in dict.fromkeys(keys):
            watches[key].rules.append(run)
    return watches
