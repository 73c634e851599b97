"""What `runner status` prints: state, money, what it hears, what it waits for, what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runner.app.report_text import spending_text
from runner.cli.top_text import gained
from runner.engine.limits import STICKY

_STICKY: Final = frozenset(mode.shown for mode in STICKY)
_CARE: Final = {"hold": "held", "close": "to be closed"}
_Answer = Mapping[str, Any]


def status_text(answer: _Answer) -> str:
    """Write a status as lines, with a line end."""
    lines = [*_head(answer), *_exchanges(answer), *_streams(answer), *_sources(answer)]
    lines += [*_rules(answer), *_orders(answer), *_pages(answer)]
    lines += [f"  warning: {text}" for text in answer["warnings"]]
    return "\n".join(lines) + "\n"


def _head(answer: _Answer) -> list[str]:
    reason = f"  {answer['reason']}" if answer["reason"] else ""
    lines = [
        f"{answer['name']}  {answer['kind']}  run {answer['run']}  "
        f"up {answer['uptime_s']:.0f}s  {answer['state'].upper()}{reason}"
    ]
    if answer["state"] in _STICKY:
        lines.append(f"  `runner resume {answer['name']} --yes` lets it trade again")
    loss = answer["day_loss"]
    day = "not known yet" if loss is None else gained(loss)
    return [*lines, f"  {'the day so far':<20} {day}  orders open {answer['orders']['open']}"]


def _exchanges(answer: _Answer) -> list[str]:
    lines = []
    for name, each in answer["exchanges"].items():
        clock = each["clock"]
        lines.append(
            f"  {name:<20} {each['type']} {each['network']}  {each['state']}  clock "
            f"{clock['offset_ms']:+.1f}ms +-{clock['uncertainty_ms']:.1f}ms"
        )
    return lines


def _streams(answer: _Answer) -> list[str]:
    lines = []
    for key, each in answer["streams"].items():
        age = "-" if each["age_ms"] is None else f"{each['age_ms']:.0f}ms old"
        lines.append(f"  {key:<20} {each['state']}  {age}")
    return lines


def _sources(answer: _Answer) -> list[str]:
    lines = []
    for name, each in answer["sources"].items():
        age = "-" if each["age_ms"] is None else f"{each['age_ms'] / 1000:.1f}s old"
        port = f"  port {each['port']}" if each["port"] else ""
        refused = sum(each["refused"].values())
        came = (
            f"accepted {each['accepted']}  lost {each['lost']}" if each["fields"] else "for a model"
        )
        lines.append(
            f"  {name:<20} {each['state']}  {age}  {each['type']}{port}  {came}  refused {refused}"
            + (f"  {each['down']}" if each["down"] else "")
            + (f"  last refused: {each['last_refusal']}" if each["last_refusal"] else "")
            + (f"  spent {spending_text(each['spent'])}" if each["spent"] else "")
        )
    return lines


def _rules(answer: _Answer) -> list[str]:
    lines = []
    for name, each in answer["rules"].items():
        refused = sum(each["refusals"].values())
        lines.append(
            f"  {name:<20} {each['state']}  entries {each['entries']}  exits {each['exits']}  "
            f"refused {refused}"
            + (f"  disabled: {each['disabled']}" if each["disabled"] else "")
            + (f"  no rule of the file: {_CARE[each['orphan']]}" if each["orphan"] else "")
            + (f"  leaving {each['leaving']}" if each["leaving"] else "")
        )
        for guard in each["guards"]:
            stands = f"{guard['kind']} at {guard['price']} for {guard['qty']}, {guard['state']}"
            lines.append(f"  {'':<20} at the exchange: {stands}")
        if each["reason"] and not each["disabled"]:
            lines.append(f"  {'':<20} {each['reason']}")
    return lines


def _orders(answer: _Answer) -> list[str]:
    lines = []
    for each in answer["orders"]["each"]:
        what = f"{each['side']} {each['qty']} at {each['price']}, {each['filled']} filled"
        whose = f"{each['purpose']} of {each['rule']}"
        lines.append(f"  order {each['market']:<14} {what}, {each['state']}  {whose}")
    held = [f"  position {market:<11} {qty}" for market, qty in answer["positions"].items()]
    return [*lines, *(held or ["  it holds nothing"])]


def _pages(answer: _Answer) -> list[str]:
    lines = []
    for page in answer["notify"]["pages"]:
        count = f" ({page['count']} texts)" if page["count"] > 1 else ""
        lines.append(f"  page {page['topic']:<15} {page['text']}{count}, told {page['told']} times")
    for sink, each in answer["notify"]["sinks"].items():
        if each["failed"]:
            failed = f"{each['failed']} messages not taken: {each['last_failure']}"
            lines.append(f"  notify {sink:<13} {failed}")
    return lines
