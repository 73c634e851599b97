"""The plan of who is told what, and by which way."""

from __future__ import annotations

from dataclasses import dataclass

from runner.spec.parts import SecretRef


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, written in the file or kept secret with whoever knows it."""

    url: str = ""
    secret: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class TelegramPlan:
    """A bot and the chat it writes to."""

    token: SecretRef
    chat: str
    base_url: str


@dataclass(frozen=True, slots=True)
class HookPlan:
    """A URL that takes a JSON message; `token` is sent as a bearer token."""

    address: Address
    format: str = "json"
    token: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class PagePlan:
    """Who is paged, and for which topics (empty: all)."""

    telegram: TelegramPlan | None = None
    webhook: HookPlan | None = None
    command: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlivePlan:
    """A URL that is asked every `every_ns` while the run makes progress."""

    address: Address
    every_ns: int


@dataclass(frozen=True, slots=True)
class DailyPlan:
    """When the summary of the day is sent: `at` is HH:MM in `zone`."""

    at: str
    zone: str


@dataclass(frozen=True, slots=True)
class NotifyPlan:
    """Who is told what (trading.md, section 6)."""

    page: PagePlan | None = None
    alive: AlivePlan | None = None
    daily: DailyPlan | None = None
