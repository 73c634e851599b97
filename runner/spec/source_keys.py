"""Which keys a source takes, by its type."""

from __future__ import annotations

from typing import Final

from runner.spec.source_plan import SourceType

COMMON: Final = frozenset(
    "about type as fields dedupe max_age heartbeat late target seq sent_at max_rate".split()
)
_OWN: Final = {
    SourceType.WEBHOOK: "listen auth ips behind",
    SourceType.WEBSOCKET: "url subscribe auth items only",
    SourceType.REST: "url every format items auth timeout",
    SourceType.TELEGRAM: "token base_url chats senders pattern timeout",
    SourceType.LLM: "base_url model key ready prompt answer refresh at_most_every json_mode"
    " max_tokens budget price timeout",
    SourceType.SCHEDULE: "cron zone missed jitter",
}
_NEEDED: Final = {
    SourceType.WEBHOOK: ("listen", "auth", "fields", "max_age"),
    SourceType.WEBSOCKET: ("url", "fields", "max_age"),
    SourceType.REST: ("url", "every", "max_age"),
    SourceType.TELEGRAM: ("token", "chats", "pattern", "fields", "max_age"),
    SourceType.LLM: ("base_url", "model", "about", "max_age"),
    SourceType.SCHEDULE: ("cron",),
}


def keys_of(kind: SourceType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the keys that this type takes beside those of all, and those it must have."""
    return tuple(_OWN[kind].split()), _NEEDED[kind]


def taken_by(kind: SourceType) -> frozenset[str]:
    """Return all keys that a source of this type may have."""
    return COMMON.union(keys_of(kind)[0])
