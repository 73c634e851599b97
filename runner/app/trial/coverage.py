"""Which parts of conditions the tests of a file saw true and false, and which rules never fired.

Each part of `when` is asked while a rule waits and of `until` while it holds, after every event,
until it was seen both ways. Of a chain of comparisons each link is a part of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.engine.blocking import Reading, readings
from runner.engine.commands import Command, Purpose, Send, Trace
from runner.engine.events import Event
from runner.engine.rule import HOLDING, RuleState
from runner.lang.api import ProbeApi

if TYPE_CHECKING:
    from runner.app.trial.stage import Stage


@dataclass(slots=True)
class Seen:
    """What was seen of one part, and of one rule."""

    true: bool = False
    false: bool = False

    @property
    def both(self) -> bool:
        return self.true and self.false

    def text(self) -> str:
        """Say what is lacking."""
        if self.both:
            return "true and false"
        if not self.true and not self.false:
            return "never looked at"
        return "never false" if self.true else "never true"


@dataclass(slots=True)
class RuleCoverage:
    """One rule: tests in which it entered and left, and its parts by (`when`|`until`, source)."""

    leaves: bool = True
    """it holds something that it gives up again"""
    entered: int = 0
    left: int = 0
    parts: dict[tuple[str, str], Seen] = field(default_factory=dict)


class Coverage:
    """The coverage of one file, over all of its tests."""

    def __init__(self) -> None:
        self.rules: dict[str, RuleCoverage] = {}

    def watch(self, stage: Stage) -> CoverageWatch:
        """Return the observer of one test."""
        for name, run in stage.engine.desk.rules.runs.items():
            leaves = run.plan.until is not None or run.plan.max_hold_ns is not None
            rule = self.rules.setdefault(name, RuleCoverage(leaves))
            for part in ("when", "until"):
                if part == "when" or run.plan.until is not None:
                    for probe in stage.engine.desk.program.probes(name, part):
                        for source in _sources(probe):
                            if source == "true":
                                continue
                            rule.parts.setdefault((part, source), Seen())
        watch = CoverageWatch(self, stage)
        stage.between.append(watch.look)
        return watch

    def lines(self) -> Iterator[str]:
        """Write it, one line a part."""
        for name, rule in self.rules.items():
            left = f", left in {_tests(rule.left)}" if rule.leaves else ""
            if rule.entered:
                yield f"{name}  fired in {_tests(rule.entered)}{left}"
            else:
                yield f"{name}  never fired"
            for (part, source), seen in rule.parts.items():
                flat = " ".join(source.split())
                mark = " " if seen.both else "!"
                yield f"{mark} {part:<5}  {flat:<60}  {seen.text()}"


class CoverageWatch:
    """Watches one test for the coverage of its file."""

    def __init__(self, coverage: Coverage, stage: Stage) -> None:
        self._rules = coverage.rules
        self._stage = stage
        self._entered: set[str] = set()
        self._left: set[str] = set()
        self._open = list(stage.engine.desk.rules.runs)

    def event(self, event: Event) -> None:
        """What an event left is looked at by `look`, after it."""

    def look(self) -> None:
        """Ask the conditions of all rules."""
        for rule in self._open:
            self._look(rule)

    def command(self, command: Command, t: int) -> None:
        """Count entries and exits, once a test; what led to them was true as a whole."""
        if isinstance(command, Send):
            for approved in command.orders:
                intent = approved.intent
                if intent.purpose is Purpose.ENTRY:
                    self._entered.add(intent.rule)
                    self._was_true(intent.rule, "when")
                elif intent.purpose is Purpose.CLOSE:
                    self._left.add(intent.rule)
        elif isinstance(command, Trace) and command.cause == "until":
            self._was_true(command.rule, "until")
        elif isinstance(command, Trace) and command.cause == "done":
            self._entered.add(command.rule)
            self._was_true(command.rule, "when")

    def end(self) -> None:
        """Count."""
        for rule in self._entered:
            self._rules[rule].entered += 1
        for rule in self._left:
            self._rules[rule].left += 1

    def _was_true(self, rule: str, part: str) -> None:
        for (name, _), seen in self._rules[rule].parts.items():
            seen.true = seen.true or name == part

    def _look(self, rule: str) -> None:
        desk = self._stage.engine.desk
        run = desk.rules.runs[rule]
        part = "until" if run.state in HOLDING else "when"
        if run.state is RuleState.WARMING or (part == "until" and run.plan.until is None):
            return
        parts = self._rules[rule].parts
        if all(seen.both for (name, _), seen in parts.items() if name == part):
            return
        for reading in readings(desk, rule, part):
            for source, verdict in _verdicts(reading):
                seen = parts.get((part, source))
                if seen is not None and verdict is not None:
                    seen.true = seen.true or verdict
                    seen.false = seen.false or not verdict


def _sources(probe: ProbeApi) -> list[str]:
    """Return what is counted of a part: each link of a chain, else the whole."""
    return [link.source for link in probe.links] if probe.chain and probe.links else [probe.source]


def _verdicts(reading: Reading) -> list[tuple[str, bool | None]]:
    """Return each of `_sources` with whether it held; None where that is not known."""
    probe = reading.probe
    if reading.verdict is None or not (probe.chain and probe.links):
        return [(source, reading.verdict) for source in _sources(probe)]
    return [(link.source, link.missed_by(reading.values) is None) for link in probe.links]


def _tests(n: int) -> str:
    return f"{n} test" if n == 1 else f"{n} tests"
