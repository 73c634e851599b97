"""Read the verb `do`: a list of commands, their subjects, and the values in their texts."""

from __future__ import annotations

import re
from collections.abc import Collection
from collections.abc import Mapping as Dict
from typing import Final

from runner.lang.check import ANY, check
from runner.lang.diagnostics import Mark, Text
from runner.lang.nodes import Mapping, Node, Scalar, Sequence
from runner.lang.tree import Expr, is_broken
from runner.spec.context import Context, text
from runner.spec.rule_plan import Deed, DeedPlan
from runner.spec.suggest import hint

_BRACES: Final = re.compile(r"\{([^{}]*)\}|[{}]")
_NAME: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def read_deeds(
    node: Sequence, path: str, verbs: Dict[str, str], markets: Collection[str], ctx: Context
) -> list[DeedPlan]:
    """Read the commands; `verbs` has the verb of each rule. Those in error are left out."""
    reader = _Deeds(verbs, markets, ctx)
    found = []
    for i, item in enumerate(node.items):
        if isinstance(item, Mapping) and not item.bad:
            for entry in item:
                if not entry.key.bad and not entry.value.bad:
                    at = f"{path}.{i}.{entry.key.text}"
                    deed = reader.read(Deed(entry.key.text), entry.value, at)
                    found += [deed] if deed is not None else []
    return found


class _Deeds:
    def __init__(self, verbs: Dict[str, str], markets: Collection[str], ctx: Context) -> None:
        self._verbs, self._markets, self._ctx = verbs, markets, ctx

    def read(self, what: Deed, node: Node, path: str) -> DeedPlan | None:
        if isinstance(node, Scalar):
            if what is Deed.NOTIFY:
                parts = self._parts(node, path)
                return None if parts is None else DeedPlan(what, parts=parts, text=node.text)
            return DeedPlan(what, text=node.text if what is Deed.HALT else "")
        assert isinstance(node, Mapping)
        if ("rule" in node) is ("market" in node):
            message = f"`{what}` needs a `rule` or a `market`, one of them"
            self._ctx.add("E0203", message, node.mark, "", path)
            return None
        by = self._share(node, path) if what is Deed.REDUCE else 0.0
        rule, market = text(node, "rule"), text(node, "market")
        if rule is not None:
            known = self._rule(node, rule, what, path)
        else:
            known = market is not None and self._market(node, market, path)
        return DeedPlan(what, rule or "", market or "", by) if known and by is not None else None

    def _share(self, node: Mapping, path: str) -> float | None:
        by = self._ctx.ratio(node, "by", path)
        if by is not None and not 0 < by < 1:
            message = "`by` is a share between 0% and 100%; all of it is `flatten`"
            self._ctx.add("E0203", message, node.key("by"), "", f"{path}.by")
            return None
        return by

    def _rule(self, node: Mapping, name: str, what: Deed, path: str) -> bool:
        at = node.get("rule")
        assert at is not None
        verb = self._verbs.get(name)
        if verb is None:
            message, label = f"no rule is named `{name[:60]}`", hint(name, self._verbs)
            self._ctx.add("E0204", message, at.mark, label, f"{path}.rule")
        elif verb == "do":
            message = f"rule `{name}` is a `do`: it has neither orders nor a trade"
            self._ctx.add("E0203", message, at.mark, "", f"{path}.rule")
        elif what is Deed.REDUCE and verb != "trade":
            message = f"`reduce` closes a part of a trade, and rule `{name}` is no `trade`"
            self._ctx.add("E0203", message, at.mark, "", f"{path}.rule")
        else:
            return True
        return False

    def _market(self, node: Mapping, name: str, path: str) -> bool:
        at = node.get("market")
        assert at is not None
        if name in self._markets:
            return True
        label = hint(name, self._markets)
        message = f"no market is named `{name[:60]}`"
        self._ctx.add("E0204", message, at.mark, label, f"{path}.market")
        return False

    # --- texts -----------------------------------------------------------------------------------

    def _parts(self, node: Scalar, path: str) -> tuple[str | Expr, ...] | None:
        """Part a text into words and the values of the names in its braces."""
        source = node.source
        parts: list[str | Expr] = []
        good, end = True, 0
        for found in _BRACES.finditer(source.text):
            parts.append(source.text[end : found.start()])
            end = found.end()
            value = self._value(source, found, path)
            if value is None:
                good = False
            else:
                parts.append(value)
        parts.append(source.text[end:])
        return tuple(part for part in parts if part != "") if good else None

    def _value(self, source: Text, found: re.Match[str], path: str) -> Expr | None:
        name = found[1]
        if name is None or not _NAME.fullmatch(name):
            mark = source.at(found.start(), found.end())
            help_ = ("give it a name in `signals` and write that: `{z}`",)
            message = "only a name can stand in the braces of a text"
            self._ctx.add("E0203", message, mark, "", path, help=help_)
            return None
        mark = source.at(found.start() + 1, found.end() - 1)
        inner = Text(name, Mark(mark.line, mark.column, mark.end), source.exact)
        expr = check(inner, self._ctx.scope.at(None), ANY, self._ctx.findings, path)
        return None if expr is None or is_broken(expr) else expr
