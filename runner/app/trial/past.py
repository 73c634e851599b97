"""What a test says was before its start, as the events that a run begins with."""

from __future__ import annotations

from typing import Final

from runner.base.clock import NS_PER_S
from runner.engine.events import Bar, Event, History
from runner.spec.market_plan import StreamKind
from runner.spec.plan import Plan
from runner.spec.trial_plan import TrialPlan

_MINUTE: Final = 60 * NS_PER_S
_PAID_EVERY: Final = 8 * 3600 * NS_PER_S


def past_of(plan: Plan, trial: TrialPlan) -> list[Event]:
    """Return the history of a test, and the first frame of each bar that runs at its start.

    The last close of a minute or of a bar is the start itself; the last funding is yet to come.
    """
    if not trial.history:
        return []
    return [_history(plan, trial), *_running(plan, trial)]


def _running(plan: Plan, trial: TrialPlan) -> list[Event]:
    start, found = trial.starts_ns, list[Event]()
    for series in trial.history:
        stream = plan.streams[series.stream]
        if stream.kind is StreamKind.BARS:
            close = series.values.values()[-1]
            bar = Bar(
                market=stream.market,
                every=stream.every_ns or 0,
                open_at=start,
                open=close,
                high=close,
                low=close,
                close=close,
                volume=0.0,
                closed=False,
                t=0,
                wall=start,
            )
            found.append(bar)
    return found


def _history(plan: Plan, trial: TrialPlan) -> History:
    start = trial.starts_ns
    event = History(closes={}, t=0, wall=start)
    for series in trial.history:
        market, kind = series.stream.split(".")
        values = series.values.values()
        last = len(values) - 1
        if kind == "book":
            event.closes[market] = [(-(last - i) * _MINUTE, v) for i, v in enumerate(values)]
        elif kind == "bars":
            every = plan.streams[series.stream].every_ns or 0
            event.bars[series.stream] = [
                (start - (last - i + 1) * every, v, v, v, v, 0.0) for i, v in enumerate(values)
            ]
        else:
            coming = (start // _PAID_EVERY + 1) * _PAID_EVERY
            event.funding[market] = [
                (coming - (last - i) * _PAID_EVERY, v) for i, v in enumerate(values)
            ]
    return event
