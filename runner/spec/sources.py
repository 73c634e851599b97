"""Read `sources:`: types, fields, freshness, and what each type needs besides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from runner.base.units import format_duration
from runner.lang import types
from runner.lang.check import CONDITION
from runner.lang.diagnostics import Mark
from runner.lang.nodes import Mapping, Scalar
from runner.lang.ranges import Interval
from runner.lang.scope import SourceScope
from runner.lang.tree import Expr, Field, find, is_broken
from runner.spec import source_options
from runner.spec.context import Context, section, text, word
from runner.spec.fields import number_field, pointer, read_fields
from runner.spec.markets import LONGEST_AGE, SHORTEST_AGE, MarketDraft
from runner.spec.source_keys import keys_of, taken_by
from runner.spec.source_plan import (
    DedupePlan,
    FieldKind,
    FieldPlan,
    LatePlan,
    LlmPlan,
    Options,
    RestPlan,
    SentAt,
    SourcePlan,
    SourceType,
    TargetPlan,
    TimeFormat,
    WebhookPlan,
)
from runner.spec.suggest import hint

_EVENTS = frozenset(
    (SourceType.WEBHOOK, SourceType.WEBSOCKET, SourceType.TELEGRAM, SourceType.SCHEDULE)
)
_REPEATED = frozenset((SourceType.WEBHOOK, SourceType.WEBSOCKET, SourceType.REST))
"""types whose messages have no number of their own"""
SCHEDULE_AGE = 60_000_000_000
"""how long a time that came is tried, where the file does not say"""


@dataclass(slots=True)
class SourceDraft:
    """A source of the file; `plan` is None when it is in error."""

    name: str
    key: Mark
    node: Mapping
    path: str
    type: SourceType | None
    event: bool = True
    fields: dict[str, FieldPlan] | None = None
    plan: SourcePlan | None = None
    late: Expr | None = None

    @property
    def scope(self) -> SourceScope | None:
        """What expressions see of it; None when its fields are in error."""
        if self.fields is None:
            return None
        types_ = {name: f.type for name, f in self.fields.items()}
        ranges = {
            name: Interval(-inf if f.low is None else f.low, inf if f.high is None else f.high)
            for name, f in self.fields.items()
            if f.type.sort is types.Sort.NUMERIC
        }
        return SourceScope(self.name, types_, ranges, self.event)


def read_sources(
    root: Mapping, markets: dict[str, MarketDraft], ctx: Context
) -> dict[str, SourceDraft]:
    """Read the section up to what needs names in scope (`finish_sources`)."""
    drafts = {}
    for entry in section(root, "sources"):
        if entry.key.bad:
            continue
        name = entry.key.text
        signals = section(root, "signals")
        ctx.free_name(name, entry.key.mark, "sources", market=markets, signal=signals)
        node = entry.value if isinstance(entry.value, Mapping) else Mapping(entry.key.mark)
        path = f"sources.{name}"
        kind = text(node, "type")
        type_ = SourceType(kind) if kind in set(SourceType) else None
        draft = SourceDraft(name, entry.key.mark, node, path, type_)
        drafts[name] = draft
        if type_ is None or entry.value.bad or not isinstance(entry.value, Mapping):
            continue
        draft.event = "target" not in node and (type_ in _EVENTS)
        if "as" in node:
            draft.event = word(node, "as", "event") == "event"
        _keys(draft, ctx)
        draft.fields = _fields(draft, markets, ctx)
    return drafts


def finish_sources(
    drafts: dict[str, SourceDraft], signals: set[str], ctx: Context
) -> dict[str, SourcePlan]:
    """Read the rest of every source; the plans of those without error."""
    plans = {}
    for draft in drafts.values():
        if draft.type is None or draft.fields is None:
            continue
        plan = _Rest(draft, drafts, signals, ctx).read()
        if plan is not None and not ctx.has_error(draft.path):
            draft.plan = plans[draft.name] = plan
    _one_door_each(plans, drafts, ctx)
    return plans


def _one_door_each(
    plans: dict[str, SourcePlan], drafts: dict[str, SourceDraft], ctx: Context
) -> None:
    """Refuse two webhooks at one address, and one port that is encrypted for one of them only."""
    paths: dict[tuple[str, int, str], str] = {}
    ports: dict[tuple[str, int], tuple[str, str, str]] = {}
    for name, plan in plans.items():
        if not isinstance(plan.options, WebhookPlan):
            continue
        listen, at = plan.options.listen, drafts[name].node.key("listen")
        place = (listen.host, listen.port)
        path = f"{drafts[name].path}.listen"
        first = paths.setdefault((*place, listen.path), name)
        tls = ports.setdefault(place, (name, listen.tls_cert, listen.tls_key))
        if first != name:
            message = f"`{first}` listens there already, at {listen.path}"
            ctx.add("E0203", message, at, "each webhook needs a port or a path of its own", path)
        elif tls[1:] != (listen.tls_cert, listen.tls_key):
            message = f"`{tls[0]}` has port {listen.port} with another `tls`"
            ctx.add("E0203", message, at, "", path)


def _keys(draft: SourceDraft, ctx: Context) -> None:
    """Report keys of other types (E0201), and what this type lacks (E0203)."""
    assert draft.type is not None
    own, known = keys_of(draft.type)[0], taken_by(draft.type)
    for entry in draft.node:
        name = entry.key.text
        if name not in known and not entry.value.bad:
            entry.value.bad = True
            message = f"a `{draft.type}` has no key `{name}`"
            notes = (f"its own keys: {', '.join(own)}",)
            ctx.add("E0201", message, entry.key.mark, hint(name, known), f"{draft.path}.{name}",
                    notes=notes)  # fmt: skip
    absent = [f"`{key}`" for key in keys_of(draft.type)[1] if key not in draft.node]
    asks = draft.type is SourceType.LLM
    if asks and "ready" not in draft.node:
        absent += [f"`{key}`" for key in ("prompt", "answer") if key not in draft.node]
    if absent:
        message = f"`{draft.name}` lacks {', '.join(absent)}"
        ctx.add("E0203", message, draft.key, f"a `{draft.type}` needs them", draft.path)


def _fields(
    draft: SourceDraft, markets: dict[str, MarketDraft], ctx: Context
) -> dict[str, FieldPlan] | None:
    """Return the fields with `target` among them; None when one is in error."""
    key = "answer" if draft.type is SourceType.LLM else "fields"
    ready = source_options.READY.get(word(draft.node, "ready", ""), {})
    found = read_fields(draft.node, key, draft.path, markets, ctx)
    if found is None:
        return None
    fields = {**ready, **found}
    target = section(draft.node, "target")
    if "target" in draft.node:
        if "target" in fields:
            message = "a source with a `target` cannot have a field of that name"
            ctx.add("E0203", message, draft.node.key("target"), "", f"{draft.path}.target")
            return None
        values = [e.value.value for e in target if isinstance(e.value, Scalar)]
        numbers = [float(v) for v in values if isinstance(v, int | float)]
        bounds = min(numbers, default=0), max(numbers, default=0)
        fields["target"] = replace(number_field("target", *bounds), derived=True)
    return fields


class _Rest:
    """What is read of a source once all names are in scope."""

    def __init__(
        self,
        draft: SourceDraft,
        drafts: dict[str, SourceDraft],
        signals: set[str],
        ctx: Context,
    ) -> None:
        self._draft, self._drafts, self._signals, self._ctx = draft, drafts, signals, ctx
        self._node, self._path = draft.node, draft.path

    def read(self) -> SourcePlan | None:
        draft, ctx, node, path = self._draft, self._ctx, self._node, self._path
        assert draft.type is not None and draft.fields is not None
        max_age = self._age(node, "max_age", path)
        heartbeat = self._age(node, "heartbeat", path)
        options = self._options(draft.type)
        dedupe, late, target = self._dedupe(), self._late(max_age), self._target()
        seq = self._field_name(node, "seq", f"{path}.seq", (FieldKind.NUMBER,))
        rate = ctx.rate(node, "max_rate", path)
        if draft.type is SourceType.SCHEDULE and max_age is None:
            max_age = SCHEDULE_AGE
        if options is None or max_age is None:
            return None
        if isinstance(options, LlmPlan):
            self._renewed(options, max_age)
            self._about_states(options)
        if isinstance(options, RestPlan) and not draft.event:
            self._before_old("every", options.every_ns, max_age - 1)
        plan = SourcePlan(
            draft.name,
            draft.type,
            draft.event,
            draft.fields,
            max_age,
            options,
            dedupe,
            heartbeat,
            late,
            target,
            seq or "",
            self._sent_at(),
            line=draft.key.line,
        )
        return plan if rate is None else _with_rate(plan, rate)

    def _renewed(self, options: LlmPlan, max_age: int) -> None:
        """Refuse a model that may not be asked again before its answer is old."""
        self._before_old("refresh", options.refresh_ns or 0, max_age - 1)
        self._before_old("at_most_every", options.at_most_every_ns, max_age)

    def _before_old(self, key: str, span: int, longest: int) -> None:
        if span <= longest:
            return
        written = self._node.get(key)
        at = self._node.key("max_age") if written is None else written.mark
        said = format_duration(span) + ("" if written is not None else " (its default)")
        message = f"`{key}` {said} is not before `max_age`: in between the answer is missing"
        self._ctx.add("E0203", message, at, "", f"{self._path}.{key}")

    def _about_states(self, options: LlmPlan) -> None:
        """Refuse a model that is told of an event: it is over when the model is asked."""
        for name in options.about:
            draft = self._drafts.get(name)
            if draft is not None and draft.event:
                message = f"`{name}` is an event, which is over when a model is asked"
                help = f"let `{name}` be a state: `as: state`"
                mark, path = self._node.key("about"), f"{self._path}.about"
                self._ctx.add("E0203", message, mark, "", path, help=(help,))

    def _age(self, node: Mapping, key: str, path: str) -> int | None:
        found = self._ctx.duration(node, key, path)
        if found is not None and not SHORTEST_AGE <= found <= LONGEST_AGE:
            at = node.get(key)
            mark = at.mark if at is not None else node.mark
            message = f"`{key}` lies between 1ms and 7d"
            self._ctx.add("E0203", message, mark, "", f"{path}.{key}")
        return found

    def _options(self, type_: SourceType) -> Options | None:
        sources = {name for name in self._drafts if name != self._draft.name}
        reader = source_options.Reader(self._node, self._path, self._ctx, self._draft.key)
        reader.tellable = (sources, self._signals)
        return reader.read(type_)

    def _dedupe(self) -> DedupePlan | None:
        draft, at, path = self._draft, section(self._node, "dedupe"), f"{self._path}.dedupe"
        if "dedupe" not in self._node:
            if draft.event and draft.type in _REPEATED and not self._ctx.has_error(draft.path):
                self._ctx.add(
                    "E0203",
                    f"`{draft.name}` lacks `dedupe`",
                    draft.key,
                    "a message that is sent twice would act twice",
                    draft.path,
                    help=("dedupe: {by: id, within: 1d}",),
                )
            return None
        kinds = (FieldKind.TEXT, FieldKind.NUMBER)
        by = self._field_name(at, "by", f"{path}.by", kinds)
        within = self._age(at, "within", path)
        if by is None or within is None:
            return None
        assert draft.fields is not None
        if draft.fields[by].optional:
            message = f"`{by}` names the message: it cannot be optional"
            self._ctx.add("E0203", message, at.key("by"), "", f"{path}.by")
        return DedupePlan(by, within)

    def _late(self, max_age: int | None) -> LatePlan | None:
        draft, at, path = self._draft, section(self._node, "late"), f"{self._path}.late"
        if "late" not in self._node:
            return None
        when = self._ctx.expr(at.get("when"), CONDITION, f"{path}.when")
        limit = self._age(at, "max_age", path)
        if not draft.event:
            message = "`late` is for events; a state that is late is missing"
            help = "a longer `max_age`, or `on_missing: flatten` in the rule that holds by it"
            self._ctx.add("E0203", message, self._node.key("late"), "", path, help=(help,))
        if when is None or limit is None or is_broken(when):
            return None
        others = [f for f in find(when, Field) if f.key != draft.name]
        if others or not find(when, Field):
            message = f"`late.when` speaks of the message alone: fields of `{draft.name}`"
            mark = others[0].mark if others else when.mark
            self._ctx.add("E0203", message, mark, "", f"{path}.when")
        if max_age is not None and limit <= max_age:
            message = "a late message may be older than `max_age`, not younger"
            self._ctx.add("E0203", message, at.key("max_age"), "", f"{path}.max_age")
        return LatePlan(when, limit)

    def _target(self) -> TargetPlan | None:
        if "target" not in self._node:
            return None
        draft, at, path = self._draft, section(self._node, "target"), f"{self._path}.target"
        assert draft.fields is not None
        positions = {
            e.key.text: float(e.value.value)
            for e in at
            if isinstance(e.value, Scalar) and isinstance(e.value.value, int | float)
        }
        fitting = [
            f.name
            for f in draft.fields.values()
            if f.kind is FieldKind.ENUM and set(f.values) == set(positions)
        ]
        if draft.event:
            message = "a source with a `target` is a state, not an event"
            self._ctx.add("E0203", message, self._node.key("as"), "", f"{self._path}.as")
        if len(fitting) != 1:
            message = "`target` must have the words of exactly one `enum` field"
            found = "no field has them" if not fitting else f"{' and '.join(fitting)} have them"
            self._ctx.add("E0203", message, self._node.key("target"), found, path)
            return None
        return TargetPlan(fitting[0], positions)

    def _sent_at(self) -> SentAt | None:
        at = section(self._node, "sent_at")
        where = pointer(at, "from")
        return None if where is None else SentAt(where, TimeFormat(word(at, "format", "iso")))

    def _field_name(
        self, node: Mapping, key: str, path: str, kinds: tuple[FieldKind, ...]
    ) -> str | None:
        at = node.get(key)
        if not isinstance(at, Scalar) or at.bad:
            return None
        assert self._draft.fields is not None
        found = self._draft.fields.get(at.text)
        if found is None:
            message = f"`{self._draft.name}` has no field `{at.text}`"
            label = hint(at.text, self._draft.fields)
            self._ctx.add("E0204", message, at.mark, label, path)
            return None
        if found.kind not in kinds:
            message = f"`{key}` must be {' or '.join(f'a {k}' for k in kinds)}"
            self._ctx.add("E0203", message, at.mark, f"it is a {found.kind}", path)
            return None
        return at.text


def _with_rate(plan: SourcePlan, rate: object) -> SourcePlan:
    from dataclasses import replace

    return replace(plan, rate=rate)  # type: ignore[arg-type]
