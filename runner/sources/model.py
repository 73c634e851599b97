"""A language model as a source: asked about headlines or signals, never on the way of an order.

Theory of operation. `run` looks every second whether a question is due: something that was not yet
asked about is there and the last question is `at_most_every` ago, or `refresh` is over since the
last answer. Each headline is asked about once, in a batch with the others that are new; one that
no answer came to is new still. At a refresh the last batch is asked about again, unless the poll
that brought it is silent: what is old news is not judged as if it were new. Before a call the purse
is asked; what a call cost is counted, whatever came of it. The same question within half the time
an answer stands, and within `refresh`, is not asked twice.

An answer is typed by the file like any other message; one that does not fit gets one chance to be
put right, then the source has nothing new to say. An error, a time-out or an empty purse makes it
down: when its last answer is older than `max_age` it is missing, and the file decides about that.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import aiohttp
import msgspec

from runner.base.secret import Secret, redact
from runner.net.backoff import Backoff
from runner.sources import question
from runner.sources.api import Listener
from runner.sources.door import Accepted, Flaw, Refused, parse, read
from runner.sources.purse import Purse
from runner.spec.source_plan import LlmPlan, SourcePlan

LOOK_S: Final = 1.0
BATCH: Final = 20
LARGEST_ANSWER: Final = 1 << 20
MOST_KNOWN: Final = 4_096


class Material(Protocol):
    """What a model can be told of."""

    def items_of(self, source: str) -> Sequence[object]:
        """Return the items a poll brought last, the newest last."""
        ...

    def value_of(self, name: str) -> object:
        """Return a signal's value, or a source's fields; None when missing."""
        ...


class Model:
    """One language model; `run` never returns. `keep` saves the purse after each call."""

    def __init__(
        self,
        plan: SourcePlan,
        key: Secret | None,
        listener: Listener,
        material: Material,
        market: str,
        purse: Purse,
        backoff: Backoff,
        keep: Callable[[], None] = lambda: None,
    ) -> None:
        assert isinstance(plan.options, LlmPlan)
        self._plan, self._options, self._listener = plan, plan.options, listener
        self._key = key
        self._material = material
        self._market = market
        self._backoff = backoff
        self._keep = keep
        self.purse = purse
        self._known: OrderedDict[str, None] = OrderedDict()
        """headlines that were asked about"""
        self._batch: list[tuple[str, object]] = []
        """(poll, headline) of the last question"""
        self._fresh: list[object] = []
        """what that question leaves behind it: its headlines, and what was older than them"""
        self._asked_at: int | None = None
        self._answered_at: int | None = None
        self._not_before = 0
        self._last: tuple[bytes, int] | None = None
        """the last question that got an answer, and when"""

    async def run(self) -> None:
        """Look whether a question is due, and again."""
        timeout = aiohttp.ClientTimeout(total=self._options.timeout_ns / 1e9)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self.look(session)
                await asyncio.sleep(LOOK_S)

    async def look(self, session: aiohttp.ClientSession) -> None:
        """Ask if a question is due now."""
        now = self._listener.clock.mono()
        if not self._due(now):
            return
        material = self._told()
        if not material:
            if self._answered_at is not None:
                silent = f"nothing to be told of: no word of {', '.join(self._options.about)}"
                self._listener.pulse(self._plan.name, False, silent)
            return
        empty = self.purse.allows(self._listener.clock.wall())
        if empty:
            self._listener.pulse(self._plan.name, False, f"the budget is spent: {empty}")
            return
        self._asked_at = now
        try:
            await self._ask(session, material)
            self._asked()
            self._backoff.reset()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._not_before = now + round(self._backoff.next() * 1e9)
            reason = redact(f"{type(error).__name__}: {error}")[:200]
            self._listener.pulse(self._plan.name, False, reason)
        except Refused as flaw:
            self._asked()
            self._listener.flawed(self._plan.name, flaw)
            self._listener.pulse(self._plan.name, False, f"no usable answer: {flaw}"[:200])

    # -- when, and about what

    def _due(self, now: int) -> bool:
        options = self._options
        if now < self._not_before:
            return False
        if self._asked_at is not None and now - self._asked_at < options.at_most_every_ns:
            return False
        if self._answered_at is None or self._news():
            return True
        refresh = options.refresh_ns
        if refresh is None:
            return not self._polls()
        return now - self._answered_at >= refresh

    def _polls(self) -> list[str]:
        """Return those it is told of that bring items."""
        return [name for name in self._options.about if self._material.items_of(name)]

    def _news(self) -> list[tuple[str, object]]:
        """Return (name, item) of what was not yet asked about, the newest last."""
        fresh: dict[str, tuple[str, object]] = {}  # what several polls brought counts once
        for name in self._polls():
            for item in self._material.items_of(name):
                if (called := _name_of(item)) not in self._known:
                    fresh.setdefault(called, (name, item))
        return list(fresh.values())

    def _told(self) -> dict[str, object]:
        """Return what the model is told of: new headlines or the last ones, and values."""
        told: dict[str, object] = {}
        news = self._news()
        if news:
            self._batch, self._fresh = news[-BATCH:], [item for _, item in news]
        live = self._polls()
        items = [question.cut(item) for name, item in self._batch if name in live]
        if items:
            told["items"] = items
        for name in self._options.about:
            value = self._material.value_of(name)
            if value is not None:
                told[name] = value
        return told

    def _asked(self) -> None:
        """Take the headlines for asked about: they got an answer, or one that nobody can use."""
        for item in self._fresh:
            self._known[_name_of(item)] = None
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    # -- asking

    async def _ask(self, session: aiohttp.ClientSession, material: Mapping[str, object]) -> None:
        began = self._listener.clock.wall()
        key = msgspec.json.encode(material)
        standing = min(
            self._plan.max_age_ns // 2, self._options.refresh_ns or self._plan.max_age_ns
        )
        if self._last is not None and self._last[0] == key and began - self._last[1] < standing:
            return
        asked = question.messages(self._plan, self._options, self._market, material)
        text = await self._call(session, asked)
        try:
            found = self._read(text, began)
        except Refused as flaw:
            if self.purse.allows(began):
                raise
            again = question.repaired(asked, text, str(flaw))
            found = self._read(await self._call(session, again), began)
        self._last = (key, began)
        self._answered_at = self._listener.clock.mono()
        self._listener.pulse(self._plan.name, True)
        refusal = self._listener.examine(self._plan.name, found, began)
        if refusal is None:
            self._listener.hear(self._plan.name, found, began)
        else:
            self._listener.refused(self._plan.name, refusal.code.value, refusal.text)

    def _read(self, text: str, began: int) -> Accepted:
        return read(self._plan, question.object_in(text), f"{self._plan.name}-{began}")

    async def _call(self, session: aiohttp.ClientSession, asked: Sequence[dict[str, str]]) -> str:
        headers = {"Authorization": f"Bearer {self._key.reveal()}"} if self._key else {}
        body = question.request(self._plan, self._options, asked)
        url = f"{self._options.base_url.rstrip('/')}/chat/completions"
        guess = sum(len(each["content"]) for each in asked) // 3
        used = (guess, self._options.max_tokens)
        try:
            async with session.post(
                url, json=body, headers=headers, allow_redirects=False
            ) as answer:
                raw = await answer.content.read(LARGEST_ANSWER + 1)
                if answer.status != 200:
                    used = (0, 0)
                    raise aiohttp.ClientError(f"status {answer.status}{_hint(answer.status)}")
            text, used = _content(parse(raw, LARGEST_ANSWER), used)
            return text
        finally:
            self.purse.spend(self._listener.clock.wall(), *used)
            self._keep()


def _content(answer: object, guess: tuple[int, int]) -> tuple[str, tuple[int, int]]:
    """Return the text of an answer and the tokens it cost; raises Refused."""
    try:
        shaped = msgspec.convert(answer, _Answer)
    except msgspec.ValidationError as error:
        raise Refused(Flaw.WRONG_TYPE, f"the endpoint's answer is no completion: {error}") from None
    if not shaped.choices or not shaped.choices[0].message.content:
        raise Refused(Flaw.ABSENT, "the completion is empty")
    usage = shaped.usage
    used = guess if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    return shaped.choices[0].message.content, used


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Answer(msgspec.Struct):
    """The part of a completion that is read."""

    choices: list[_Choice]
    usage: _Usage | None = None


def _name_of(item: object) -> str:
    """Return what tells one item from another: its guid or link, else all of it."""
    if isinstance(item, Mapping):
        for key in ("guid", "id", "link", "url", "title"):
            value: Any = item.get(key)
            if isinstance(value, str | int) and str(value):
                return str(value)[:300]
    return msgspec.json.encode(question.cut(item)).decode()[:600]


def _hint(status: int) -> str:
    match status:
        case 401 | 403:
            return ": the key is not accepted"
        case 404:
            return ": no such model, or `base_url` lacks /v1"
        case 429:
            return ": too many requests, or no credit left"
    return ""
