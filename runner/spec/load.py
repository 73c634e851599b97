"""A file in, a plan or its diagnostics out.

Every stage goes on after the errors of the one before: nodes in error are marked, names in error
are known as broken, so that one pass reports every mistake once. Only text that is not YAML ends
the check at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping as Dict
from dataclasses import dataclass, replace
from pathlib import Path

from runner.base.errors import UsageError
from runner.lang.diagnostics import Diagnostic, Findings, Mark
from runner.lang.nodes import Mapping, Scalar, Sequence
from runner.lang.reader import decode, read
from runner.lang.render import Source, Template
from runner.lang.scope import Scope
from runner.lang.scope import pegs as peg_map
from runner.lang.tree import Expr
from runner.spec import facts, guard_room, meaning, unused
from runner.spec.blueprints import DIVIDES, divided, join, split, tell_use
from runner.spec.context import Context, section, text
from runner.spec.exchanges import ExchangeDraft, read_exchanges
from runner.spec.for_each import fold_places, write_out
from runner.spec.markets import MarketDraft, plan_market, read_markets
from runner.spec.notify import read_notify
from runner.spec.params import Given, read_file, read_params
from runner.spec.plan import ParamPlan, Plan, RunPlan
from runner.spec.risk import check_must, read_risk, read_run
from runner.spec.risk_plan import RiskPlan
from runner.spec.rule_draft import RuleDraft, plan_rule
from runner.spec.rules import first_leg, read_rules
from runner.spec.secrets import mask_literals
from runner.spec.shape import check_shape
from runner.spec.signals import read_signals, read_sizing
from runner.spec.source_plan import SourcePlan
from runner.spec.sources import SourceDraft, finish_sources, read_sources
from runner.spec.template import is_template, render, tell_lines
from runner.spec.trial_expect import Known
from runner.spec.trial_plan import TrialPlan
from runner.spec.trials import read_trials
from runner.spec.triggers import check_breakers, read_triggers


@dataclass(frozen=True, slots=True)
class Checked:
    """A file after its check. `plan` is None exactly when there is an error."""

    plan: Plan | None
    findings: Findings
    source: Source


def load(
    file: Path | str | bytes,
    *,
    sets: Dict[str, str] | None = None,
    params_file: Path | None = None,
    name: str | None = None,
    environ: Dict[str, str] | None = None,
) -> Checked:
    """Check a strategy: a `Path` is read, a `str` or `bytes` is the text itself.

    `sets` are values of `--set`, `name` what diagnostics call the file. Raises UsageError when the
    file cannot be read or a value from outside does not fit, WorldError for one of the environment.
    """
    findings = Findings()
    source = _source(file, name, findings)
    given = Given(
        sets or {},
        read_file(params_file) if params_file else {},
        f"--params {params_file}",
        os.environ if environ is None else environ,
    )
    rendered = None
    if not findings.items and isinstance(file, Path) and is_template(file):
        rendered = render(source.text, {**given.file, **given.sets}, findings)
        if rendered is not None:
            given = given.of_template(source.text)
            template = Template(source.name, rendered.template, rendered.lines)
            source = Source(f"{source.name} (rendered)", rendered.text, (), template)
    folder = file.parent if isinstance(file, Path) else None
    checked = _check(source, given, findings, folder)
    if checked.source.parts:
        tell_use(findings, checked.source)
        fold_places(findings)
    if rendered is not None:
        tell_lines(findings, rendered)
    return checked


def _check(source: Source, given: Given, findings: Findings, folder: Path | None) -> Checked:
    text = source.text if folder is not None else split(source.text)[0]
    if folder is not None and divided(text):
        findings.add(Diagnostic("E0203", DIVIDES, Mark(1, 1, 2)))
    node = None if findings.items else read(text, findings)
    if node is None:
        return Checked(None, findings, source)
    if not isinstance(node, Mapping):
        message = "a strategy file is a mapping of keys"
        findings.add(Diagnostic("E0203", message, node.mark))
        return Checked(None, findings, source)
    several = write_out(node, findings)  # before the blueprints, which are given markets of it
    source = join(node, source, folder, findings)
    mask_literals(node, findings)
    check_shape(node, findings)
    strategy = _Strategy(node, given, findings)
    plan = None if findings.errors else strategy.plan(source)
    if several:
        fold_places(findings)
    return Checked(plan, findings, source)


def _source(file: Path | str | bytes, name: str | None, findings: Findings) -> Source:
    if isinstance(file, str):
        return Source(name or "<text>", file)
    if isinstance(file, bytes):
        return Source(name or "<text>", decode(file, findings) or "")
    try:
        data = file.read_bytes()
    except IsADirectoryError:
        raise UsageError(f"{file} is a folder: name one file of it") from None
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from None
    return Source(name or str(file), decode(data, findings) or "")


class _Strategy:
    """All sections of one file, read in the order in which they depend on each other."""

    def __init__(self, root: Mapping, given: Given, findings: Findings) -> None:
        self.root = root
        ctx = self.ctx = Context(findings)
        self.pegs = _pegs(root)
        ctx.scope = Scope(pegs=peg_map(self.pegs))
        self.params: dict[str, ParamPlan] = read_params(root, given, ctx)
        self.exchanges: dict[str, ExchangeDraft] = read_exchanges(root, ctx)
        self.markets: dict[str, MarketDraft] = read_markets(root, self.exchanges, ctx)
        self._names()
        self.source_drafts: dict[str, SourceDraft] = read_sources(root, self.markets, ctx)
        ctx.scope = replace(ctx.scope, sources={n: d.scope for n, d in self.source_drafts.items()})
        self.signals: dict[str, Expr | None]
        self.signals, self.signal_texts = read_signals(root, self.markets, ctx)
        self.sizing = read_sizing(root, self.markets, ctx)
        self.sources: dict[str, SourcePlan] = finish_sources(
            self.source_drafts, set(self.signals), ctx
        )
        self.rules: dict[str, RuleDraft] = read_rules(root, self.markets, self.sizing, ctx)
        self.sources |= read_triggers(self.rules, self.source_drafts, ctx)
        self.risk: RiskPlan = read_risk(root, self.markets, self.exchanges, ctx)
        check_breakers(self.risk, self.source_drafts, ctx)
        self.run: RunPlan = read_run(root, ctx)
        self.notify = read_notify(root, ctx)
        meaning.check(self.rules, self.markets, self.risk, ctx)
        check_must(root, self.rules, ctx)
        facts.check(self.rules, self.exchanges, ctx)
        guard_room.check(self.rules.values(), self.risk, ctx)
        self.trials: tuple[TrialPlan, ...]
        known = Known(self.signals, {**dict.fromkeys(self.source_drafts), **self.sources}, ctx)
        self.trials = read_trials(root, self.markets, self.rules, known)
        unused.check(root, self.signal_texts, ctx)

    def _names(self) -> None:
        """Put markets, accounts and rules into the scope of expressions."""
        rules = {}
        for entry in section(self.root, "rules"):
            if isinstance(entry.value, Mapping):
                market = self.markets.get(first_leg(entry.value) or "")
                rules[entry.key.text] = market.quote if market else None
        quotes = {quote for quote in rules.values() if quote is not None}
        self.ctx.scope = replace(
            self.ctx.scope,
            markets={name: m.scope for name, m in self.markets.items()},
            exchanges=dict.fromkeys(self.exchanges, "USDT"),
            rules=rules,
            pnl=quotes.pop() if len(quotes) == 1 else None,
        )

    def plan(self, source: Source) -> Plan:
        """Make the plan of a file without error."""
        rules = {
            name: plan_rule(draft, self.risk.price_collar, self.risk.max_firings)
            for name, draft in self.rules.items()
        }
        traded = {leg.market for rule in rules.values() for leg in rule.legs}
        return Plan(
            name=text(self.root, "name") or "",
            about=text(self.root, "about") or "",
            file=source.name,
            text=source.text,
            sha=hashlib.sha256(source.text.encode()).hexdigest(),
            params=self.params,
            exchanges={n: d.plan for n, d in self.exchanges.items() if d.plan is not None},
            markets={n: plan_market(d, n in traded) for n, d in self.markets.items()},
            signals={n: tree for n, tree in self.signals.items() if tree is not None},
            signal_texts=self.signal_texts,
            rules=rules,
            risk=self.risk,
            run=self.run,
            notify=self.notify,
            pegs=self.pegs,
            assumptions=self._assumptions(),
            trials=self.trials,
            sources=self.sources,
        )

    def _assumptions(self) -> tuple[str, ...]:
        said = []
        if self.pegs:
            said.append(f"{' and '.join(self.pegs)} are worth the same")
        quotes = {m.quote for m in self.markets.values() if m.quote}
        if len(self.markets) > 1 and len(quotes) == 1:
            count = "both" if len(self.markets) == 2 else "all"
            said.append(f"{count} symbols quote {quotes.pop()}")
        said.append("fees of the catalogue, not of your account")
        return tuple(said)


def _pegs(root: Mapping) -> tuple[str, ...]:
    node = root.get("pegs")
    if not isinstance(node, Sequence) or node.bad:
        return ()
    return tuple(i.text for i in node.items if isinstance(i, Scalar) and not i.bad)
