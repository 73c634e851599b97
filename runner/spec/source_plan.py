"""The plan of what comes from outside: sources, their fields, and what starts a rule.

A source is an *event* (its fields exist in the instant it arrives) or a *state* (its last message
stands until it is `max_age` old, counted from the sender's time). Pointers are JSON pointers taken
apart. Secrets are references only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from runner.lang.tree import Expr
from runner.lang.types import Type
from runner.spec.parts import MESSAGES, Rate, SecretRef

Pointer = tuple[str, ...]


class SourceType(StrEnum):
    """How a source reaches us."""

    WEBHOOK = "webhook"
    WEBSOCKET = "websocket"
    REST = "rest"
    TELEGRAM = "telegram"
    LLM = "llm"
    SCHEDULE = "schedule"


class FieldKind(StrEnum):
    """What a field holds."""

    TEXT = "text"
    ENUM = "enum"
    BOOL = "bool"
    NUMBER = "number"
    RATIO = "ratio"
    PRICE = "price"
    AMOUNT = "amount"
    DURATION = "duration"


class TimeFormat(StrEnum):
    """How a sender writes its time."""

    ISO = "iso"
    UNIX = "unix"
    UNIX_MS = "unix_ms"


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """One typed field. A number is `scale` times what was sent, and lies in `low`..`high`."""

    name: str
    kind: FieldKind
    pointer: Pointer
    type: Type
    optional: bool = False
    scale: float = 1.0
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    market: str = ""
    """of a price: the market whose units it has"""
    about: str = ""
    derived: bool = False
    """made of another field here (`target:` of a source): no message says it"""


@dataclass(frozen=True, slots=True)
class DedupePlan:
    """A message whose field `by` was seen less than `within_ns` ago is not accepted again."""

    by: str
    within_ns: int


@dataclass(frozen=True, slots=True)
class LatePlan:
    """A message older than `max_age` may still end a trade when `when` holds of it."""

    when: Expr
    max_age_ns: int


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """The field whose word is the wanted position, and the number each word stands for."""

    field: str
    positions: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SentAt:
    """Where a message says when it was sent."""

    pointer: Pointer
    format: TimeFormat


# --- what each type needs besides -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HmacPlan:
    """HMAC-SHA256 over timestamp + "." + raw body, both in headers; |now - timestamp| bounded."""

    secret: SecretRef
    header: str = "X-Signature"
    timestamp: str = "X-Timestamp"
    tolerance_ns: int = 30_000_000_000


@dataclass(frozen=True, slots=True)
class TokenPlan:
    """A shared token: in the body at `pointer`, else in `header` (`Authorization`: as Bearer)."""

    token: SecretRef
    pointer: Pointer | None = None
    header: str = "Authorization"


@dataclass(frozen=True, slots=True)
class ListenPlan:
    """Where a webhook listens. Outside of loopback only with TLS, or `plain` said on purpose."""

    host: str
    port: int
    path: str
    tls_cert: str = ""
    tls_key: str = ""
    plain: bool = False


@dataclass(frozen=True, slots=True)
class WebhookPlan:
    """A door others post to."""

    listen: ListenPlan
    auth: HmacPlan | TokenPlan
    ips: tuple[str, ...] = ()
    behind: str = ""
    """address of the proxy whose X-Forwarded-For is believed"""


@dataclass(frozen=True, slots=True)
class OnlyPlan:
    """Of the messages of a feed only those count whose value at `pointer` is `equals`."""

    pointer: Pointer
    equals: str


@dataclass(frozen=True, slots=True)
class WebSocketPlan:
    """A feed we connect to. `items` points at the message, or a list of them, in a frame."""

    url: str
    subscribe: tuple[str, ...] = ()
    """sent after connecting; `{token}` stands for the token"""
    auth: TokenPlan | None = None
    items: Pointer = ()
    only: OnlyPlan | None = None


@dataclass(frozen=True, slots=True)
class RestPlan:
    """An address we ask regularly."""

    url: str
    every_ns: int
    format: str = "json"
    """json or rss"""
    items: Pointer = ()
    auth: TokenPlan | None = None
    timeout_ns: int = 10_000_000_000


@dataclass(frozen=True, slots=True)
class TelegramPlan:
    """Messages of chats and senders that are allowed; `pattern` has named groups."""

    token: SecretRef
    chats: tuple[str, ...]
    """ids, or @names of channels"""
    senders: tuple[str, ...]
    """ids, or @names; empty: whoever may write in these chats"""
    pattern: str
    base_url: str = "https://api.telegram.org"


@dataclass(frozen=True, slots=True)
class LlmBudget:
    """What may be spent in `per_ns`; None: no limit of that kind."""

    per_ns: int
    calls: int | None = None
    tokens: int | None = None
    money: float | None = None


@dataclass(frozen=True, slots=True)
class LlmPrice:
    """Money for a million tokens."""

    input: float
    output: float
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class LlmPlan:
    """A language model that is asked about headlines or signals; never on the way of an order."""

    base_url: str
    model: str
    key: SecretRef | None
    about: tuple[str, ...]
    """sources and signals it is told of"""
    prompt: str
    ready: str = ""
    """sentiment or market_view: a ready-made question with its fields"""
    refresh_ns: int | None = None
    at_most_every_ns: int = 60_000_000_000
    timeout_ns: int = 10_000_000_000
    json_mode: str = "schema"
    """schema, object or none: what the endpoint offers"""
    max_tokens: int = 500
    budget: LlmBudget | None = None
    price: LlmPrice | None = None


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """A calendar: five fields of cron in a time zone."""

    cron: str
    zone: str = "UTC"
    missed_within_ns: int = 0
    """a time missed while the process was down is made up for, once, within this; 0: never"""
    jitter_ns: int = 0


Options = WebhookPlan | WebSocketPlan | RestPlan | TelegramPlan | LlmPlan | SchedulePlan


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One source. `rule` names the rule whose own `trigger` it is; else it has a name of its own.

    `max_age_ns` counts from the sender's time; of a schedule from the instant it came.
    """

    name: str
    type: SourceType
    event: bool
    fields: Mapping[str, FieldPlan]
    max_age_ns: int
    options: Options
    dedupe: DedupePlan | None = None
    heartbeat_ns: int | None = None
    late: LatePlan | None = None
    target: TargetPlan | None = None
    seq: str = ""
    """the field that counts: a message that is not above the last is refused"""
    sent_at: SentAt | None = None
    rate: Rate = MESSAGES
    rule: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """How often, and how long, a refused trigger is tried again."""

    every_ns: int
    within_ns: int


@dataclass(frozen=True, slots=True)
class TriggerPlan:
    """What starts a rule: the name of a source, and how a refusal is tried again."""

    source: str
    retry: RetryPlan
