"""`runner explain`: pages of codes, keys, functions and fields, from the tables that check."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from textwrap import fill, indent, wrap
from typing import Any

from runner.app.why.hints import all_hints
from runner.app.why.page import page as why_page
from runner.base.errors import UsageError
from runner.cli import blueprint_page, states
from runner.engine.codes import Why
from runner.exchanges.lookup import error_page
from runner.lang import functions
from runner.lang.pages import pages
from runner.spec import schema
from runner.spec.source_keys import keys_of
from runner.spec.source_plan import SourceType
from runner.spec.suggest import nearest

_WIDTH = 92
_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}


def page(topic: str) -> str:
    """Return the page of a topic. UsageError, with the nearest topic, when there is none."""
    code = pages().get(topic.upper())
    if code is not None:
        parts = [f"{code.code}: {code.title}", ""]
        if code.cause:
            parts += [fill(code.cause, _WIDTH), ""]
        parts += ["wrong:", indent(code.bad, "    "), "", "right:", indent(code.good, "    ")]
        return "\n".join(parts) + "\n"
    if topic.lower() == "why":
        return why_page()
    if topic.lower() in blueprint_page.TOPICS:
        return blueprint_page.page()
    kind = _source_type(topic) or ""
    told = _function(topic) or _field(topic) or "\n".join(filter(None, (_key(topic), kind)))
    all_told = "\n".join(filter(None, (told, _group(topic), _refusal(topic), states.page(topic))))
    found = all_told or _word(topic) or error_page(topic)
    if not found:
        meant = nearest(topic, _topics())
        more = f"; did you mean `{meant}`?" if meant else ""
        raise UsageError(f"nothing is called `{topic}`: a code, a key or a function{more}")
    return found


def overview() -> str:
    """Say what there are pages of."""
    tops = [path for path, _ in schema.paths() if path and "." not in path]
    rows = (
        ("keys", f"{', '.join(tops)}; below them by path or name: rules.trade.hedge, collar"),
        ("functions", ", ".join(sorted(functions.FUNCTIONS))),
        ("values", f"{', '.join(sorted({*functions.FIELDS, *functions.CELLS}))}; book.imbalance"),
        ("blueprint", "the file that `use` takes in, and its `inputs`"),
        ("states", "what `status` shows of rules and runs"),
        ("why", "how `runner why` measures, and what each reason wants"),
        ("refusals", "as `why` and the report name them: price_walk, max_position, stale"),
        ("codes", "of diagnostics: E0403, W0505; of an exchange: binance -2019, bybit 110007"),
    )
    lines = ["runner explain TOPIC has a page of", ""]
    for name, words in rows:
        head = f"  {name:<10} "
        lines += wrap(words, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    return "\n".join(lines) + "\n"


def _topics() -> list[str]:
    keys = [path for path, _ in schema.paths()]
    short = [path.rsplit(".", 1)[-1] for path in keys]
    refusals = [code.value for code in Why]
    words = (*blueprint_page.TOPICS, *states.words())
    return [*pages(), *functions.FUNCTIONS, *keys, *short, *refusals, *words]


def _function(topic: str) -> str | None:
    name = topic.removesuffix("()")
    if name == "entered":
        return "entered(x)\n\nx as it was when the trade was approved; in `until`.\n"
    found = functions.FUNCTIONS.get(name)
    if found is None:
        return None
    return f"{found.signature}\n\n{fill(found.doc[0].upper() + found.doc[1:] + '.', _WIDTH)}\n"


def _field(topic: str) -> str | None:
    """Explain `book.imbalance`, `this.cost` or, after a market's name, `bin.book.bid`."""
    parts = topic.split(".")
    if len(parts) < 2:
        return None
    if parts[0] == "account" and "position" in parts[1:]:
        parts = ["position", "account_qty"]  # account.X.position.SYMBOL
    group, name = parts[-2], parts[-1]
    found = functions.FIELDS.get(group, functions.CELLS.get(group, {})).get(name)
    if found is None and parts[0] in functions.CELLS:
        found = functions.CELLS[parts[0]].get(name)
    if found is None:
        return None
    held = "\nOnly while a trade is held: in `until`." if found.holding else ""
    return f"{topic} ({found.measure})\n\n{found.doc[0].upper()}{found.doc[1:]}.{held}\n"


