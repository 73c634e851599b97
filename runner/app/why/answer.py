"""From a rule's story to the answer: the funnel, the shares of time by reason, the decisions.

The answer is one JSON object; `text.py` writes it for people.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from runner.app.why.hints import change
from runner.app.why.shape import FORMAT, About, Decision, Reason, RuleStory
from runner.base.clock import NS_PER_MS, NS_PER_S
from runner.engine.blocking import Kind
from runner.engine.tally import Near, Share, Tally
from runner.market.streams import NEVER


def answer(
    story: RuleStory, about: About, *, since_ns: int | None = None, last: int = 5
) -> dict[str, Any]:
    """Return why a rule did or did not trade.

    since_ns: only the time from so long before the story on (by the minute in the last hour, by
    the hour before); last: how many decisions.
    """
    start = None if since_ns is None else max(0, story.t - since_ns)
    tally = story.tallies.since(start)
    in_trade = tally.time.get(Kind.TRADE.value, Share()).part
    found: dict[str, Any] = {
        "format": FORMAT,
        "strategy": about.strategy,
        "run": about.run,
        "kind": about.kind,
        "live": about.live,
        "ended": about.ended,
        "rule": story.rule,
        "state": story.state,
        "at": stamp(story.wall),
        "watched_s": round(tally.watched / NS_PER_S, 3),
        "now": [_reason(each) for each in story.now],
        "part": story.part,
        "reads": [list(each) for each in story.reads],
        "funnel": {
            "evaluations": tally.evaluations,
            "true": tally.true,
            "approved": tally.entered,
            **({} if since_ns is not None else story.counts),
        },
        "in_trade": _share(in_trade, tally.watched),
        "blocked": blocked(story, tally),
        "sides": _sides(story, tally),
        "refusals": dict(sorted(tally.refusals.items(), key=lambda item: (-item[1], item[0]))),
        "nearest": {source: _near(near) for source, near in tally.near.items()},
        "decisions": [decision_row(each) for each in _last(story.decisions, start, last)],
    }
    return found


def blocked(story: RuleStory, tally: Tally) -> list[dict[str, Any]]:
    """Return the reasons by their part of the time, the largest first."""
    reasons = [
        (story.reasons.get(key), share)
        for key, share in tally.time.items()
        if key != Kind.TRADE.value
    ]
    rows = [
        {
            **_reason(reason),
            "share": _share(share.part, tally.watched),
            "whole": _share(share.whole, tally.watched),
            "alone": _share(share.alone, tally.watched),
            "refused": tally.refusals.get(reason.subject, 0) if _is_refusal(reason) else 0,
            "nearest": _near(tally.near[reason.subject]) if reason.subject in tally.near else None,
            "change": change(reason.kind, reason.subject, _missed_by(tally, reason)),
        }
        for reason, share in reasons
        if reason is not None
    ]
    return sorted(rows, key=lambda row: -row["share"])


def _sides(story: RuleStory, tally: Tally) -> dict[str, Any]:
    """Return of each side of a quote how long it was there, and what it lacked when it was not."""
    found: dict[str, Any] = {}
    for side in ("bid", "ask"):
        times = {k: ns for k, ns in tally.sides.items() if k.split(" ", 1)[0] == side}
        whole = sum(times.values())
        if not whole:
            continue
        rows = [
            {
                **_reason(reason),
                "share": _share(ns, whole),
                "change": change(reason.kind, reason.subject),
            }
            for key, ns in sorted(times.items(), key=lambda item: -item[1])
            if (reason := story.reasons.get(key)) is not None
        ]
        found[side] = {"there": _share(times.get(side, 0), whole), "lacked": rows}
    return found


def _missed_by(tally: Tally, reason: Reason) -> str:
    near = tally.near.get(reason.subject)
    return near.shown if near is not None else ""


def shares(story: RuleStory) -> dict[str, float]:
    """Return the part of the time of each reason, the largest first."""
    return {row["reason"]: row["share"] for row in blocked(story, story.tallies.since())}


def misses(story: RuleStory) -> dict[str, dict[str, str]]:
    """Return the nearest miss of each comparison."""
    return {source: _near(near) for source, near in story.tallies.since().near.items()}


def stamp(wall: int) -> str:
    """Write wall ns as ISO 8601 UTC with milliseconds."""
    whole = datetime.datetime.fromtimestamp(wall // NS_PER_S, datetime.UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{wall % NS_PER_S // NS_PER_MS:03d}Z"


def _is_refusal(reason: Reason) -> bool:
    return reason.kind == Kind.REFUSED


def _share(ns: int, of: int) -> float:
    return round(ns / of, 4) if of else 0.0


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "reason": reason.key,
        "kind": reason.kind,
        "subject": reason.subject,
        "text": reason.text,
    }


def _near(near: Near) -> dict[str, str]:
    return {"by": near.shown, "text": near.text, "at": stamp(near.wall)}


def _last(decisions: Sequence[Decision], start: int | None, last: int) -> list[Decision]:
    kept = [each for each in decisions if start is None or each.t >= start]
    return kept[-last:] if last else []


def decision_row(decision: Decision) -> dict[str, Any]:
    """Return one decision as a JSON object."""
    trace = decision.trace
    value, limit = figures(trace.refusal)
    return {
        "at": stamp(decision.wall),
        "t_us": decision.t // 1000,
        "cause": trace.cause,
        "before": trace.before,
        "after": trace.after,
        "refusal": trace.refusal,
        "code": trace.code,
        "value": value,
        "limit": limit,
        "origin": {
            "name": trace.origin.name,
            "seq": trace.origin.seq,
            "exchange_time": stamp(trace.origin.ts) if trace.origin.ts else "",
        },
        "part": trace.part,
        "conjuncts": [list(each) for each in trace.conjuncts],
        "values": dict(trace.values),
        "reads": [
            {"stream": key, "seq": seq, "age_ms": _age_ms(age)} for key, seq, age in trace.reads
        ],
        "apart_ms": None if trace.apart < 0 else round(trace.apart / NS_PER_MS, 3),
        "path_us": _path(decision),
    }


def _path(decision: Decision) -> dict[str, float]:
    """Return when each stage was reached first: what followed at the same instant is no part."""
    first: dict[str, float] = {}
    for stage, us in decision.path:
        first.setdefault(stage, us)
    return first


def _age_ms(age: int) -> float | None:
    """An age in milliseconds; None of what was never seen."""
    return None if age >= -NEVER else round(age / NS_PER_MS, 3)


def figures(refusal: str) -> tuple[str, str]:
    """Take value and limit out of a refusal's text, which is `WHAT: VALUE / LIMIT`; "" without."""
    for sign in (" / ", " < ", " > "):
        left, found, limit = refusal.partition(sign)
        if found:
            return left.rpartition(": ")[2], limit
    return "", ""
