"""`runner plan`: what the sources are, where their doors stand, and what a rule waits for."""

from __future__ import annotations

from typing import Any

from runner.base.units import format_duration
from runner.spec.plan import Plan
from runner.spec.rule_plan import RulePlan
from runner.spec.source_plan import (
    HmacPlan,
    LlmBudget,
    LlmPlan,
    LlmPrice,
    RestPlan,
    SchedulePlan,
    SourcePlan,
    TelegramPlan,
    WebhookPlan,
    WebSocketPlan,
)


def sources(plan: Plan) -> list[str]:
    """Say of every named source what it is and when its word is old."""
    return [_source(s) for s in plan.sources.values() if not s.rule]


def starts(plan: Plan, rule: RulePlan) -> str:
    """Say what a rule's trigger is; empty without one."""
    if rule.trigger is None:
        return ""
    source, retry = plan.sources[rule.trigger.source], rule.trigger.retry
    if source.rule:
        assert isinstance(source.options, SchedulePlan)
        text = _calendar(source.options)
    else:
        text = f"on a message of {source.name}"
    tries = f"tried every {format_duration(retry.every_ns)} for {format_duration(retry.within_ns)}"
    return f"{text}, {tries}"


def objects(plan: Plan) -> dict[str, Any]:
    """Return the sources as plain values."""
    return {
        name: {
            "type": str(s.type),
            "event": s.event,
            "fields": {f.name: str(f.type) for f in s.fields.values()},
            "max_age_ms": s.max_age_ns / 1e6,
        }
        for name, s in plan.sources.items()
    }


def _source(source: SourcePlan) -> str:
    parts = [f"{source.name}: {_way(source)}"]
    kind = "an event" if source.event else "a state"
    parts.append(f"{kind}, old after {format_duration(source.max_age_ns)}")
    if source.target is not None:
        words = ", ".join(f"{word} {n:g}" for word, n in source.target.positions.items())
        parts.append(f"the position it wants: {words}")
    if source.late is not None:
        parts.append(f"some still end trades until {format_duration(source.late.max_age_ns)}")
    if source.dedupe is not None:
        within = format_duration(source.dedupe.within_ns)
        parts.append(f"a repeated {source.dedupe.by} is refused for {within}")
    if source.heartbeat_ns is not None:
        parts.append(f"stale after {format_duration(source.heartbeat_ns)} without a sign of life")
    return "; ".join(parts)


def _way(source: SourcePlan) -> str:
    match source.options:
        case WebhookPlan(listen=listen, auth=auth, behind=behind):
            scheme = "https" if listen.tls_cert else "http"
            proof = "signed" if isinstance(auth, HmacPlan) else "with a token"
            proxy = f", behind {behind}" if behind else ""
            return f"{proof} at {scheme}://{listen.host}:{listen.port}{listen.path}{proxy}"
        case WebSocketPlan(url=url):
            return f"feed {url.split('?')[0]}"
        case RestPlan(url=url, every_ns=every):
            return f"{url.split('?')[0]} every {format_duration(every)}"
        case TelegramPlan(chats=chats):
            return f"Telegram, chats {', '.join(chats)}"
        case LlmPlan(model=model, about=about, budget=budget, price=price):
            told = f"model {model}, told of {', '.join(about)}"
            return told + (f", {_budget(budget, price)}" if budget is not None else "")
        case SchedulePlan():
            return _calendar(source.options)


def _budget(budget: LlmBudget, price: LlmPrice | None) -> str:
    most = [
        f"{n:g} {what}"
        for n, what in (
            (budget.calls, "questions"),
            (budget.tokens, "tokens"),
            (budget.money, price.currency if price is not None else "of money"),
        )
        if n is not None
    ]
    return f"at most {' and '.join(most)} in {format_duration(budget.per_ns)}"


def _calendar(plan: SchedulePlan) -> str:
    text = f"at `{plan.cron}` {plan.zone}"
    if plan.missed_within_ns:
        text += f", made up for within {format_duration(plan.missed_within_ns)}"
    if plan.jitter_ns:
        text += f", up to {format_duration(plan.jitter_ns)} later"
    return text
