"""Results as a reader wants them: one line a test, and of a failure both timelines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from runner.app.trial.play import Context, Outcome
from runner.app.trial.record import Happening
from runner.app.trial.suite import Result
from runner.app.trial.verdict import Mismatch, time_text
from runner.spec.trial_plan import Bound, Expected

WIDTH: Final = 60
"""characters for the name of a test before what is said of it"""
MOST_LINES: Final = 24
"""lines of what happened that are shown, the youngest of them"""
MOST_VALUES: Final = 8
"""parts of a condition that are shown"""
_IN: Final = "      "


def result_text(result: Result) -> str:
    """Write one test's result, ending with a line end."""
    outcome = result.outcome
    name = result.trial.name
    if outcome is None:
        place = f"{result.file}:{result.trial.line}"
        return f"FAIL  {name:<{WIDTH}}  {place}\n{_IN}{result.fault}\n"
    mismatch = outcome.mismatch
    if mismatch is None:
        virtual = f"virtual {time_text(outcome.virtual_ns)}"
        return f"ok    {name:<{WIDTH}}  {virtual:<16} {outcome.ticks} ticks\n"
    lines = [f"FAIL  {name:<{WIDTH}}  {result.file}:{mismatch.line}"]
    lines += [_IN + line for line in _failure(outcome, mismatch)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def summary(results: Sequence[Result]) -> str:
    """Count what passed and failed."""
    passed = sum(result.passed for result in results)
    failed = len(results) - passed
    parts = [f"{passed} passed"] if passed or not failed else []
    parts += [f"{failed} failed"] if failed else []
    return ", ".join(parts)


def _failure(outcome: Outcome, mismatch: Mismatch) -> Iterator[str]:
    """Say the difference, then show what was expected and what happened around it."""
    yield f"at {time_text(mismatch.t)} expected {mismatch.expected}, got {mismatch.got}"
    for context in outcome.context:
        yield from _context(context)
    first = _first(outcome, mismatch)
    yield "expected"
    for expected in outcome.trial.expect:
        if expected.t > mismatch.t:
            break
        here = (expected.t, expected.line) == (mismatch.t, mismatch.line)
        mark = "> " if here else "  "
        yield f"{mark}{time_text(expected.t):<9} {describe(expected)}"
    for never in outcome.trial.never:
        if never.line == mismatch.line:
            yield f"> always    never {never.text}"
    yield "happened"
    yield from _happened(outcome.lines, mismatch.t, first)


def _happened(lines: Iterable[Happening], t: int, first: Happening | None) -> Iterator[str]:
    shown = [line for line in lines if line.t <= t]
    if len(shown) > MOST_LINES:
        yield f"  ... {len(shown) - MOST_LINES} lines before"
        shown = shown[-MOST_LINES:]
    before = ""
    for line in shown:
        time = time_text(line.t)
        mark = "> " if line is first else "  "
        yield f"{mark}{'' if time == before else time:<9} {line.text}"
        before = time
    if not shown:
        yield f"  {time_text(t):<9} nothing"


def _first(outcome: Outcome, mismatch: Mismatch) -> Happening | None:
    """Return the first line that was not expected: of unexpected orders, the first of them."""
    if not mismatch.orders:
        return None
    intents = [sent.intent for sent in mismatch.orders]
    return next((x for x in outcome.lines if x.order in intents), None)


def _context(context: Context) -> Iterator[str]:
    why = "; ".join(context.reasons)
    yield f"{context.rule} was {context.state}{': ' + why if why else ''}"
    for source, verdict, figures in context.conditions[:MOST_VALUES]:
        flat = " ".join(source.split())
        shown = flat if len(flat) <= WIDTH else flat[: WIDTH - 3] + "..."
        yield f"  {verdict:<7}  {shown:<{WIDTH}}  {figures}"


def describe(expected: Expected) -> str:
    """Write an expectation on one line."""
    parts = []
    for what, wanted in (("orders", expected.orders), ("changes", expected.changes)):
        if wanted is not None:
            shown = " | ".join(order.text for order in wanted)
            parts.append(f"{what}: {shown}" if shown else f"no {what}")
    parts += [f"{rule} {' or '.join(states)}" for rule, states in expected.rules.items()]
    parts += [f"position {m} {_bounds(bounds)}" for m, bounds in expected.positions.items()]
    parts += [f"{name} {_bounds(bounds)}" for name, bounds in expected.signals.items()]
    parts += [f"{rule} because {', '.join(texts)}" for rule, texts in expected.why.items()]
    parts += [f"run {expected.run}"] if expected.run else []
    return "; ".join(parts)


def _bounds(bounds: Sequence[Bound]) -> str:
    return " and ".join(bound.text for bound in bounds)
