"""Writes the answer to `why` for people."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from runner.base.clock import NS_PER_S
from runner.base.units import format_duration
from runner.engine.blocking import Kind

_WIDTH: Final = 100
_SHOWN: Final = 0.0005
"""a share that is not 0.0% in print"""
_LABELS: Final[Mapping[str, str]] = {
    Kind.TRADE: "in a trade",
    Kind.FALSE: "{} is false",
    Kind.MISSING: "{} cannot be computed",
    Kind.RUN: "the run is not active: {}",
    Kind.EXCHANGE: "exchange {} is not ready",
    Kind.FACTS: "nothing known of {} yet",
    Kind.REFUSED: "refused: {}",
    Kind.FOR: "true, but not for as long as `for` says",
    Kind.SENDING: "true, about to be sent",
    Kind.COOLDOWN: "cooldown",
    Kind.UNARMED: "not armed",
    Kind.TRIGGER: "waits for {}",
    Kind.DISABLED: "the rule is disabled",
    Kind.DONE: "done",
}


def text(answer: Mapping[str, Any]) -> str:
    """Write the whole answer, with a line end."""
    parts = [_head(answer), _now(answer), _funnel(answer), _blocked(answer), _sides(answer)]
    parts.append(_others(answer))
    parts += [decision(each) for each in answer["decisions"]]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def label(reason: Mapping[str, Any]) -> str:
    """Name a reason in a few words."""
    return _LABELS.get(reason["kind"], "{}").format(reason["subject"])


def _head(answer: Mapping[str, Any]) -> list[str]:
    watched = format_duration(round(answer["watched_s"]) * NS_PER_S)
    when = f"ended {answer['at'][11:19]} UTC: {answer['ended']}" if answer["ended"] else ""
    if not answer["live"] and not answer["ended"]:
        when = f"not ended; last known {answer['at'][11:19]} UTC"
    head = f"{answer['strategy']}  {answer['rule']}  {answer['state']}"
    run = f"{answer['kind']} {answer['run']}, {watched} watched"
    return [f"{head}    {run}" + (f"; {when}" if when else "")]


def _now(answer: Mapping[str, Any]) -> list[str]:
    if not answer["live"]:
        return []
    lines = [f"now     {label(each)}{_figures(each)}" for each in answer["now"]]
    for source, verdict, figures in answer["reads"]:
        lines += _indented(f"{answer['part']}  {source}  {verdict}  {figures}".rstrip())
    return lines


def _figures(reason: Mapping[str, Any]) -> str:
    told = reason["text"] and reason["text"] != reason["subject"]
    return f": {reason['text']}" if told else ""


def _funnel(answer: Mapping[str, Any]) -> list[str]:
    funnel = answer["funnel"]
    steps = [
        _count(funnel["evaluations"], "frame") + " looked at",
        f"`when` {_times(funnel['true'])}",
        _count(funnel["approved"], "entry", "entries") + " approved",
    ]
    if "trips" in funnel:
        left = {0: "never left", 1: "left once"}.get(
            funnel["exits"], f"left {funnel['exits']} times"
        )
        steps.append(f"{left}, {_count(funnel['trips'], 'round trip')} of the inventory")
    elif "entries" in funnel:
        steps.append(
            f"{funnel['entries']} filled, {funnel['no_fill']} without a fill,{_undone(funnel)}"
            f" {funnel['rejected']} rejected, {funnel['exits']} closed"
        )
    lines = _wrapped("funnel  ", " -> ".join(steps))
    if answer["in_trade"]:
        lines.append(f"        in a trade {_percent(answer['in_trade'])} of the time")
    return lines


def _undone(funnel: Mapping[str, Any]) -> str:
    """Tell of entries that were taken back, which most runs have none of."""
    undone = funnel.get("undone", 0)
    return f" {undone} undone (legs apart)," if undone else ""


def _blocked(answer: Mapping[str, Any]) -> list[str]:
    rows = [row for row in answer["blocked"] if row["share"] >= _SHOWN or row["refused"]]
    if not rows:
        return []
    lines = ["kept out by, as shares of the time (alone: when nothing else stood in the way)"]
    for row in rows:
        alone = f"  (alone {_percent(row['alone'])})" if row["alone"] != row["share"] else ""
        count = f"  x{row['refused']}" if row["refused"] else ""
        lines.append(f"{_percent(row['share']):>7}  {label(row)}{count}{alone}")
        lines += _indented("last: " + row["text"]) if _figures(row) else []
        near = row["nearest"]
        if near is not None:
            lines += _indented(f"nearest miss {near['by']} at {near['at'][11:23]}: {near['text']}")
        lines += _indented("-> " + row["change"]) if row["change"] else []
    return lines


def _sides(answer: Mapping[str, Any]) -> list[str]:
    """Say how long each side of a quote was there, and why it was not."""
    lines: list[str] = []
    for side, told in answer.get("sides", {}).items():
        lines.append(f"{_percent(told['there']):>7}  {side} there, of the time it quoted")
        for row in told["lacked"]:
            if row["share"] < _SHOWN:
                continue
            soon = row["kind"] == Kind.SENDING
            lacks = row["text"] if soon else label(row)
            lines.append(f"{_percent(row['share']):>7}  {side} not there, {lacks}")
            lines += _indented("last: " + row["text"]) if _figures(row) and not soon else []
            lines += _indented("-> " + row["change"]) if row["change"] else []
    return lines


def _others(answer: Mapping[str, Any]) -> list[str]:
    """Refusals and misses of which no share speaks: exits, repairs, `until`."""
    shown = {row["subject"] for row in answer["blocked"]}
    for told in answer.get("sides", {}).values():
        shown |= {row["subject"] for row in told["lacked"] if row["share"] >= _SHOWN}
    codes = [f"{code} x{n}" for code, n in answer["refusals"].items() if code not in shown]
    lines = _wrapped("refused ", ", ".join(codes)) if codes else []
    for source, near in answer["nearest"].items():
        if source not in shown:
            found = f"{source}  nearest miss {near['by']} at {near['at'][11:23]}: {near['text']}"
            lines += _wrapped("missed  ", found)
    return lines


def decision(found: Mapping[str, Any]) -> list[str]:
    """Write one decision."""
    lines = [f"{found['at'][11:23]}  {_what(found)}"]
    for source, verdict, figures in found["conjuncts"]:
        lines += _wrapped(f"  {found['part']:<6} ", f"{source}  {verdict}  {figures}".rstrip(), 9)
    values = [f"{name} {value}" for name, value in _told_values(found)]
    lines += _wrapped("  value  ", "   ".join(values), 9) if values else []
    reads = [_read(each) for each in found["reads"]]
    if found["apart_ms"] is not None:
        reads.append(f"{found['apart_ms']:.0f}ms apart")
    lines += _wrapped("  read   ", "   ".join(reads), 9) if reads else []
    lines += _wrapped("  by     ", _origin(found["origin"]), 9)
    if found["path_us"]:
        path = [f"{stage} {us:.0f}us" for stage, us in found["path_us"].items()]
        lines += _wrapped("  path   ", " -> ".join(["frame 0us", *path]), 9)
    return lines


def _read(stream: Mapping[str, Any]) -> str:
    if stream["age_ms"] is None:
        return f"{stream['stream']} never seen"
    return f"{stream['stream']} {stream['age_ms']:.0f}ms old seq {stream['seq']}"


def _what(found: Mapping[str, Any]) -> str:
    if found["refusal"]:
        return f"refused while {found['before']}  {found['refusal']}"
    if found["before"] == found["after"]:
        return f"{found['before']}  {found['cause']}"
    return f"{found['before']} -> {found['after']}  {found['cause']}"


def _origin(origin: Mapping[str, Any]) -> str:
    seq = f" seq {origin['seq']}" if origin["seq"] else ""
    there = origin["exchange_time"]
    return f"{origin['name']}{seq}" + (f" of {there[11:23]} there" if there else "")


def _told_values(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the values of names: signals, fields, cells. Params stand in the file."""
    return [
        (name, value)
        for name, value in found["values"].items()
        if name.replace(".", "").replace("_", "").isalnum() and not name.startswith("params.")
    ]


def _wrapped(head: str, words: str, indent: int = 8) -> list[str]:
    return textwrap.wrap(
        words, _WIDTH, initial_indent=head, subsequent_indent=" " * indent, break_long_words=False
    )


def _indented(words: str) -> list[str]:
    return _wrapped(" " * 9, words, 11)


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _count(n: int, thing: str, plural: str = "") -> str:
    return f"{n} {thing if n == 1 else plural or thing + 's'}"


def _times(n: int) -> str:
    return {0: "never became true", 1: "became true once"}.get(n, f"became true {n} times")


def lines_of(answers: Sequence[Mapping[str, Any]]) -> str:
    """Write one line a rule: its state and what stands first in its way."""
    rows = []
    for answer in answers:
        first = answer["blocked"][0] if answer["blocked"] else None
        most = f"{_percent(first['share'])} {label(first)}" if first else "nothing in its way"
        rows.append(f"{answer['rule']:<24} {answer['state']:<9} {most}")
    return "\n".join(rows) + "\n"