def _group(topic: str) -> str | None:
    """List what a stream or a value such as `account`, `this`, `position` has; or who has a field.

    `margin_used` alone is found as `account.X.margin_used`.
    """
    groups = {**functions.FIELDS, **functions.CELLS}
    lines = []
    if topic in groups:
        fields = groups[topic]
        width = max(map(len, fields))
        lines = [f"{_path(topic, 'FIELD')}, in expressions:", ""]
        for name, field in fields.items():
            head = f"  {name:<{width}}  "
            lines += wrap(field.doc, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    owners = [name for name, fields in groups.items() if topic in fields]
    lines += [""] * bool(lines and owners)
    lines += [f"{_path(name, topic)}: {groups[name][topic].doc}" for name in owners]
    return "\n".join(lines) + "\n" if lines else None


def _path(group: str, name: str) -> str:
    """Write how a field is read: M and X stand for the names of a market and an exchange."""
    holders = {"account": "account.X", "position": "position.M", "this": "this", "pnl": "pnl"}
    holders["rule"] = "rule.R"
    return f"{holders.get(group, f'M.{group}')}.{name}"


def _key(topic: str) -> str | None:
    found = schema.find(topic)
    if not found:
        return None
    return "\n".join(_key_page(path, part) for path, part in found)


def _key_page(path: str, part: dict[str, Any]) -> str:
    lines = [f"{path}", "", fill(part.get("description", ""), _WIDTH, break_on_hyphens=False)]
    if part.get("x-later") is True:
        lines.append("Not in this version yet (E0207).")
    rows = [("takes", _takes(part)), ("default", part.get("default")), ("e.g.", _example(part))]
    lines += [f"{label}: {value}" for label, value in rows if value not in (None, "")]
    holder = _holder(part)
    if holder:
        lines += ["", "keys:" if holder is part else "keys of each:"]
        lines += _children(holder["properties"], holder.get("required", ()))
    return "\n".join(lines) + "\n"


def _children(children: Mapping[str, Any], required: Collection[str]) -> list[str]:
    width = max(map(len, children))
    lines = []
    for name, child in children.items():
        mark = "*" if name in required else " "
        words = schema.resolved(child).get("description", "")
        later = " (not yet)" if schema.resolved(child).get("x-later") is True else ""
        head = f"  {mark} {name:<{width}}  "
        lines += wrap(words + later, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    return [*lines, "  (* must be there)"] if required else lines


def _holder(part: dict[str, Any]) -> dict[str, Any]:
    """Return what has the keys: the part itself, else each of its entries; {} when none has."""
    if part.get("properties"):
        return part
    inner = [part.get("additionalProperties"), part.get("items"), *part.get("anyOf", ())]
    found = (_holder(schema.resolved(each)) for each in inner if isinstance(each, dict))
    return next(filter(None, found), {})


def _source_type(topic: str) -> str | None:
    """Explain a type of source: the keys that it takes beside those of all."""
    word = topic.rsplit(".", 1)[-1]
    if word not in set(SourceType):
        return None
    own, needed = keys_of(SourceType(word))
    keys = dict(schema.paths())["sources.*"]["properties"]
    shown = {name: keys[name] for name in dict.fromkeys((*needed, *own))}
    lines = [f"sources.*.type: {word}", "", "keys, beside those that every source takes:"]
    return "\n".join([*lines, *_children(shown, needed)]) + "\n"


def _refusal(topic: str) -> str | None:
    """Explain a reason why no order was sent, as `why`, `status` and the report name it."""
    code, _, subject = topic.partition(".")
    if code not in set(Why):
        return None
    wants = dict(all_hints()).get(f"refused {code}", "nothing of you: the engine's own care")
    where = f", here of `{subject}`" if subject else ""
    words = f"Named by `why`, `status` and the report when an order was refused{where}."
    return f"{topic}: a refusal\n\n{words}\nwhat it wants: {wants}\n"


def _word(topic: str) -> str | None:
    """Explain a word that keys take: say which."""
    found = {path: part for path, part in schema.paths() if topic in part.get("enum", ())}
    return "\n".join(_key_page(path, part) for path, part in found.items()) or None


def _takes(part: dict[str, Any]) -> str:
    place = part.get("x-expr")
    if place is not None:
        what = {"bool": "a condition", "size": "an amount or a notional", "any": "any value"}
        noun = what.get(place["type"], place["type"])
        return f"{noun}, constant" if place.get("constant") else f"{noun}, an expression"
    if "enum" in part:
        later = part.get("x-later", ())
        return " | ".join(f"{w} (not yet)" if w in later else str(w) for w in part["enum"])
    if "anyOf" in part:
        return " or ".join(_takes(schema.resolved(b)) for b in part["anyOf"])
    kinds = part.get("type", "")
    return " or ".join(_KINDS.get(k, k) for k in ([kinds] if isinstance(kinds, str) else kinds))


def _example(part: dict[str, Any]) -> str:
    return str(part.get("x-example", ""))
