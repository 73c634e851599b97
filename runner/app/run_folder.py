"""What a run keeps on disk: lock, journal, halted word, decisions, recording, report, socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from runner import __version__
from runner.app.control import Ask, ControlServer, control_path
from runner.app.decisions import DecisionFile, DecisionLog
from runner.app.host import Host
from runner.app.market_feed import FrameTape, NoTape
from runner.app.run_log import Level, RunLog, to_standard_error
from runner.app.tape import EventTape
from runner.base.clock import NS_PER_MS, SystemClock
from runner.base.errors import WorldError
from runner.base.ids import fingerprint, new_run_id
from runner.engine.commands import Intent
from runner.engine.events import Fill
from runner.engine.orphans import ADOPTED
from runner.engine.restoring import split_fills
from runner.engine.saved import Saved
from runner.spec.markets import LONGEST_AGE
from runner.spec.plan import Plan
from runner.spec.rule_plan import Care
from runner.store.journal import Journal, RunHeader
from runner.store.lines import Strategy
from runner.store.lock import Lock
from runner.store.past import (
    UNREADABLE,
    Past,
    SavedState,
    read_ended,
    read_fills,
    read_heard,
    read_intents,
    read_once,
    read_only,
)
from runner.store.recorder import About, Recorder
from runner.store.repair import repair
from runner.store.schema import DamagedJournal, JournalError, journal_error
from runner.store.state_dir import RunDir, StateDir, write_private

_LASTING_RULE = "rule."
_LASTING_SOURCE = "source_row."
_LASTING_RUN = "run"
_PURSE = "purse."
WINDOWS = "windows"
_KEEP_S = 1.0

Fate = Callable[[Saved | None], Saved | None]
"""takes what an earlier run left, returns it as it goes on (`fates`)"""


@dataclass(slots=True)
class RunFolder:
    """The open files of one run; made by `open_folder`, closed by `close`."""

    plan: Plan
    clock: SystemClock
    run_id: str
    state: StateDir
    directory: RunDir
    journal: Journal
    decisions: DecisionLog
    log: RunLog
    restored: Saved | None
    source: str
    keep_recording: bool
    sets: dict[str, str]
    fills_since_ms: int = 0
    """exchange fills from here on may be missing in the journal; 0: there is no earlier run"""
    windows: SavedState | None = None
    """state of the windows as an earlier run saved it"""
    purses: dict[str, bytes] = field(default_factory=dict)
    """what language models had cost when earlier runs ended, by source"""
    recorder: Recorder | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _decision_file: DecisionFile | None = None

    def begin_recording(self, host: Host, adopt: bool) -> FrameTape:
        """Start the recording; returns a tape that keeps nothing when none is wanted.

        `adopt` is the engine's: a replay decides by it as the run did.
        """
        if not self.keep_recording:
            return NoTape()
        about = About(
            run=self.run_id,
            runner=__version__,
            source=self.source,
            strategy=recorded_strategy(self.plan, self.sets),
            facts={"restored": msgspec.to_builtins(_jsonable(self.restored)), "adopt": adopt},
        )
        self.recorder = Recorder(self.directory.recording, about, self.clock)
        types = {name: exchange.type for name, exchange in self.plan.exchanges.items()}
        return EventTape(self.recorder, host, types)

    async def record(self) -> None:
        """Encode the recording beside the run; ends by cancellation."""
        if self.recorder is None:
            await asyncio.Event().wait()
        else:
            await self.recorder.run()

    async def keep_decisions(self) -> None:
        """Write down each second what was decided, as the recording is; ends by cancellation."""
        while True:
            await asyncio.sleep(_KEEP_S)
            if self._decision_file is not None:
                self._decision_file.flush()

    async def listen(self, ask: Ask) -> ControlServer:
        """Answer the operator until closed; WorldError when nobody could speak to the run."""
        server = ControlServer(control_path(self.state), ask)
        await server.start()
        return server

    def saved(self, source: str) -> bytes:
        """Return what a language model had cost, as an earlier run saved it."""
        return self.purses.get(source, b"")

    def save(self, source: str, spent: bytes) -> None:
        """Keep what a language model has cost; it is journaled with what comes next."""
        self.journal.save(f"{_PURSE}{source}", spent, self.clock.wall())

    def write_report(self, content: bytes) -> Path:
        """Write the report beside the run's recording."""
        write_private(self.directory.report, content)
        return self.directory.report

    def close(self, code: int, reason: str) -> None:
        """Write how the run ended and close everything."""
        try:
            if self.recorder is not None:
                self.recorder.finish()
            self.decisions.end()
            if self._decision_file is not None:
                self._decision_file.close()
            self.journal.end_run(code, reason, self.clock)
        finally:
            self.journal.close()
            self.log.close()
            self._stack.close()


