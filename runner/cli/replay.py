"""Strategies over recordings: `dry-run --replay` and `replay RUN`."""

from __future__ import annotations

import json as json_
import sys
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from runner import spec
from runner.app.offline import MarketReplay, lines_of, replay_run, saved_from
from runner.app.report import RunFacts
from runner.app.report_text import count
from runner.app.run_folder import open_folder
from runner.base.errors import FileError, WorldError
from runner.cli.check import print_findings, read_sets
from runner.spec.plan import Plan
from runner.store.journal import Journal
from runner.store.recording import Recording
from runner.store.state_dir import state_root

if TYPE_CHECKING:
    from runner.cli.run import Options


def dry_run_over(plan: Plan, options: Options) -> int:
    """Run a strategy over recordings in virtual time."""
    from runner.cli.run import duration, write_report

    for path in options.replay:
        if not path.exists():
            raise WorldError(f"{path}: there is no such recording")
    folder = open_folder(
        plan,
        state_root(str(options.state) if options.state else None),
        paper=True,
        restore=False,
        warm=False,
        mode="dry-run --replay",
        source="replay",
        record=False,
        sets=read_sets(options.sets),
        mend=options.repair,
        threshold=options.log,
    )
    code, reason = 3, "the replay failed"
    try:
        replay = MarketReplay(
            plan,
            folder.run_id if options.seed is None else f"{options.seed:010d}",
            folder.journal,
            Decimal(str(options.balance)),
            [folder.decisions, folder.log],
            timed=True,
        )
        cut: list[str] = []
        replay.run(lines_of(options.replay, cut.append), duration(options.run_for))
        code, reason = _ending(replay, cut)
        for text in cut:
            _warn(text)
        for kind, frames in replay.reader.ignored.items():
            _warn(f"{count(frames, 'frame')} of {kind} left out: the strategy does not use it")
        for market in replay.unseen():
            _warn(f"nothing of {market} is in the recording: what reads it stayed missing")
        networks = dict.fromkeys(plan.exchanges, "recorded")
        facts = RunFacts("dry-run", folder.run_id, "recorded", networks, code, reason)
        write_report(replay.parts, facts, folder, replay.desk, options.json)
    finally:
        folder.close(code, reason)
    return code


def _ending(replay: MarketReplay, cut: list[str]) -> tuple[int, str]:
    engine = replay.parts.engine
    end = "the recording, which is cut off" if cut else "the recording"
    if not engine.quiet:
        return 5, f"orders are unresolved at the end of {end}"
    return 0, f"end of {end}" if cut else "end of recording"


def decide_again(run: Path, json: bool) -> int:
    """Decide a recorded run again; 1 and the first difference when it decides otherwise."""
    recording = Recording(run)
    folder = recording.folder
    strategy = recording.head.strategy
    if not strategy.text:
        raise WorldError(f"{folder} holds no strategy: it is a market recording, not a run")
    checked = spec.load(strategy.text, sets=dict(strategy.set), name=strategy.name)
    if checked.plan is None:
        print_findings(checked)
        raise FileError(f"the strategy in {folder} does not pass this version's checks")
    decisions = folder.parent / "decisions.jsonl"
    if folder.name != "recording":
        over = f"`runner dry-run FILE --replay {run}` runs a strategy over it"
        raise WorldError(f"{run} is a recording of a market, not of a run; {over}")
    if not decisions.exists():
        raise WorldError(f"{decisions} is missing: there is nothing to compare with")
    restored = saved_from(recording.head.facts.get("restored"))
    with TemporaryDirectory() as scratch:
        journal = Journal.open(Path(scratch) / "journal.db")
        try:
            adopt = bool(recording.head.facts.get("adopt"))
            verdict = replay_run(checked.plan, recording, decisions, journal, restored, adopt)
        finally:
            journal.close()
    _print(verdict, json)
    return 1 if verdict.divergence is not None else 0


def _print(verdict: object, json: bool) -> None:
    from runner.app.offline import Verdict

    assert isinstance(verdict, Verdict)
    difference = verdict.divergence
    if json:
        out = {
            "format": "1.0",
            "events": verdict.events,
            "decisions": verdict.decisions,
            "identical": difference is None,
            "broken": verdict.broken,
            "unwritten": verdict.unwritten,
            "unrecorded": verdict.unrecorded,
        }
        if difference is not None:
            out["line"] = difference.line
            out["recorded"], out["decided"] = difference.recorded, difference.decided
        sys.stdout.write(json_.dumps(out) + "\n")
        return
    if verdict.broken:
        _warn(f"the recording is cut off: {verdict.broken}")
    if verdict.unwritten:
        _warn(f"the run was killed: {count(verdict.unwritten, 'decision')} it had not written yet")
    if verdict.unrecorded:
        _warn(f"{count(verdict.unrecorded, 'decision')} made after that cannot be decided again")
    if difference is None:
        decided, events = count(verdict.decisions, "decision"), count(verdict.events, "event")
        sys.stdout.write(f"identical: {decided} over {events}\n")
        return
    sys.stdout.write(
        f"the first difference is decision {difference.line}:\n"
        f"  recorded  {difference.recorded or '(none)'}\n"
        f"  decided   {difference.decided or '(none)'}\n"
    )


def _warn(text: str) -> None:
    sys.stderr.write(text + "\n")
