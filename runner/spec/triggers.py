"""Read `trigger:`: a source or a time that starts a rule; and who reads events without one."""

from __future__ import annotations

from runner.lang import tree
from runner.lang.nodes import Mapping, Scalar
from runner.spec.context import Context, section, text
from runner.spec.risk_plan import RiskPlan
from runner.spec.rule_draft import RuleDraft
from runner.spec.source_options import read_schedule
from runner.spec.source_plan import RetryPlan, SourcePlan, SourceType, TriggerPlan
from runner.spec.sources import SCHEDULE_AGE, SourceDraft
from runner.spec.suggest import hint

RETRY_EVERY = 250_000_000
_CRON_KEYS = ("cron", "zone", "missed", "jitter")


def read_triggers(
    rules: dict[str, RuleDraft], sources: dict[str, SourceDraft], ctx: Context
) -> dict[str, SourcePlan]:
    """Read the trigger of every rule into its draft; return the calendars rules have themselves."""
    own = {}
    for rule in rules.values():
        if "trigger" in rule.node:
            plan = _trigger(rule, sources, ctx)
            if plan is not None:
                own[plan.name] = plan
    for rule in rules.values():
        _events(rule, sources, ctx)
    return own


def _trigger(rule: RuleDraft, sources: dict[str, SourceDraft], ctx: Context) -> SourcePlan | None:
    node, path = rule.node.get("trigger"), f"{rule.path}.trigger"
    if "for" in rule.node:
        message = "`for` needs a condition that lasts; a trigger is an instant"
        ctx.add("E0203", message, rule.node.key("for"), "", f"{rule.path}.for")
    if isinstance(node, Scalar) and not node.bad:
        draft = _source(node, sources, path, ctx)
        if draft is not None:
            rule.trigger = _plan(draft, None)
        return None
    if not isinstance(node, Mapping) or node.bad:
        return None
    if ("source" in node) == ("cron" in node):
        message = "a trigger is a `source` or a `cron` time"
        ctx.add("E0203", message, rule.node.key("trigger"), "", path)
        return None
    retry = _retry(node, path, ctx)
    at = node.get("source")
    if isinstance(at, Scalar):
        for key in _CRON_KEYS[1:]:
            if key in node:
                ctx.add("E0203", f"`{key}` belongs to `cron`", node.key(key), "", f"{path}.{key}")
        draft = None if at.bad else _source(at, sources, f"{path}.source", ctx)
        if draft is not None:
            rule.trigger = _plan(draft, retry)
        return None
    schedule = read_schedule(node, path, ctx)
    if schedule is None:
        return None
    age = SCHEDULE_AGE if retry is None else retry.within_ns
    name = f"{rule.name}.cron"
    rule.trigger = TriggerPlan(name, retry or RetryPlan(RETRY_EVERY, age))
    return SourcePlan(
        name,
        SourceType.SCHEDULE,
        True,
        {},
        age,
        schedule,
        rule=rule.name,
        line=node.mark.line,
    )


def _plan(draft: SourceDraft, retry: RetryPlan | None) -> TriggerPlan:
    age = draft.plan.max_age_ns if draft.plan is not None else SCHEDULE_AGE
    if retry is None:
        return TriggerPlan(draft.name, RetryPlan(RETRY_EVERY, age))
    return TriggerPlan(draft.name, retry)


def _retry(node: Mapping, path: str, ctx: Context) -> RetryPlan | None:
    at = section(node, "retry")
    every = ctx.duration(at, "every", f"{path}.retry")
    within = ctx.duration(at, "within", f"{path}.retry")
    if within is None:
        return None
    if every is not None and every < 10_000_000:
        message = "`every` is at least 10ms"
        ctx.add("E0203", message, at.key("every"), "", f"{path}.retry.every")
    return RetryPlan(RETRY_EVERY if every is None else max(every, 10_000_000), within)


def _source(
    node: Scalar, sources: dict[str, SourceDraft], path: str, ctx: Context
) -> SourceDraft | None:
    found = sources.get(node.text)
    if found is None:
        message = f"no source is named `{node.text[:60]}`"
        ctx.add("E0204", message, node.mark, hint(node.text, sources), path)
    return found


def _events(rule: RuleDraft, sources: dict[str, SourceDraft], ctx: Context) -> None:
    """E0405: an event read by a rule that it does not start, or by a window."""
    wanted = _started_by(rule)
    for expr in rule.exprs:
        place = "until" if expr is rule.until else "when"
        windowed = [
            field
            for call in tree.find(expr, tree.Call)
            if call.window is not None
            for arg in call.args
            for field in _fields(arg, sources)
        ]
        if windowed:
            name = windowed[0].key
            message = f"a window over `{windowed[0].source}` never fills: `{name}` is an event"
            label = "it exists only in the instant it arrives"
            ctx.add("E0405", message, windowed[0].mark, label, f"{rule.path}.{place}")
            return
        if expr is rule.until:
            continue
        for field in _fields(expr, sources):
            if field.key != wanted:
                _no_trigger(rule, field, place, ctx)
                return


def check_breakers(risk: RiskPlan, sources: dict[str, SourceDraft], ctx: Context) -> None:
    """E0405: a breaker lasts, and an event is over at once."""
    for i, breaker in enumerate(risk.breakers):
        for field in _fields(breaker.when, sources):
            message = f"a breaker reads the event `{field.key}`, which is over at once"
            help_ = (f"a rule of its own: {{trigger: {field.key}, do: [{{halt: ...}}]}}",)
            path = f"risk.breakers.{i}.when"
            ctx.add("E0405", message, field.mark, "never seen by a breaker", path, help=help_)
            break


def _started_by(rule: RuleDraft) -> str | None:
    node = rule.node.get("trigger")
    if isinstance(node, Mapping):
        return text(node, "source")
    return node.text if isinstance(node, Scalar) else None


def _fields(expr: tree.Expr, sources: dict[str, SourceDraft]) -> list[tree.Field]:
    return [
        field
        for field in tree.find(expr, tree.Field)
        if field.kind == "source" and field.key in sources and sources[field.key].event
    ]


def _no_trigger(rule: RuleDraft, field: tree.Field, place: str, ctx: Context) -> None:
    name = field.key
    message = f"rule `{rule.name}` reads the event `{name}`, which does not start it"
    label = "exists only in the instant it arrives"
    help = (f"trigger: {name}",)
    ctx.add("E0405", message, field.mark, label, f"{rule.path}.{place}", help=help)