def open_folder(
    plan: Plan,
    root: Path,
    *,
    paper: bool,
    restore: bool,
    warm: bool,
    mode: str,
    source: str,
    record: bool,
    sets: dict[str, str],
    mend: bool,
    threshold: Level = Level.WARNING,
    run_id: str | None = None,
    fate: Fate | None = None,
) -> RunFolder:
    """Lock the strategy, open its journal, begin a run.

    `restore`: take over what earlier runs left; not where accounts begin anew (paper, `--sim`).
    `warm`: take over the windows that an earlier run saved; not where markets begin anew.
    `fate`: what becomes of open trades without a rule; `plan` looks after them already.
    `threshold`: from which level up notices reach standard error; the log has them all.
    Held (WorldError) for a second instance, DamagedJournal (WorldError) unless `mend`.
    """
    clock = SystemClock()
    run_id = run_id or new_run_id(clock.wall())
    os.umask(0o077)
    state = StateDir.make(root, plan.name, paper)
    stack = ExitStack()
    stack.enter_context(Lock(state.lock, f"strategy {plan.name}", run_id).take())
    try:
        mended: list[str] = []
        journal, past, restored = _open_journal(state.journal, clock, mend, restore, mended.append)
        if fate is not None:
            restored = fate(restored)
            _same_care(plan, restored)
        since = _fills_since(past)
        journal.begin_run(
            RunHeader(
                run=run_id, mode=mode, strategy=plan.name, sha=plan.sha,
                limits_sha=fingerprint(repr(plan.risk)), versions={"runner": __version__},
                config=plan.text,
            ),
            clock,
        )  # fmt: skip
        journal.checkpoint_in_background()
        journal.write_ahead()
        directory = state.run(run_id)
        log = RunLog(directory.log, clock, threshold, to_standard_error)
        for text in mended:
            log.warn(text)
        lines = DecisionFile(directory.path / "decisions.jsonl", log.warn)
    except BaseException:
        stack.close()
        raise
    decisions = DecisionLog(lines.write)
    return RunFolder(
        plan, clock, run_id, state, directory, journal, decisions, log, restored, source, record,
        sets, since if restore else 0,
        past.states.get(WINDOWS) if warm else None,
        {
            key.removeprefix(_PURSE): state.value
            for key, state in past.states.items()
            if key.startswith(_PURSE)
        },
        None, stack, lines,
    )  # fmt: skip


def recorded_strategy(plan: Plan, sets: dict[str, str]) -> Strategy:
    """Return the strategy as a recording's head keeps it."""
    known = {name: value for name, value in sets.items() if name in plan.params}
    return Strategy(name=plan.name, sha=plan.sha, text=plan.text, set=known)


def _open_journal(
    path: Path, clock: SystemClock, mend: bool, restore: bool, say: Callable[[str], None]
) -> tuple[Journal, Past, Saved | None]:
    try:
        return _read_journal(path, restore)
    except DamagedJournal:
        if not mend:
            raise
    say(repair(path, clock).text())
    return _read_journal(path, restore)


def _read_journal(path: Path, restore: bool) -> tuple[Journal, Past, Saved | None]:
    """Open a journal and read what it holds; DamagedJournal where a row makes no sense."""
    journal = Journal.open(path)
    try:
        past = journal.past()
        return journal, past, restored_from(past, path) if restore else None
    except UNREADABLE as error:
        journal.close()
        raise journal_error(path, "reading", error) from error
    except JournalError:
        journal.close()
        raise


def _same_care(plan: Plan, restored: Saved | None) -> None:
    """Refuse when the journal has moved on since the plan was made to look after its orphans."""
    settled = restored.settled if restored is not None else ()
    wanted = {x.rule: Care(x.how) for x in settled if x.how != ADOPTED}
    if wanted != {x.name: x.orphan for x in plan.rules.values() if x.orphan is not None}:
        raise WorldError("another run has just written to the journal; start again")


def restored_from(past: Past, path: Path) -> Saved | None:
    """Read what earlier runs left: states, and the keys of all fills they applied.

    `UNREADABLE` passes through.
    """
    states = past.states
    rules = {
        key.removeprefix(_LASTING_RULE): state.value.decode()
        for key, state in states.items()
        if key.startswith(_LASTING_RULE)
    }
    sources = {
        key.removeprefix(_LASTING_SOURCE): state.value.decode()
        for key, state in states.items()
        if key.startswith(_LASTING_SOURCE)
    }
    run = states.get(_LASTING_RUN)
    if not rules and run is None and not sources:
        return None
    db = read_only(path)
    try:
        ours = {each.intent.cid for each in read_intents(db)}
        journaled = [each.fill for each in read_fills(db) if each.fill.cid in ours]
        ended = _ended(read_ended(db), journaled)
        claimed = read_once(db)
        heard = read_heard(db, max((s.wall for s in states.values()), default=0) - LONGEST_AGE)
    finally:
        db.close()
    keys, late = split_fills(rules, journaled)
    return Saved(
        rules=rules,
        run=run.value.decode() if run is not None else "",
        fills=frozenset(keys),
        late=tuple(late),
        keys=frozenset(claimed),
        sources=sources,
        heard=tuple(heard),
        ended=ended,
    )


def _ended(intents: Sequence[Intent], fills: Iterable[Fill]) -> tuple[tuple[Intent, int], ...]:
    """Return the last orders that had ended, with what their fills filled."""
    filled = dict.fromkeys((each.cid for each in intents), 0)
    for fill in fills:
        if fill.cid in filled:
            filled[fill.cid] += fill.lots
    return tuple((each, filled[each.cid]) for each in intents)


def _fills_since(past: Past) -> int:
    """Return wall ms before which every fill is in the journal: the last state, or the oldest
    order whose end is not known."""
    states = [s.wall for key, s in past.states.items() if key.startswith(("rule.", "run"))]
    open_since = [each.intent.wall for each in past.open]
    if not states:
        return 0
    return min([max(states), *open_since]) // NS_PER_MS


def _jsonable(saved: Saved | None) -> object:
    if saved is None:
        return None
    return {
        "rules": saved.rules,
        "run": saved.run,
        "fills": sorted(saved.fills),
        "late": saved.late,
        "keys": sorted(saved.keys),
        "sources": saved.sources,
        "heard": saved.heard,
        "ended": saved.ended,
        "settled": saved.settled,
    }
