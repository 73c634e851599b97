"""`runner explain states`: what the words of `status` and `why` for a rule and a run mean."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Final

from runner.engine.limits import Mode
from runner.engine.rule import RuleState

TOPIC: Final = "states"
_WIDTH: Final = 92

_RULE: Final[Mapping[RuleState, str]] = {
    RuleState.WARMING: "Some input was not seen yet, a window is not full, or an exchange is not"
    " reconciled.",
    RuleState.IDLE: "Waits for `when` to be definitely true.",
    RuleState.PENDING: "`when` is true: it waits for `for`, or was refused and tries again"
    " (`runner why RULE` says by what).",
    RuleState.ENTERING: "Its entry is at the exchange, or its legs are being made even.",
    RuleState.ACTIVE: "Holds a trade, or quotes; waits for `until`, `max_hold`, a stop, a target.",
    RuleState.LEAVING: "Closes its trade; what rests below the exchange's minimum stays.",
    RuleState.COOLDOWN: "Rests after a trade, for `cooldown`.",
    RuleState.DONE: "The file says `once`, and it has traded.",
    RuleState.DISABLED: "Three rejects in a row, or more firings than `max_firings`: goes on by"
    " `runner resume --rule RULE`.",
}
_RUN: Final[Mapping[Mode, str]] = {
    Mode.ACTIVE: "All is well.",
    Mode.REDUCING: "No new risk, own entries cancelled; exits and repairs go on. Ends with its"
    " cause: a difference of positions, an order in doubt, a private stream that is down.",
    Mode.PAUSED: "No new risk; open trades go on by their own words. Ends after `rest:` or by"
    " `runner resume`.",
    Mode.KEPT: "By the operator: no new risk, entries cancelled, positions kept. Ends by `runner"
    " resume --yes`, also over a restart.",
    Mode.HALTED: "By a limit: no new risk, entries cancelled, all trades closed in pairs. Ends by"
    " `runner resume --yes`, also over a restart.",
    Mode.FLATTENED: "By `runner flatten`: everything is closed in pairs, then halted.",
    Mode.FROZEN: "Nothing is sent; positions stay, and what protects them at the exchange. Ends by"
    " `runner resume --yes`.",
}


def words() -> list[str]:
    """Return all states, as they are shown."""
    return [TOPIC, *RuleState, *dict.fromkeys(mode.shown for mode in Mode)]


def page(topic: str) -> str | None:
    """Return the page of all states, or of the one that is named; None for anything else."""
    rule = [(s.value, text) for s, text in _RULE.items() if topic in (s, TOPIC)]
    run = [(m.shown, text) for m, text in _RUN.items() if topic in (m.shown, TOPIC)]
    parts = [_part("the states of a rule:", rule), _part("the states of a run:", run)]
    if topic != TOPIC and (rule or run):
        parts.append(["see also: runner explain states, runner explain why"])
    text = "\n\n".join("\n".join(lines) for lines in parts if lines)
    return f"{text}\n" if text else None


def _part(title: str, rows: list[tuple[str, str]]) -> list[str]:
    lines = [title] if rows else []
    for name, text in rows:
        head = f"  {name:<10}  "
        lines += wrap(text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    return lines
