"""Why a rule did not act, in the words of `why`: what stands in its way, and what became of it."""

from __future__ import annotations

from runner.app.trial.record import Recorder
from runner.app.trial.stage import Stage
from runner.engine.blocking import Block, Kind, Reading, parts, readings
from runner.engine.rule import HOLDING


def reasons(stage: Stage, recorder: Recorder, rule: str) -> list[str]:
    """Return all reasons that stand now: those of the engine, then the last refusal and ending."""
    desk = stage.engine.desk
    blocks = desk.traces.present(rule)
    if desk.rules.runs[rule].state in HOLDING:
        blocks += parts(_condition(stage, rule), desk.now)
    found = [_text(block) for block in blocks if block.kind is not Kind.SENDING]
    for more in (recorder.refusals.get(rule), recorder.endings.get(rule)):
        if more is not None and more not in found:
            found.append(more)
    return found


def conditions(stage: Stage, rule: str) -> list[tuple[str, str, str]]:
    """Return source, verdict and figures of each part of what the rule waits for."""
    words = {True: "true", False: "false", None: "missing"}
    return [
        (each.probe.source, words[each.verdict], each.probe.figures(each.values))
        for each in _condition(stage, rule)
    ]


def _condition(stage: Stage, rule: str) -> list[Reading]:
    desk = stage.engine.desk
    run = desk.rules.runs[rule]
    part = "until" if run.state in HOLDING and run.plan.until is not None else "when"
    return readings(desk, rule, part)


def _text(block: Block) -> str:
    """Write a reason: its key, and the figures where the key does not say it all."""
    text = block.text
    if block.kind in (Kind.STREAM, Kind.WINDOW, Kind.CELL):
        return text
    return f"{block.key}: {text}" if text else block.key
