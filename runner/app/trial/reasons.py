"""Why a rule did not act: what it cannot read, what refused it, how it ended, what is false."""

from __future__ import annotations

from runner.app.trial.record import Recorder
from runner.app.trial.stage import Stage
from runner.base.units import format_duration
from runner.engine.rule import HOLDING, RuleRun, RuleState


def reasons(stage: Stage, recorder: Recorder, rule: str) -> list[str]:
    """Return all reasons that stand now, the most telling first."""
    engine = stage.engine
    run, now = engine.desk.rules.runs[rule], engine.desk.now
    found = engine.desk.program.missing(rule, now)
    if run.state in HOLDING:
        found += [text for text in _unread(stage, run) if text not in found]
    if rule in recorder.refusals:
        found.append(recorder.refusals[rule])
    if rule in recorder.endings:
        found.append(recorder.endings[rule])
    if run.disabled_why:
        found.append(f"disabled: {run.disabled_why}")
    if run.state is RuleState.COOLDOWN:
        found.append(f"cooldown {format_duration(max(0, run.cooldown_until - now))}")
    if not run.armed:
        found.append("not armed: `when` has not been false since")
    if run.state is RuleState.PENDING and run.plan.for_ns:
        found.append(f"pending for {format_duration(now - run.pending_since)}")
    if run.program.when.false(now):
        found.append("when is false")
    until = run.program.until
    if run.state is RuleState.ACTIVE and until is not None and until.false(now):
        found.append("until is false")
    return found


def _unread(stage: Stage, run: RuleRun) -> list[str]:
    """Name the streams that `until` reads and that are not there."""
    now, found = stage.engine.desk.now, []
    for key in run.program.until_streams:
        stream = stage.market.streams[key]
        if stream.state == "stale":
            found.append(f"{key} stale {format_duration(stream.age(now) // 1_000_000 * 1_000_000)}")
        elif stream.state != "live":
            found.append(f"{key} {stream.state}")
    return found
