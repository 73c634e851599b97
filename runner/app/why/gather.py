"""Gathers the story of a rule from a running engine, and keeps it in the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from runner.app.why.shape import KEY, Decision, Reason, RuleStory
from runner.engine.blocking import Block
from runner.engine.core import Engine
from runner.engine.quote_sides import sides
from runner.engine.rule import RuleState

Paths = Mapping[int, tuple[tuple[str, float], ...]]
"""by the time of the event, ns of the run: how long each step to its orders took"""


class Keeps(Protocol):
    """What the journal is used for."""

    def save(self, key: str, value: bytes, wall: int) -> None: ...


def gather(
    engine: Engine, rule: str, paths: Paths | None = None, *, decisions: bool = True
) -> RuleStory:
    """Tell all that is known of a rule now; KeyError when there is none of this name."""
    engine.settle_traces()
    desk, traces = engine.desk, engine.desk.traces
    run = desk.rules.runs[rule]
    part = "until" if run.state is RuleState.ACTIVE and run.plan.until is not None else "when"
    funnel = traces.funnels[rule]
    tallies = traces.tallies(rule)
    return RuleStory(
        rule=rule,
        state=run.state.value,
        t=desk.now,
        wall=desk.wall,
        now=[_reason(block) for block in traces.present(rule)] + _sides(engine, rule),
        part=part,
        reads=[each.told for each in traces.readings(rule, part)],
        tallies=tallies,
        reasons={key: _reason(block) for key, block in traces.latest(rule).items()},
        counts={
            "entries": funnel.entries,
            "exits": funnel.exits,
            "no_fill": funnel.no_fill,
            "undone": funnel.undone,
            "rejected": funnel.rejected,
            **({"trips": funnel.trips} if run.plan.quote is not None else {}),
        },
        decisions=[
            Decision(m.t, m.wall, m.trace(), (paths or {}).get(m.t, ()))
            for m in (traces.moments(rule) if decisions else ())
        ],
    )


def keep(engine: Engine, journal: Keeps, paths: Paths | None = None, *, whole: bool) -> None:
    """Keep every rule's story in the journal; without `whole` its decisions stay out."""
    for rule in engine.desk.rules.runs:
        story = gather(engine, rule, paths, decisions=whole)
        journal.save(KEY + rule, msgspec.json.encode(story), engine.desk.wall)


def _sides(engine: Engine, rule: str) -> list[Reason]:
    """Tell what the sides of a quote lack now."""
    rules = engine.desk.rules
    run = rules.runs[rule]
    if run.plan.quote is None or run.state is not RuleState.ACTIVE:
        return []
    return [
        Reason(lacks.kind.value, lacks.subject, f"{side} not there, {lacks.text}")
        for side, lacks in sides(rules.quoting, run)
        if lacks is not None
    ]


def _reason(block: Block) -> Reason:
    return Reason(block.kind.value, block.subject, block.text)
